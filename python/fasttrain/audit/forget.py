"""A removal request: which documents it means, where they and their copies are, and what has seen them.

    keys (doc_id, URL or origin, text)
      -> asked       the documents of the lake that the keys name, whatever became of them
      -> copies      same text; Jaccard or containment of the asked text >= threshold, exactly, among all that was read;
                     the survivor that an asked document was removed for, and what was removed for an asked one
      -> places      lake record; file and row in every stage's output; document and tokens in the shards; training
                     steps (batch.order, backwards)
      -> list        removals/list.jsonl in the run folder and the recipe's own list (corpus.removals): doc_ids and text
                     hashes of all of them, so that no former duplicate takes the place of the one that went
      -> corpus      the list is the stage's revision: parts that hold a listed document are made again, the document is
                     a ledger row `governance:removal_request`; the other parts stay as they are, byte for byte
      -> later       filter and decontam make the parts again whose input has changed; a stage that decides over the
                     whole corpus is made anew, one that reads the same bytes is not (formats.stage); datasheet and
                     report are written again
      -> rebuilt     what was made again, from the manifests before and after; that no listed document is left, checked

A copy is a copy of an asked document, not of a copy: similarity is not handed on along a chain. Documents that contain
nothing but a part of an asked text (`fragments`), and those that may return because the copy they were removed for is
gone (`may_return`), are named and not removed. Reports hold doc_ids, hashes, sources and record numbers: no text, no
URL.
"""

import re
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from typing import Any, Literal

import numpy as np
import pyarrow.parquet as pq

from fasttrain.audit import document, step
from fasttrain.audit.ledger import Ledger, document_files
from fasttrain.audit.near import scan
from fasttrain.core.config import Settings, fingerprint
from fasttrain.core.errors import ConfigError
from fasttrain.corpus.removals import Removal
from fasttrain.formats import shards
from fasttrain.formats.run_folder import RunFolder

Kind = Literal["auto", "id", "origin", "text"]
_NUMBERED = re.compile(r"#\d+( \(\d+\))?$")
_AT_ONCE = 500  # names in one SQL statement


@dataclass(frozen=True)
class Key:
    """What a request names a document by."""

    kind: Kind
    value: str


class Place(Settings):
    """A document in a stage's output."""

    stage: str
    """The stage."""
    file: str
    """Relative to the run folder."""
    row: int
    """From 0."""


class InShard(Settings):
    """A document in the token shards."""

    shard: str
    """train/<source> or probe/<source>."""
    document: int
    """Its number in the shard, from 0."""
    first_token: int
    """Offset in tokens.bin, in tokens."""
    tokens: int
    """Its end token included."""


class Wanted(Settings):
    """One document that the request means."""

    doc_id: str
    """32 hex digits."""
    text_hash: str | None
    """Of the text as it was read; null when it never became a document (kept out by the policy)."""
    why: Literal["asked", "same text", "like the text", "duplicate by the ledger"]
    """Asked for, or what kind of copy it is."""
    of: str | None
    """The asked document that it is a copy of."""
    similarity: float | None
    """Jaccard, or the share of the asked text that it holds if that is more."""
    source: str
    """Its source."""
    record: str
    """Where it lies in the lake: file, or file#number; empty when that is not known."""
    by_name: bool
    """Whether its doc_id goes onto the list: not when only a record number stands behind it."""
    dropped: str
    """Stage and reason that kept it out of the corpus before; empty when it was in."""
    tail: str | None = None
    """doc_id of its last part, when the split held that out for the probe set; that is among the places too."""
    places: tuple[Place, ...] = ()
    """In the outputs of the stages."""
    shards: tuple[InShard, ...] = ()
    """In the token shards."""
    steps: tuple[int, ...] = ()
    """Training steps that saw it, those included that a rollback took back."""

    @property
    def names(self) -> tuple[str, ...]:
        """doc_ids that it has: its own, and its tail's."""
        return (self.doc_id, self.tail) if self.tail else (self.doc_id,)

    def removal(self, request: str) -> Removal:
        """Its line of the list."""
        return Removal(
            request=request,
            doc_id=self.doc_id if self.by_name or self.text_hash is None else None,
            text_hash=self.text_hash,
            why="asked" if self.why == "asked" else "copy",
        )


