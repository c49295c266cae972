"""Lists of words and phrases, several languages at once, counted in texts by the column, natively."""

from collections.abc import Sequence
from dataclasses import dataclass, field
from pathlib import Path

import numpy as np
import numpy.typing as npt

from fasttrain.core import backend, check
from fasttrain.core.errors import FormatError
from fasttrain.filter.word_list_ref import AMBIGUOUS, CONTEXT, EXCUSE, OPEN, STRONG, is_gap, kind, normal
from fasttrain.filter.word_list_ref import count as count_ref
from fasttrain.text.columns import TextColumn

COUNTS = ("strong", "in_context", "alone", "excused")
"""The columns of `word_list`."""
SECTIONS = {"words": STRONG, "ambiguous": AMBIGUOUS, "context": CONTEXT, "excuse": EXCUSE}
"""Sections of a list file and the classes of their entries."""
MOST_WINDOW = 255
_HEAD_BYTES, _PAIR_BYTES, _FIRST_BYTES = 4096, 128 * 128 // 8, 512
_HASH = 0x9E3779B1
_GAPS = tuple(c for c in range(128) if is_gap(chr(c)))
_ENDS = tuple(c for c in range(128) if kind(chr(c)) == 0)  # a word ends before them


@dataclass(frozen=True)
class WordLists:
    """L compiled lists: a trie over the bytes of their entries, and what shows at a glance that none begins here."""

    entries: tuple[dict[str, int], ...]  # (L,) normal text -> class (word_list_ref)
    roots: npt.NDArray[np.int32]  # (L,)
    heads: npt.NDArray[np.uint8]  # (L, 4096)
    pairs: npt.NDArray[np.uint8]  # (L, 2048)
    firsts: npt.NDArray[np.uint8]  # (L, 512)
    edges: npt.NDArray[np.int32]  # (M+1,)
    bytes: npt.NDArray[np.uint8]  # (E,)
    next: npt.NDArray[np.int32]  # (E,)
    kinds: npt.NDArray[np.uint8]  # (M,)

    def __len__(self) -> int:
        return len(self.entries)


def read(path: Path) -> dict[str, int]:
    """Read a list file: one entry a line, lines of "[section]" before those of another section, "#" begins a comment.

    Entries before the first section are of [words]. Of an entry that comes twice the later section holds.
    Returns: normal text -> class, as `word_list_ref.matches` takes them.
    Raises: OSError, UnicodeDecodeError: the file cannot be read. FormatError: a section that does not exist.
    """
    found: dict[str, int] = {}
    section = "words"
    for number, line in enumerate(path.read_text(encoding="utf-8").splitlines(), 1):
        line = line.strip()
        if line.startswith("[") and line.endswith("]"):
            section = line[1:-1].strip()
            if section not in SECTIONS:
                known = ", ".join(f"[{s}]" for s in SECTIONS)
                raise FormatError(f"word_list: line {number} must name a section ({known}), got {line!r}")
            continue
        if line and not line.startswith("#"):
            add(found, line, section)
    return found


def add(entries: dict[str, int], entry: str, section: str) -> None:
    """Add one entry as a list file writes it ("word", "word*"); one without a character that counts is passed over."""
    is_open = entry.endswith("*") and len(entry) > 1
    text = normal(entry[:-1] if is_open else entry)
    if text:
        entries[text] = SECTIONS[section] + is_open * OPEN


@dataclass
class _Node:
    next: dict[int, "_Node"] = field(default_factory=dict)
    kind: int = 0


def compile_lists(lists: Sequence[dict[str, int]]) -> WordLists:
    """Build what `word_list` takes from entries as `read` gives them."""
    nodes: list[_Node] = []
    roots = []
    tables = [np.zeros((len(lists), 8 * size), np.bool_) for size in (_HEAD_BYTES, _PAIR_BYTES, _FIRST_BYTES)]
    for number_of_list, entries in enumerate(lists):
        roots.append(len(nodes))
        root = _Node()
        for text, which in entries.items():
            node = root
            for byte in text.encode():
                node = node.next.setdefault(byte, _Node())
            node.kind = which
            for table, bits in zip(tables, _beginnings(text, bool(which & OPEN))):
                table[number_of_list, bits] = True
        _number(root, nodes)
    heads, pairs, firsts = (np.packbits(table, axis=1, bitorder="little") for table in tables)
    number = {id(node): m for m, node in enumerate(nodes)}
    flat = [(byte, number[id(node.next[byte])]) for node in nodes for byte in sorted(node.next)]
    return WordLists(
        tuple(dict(entries) for entries in lists),
        np.array(roots, np.int32),
        heads,
        pairs,
        firsts,
        np.cumsum([0, *(len(node.next) for node in nodes)]).astype(np.int32),
        np.array([byte for byte, _ in flat], np.uint8),
        np.array([target for _, target in flat], np.int32),
        np.array([node.kind for node in nodes], np.uint8),
    )


