"""Files that are one document each: text, Markdown, reST, HTML pages, PDF and source code, plain or compressed."""

from typing import Any

from fasttrain.corpus import languages, licences
from fasttrain.corpus.extraction import Extractor
from fasttrain.corpus.intake import Intake
from fasttrain.corpus.lake import LakeFile, extension
from fasttrain.corpus.streams import Whole


def read_text(file: LakeFile, intake: Intake, extractor: Extractor) -> None:
    """Hand over one prose file; HTML is extracted."""
    raw = _whole(file, intake)
    if raw is None:
        return
    if extension(file.name) in (".html", ".htm"):
        page = extractor.html(raw, charset="")
        if page.problem:
            intake.quarantine(page.problem, file.name, len(raw), detail=page.detail, file=file.name)
        else:
            page.count(intake.counts)
            intake.document(page.text, file.name)
        return
    _take(raw, file, intake)


def read_pdf(file: LakeFile, intake: Intake, extractor: Extractor) -> None:
    """Hand over the text of one PDF, its number of pages and its title in `meta`."""
    raw = _whole(file, intake)
    if raw is None:
        return
    if not raw:
        intake.quarantine("empty", file.name, file=file.name)
        return
    found = extractor.pdf(raw, max_bytes=intake.config.max_document_bytes)
    if found.problem:
        intake.quarantine(found.problem, file.name, len(raw), detail=found.detail, file=file.name)
    else:
        found.count(intake.counts)
        intake.document(found.text, file.name, meta=found.meta)


def read_code(file: LakeFile, intake: Intake) -> None:
    """Hand over one source file, with its language, licence and whether a machine wrote it in `meta`."""
    raw = _whole(file, intake)
    if raw is None:
        return
    meta: dict[str, Any] = {"code": languages.EXTENSIONS.get(extension(file.name), "")}
    if languages.generated(raw):
        meta["generated"] = True
    if languages.minified(file.name, raw):
        meta["minified"] = True
    _take(raw, file, intake, licence=licences.of_header(raw) or file.licence, meta=meta)


def _take(raw: bytes, file: LakeFile, intake: Intake, **known: Any) -> None:
    text = intake.decoded(raw, intake.source.encoding)
    if text is None:
        intake.quarantine("encoding", file.name, len(raw), encoding=intake.source.encoding, file=file.name)
    else:
        intake.document(text, file.name, **known)


def _whole(file: LakeFile, intake: Intake) -> bytes | None:
    whole = Whole(file.path, intake.config.max_document_bytes)
    if whole.is_too_large:
        intake.quarantine("too_large", file.name, whole.size, file=file.name)
    elif whole.damage is not None:
        damage = whole.damage
        where = {"detail": damage.detail, "file": file.name, "position": damage.position}
        intake.quarantine(damage.kind, file.name, whole.size, **where)
    else:
        return whole.data
    return None