class Request(Settings):
    """A removal request as it was understood."""

    request: str
    """Its name: of the documents that it means, so that asking twice is asking once."""
    asked: int
    """Keys that were given."""
    not_found: tuple[int, ...]
    """Numbers of the keys (from 1) that no document of the lake answers to."""
    threshold: float
    """Least similarity of a copy."""
    documents: tuple[Wanted, ...]
    """Asked ones first, then copies."""
    fragments: tuple[str, ...]
    """doc_ids of documents that are a part of an asked text: not removed."""
    may_return: tuple[str, ...]
    """doc_ids of documents that were removed as duplicates of a copy that goes now, and are no copies of what was
    asked: not on the list."""
    steps_known: bool
    """False: it was trained on shards that have been made again since, so the steps below are not known."""
    first_step: int | None
    """The first training step that saw one of the documents."""
    checkpoints: tuple[str, ...]
    """Checkpoints that are left and were made after that step."""

    def removals(self) -> list[Removal]:
        """Lines of the list, each once."""
        return list(dict.fromkeys(d.removal(self.request) for d in self.documents))


def find(run: RunFolder, keys: Sequence[Key], *, threshold: float, ngram: int = 5, limit: int = 1000) -> Request:
    """Return what a removal request means in this run.

    Args:
        keys: an origin must be given whole; a text may be a passage, then each document that holds it is asked for.
        threshold: least Jaccard similarity, or share of the asked text, that makes a copy; in (0, 1].
        limit: at most so many documents are asked for: a slip ("the") must not empty a corpus.
    Raises: ConfigError: no key, an empty one, or more documents than `limit`. FormatError: no such run folder.
    Cost: a scan of the texts for each key that is a text, one for the copies, one of the doc_ids of each stage, and the
    arithmetic of all training steps.
    """
    if not keys or any(not key.value.strip() for key in keys):
        raise ConfigError("audit forget: give at least one doc_id, URL or text, and none that is empty")
    with Ledger(run) as ledger:
        asked: dict[str, None] = {}
        missing = []
        for number, key in enumerate(keys, 1):
            found = _named(ledger, key, limit)
            asked.update(dict.fromkeys(found))
            missing += [] if found else [number]
            if len(asked) > limit:
                raise ConfigError(
                    f"audit forget: key {number} of {len(keys)} makes it more than {limit} documents; name them more "
                    "closely, or raise --limit"
                )
        asked = _owners(ledger, asked)
        copies, fragments = _copies(run, ledger, list(asked), threshold, ngram)
        wanted = _describe(ledger, list(asked), copies)
        gone = [d.doc_id for d in wanted]
        back = {d for d, s in _removed_for(ledger, gone) if d not in set(gone)}
    wanted, steps_known = _place(run, wanted)
    first = min((s for d in wanted for s in d.steps[:1]), default=None)
    return Request(
        request=f"r-{fingerprint(sorted(gone))[:12]}",
        asked=len(keys),
        not_found=tuple(missing),
        threshold=threshold,
        documents=tuple(wanted),
        fragments=tuple(sorted(fragments - set(gone))),
        may_return=tuple(sorted(back)),
        steps_known=steps_known,
        first_step=first,
        checkpoints=_checkpoints(run, first),
    )


def _named(ledger: Ledger, key: Key, limit: int) -> list[str]:
    for kind in ("id", "origin", "text") if key.kind == "auto" else (key.kind,):
        if kind == "origin":
            found = _of_origin(ledger, key.value.strip())
        else:
            found = list(document.search(ledger, key.value, kind, limit + 1))
        if found:
            return found
    return []


