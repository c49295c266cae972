"""MediaWiki XML dumps (`*-pages-articles*.xml`, plain or compressed): one document a page, its wikitext made plain.

A dump is a header (`siteinfo`), then pages. MediaWiki escapes every `<` of a text, so that `<page>` and `</page>` stand
only where a page begins and ends: the stream is cut there and each page is parsed alone. A page that is no XML, or too
long, costs itself, and no more than one is in memory. No dump has a document type declaration; a file with one, which
could define entities, is refused.
Source: https://www.mediawiki.org/wiki/Help:Export, schema export-0.11.
"""

import re
from collections.abc import Iterator
from dataclasses import dataclass, field, replace
from typing import Any
from urllib.parse import quote
from xml.parsers import expat

from fasttrain.corpus.extraction import Extractor
from fasttrain.corpus.fields import seconds_of
from fasttrain.corpus.intake import Intake
from fasttrain.corpus.lake import LakeFile
from fasttrain.corpus.streams import Damaged

_BEGIN, _END = b"<page>", b"</page>"
_MARK = re.compile(rb"</?page>")
_CLOSE = b"</mediawiki>"
_BETWEEN_BYTES = 1 << 20  # the header of the largest wikis has some 10 KB
_MEDIA, _FILE, _CATEGORY = -2, 6, 14
_NAMESPACES = {"media": _MEDIA, "file": _FILE, "image": _FILE, "category": _CATEGORY}  # in every language
_MODEL = re.compile(r"[a-z0-9-]{1,40}")
_NAMESPACE = re.compile(r"-?[0-9]{1,5}")
_URL_SAFE = ";@$!*(),/~:"  # what MediaWiki leaves as it is


class _Piece:
    """A page as it stands in the file, or what stands between two pages, unless it is longer than the limit."""

    def __init__(self, position: int, max_bytes: int, *, is_page: bool) -> None:
        self.position, self.is_page, self.size = position, is_page, 0
        self.is_whole = not is_page  # a page is when its end was seen
        self._max = max_bytes
        self._held: list[bytes] = []

    def add(self, data: bytes) -> None:
        self.size += len(data)
        if self.is_too_large:
            self._held = []
        else:
            self._held.append(data)

    @property
    def is_too_large(self) -> bool:
        return self.size > self._max

    @property
    def data(self) -> bytes:
        return b"".join(self._held)


class _Pieces:
    """Iterate over a dump: header, page, what lies between, page, ... `damage` says afterwards why it ended early."""

    def __init__(self, file: LakeFile, max_bytes: int) -> None:
        self._file, self._max = file, max_bytes
        self.damage: Damaged | None = None

    def __iter__(self) -> Iterator[_Piece]:
        piece, rest = self._piece(self._file.position, is_page=False), b""
        for chunk in self._chunks():
            data, at = rest + chunk, 0
            while mark := _MARK.search(data, at):
                is_end = mark[0] == _END
                piece.add(data[at : mark.end() if is_end else mark.start()])
                at = mark.end()
                if is_end and not piece.is_page:
                    continue  # an end without a beginning belongs to what lies between
                piece.is_whole |= is_end
                yield piece
                piece = self._piece(piece.position + piece.size, is_page=not is_end)
                if not is_end:
                    piece.add(_BEGIN)
            cut = max(at, len(data) - len(_END) + 1)  # what follows may be the beginning of a mark
            piece.add(data[at:cut])
            rest = data[cut:]
        piece.add(rest)
        yield piece

    def _piece(self, position: int, *, is_page: bool) -> _Piece:
        return _Piece(position, self._max if is_page else _BETWEEN_BYTES, is_page=is_page)

    def _chunks(self) -> Iterator[bytes]:
        try:
            yield from self._file.chunks()
        except Damaged as damage:
            self.damage = damage


@dataclass
class _Site:
    """What a dump's header says."""

    language: str = ""
    url: str = ""  # of a page, its title left out; "" when unknown
    namespaces: dict[str, int] = field(default_factory=lambda: dict(_NAMESPACES))  # by name in lower case