def _beginnings(text: str, is_open: bool) -> tuple[list[int], list[int], list[int]]:
    """The bits of `heads`, `pairs` and `firsts` that an entry sets; csrc/filter/word_list.h says what they are."""
    first = ord(text[0])
    if first >= 0x80:
        if len(text) > 1 and text[1] != " ":
            key = (first * 0x10001 ^ ord(text[1]) << 9) & 0xFFFFFFFF
            return [(key * _HASH & 0xFFFFFFFF) >> 17], [], []
        return [], [], [(first * _HASH & 0xFFFFFFFF) >> 20]
    if len(text) < 3 and text.isascii():
        seconds = [ord(text[1]) | 0x20] if len(text) == 2 else [c | 0x20 for c in range(128)]
        return [], [(first | 0x20) * 128 + c for c in seconds], []
    keys: set[int] = set()
    _fill(b"", text, is_open, keys)
    return [(key * _HASH & 0xFFFFFFFF) >> 17 for key in keys], [], []


def _fill(head: bytes, rest: str, is_open: bool, keys: set[int]) -> None:
    """Add the keys of all texts of four ASCII bytes that an entry can begin with: `head`, then `rest` and what follows.

    A text that holds another character there is always walked.
    """
    if len(head) == 4:
        keys.add(int.from_bytes(head, "little") | 0x20202020)
    elif not rest:
        free = is_open or head[-1] in _ENDS
        for c in range(128) if free else _ENDS:
            _fill(head + bytes([c]), rest, True, keys)
    elif rest[0] == " ":
        for c in _GAPS:
            _fill(head + bytes([c]), rest[1:], is_open, keys)
            _fill(head + bytes([c]), rest, is_open, keys)  # a longer gap
    elif ord(rest[0]) < 0x80:
        _fill(head + rest[0].encode(), rest[1:], is_open, keys)


def _number(root: _Node, nodes: list[_Node]) -> None:
    """Append the nodes below a root, those of one depth together: the first steps of all walks share cache lines."""
    level = [root]
    while level:
        nodes += level
        level = [node.next[byte] for node in level for byte in sorted(node.next)]


def word_list(
    column: TextColumn,
    which: npt.NDArray[np.int32],
    lists: WordLists,
    *,
    window: int = 12,
    threads: int | None = None,
    impl: str | None = None,
) -> npt.NDArray[np.int64]:
    """Count the listed words of each text, ambiguous ones by the company they keep; the rules are in word_list_ref.py.

    Shapes: N texts, L lists.
    Args:
        column: N texts.
        which: (N,) int32. The list of each text, -1 for none.
        lists: what `compile_lists` gives.
        window: words between an ambiguous match and what decides about it, at most; up to 255.
        threads: at most so many; backend.num_threads() when None.
        impl: an implementation's name; the fastest that runs here when None.
    Returns: (N, 4) int64, columns COUNTS; zeros for texts without a list.
    Raises: TypeError: another dtype. ValueError: a wrong shape, a list that does not exist, a window, or an impl.
    Cost: one pass; ASCII 32 bytes a step (AVX2) and a look of about 1 ns where a word begins; no scratch.
    """
    op = "word_list"
    check.array(op, "data", column.data, np.uint8, (None,))
    check.offsets(op, "offsets", column.offsets, len(column.data))
    check.array(op, "which", which, np.int32, (len(column),))
    if len(which) and not (which.min() >= -1 and which.max() < len(lists)):
        raise ValueError(f"{op}: which must be -1 to {len(lists) - 1}, got {which.min()} to {which.max()}")
    if not 0 <= window <= MOST_WINDOW:
        raise ValueError(f"{op}: window must be 0 to {MOST_WINDOW} words, got {window}")
    impl = backend.choose(op, impl)
    counts = np.zeros((len(column), len(COUNTS)), np.int64)
    if impl == "reference":
        for n in np.flatnonzero(which >= 0).tolist():
            counts[n] = count_ref(column[n], lists.entries[which[n]], window)
    else:
        trie = (lists.edges, lists.bytes, lists.next, lists.kinds)
        glance = (lists.roots, lists.heads, lists.pairs, lists.firsts)
        threads = threads or backend.num_threads()
        backend.native(op)(column.data, column.offsets, which, counts, *glance, *trie, window, threads, impl)
    return counts