def _owners(ledger: Ledger, asked: Iterable[str]) -> dict[str, None]:
    """The same with the documents that were read in place of tails that the split cut off them."""
    rows = ledger.query(
        "SELECT doc_id, evidence ->> '$.cut_from' FROM ledger WHERE stage = 'split' AND reason = 'probe'"
    )
    owner = {tail: whole for tail, whole in rows.rows if whole}
    return dict.fromkeys(owner.get(doc_id, doc_id) for doc_id in asked)


def _of_origin(ledger: Ledger, origin: str) -> list[str]:
    """Documents of exactly this origin, and the second one of it in a part, which has " (2)" behind it."""
    again = re.escape(origin) + r" \(\d+\)"
    rows = ledger.query(
        "SELECT doc_id FROM documents WHERE origin = ? OR regexp_full_match(origin, ?) "
        "UNION SELECT doc_id FROM ledger WHERE origin = ? OR regexp_full_match(origin, ?) ORDER BY 1",
        [origin, again] * 2,
    ).rows
    return [row[0] for row in rows]


@dataclass(frozen=True)
class _Copy:
    why: Literal["same text", "like the text", "duplicate by the ledger"]
    of: str
    similarity: float | None


def _copies(
    run: RunFolder, ledger: Ledger, asked: list[str], threshold: float, ngram: int
) -> tuple[dict[str, _Copy], set[str]]:
    """Copies of the asked documents by doc_id, and documents that are parts of them."""
    first = next(iter(ledger.stages()), "corpus")
    copies: dict[str, _Copy] = {}
    texts: dict[str, str] = {}
    for some in _cut(asked):
        rows = ledger.query(
            f"SELECT d.doc_id, a.doc_id, a.text FROM documents a JOIN documents d ON a.text_hash = d.text_hash "
            f"WHERE a.stage = ? AND d.stage = ? AND a.doc_id IN ({_marks(some)}) ORDER BY 1, 2",
            [first, first, *some],
        ).rows
        for doc_id, of, text in rows:
            texts[of] = text
            copies.setdefault(doc_id, _Copy("same text", of, 1.0))
    names, fragments = list(texts), set()
    for batch in scan(run, list(texts.values()), threshold=threshold, ngram=ngram) if texts else ():
        for number, near in batch:
            similarity = max(near.jaccard, near.text_in_document)
            if similarity >= threshold:
                known = copies.get(near.doc_id)
                if known is None or (known.similarity or 0) < similarity:
                    copies[near.doc_id] = _Copy("like the text", names[number], similarity)
            else:
                fragments.add(near.doc_id)
    for doc_id, survivor in _removed_for(ledger, asked):
        copies.setdefault(doc_id, _Copy("duplicate by the ledger", survivor, None))
    for doc_id, survivor in _removed_for(ledger, asked, of="doc_id"):
        copies.setdefault(survivor, _Copy("duplicate by the ledger", doc_id, None))
    return {d: c for d, c in copies.items() if d not in set(asked)}, fragments


def _removed_for(ledger: Ledger, names: list[str], of: str = "survivor") -> list[tuple[str, str]]:
    """(removed, survivor) of exact and near duplicates by the ledger, where one of both (`of`) is among `names`."""
    found: list[tuple[str, str]] = []
    for some in _cut(names):
        found += ledger.query(
            "SELECT doc_id, survivor FROM (SELECT doc_id, evidence ->> '$.survivor' AS survivor FROM ledger "
            "WHERE stage LIKE 'dedup%' AND decision = 'dropped' AND reason NOT LIKE 'semantic%') "
            f"WHERE survivor IS NOT NULL AND {of} IN ({_marks(some)}) ORDER BY 1, 2",
            some,
        ).rows
    return found


