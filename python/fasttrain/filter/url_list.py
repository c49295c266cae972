"""Sets of millions of domains and URLs, read from list files and asked by the column, natively."""

import re
import urllib.parse
from collections.abc import Iterable, Sequence
from dataclasses import dataclass

import numpy as np
import numpy.typing as npt

from fasttrain.core import backend, check
from fasttrain.filter import url_list_ref
from fasttrain.text import columns
from fasttrain.text.columns import TextColumn
from fasttrain.text.hash128 import hash128

_KINDS = {"domains": 0, "urls": 1}
_HASH = npt.NDArray[np.uint64]


@dataclass(frozen=True)
class UrlSet:
    """M entries as sorted 128-bit hashes (16 bytes each), and where each bucket of leading bits begins."""

    hashes: _HASH  # (M, 2)
    starts: npt.NDArray[np.int64]  # (B + 1,)

    def __len__(self) -> int:
        return len(self.hashes)

    @property
    def nbytes(self) -> int:
        """Memory that the set takes."""
        return self.hashes.nbytes + self.starts.nbytes


def read(blocks: Iterable[bytes], kind: str, *, impl: str | None = None) -> UrlSet:
    """Build a set from the lines of list files.

    Args:
        blocks: whole lines each (files, or pieces of them that end with a newline). In "domains" a line holds a name
            ("example.com", "*.example.com", a URL of which the host counts) or an address and names (a hosts file), and
            "#" begins a comment; in "urls" it holds a URL, with or without a scheme, and "#" begins a comment at the
            beginning of the line and behind a space. Names that are not ASCII are put in their IDNA form.
        kind: "domains" or "urls".
        impl: an implementation's name; the fastest that runs here when None.
    Raises: ValueError: an unknown kind or impl. UnicodeDecodeError: an entry that is neither ASCII nor UTF-8.
    Cost: reads each byte about three times; 16 bytes an entry and twice that for a moment while it is sorted.
    """
    if kind not in _KINDS:
        raise ValueError(f"url_list: kind must be one of {list(_KINDS)}, got {kind!r}")
    impl = backend.choose("url_list", impl)
    parts = [np.empty((0, 2), np.uint64)]
    for block in blocks:
        found, odd = _read_block(block, kind, impl)
        parts.append(found)
        if odd:  # read once more, their hosts in ASCII; what is still odd cannot be a host and is left out
            again = b"\n".join(_with_ascii_host(line.decode(), kind) for line in odd)
            parts.append(_read_block(again, kind, impl)[0])
    hashes = np.concatenate(parts)
    parts.clear()
    return _sorted_set(hashes, impl)


def of_words(words: Sequence[str], *, impl: str | None = None) -> tuple[UrlSet, npt.NDArray[np.int64]]:
    """A set of words in lower case, and the lengths in bytes that occur: what `find` takes."""
    texts = columns.from_texts([w.lower() for w in words])
    lengths = np.unique(np.diff(texts.offsets)).astype(np.int64)
    return _sorted_set(hash128(texts), backend.choose("url_list", impl)), lengths


def find(
    origins: TextColumn,
    domains: UrlSet,
    urls: UrlSet,
    words: UrlSet,
    word_bytes: npt.NDArray[np.int64],
    *,
    threads: int | None = None,
    impl: str | None = None,
) -> npt.NDArray[np.uint8]:
    """Return for each origin 1 when its host or a domain above it is listed, else 2 when the URL is, else 3 when a
    listed word stands between non-letters, else 0.

    Shapes: N origins.
    Args:
        origins: N texts. A host is looked for behind `scheme://`; an origin without a scheme is compared with the URL
            list as it is.
        words, word_bytes: what `of_words` gives.
        threads: at most so many; backend.num_threads() when None.
        impl: an implementation's name; the fastest that runs here when None.
    Returns: (N,) uint8.
    Raises: TypeError: another dtype. ValueError: wrong offsets or an impl.
    Cost: two cache misses for each dot of a host, one for the URL, one for each place and length of a word.
    """
    op = "url_list"
    check.array(op, "data", origins.data, np.uint8, (None,))
    check.offsets(op, "offsets", origins.offsets, len(origins.data))
    impl = backend.choose(op, impl)
    n, threads = len(origins), threads or backend.num_threads()
    out, odd = np.zeros(n, np.uint8), np.zeros(n, np.uint8)
    sets = (domains.hashes, domains.starts, urls.hashes, urls.starts, words.hashes, words.starts)
    if impl == "reference":
        out[:] = [_find_ref(origins[i], domains, urls, words, word_bytes) for i in range(n)]
        parts = [url_list_ref.split(origins[i]) for i in range(n)]
        odd[:] = [url.has_scheme and url_list_ref.is_odd(url.host) for url in parts]
    else:
        backend.native("url_list_find")(origins.data, origins.offsets, out, odd, *sets, word_bytes, threads, impl)
    rows = np.flatnonzero(odd)
    if len(rows):  # hosts beyond ASCII are rare
        again = columns.from_texts([_with_ascii_host(origins[i].decode(), "urls") for i in rows.tolist()])
        second = np.zeros(len(rows), np.uint8)
        if impl == "reference":
            second[:] = [_find_ref(again[i], domains, urls, words, word_bytes) for i in range(len(rows))]
        else:
            unused = np.zeros(len(rows), np.uint8)
            backend.native("url_list_find")(again.data, again.offsets, second, unused, *sets, word_bytes, threads, impl)
        out[rows] = np.where(second > 0, second, out[rows])
    return out


