"""Which files a source has, in an order that no rank, file system or run changes; and how they are cut into parts.

A kind that needs an extra which is not installed is an error when it was asked for: by `kind`, or by a path or an
`include` that names such files. Where `auto` comes across it, the files are passed over and counted.
"""

import os
import re
from collections import Counter
from collections.abc import Iterator
from dataclasses import dataclass
from fnmatch import fnmatchcase
from pathlib import Path
from typing import Any

from fasttrain.core.errors import ConfigError
from fasttrain.corpus import extraction, languages, licences, remote, streams
from fasttrain.corpus.config import CorpusConfig, SourceConfig
from fasttrain.corpus.remote import RemotePath
from fasttrain.formats import atomic, package_path

_KIND_OF = {
    ".warc": "warc", ".wet": "warc", ".jsonl": "jsonl", ".ndjson": "jsonl", ".json": "jsonl", ".parquet": "parquet",
    ".txt": "text", ".text": "text", ".md": "text", ".markdown": "text", ".rst": "text", ".html": "text",
    ".htm": "text", ".mbox": "mail", ".eml": "mail", ".pdf": "pdf",
} | dict.fromkeys(languages.EXTENSIONS, "code")  # fmt: skip


_DUMP = re.compile(r"(?i)-pages-(articles|meta-current|meta-history)[^/]*\.xml(-p\d+p\d+)?$")
_DUMP_INDEX = re.compile(r"(?i)-multistream-index[^/]*\.txt")  # where pages begin in a dump: no prose


@dataclass(frozen=True)
class Piece:
    """Neighbouring records of a large file (cutting.py)."""

    records_before: int  # records of the file that come before it
    position: int  # decoded bytes of the file that do
    path: str = ""  # of a plain file that holds it, decoded; "" when it lies in the file itself
    start: int = 0  # where in that file
    end: int = 0
    damage: tuple[str, str, int] | None = None  # what keeps from reading on behind it: kind, detail, position
    groups: tuple[int, int] = (0, 0)  # Parquet: its row groups in the file, or the one that it is a piece of
    rows: int = 0  # Parquet, of a piece of a row group: how many
    lost: tuple[int, int, str] | None = None  # Parquet: it cannot be read: how many rows, of which group, why
    number: int = 0  # in the file
    is_last: bool = False

    def chunks(self, file: Path | RemotePath) -> Iterator[bytes]:
        """Its bytes; `file` is the whole."""
        part = streams.Section(self.start, self.end, self.position, self.damage)
        return streams.section(Path(self.path) if self.path else file, part)


@dataclass(frozen=True)
class LakeFile:
    """One file of a source."""

    path: Path | RemotePath
    name: str  # the source's path as written, and the file's below it: no two entries share one
    kind: str  # warc, jsonl, parquet, text, code, mail, pdf or wikitext
    size: int  # bytes on disk
    version: str  # changes when the content does: time of modification, or SHA-256 for files of the package
    licence: str = ""  # of the nearest licence file above it (source trees)
    piece: "Piece | None" = None  # only this of it

    def chunks(self) -> Iterator[bytes]:
        """Its decoded bytes, or those of its piece. Raises streams.Damaged after what decodes."""
        return streams.chunks(self.path) if self.piece is None else self.piece.chunks(self.path)

    @property
    def records_before(self) -> int:
        """Records of the file that come before what is read of it."""
        return 0 if self.piece is None else self.piece.records_before

    @property
    def position(self) -> int:
        """Decoded bytes that come before."""
        return 0 if self.piece is None else self.piece.position

    @property
    def ends_here(self) -> bool:
        """Whether its end is the file's end."""
        return self.piece is None or self.piece.is_last

    @property
    def key(self) -> list[Any]:
        """Plain data that stands for the file's content."""
        return [self.name, self.kind, self.size, self.version, self.licence]

    @property
    def weight(self) -> int:
        """Bytes it is likely to decode to."""
        return self.size * 4 if self.name.endswith(streams.SUFFIXES) else self.size


@dataclass(frozen=True)
class Part:
    """Files that one call reads, all of one source."""

    source: int  # number of the entry in the settings
    files: tuple[LakeFile, ...]
    passed_over: tuple[
        tuple[str, int], ...
    ] = ()  # (kind, files) of the whole entry that no extra reads; its first part