def _describe(ledger: Ledger, asked: list[str], copies: dict[str, _Copy]) -> list[Wanted]:
    first = next(iter(ledger.stages()), "corpus")
    known: dict[str, Any] = {}  # source, origin, text hash, record
    dropped: dict[str, str] = {}
    tails: dict[str, str] = {}
    for some in _cut([*asked, *copies]):
        marks = _marks(some)
        for doc_id, *rest in ledger.query(
            "SELECT doc_id, source, origin, text_hash, coalesce(meta ->> '$.record', '') FROM documents "
            f"WHERE stage = ? AND doc_id IN ({marks})",
            [first, *some],
        ).rows:
            known[doc_id] = rest
        for doc_id, source, origin, stage, reason in ledger.query(
            "SELECT doc_id, source, origin, stage, reason FROM ledger "
            f"WHERE decision = 'dropped' AND doc_id IN ({marks})",
            some,
        ).rows:
            known.setdefault(doc_id, [source, origin, None, ""])
            dropped[doc_id] = f"{stage}: {reason}"
        tails |= dict(
            ledger.query(
                "SELECT doc_id, evidence ->> '$.probe' FROM ledger WHERE stage = 'split' AND decision = 'edited' "
                f"AND doc_id IN ({marks})",
                some,
            ).rows
        )
    found = []
    for doc_id in [*asked, *copies]:
        copy = copies.get(doc_id)
        source, origin, text_hash, record = known.get(doc_id, ["(an earlier corpus)", "", None, ""])
        found.append(
            Wanted(
                doc_id=doc_id,
                text_hash=text_hash,
                why=copy.why if copy else "asked",
                of=copy.of if copy else None,
                similarity=copy.similarity if copy else None,
                source=source,
                record=record or ("" if "://" in origin else origin),
                by_name="://" in origin or not _NUMBERED.search(origin),
                dropped=dropped.get(doc_id, ""),
                tail=tails.get(doc_id),
            )
        )
    return found


def _place(run: RunFolder, wanted: list[Wanted]) -> tuple[list[Wanted], bool]:
    """The documents with where they are and the steps that saw them; whether the steps are known."""
    owner = {name: d.doc_id for d in wanted for name in d.names}
    names = np.array([bytes.fromhex(name) for name in owner], "S16")
    places: dict[str, list[Place]] = {d.doc_id: [] for d in wanted}
    for stage in ("corpus", "filter", "dedup", "passages", "decontam", "split"):
        for path in [p for files in document_files(run, stage).values() for p in files]:
            ids = np.array(pq.read_table(path, columns=["doc_id"]).column("doc_id").to_pylist(), "S16")
            for row in np.flatnonzero(np.isin(ids, names)).tolist():
                file = path.relative_to(run.root).as_posix()
                places[owner[_hex(ids[row])]].append(Place(stage=stage, file=file, row=row))
    tokens: dict[str, list[InShard]] = {d.doc_id: [] for d in wanted}
    for phase in ("train", "probe"):
        for source, shard in shards.open_shards(run.shards / phase).items():
            ids = np.ascontiguousarray(shard.doc_ids).view("S16").ravel()
            for n in np.flatnonzero(np.isin(ids, names)).tolist():
                begin, end = int(shard.offsets[n]), int(shard.offsets[n + 1])
                tokens[owner[_hex(ids[n])]].append(
                    InShard(shard=f"{phase}/{source}", document=n, first_token=begin, tokens=end - begin)
                )
    seen = step.steps_of(run, [d.doc_id for d in wanted])
    found = []
    for d in wanted:
        steps = tuple((seen or {}).get(d.doc_id, ()))
        at = {"places": tuple(places[d.doc_id]), "shards": tuple(tokens[d.doc_id]), "steps": steps}
        found.append(d.model_copy(update=at))
    return found, seen is not None


def _hex(name: bytes) -> str:
    return bytes(name).ljust(16, b"\0").hex()  # NumPy cuts zeros off the end


def _checkpoints(run: RunFolder, first: int | None) -> tuple[str, ...]:
    steps = {p.name: int(p.name.removeprefix("step-")) for p in run.checkpoints.glob("step-*") if p.name[5:].isdigit()}
    return tuple(sorted(name for name, number in steps.items() if first is not None and number >= first))


def _cut(names: list[str]) -> Iterable[list[str]]:
    return (names[i : i + _AT_ONCE] for i in range(0, len(names), _AT_ONCE))


def _marks(names: Sequence[str]) -> str:
    return ", ".join("?" for _ in names)