@dataclass
class _Page:
    """A page and its last revision."""

    title: str = ""
    id: str = ""
    namespace: str = ""
    is_redirect: bool = False
    revision: str = ""
    timestamp: str = ""
    model: str = ""
    text: str = ""


class _Refused(Exception):
    """The file is no dump. args: kind, detail."""


def read(file: LakeFile, intake: Intake, extractor: Extractor) -> None:
    """Hand over every page of the wanted namespaces that is no redirect; the others are counted by what they are."""
    if file.size == 0:
        return intake.quarantine("empty", file.name)
    pieces = _Pieces(file, intake.config.max_document_bytes)
    site: _Site | None = None
    number = file.records_before
    if file.position:  # the header is the file's
        try:
            site = _site(next(iter(_Pieces(replace(file, piece=None), intake.config.max_document_bytes))))
        except _Refused:
            return None  # the first piece says why
    last: _Piece | None = None  # what may be cut: told when something follows
    for piece in pieces:
        if site is None:
            try:
                site = _site(piece)
            except _Refused as refused:
                if pieces.damage is None:
                    kind, detail = refused.args
                    return intake.quarantine(kind, file.name, max(file.size, 0), detail=detail, file=file.name)
                break
            last = piece if piece.data.strip().endswith(_CLOSE) else None
            continue
        if last is not None:
            _leftover(last, number, file, intake)
        number += piece.is_page
        last = piece
        if piece.is_page and piece.is_whole:
            _take(piece, number, site, file, intake, extractor)
            last = None
    return _end(last, number, pieces.damage, file, intake) if file.ends_here else None


def _leftover(piece: _Piece, number: int, file: LakeFile, intake: Intake) -> None:
    """A page without its end, or what is neither page nor white space."""
    where = {"file": file.name, "record": number, "position": piece.position}
    if piece.is_page:
        intake.quarantine("not_xml", f"{file.name}#{number}", piece.size, detail="no </page>", **where)
    elif piece.is_too_large or piece.data.strip():
        intake.quarantine("not_a_page", f"{file.name}#{number + 1}", piece.size, **where)


def _end(last: _Piece | None, number: int, damage: Damaged | None, file: LakeFile, intake: Intake) -> None:
    """Tell how the file ended: `last` is what lies behind the last page, or a page without its end."""
    record = number if last is not None and last.is_page else number + 1
    if damage is not None:
        return intake.damage(damage, file.name, record)
    if last is None or last.is_page or not last.data.rstrip().endswith(_CLOSE):
        position = last.position if last is not None else 0
        return intake.damage(Damaged("truncated", "does not end with </mediawiki>", position), file.name, record)
    if number and last.data.strip() != _CLOSE:
        where = {"file": file.name, "record": record, "position": last.position}
        intake.quarantine("not_a_page", f"{file.name}#{record}", last.size, **where)
    return None


def _take(piece: _Piece, number: int, site: _Site, file: LakeFile, intake: Intake, extractor: Extractor) -> None:
    origin = f"{file.name}#{number}"
    where: dict[str, Any] = {"file": file.name, "record": number, "position": piece.position}
    if piece.is_too_large:
        return intake.quarantine("too_large", origin, piece.size, **where)
    xml = intake.decoded(piece.data, "utf-8")
    if xml is None:
        return intake.quarantine("encoding", origin, piece.size, **where)
    try:
        page = _page(xml)
    except expat.ExpatError as error:
        return intake.quarantine("not_xml", origin, piece.size, detail=str(error), **where)
    title = " ".join(page.title.split())
    where["title"] = title
    origin = _address(site, title) or f"{file.name}#{page.id or number}"
    namespace = _namespace(page, site)
    if not title or namespace is None:
        return intake.quarantine("not_a_page", origin, piece.size, **where)
    if namespace not in intake.source.namespaces:
        intake.counts[f"wiki_namespace_{namespace}"] += 1
        return None
    if page.is_redirect:
        intake.counts["wiki_redirects"] += 1
        return None
    if page.model not in ("", "wikitext"):  # a style sheet, a program, data
        intake.counts[f"wiki_model_{page.model if _MODEL.fullmatch(page.model) else 'other'}"] += 1
        return None
    dropped = [name for name, number in site.namespaces.items() if number in (_MEDIA, _FILE, _CATEGORY)]
    found = extractor.wikitext(page.text.encode(), dropped=dropped)
    if found.problem:
        return intake.quarantine(found.problem, origin, piece.size, detail=found.detail, **where)
    if not found.text.strip():
        return intake.quarantine("empty", origin, piece.size, **where)
    found.count(intake.counts)
    meta = {"record": f"{file.name}#{number}", "page": page.id, "revision": page.revision}
    return intake.document(
        title.encode() + b"\n\n" + found.text,
        origin,
        language=site.language,
        timestamp=seconds_of(page.timestamp),
        meta={name: value for name, value in meta.items() if value},
    )


