"""Lists of domains and URLs: a document whose origin is on one of them goes. Nothing is listed by default."""

import gzip
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt
import pyarrow as pa
import pyarrow.compute as pc

from fasttrain.core.config import Settings
from fasttrain.core.errors import ConfigError
from fasttrain.text import columns
from fasttrain.text.hash128 import hash128

_HOST = r"^[A-Za-z][A-Za-z0-9+.-]*://(?:[^/?#@]*@)?(?P<host>[^/?#:@]+)"
_MAX_LABELS = 10
REASONS = ("url:domain", "url:url", "url:word")


class UrlConfig(Settings):
    """Domains and URLs that are not wanted."""

    enabled: bool = True
    """Whether lists are asked at all."""
    domains: tuple[str, ...] = ()
    """Domains; their subdomains go too."""
    domain_files: tuple[str, ...] = ()
    """Files of domains, one a line (plain or .gz, "#" begins a comment); relative to the recipe."""
    urls: tuple[str, ...] = ()
    """Whole URLs, exactly as they are written in `origin`."""
    url_files: tuple[str, ...] = ()
    """Files of URLs, one a line."""
    words: tuple[str, ...] = ()
    """A URL with one of these between two non-letters goes ("casino")."""


class HashSet:
    """A set of texts as sorted 128-bit hashes: 16 bytes an entry, looked up by the column."""

    def __init__(self, texts: list[str]) -> None:
        hashes = np.unique(hash128(columns.from_texts(texts)), axis=0)
        self._low, self._high = hashes[:, 0].copy(), hashes[:, 1].copy()

    def __len__(self) -> int:
        return len(self._low)

    def contains(self, array: Any) -> npt.NDArray[np.bool_]:
        """(N,) Which of N strings (a pa.Array without nulls) are members."""
        if len(self) == 0:
            return np.zeros(len(array), np.bool_)
        asked = hash128(columns.from_arrow(array))
        at = np.minimum(np.searchsorted(self._low, asked[:, 0]), len(self) - 1)
        return np.asarray((self._low[at] == asked[:, 0]) & (self._high[at] == asked[:, 1]), np.bool_)


class UrlLists:
    """The lists of a recipe, read once."""

    def __init__(self, config: UrlConfig, base: Path) -> None:
        domains = [*config.domains, *_lines(config.domain_files, base, "filter.url.domain_files")]
        self.domains = HashSet([d.lower().strip(".") for d in domains])
        self.urls = HashSet([*config.urls, *_lines(config.url_files, base, "filter.url.url_files")])
        escaped = "|".join(_escape(w.lower()) for w in config.words)
        self.words = rf"(^|[^a-z])({escaped})($|[^a-z])" if escaped else ""

    def find(self, origin: Any) -> npt.NDArray[np.int64]:
        """(N,) 1 + index into REASONS, or 0, for each origin (a pa.Array of strings)."""
        result = np.zeros(len(origin), np.int64)
        if self.words:
            hit = pc.match_substring_regex(pc.ascii_lower(origin), self.words)
            result[np.asarray(hit)] = 3
        if len(self.urls):
            result[self.urls.contains(origin)] = 2
        if len(self.domains):
            result[self._domain_hits(origin)] = 1
        return result

    def _domain_hits(self, origin: Any) -> npt.NDArray[np.bool_]:
        host = pc.fill_null(pc.struct_field(pc.extract_regex(origin, pattern=_HOST), "host"), "")
        host = pc.utf8_trim(pc.ascii_lower(host), characters=".")
        hits = np.zeros(len(origin), np.bool_)
        for _ in range(_MAX_LABELS):  # the host, then each domain above it
            hits |= self.domains.contains(host)
            shorter = pc.replace_substring_regex(host, pattern=r"^[^.]*\.?", replacement="", max_replacements=1)
            if pc.all(pc.equal(shorter, "")).as_py() in (True, None):
                break
            host = shorter
        return hits


def _lines(names: tuple[str, ...], base: Path, key: str) -> list[str]:
    result: list[str] = []
    for name in names:
        path = base / name
        try:
            data = path.read_bytes()
            text = (gzip.decompress(data) if path.suffix == ".gz" else data).decode()
        except (OSError, EOFError, UnicodeDecodeError) as error:
            raise ConfigError(f"{key}: {path} must be a readable text file, got {error}; correct the path") from None
        result += [line for raw in text.splitlines() if (line := raw.partition("#")[0].strip())]
    return result


def _escape(word: str) -> str:
    return "".join(c if c.isalnum() else f"\\{c}" for c in word)


def strings(array: Any) -> Any:
    """A column as one pa.Array of large strings."""
    flat = array.combine_chunks() if isinstance(array, pa.ChunkedArray) else array
    return flat.cast(pa.large_string())