@dataclass
class Found:
    """What an entry of the settings has."""

    files: list[LakeFile]
    passed_over: Counter[str]  # files that an extra would read, by kind


def extension(name: str) -> str:
    """Lower-case extension below a compression suffix: `.warc` of `a.warc.gz`."""
    return os.path.splitext(_uncompressed(name))[1].lower()


def kind_of(name: str) -> str:
    """Kind of a file by its name; "" for one that `auto` does not know."""
    if _DUMP.search(_uncompressed(name)):
        return "wikitext"
    return "" if _DUMP_INDEX.search(name) else _KIND_OF.get(extension(name), "")


def _uncompressed(name: str) -> str:
    for suffix in streams.SUFFIXES:
        name = name.removesuffix(suffix)
    return name


def find(source: SourceConfig, base: Path, where: str) -> Found:
    """Every file of a source: its paths in their order, each by name.

    Raises: ConfigError: a path has no file; files that were asked for need an extra that is not installed.
    """
    if source.kind != "auto" and (extra := extraction.missing(source.kind)):
        raise _needs(extra, f"{where}.kind: source {source.name!r}: {source.kind!r}")
    first: dict[str, LakeFile] = {}
    unread: dict[str, str] = {}  # kind by name
    for path in source.paths:
        files, passed_over = _files_of(source, path, base, where)
        for file in files:
            first.setdefault(file.name, file)
        unread.update(passed_over)
    return Found(list(first.values()), Counter(unread.values()))


def _files_of(source: SourceConfig, path: str, base: Path, where: str) -> tuple[list[LakeFile], dict[str, str]]:
    result = []
    passed_over: dict[str, str] = {}
    folder_as_written, matching = _local(path, base) if not remote.is_uri(path) else _remote(path, where)
    found = [(p, n) for p, n in sorted(matching, key=lambda pn: pn[1]) if _is_wanted(source, n)]
    folders: dict[str, list[Path | RemotePath]] = {}
    for file, name in found:
        if licences.is_licence_file(_uncompressed(name.rsplit("/", 1)[-1])):
            folders.setdefault(name.rpartition("/")[0], []).append(file)
    stated = {folder: licences.of_folder(paths) for folder, paths in folders.items()}
    for file, name in found:
        kind = kind_of(name) if source.kind == "auto" else source.kind
        if not kind or (source.kind == "code" and extension(name) not in languages.EXTENSIONS and not source.include):
            continue
        if source.kind == "auto" and (extra := extraction.missing(kind)):
            for asked in (path, *source.include):
                if kind_of(asked.partition("?")[0] if remote.is_uri(asked) else asked) == kind:
                    raise _needs(extra, f"{where}: source {source.name!r}: {asked!r} names files that")
            passed_over[folder_as_written + name] = kind
            continue
        size, version = _state(file, is_in_package=package_path.is_in_package(path))
        licence = _nearest(stated, name) if kind == "code" else ""
        result.append(LakeFile(file, folder_as_written + name, kind, size, version, licence))
    if not result and passed_over:
        kinds = ", ".join(sorted(set(passed_over.values())))
        extras = ", ".join(sorted({extraction.missing(kind) for kind in passed_over.values()}))
        raise _needs(extras, f"{where}.path: source {source.name!r}: {path!r} holds only files ({kinds}) that")
    if not result:
        if remote.is_uri(path):
            what = "holds no file of this kind" if found else "matches no file"
            raise ConfigError(f"{where}.path: source {source.name!r}: {path!r} {what}; correct the path or the kind")
        root, pattern = package_path.split(path, base)
        what = "holds no file of this kind" if (root / pattern).exists() else "matches no file"
        raise ConfigError(
            f"{where}.path: source {source.name!r}: {path!r} {what} (looked below {root}); "
            "correct the path, or fetch the lake with tools/fetch_lake.py"
        )
    return result, passed_over


def _needs(extra: str, what: str) -> ConfigError:
    return ConfigError(f"{what} must be read with an extra that is not installed; pip install {extra!r}")