def _with_ascii_host(text: str, kind: str) -> bytes:
    """An entry or origin with its host percent-decoded and in IDNA form; as it is where that does not exist."""
    if kind == "domains" and "://" not in text:
        return b" ".join(_ascii_host(token).encode() for token in text.split())
    raw = text.encode()
    url = url_list_ref.split(raw)
    at = raw.rindex(url.host, 0, len(raw) - len(url.rest))
    return raw[:at] + _ascii_host(url.host.decode()).encode() + raw[at + len(url.host) :]


def _ascii_host(host: str) -> str:
    plain = urllib.parse.unquote(host, errors="strict") if "%" in host else host
    if re.search(r"[\x00-\x20/?#@:\\]", plain):  # what decoding must not bring into a host
        return host
    try:
        return plain.encode("idna").decode()
    except UnicodeError:  # too long a label, or characters that no host may have
        return host


def _read_block(block: bytes, kind: str, impl: str) -> tuple[_HASH, list[bytes]]:
    if impl == "reference":
        found, lines = (url_list_ref.domains_in if kind == "domains" else url_list_ref.urls_in)(block)
        return hash128(columns.from_texts(sorted(found))), lines
    data = np.frombuffer(block, np.uint8)
    room = backend.native("url_list_room")(data, _KINDS[kind])
    out, odd, counts = np.empty((room, 2), np.uint64), np.empty((room, 2), np.int64), np.zeros(2, np.int64)
    backend.native("url_list_read")(data, out, odd, counts, _KINDS[kind], impl)
    return out[: counts[0]].copy(), [block[a:b] for a, b in odd[: counts[1]].tolist()]


def _sorted_set(hashes: _HASH, impl: str) -> UrlSet:
    bits = max(len(hashes).bit_length() - 3, 0)  # four to eight entries a bucket: two cache lines
    starts = np.zeros((1 << bits) + 1, np.int64)
    if impl == "reference":
        unique = np.unique(hashes, axis=0) if len(hashes) else hashes
        bucket = (unique[:, 0] >> np.uint64(64 - bits)).astype(np.int64) if bits else np.zeros(len(unique), np.int64)
        starts[1:] = np.cumsum(np.bincount(bucket, minlength=1 << bits))
        return UrlSet(unique, starts)
    out, count = np.empty_like(hashes), np.zeros(1, np.int64)
    backend.native("url_list_sort")(np.ascontiguousarray(hashes), out, starts, count, impl)
    few_came_twice = count[0] > 0.9 * len(out)  # not worth a copy
    return UrlSet(out[: count[0]] if few_came_twice else out[: count[0]].copy(), starts)


class _Members:
    """A set of hashes asked as a set of texts; the reference's view of a UrlSet."""

    def __init__(self, entries: UrlSet) -> None:
        self._found = {(int(a), int(b)) for a, b in entries.hashes}

    def __contains__(self, text: object) -> bool:
        assert isinstance(text, bytes)
        low, high = hash128(columns.from_texts([text]), impl="reference")[0].tolist()
        return (low, high) in self._found


def _find_ref(origin: bytes, domains: UrlSet, urls: UrlSet, words: UrlSet, word_bytes: npt.NDArray[np.int64]) -> int:
    return url_list_ref.find(origin, _Members(domains), _Members(urls), _Members(words), word_bytes.tolist())