def _address(site: _Site, title: str) -> str:
    return site.url + quote(title.replace(" ", "_"), safe=_URL_SAFE) if site.url and title else ""


def _namespace(page: _Page, site: _Site) -> int | None:
    """Its number, or that of the title's prefix (before export-0.6 pages did not say); None when it is no number."""
    if page.namespace:
        return int(page.namespace) if _NAMESPACE.fullmatch(page.namespace) else None
    return site.namespaces.get(page.title.partition(":")[0].strip().lower(), 0)


def _site(piece: _Piece) -> _Site:
    """Read a dump's header. Raises _Refused: it is none."""
    site, text = _Site(), [""]
    key, is_dump = "", False

    def start(name: str, attributes: dict[str, str]) -> None:
        nonlocal key, is_dump
        if not is_dump and name != "mediawiki":
            raise _Refused("not_a_dump", f"begins with <{name[:80]}>, not <mediawiki>")
        if not is_dump:
            is_dump = True
            site.language = attributes.get("xml:lang", "").partition("-")[0].lower()
        key = attributes.get("key", "")
        text.clear()

    def end(name: str) -> None:
        stated = "".join(text).strip()
        text.clear()
        if name == "base" and (cut := max(stated.rfind("/"), stated.rfind("="))) >= 0:
            site.url = stated[: cut + 1]
        elif name == "namespace" and stated and _NAMESPACE.fullmatch(key):
            site.namespaces[stated.lower()] = int(key)

    def doctype(*_: Any) -> None:
        raise _Refused("doctype", "has a document type declaration, which no dump has")

    if piece.data[:2] in (b"\xff\xfe", b"\xfe\xff"):  # expat would read it, the search for pages finds none
        raise _Refused("encoding", "is UTF-16; dumps are UTF-8")
    parser = _parser(start, end, text)
    parser.StartDoctypeDeclHandler = doctype
    try:
        parser.Parse(piece.data, False)
    except expat.ExpatError as error:
        raise _Refused("not_a_dump", str(error)) from None
    if not is_dump:
        raise _Refused("not_a_dump", "has no <mediawiki>")
    return site


def _page(xml: bytes) -> _Page:
    """Read one page, of several revisions the last. Raises ExpatError: it is no XML; entities need a declaration."""
    page, path, text = _Page(), [""], [""]
    fields = {
        "/page/title": "title", "/page/id": "id", "/page/ns": "namespace", "/page/revision/id": "revision",
        "/page/revision/timestamp": "timestamp", "/page/revision/model": "model", "/page/revision/text": "text",
    }  # fmt: skip

    def start(name: str, attributes: dict[str, str]) -> None:
        path.append(name)
        text.clear()
        if name == "redirect" and len(path) == 3:
            page.is_redirect = True
        elif name == "revision":
            page.revision = page.timestamp = page.model = page.text = ""

    def end(name: str) -> None:
        if len(path) <= 4 and (place := fields.get("/".join(path))):
            setattr(page, place, "".join(text) if place == "text" else "".join(text).strip())
        path.pop()
        text.clear()

    _parser(start, end, text).Parse(xml, True)
    return page


def _parser(start: Any, end: Any, text: list[str]) -> Any:
    parser = expat.ParserCreate("utf-8")
    parser.buffer_text = True
    parser.StartElementHandler, parser.EndElementHandler, parser.CharacterDataHandler = start, end, text.append
    return parser