def plan(config: CorpusConfig, base: Path) -> list[Part]:
    """Cut the lake into parts of about `part_bytes`: neighbours in name order together, a large file alone."""
    parts: list[Part] = []
    for number, source in enumerate(config.sources):
        group: list[LakeFile] = []
        weight = 0
        found = find(source, base, f"corpus.sources.{number}")
        passed_over = tuple(sorted(found.passed_over.items()))
        for file in found.files:
            if group and weight + file.weight > config.part_bytes:
                parts.append(Part(number, tuple(group), passed_over))
                group, weight, passed_over = [], 0, ()
            group.append(file)
            weight += file.weight
        parts.append(Part(number, tuple(group), passed_over))
    return parts


def _local(path: str, base: Path) -> tuple[str, Iterator[tuple[Path | RemotePath, str]]]:
    root, pattern = package_path.split(path, base)
    return _folder(root, pattern), _matching(root, pattern)


def _remote(path: str, where: str) -> tuple[str, Iterator[tuple[Path | RemotePath, str]]]:
    folder, listed = remote.listing(path, where)
    glob = remote.split(path)[1]
    regex = re.compile(_regex(glob) + r"(/.*)?") if glob else None
    return folder, ((file, name) for file, name in listed if regex is None or regex.fullmatch(name))


def _state(file: Path | RemotePath, *, is_in_package: bool) -> tuple[int, str]:
    """(bytes, version) of a file."""
    if isinstance(file, RemotePath):
        return file.size, str(file.mtime_ns)
    try:
        status = file.stat()
        return status.st_size, atomic.sha256(file) if is_in_package else str(status.st_mtime_ns)
    except OSError:  # the reader will say so in the ledger
        return -1, "unreadable"


def _is_wanted(source: SourceConfig, name: str) -> bool:
    included = not source.include or any(fnmatchcase(name, glob) for glob in source.include)
    return included and not any(fnmatchcase(name, glob) for glob in source.exclude)


def _nearest(stated: dict[str, str], name: str) -> str:
    folder = name
    while folder:
        folder = folder.rpartition("/")[0]
        if licence := stated.get(folder):
            return licence
    return ""


def _matching(root: Path, pattern: str) -> Iterator[tuple[Path | RemotePath, str]]:
    """(path, name) of the files of a folder, file or glob. Links below it are not followed: trees link their twins."""
    path = root / pattern
    if path.is_file():
        yield path, path.name
    elif path.is_dir():
        yield from _walk(path)
    else:
        parts = Path(pattern).parts
        fixed = _num_fixed(parts)
        if fixed == len(parts):
            return
        regex = re.compile(_regex("/".join(parts[fixed:])) + r"(/.*)?")
        for file, name in _walk(root.joinpath(*parts[:fixed])):
            if regex.fullmatch(name):
                yield file, name


def _folder(root: Path, pattern: str) -> str:
    """The folder that names are relative to, as the settings write it, with a slash behind; "" for the root."""
    parts = Path(pattern).parts
    if (root / pattern).is_file():
        parts = parts[:-1]
    elif not (root / pattern).is_dir():
        parts = parts[: _num_fixed(parts)]
    return f"{Path(*parts).as_posix()}/" if parts else ""


def _num_fixed(parts: tuple[str, ...]) -> int:
    """How many steps of a glob come before its first wildcard."""
    return next((i for i, part in enumerate(parts) if re.search(r"[*?\[]", part)), len(parts))


def _walk(folder: Path) -> Iterator[tuple[Path, str]]:
    for here, folders, names in os.walk(folder):
        folders.sort()
        below = Path(here).relative_to(folder).as_posix()
        for name in names:
            path = Path(here, name)
            if not path.is_symlink():
                yield path, name if below == "." else f"{below}/{name}"


def _regex(glob: str) -> str:
    """A glob as a regular expression: `**` crosses folders, `*` and `?` do not."""
    out, i = "", 0
    while i < len(glob):
        if glob.startswith("**/", i):
            out, i = out + "(?:.*/)?", i + 3
        elif glob.startswith("**", i):
            out, i = out + ".*", i + 2
        elif glob[i] == "*":
            out, i = out + "[^/]*", i + 1
        elif glob[i] == "?":
            out, i = out + "[^/]", i + 1
        elif glob[i] == "[" and (end := glob.find("]", i + 2)) > 0:
            chars = glob[i + 1 : end]
            out, i = out + "[" + ("^" + chars[1:] if chars[0] == "!" else chars).replace("\\", "\\\\") + "]", end + 1
        else:
            out, i = out + re.escape(glob[i]), i + 1
    return out
