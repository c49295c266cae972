"""Damaged files through the corpus readers: real files of the demo lake and small made ones, cut, overwritten, spliced.

Usage: fuzz_readers.py SECONDS [SEED]   (tools/fuzz.sh runs it as target `readers`). A reader must not raise, must count
each record that it could not read, must hold no more memory than a bound, and must give the same of a file in pieces.
The short versions, with hypothesis, are tests/corpus/test_readers_property.py and test_cutting.py.
"""

import bz2
import gzip
import random
import re
import resource
import sys
import tempfile
import time
import traceback
from collections import Counter
from dataclasses import replace
from pathlib import Path
from typing import Any

from fasttrain.corpus import cutting, extraction
from fasttrain.corpus.config import CorpusConfig
from fasttrain.corpus.extraction import Extractor
from fasttrain.corpus.intake import Intake
from fasttrain.corpus.lake import LakeFile
from fasttrain.corpus.reading import read_file

sys.path.insert(0, str(Path(__file__).parents[1]))
from corpus.dumps import WIKITEXT, dump, page
from corpus.pdfs import pdf

LAKE = Path(__file__).parents[2] / "python/fasttrain/data/demo_lake"
CONFIG = CorpusConfig.load({"sources": [{"name": "s", "path": "."}], "max_document_bytes": 100_000})
MAIL = b"""From ann Tue Jul  1 10:52:37 2003
From: ann@example.org
Subject: =?utf-8?q?Gr=C3=BC=C3=9Fe?=
Date: Tue, 01 Jul 2003 10:52:37 +0200
MIME-Version: 1.0
Content-Type: multipart/mixed; boundary="b1"

--b1
Content-Type: multipart/alternative; boundary="b2"

--b2
Content-Type: text/plain; charset=iso-8859-1
Content-Transfer-Encoding: quoted-printable

Gr=FC=DFe.
-- =20
Ann
--b2
Content-Type: text/html; charset=utf-8
Content-Transfer-Encoding: base64

PHA+R3LDvMOfZS48L3A+
--b2--
--b1
Content-Type: application/pdf
Content-Disposition: attachment; filename*=utf-8''x%20y.pdf
Content-Transfer-Encoding: base64

JVBERg==
--b1--

From bob Tue Jul  1 11:52:37 2003
Subject: Re

>From here on.
"""
PAGES = [
    ["Running head 1", "A line with a hy-", "phen.", "1"],
    ["Running head 2", "Words.", "2"],
    ["Running head 3", "x", "3"],
]
KINDS = {".jsonl": "jsonl", ".warc": "warc", ".parquet": "parquet", ".txt": "text", ".py": "code", ".go": "code"}
WORDS = [
    b"\n",
    b"\0",
    b"{",
    b'"',
    b"\\u",
    b"\xff",
    b"WARC/1.0\r\n",
    b"Content-Length: 99999999999\r\n",
    b"\x1f\x8b",
    b"PAR1",
    b" 0 R ",
    b"<<",
    b"endobj\n",
    b"<page>",
    b"</page>",
    b"{{",
    b"[[",
    b"&lt;ref&gt;",
    b"BZh91AY&SY",
]
LIMIT_BYTES = 2 << 30


def kind_of(name: str) -> str | None:
    """The reader for a file of the lake."""
    return next((kind for suffix, kind in KINDS.items() if suffix in name), None)


def damaged(data: bytes, rng: random.Random) -> bytes:
    """One to six changes, most of them small."""
    out = bytearray(data)
    for _ in range(rng.randint(1, 6)):
        at = rng.randrange(len(out) + 1)
        end = min(len(out), at + rng.choice([1, 1, 2, 8, 100, 5000]))
        change = rng.randrange(6)
        if change == 0:
            del out[at:]
        elif change == 1:
            del out[at:end]
        elif change == 2:
            out[at:end] = rng.randbytes(end - at)
        elif change == 3:
            out[at:at] = rng.choice(WORDS) * rng.choice([1, 1, 50])
        elif change == 4:
            out[at:at] = out[at:end]
        elif at < len(out):
            out[at] ^= 1 << rng.randrange(8)
    return bytes(out)


def read(file: LakeFile, extractor: Extractor) -> tuple[list[tuple[str, bytes]], list[dict[str, Any]]]:
    """Read one file as the stage does; returns (origin, hash) of its documents, and rows of its quarantined records."""
    texts: list[tuple[str, bytes]] = []
    bad: list[dict[str, Any]] = []
    intake = Intake(
        CONFIG.sources[0],
        CONFIG,
        lambda batch: texts.extend(zip(batch["origin"].to_pylist(), batch["text_hash"].to_pylist())),
        lambda rows: bad.extend(rows.to_pylist()),
    )
    read_file(file, intake, extractor)
    intake.flush()
    if len(bad) != intake.counts["quarantined"]:
        raise AssertionError(f"{len(bad)} rows for {intake.counts['quarantined']} quarantined records")
    return texts, bad


def read_cut(file: LakeFile, piece_bytes: int, folder: Path, extractor: Extractor) -> Any:
    """The same of a file that is cut. Origins that repeat (URLs) are another test's, their numbers left out here."""
    texts, bad = [], []
    for piece in cutting.pieces(file, CONFIG.sources[0], piece_bytes, folder):
        of = read(replace(file, piece=piece), extractor)
        texts += of[0]
        bad += of[1]
        if piece.path:
            Path(piece.path).unlink()
    return texts, bad


def unnumbered(found: Any) -> Any:
    """What `read` gives, without the ` (2)` behind repeated origins."""
    return [(re.sub(r" \(\d+\)$", "", origin), digest) for origin, digest in found[0]], found[1]


def main(seconds: float, seed: int) -> int:
    """Damage and read until the time is over; the first finding is kept under build/fuzz and ends the run."""
    rng = random.Random(seed)
    files = [(p, k) for p in sorted(LAKE.rglob("*")) if p.is_file() and (k := kind_of(p.name)) is not None]
    by_kind = {kind: [p for p, k in files if k == kind] for kind in sorted({k for _, k in files})}
    runs, end = 0, time.monotonic() + seconds
    bad: Counter[str] = Counter()
    with tempfile.TemporaryDirectory() as folder, Extractor(30.0, 0.01) as extractor:
        mail = Path(folder, "seed.mbox")  # the lake holds none
        mail.write_bytes(MAIL * 3)
        by_kind["mail"] = [mail]
        if not extraction.missing("wikitext"):
            plain = dump([page(7, WIKITEXT), page(8, "Two.", ns=1), page(9, WIKITEXT[:200])])
            by_kind["wikitext"] = [Path(folder, f"seed-pages-articles.xml{s}") for s in ("", ".bz2", ".gz")]
            for seed_file, pack in zip(by_kind["wikitext"], (bytes, bz2.compress, gzip.compress)):
                seed_file.write_bytes(pack(plain))
        packed = Path(folder, "packed.jsonl.bz2")
        packed.write_bytes(bz2.compress(b'{"text": "some words"}\n' * 9000, 1) * 2)
        by_kind["jsonl"].append(packed)
        if not extraction.missing("pdf"):
            by_kind["pdf"] = [Path(folder, "seed.pdf"), Path(folder, "packed.pdf")]
            by_kind["pdf"][0].write_bytes(pdf(PAGES, title="A title"))
            by_kind["pdf"][1].write_bytes(pdf(PAGES, pack=True))
        while time.monotonic() < end:
            kind = rng.choice(list(by_kind))
            original = rng.choice(by_kind[kind])
            path = Path(folder, f"damaged-{original.name}")
            path.write_bytes(damaged(original.read_bytes(), rng))
            file = LakeFile(path, path.name, kind, path.stat().st_size, "")
            try:
                whole = read(file, extractor)
                bad.update(row["reason"] for row in whole[1])
                if kind in cutting.KINDS and file.size and rng.random() < 0.5:
                    cut = read_cut(file, rng.choice([1, 100, 5000]), Path(folder), extractor)
                    if unnumbered(cut) != unnumbered(whole):
                        raise AssertionError("cut in pieces the file gives something else")
                peak = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss * 1024
                if peak > LIMIT_BYTES:
                    raise AssertionError(f"peak memory is {peak} bytes, the bound {LIMIT_BYTES}")
            except Exception:
                kept = Path(__file__).parents[2] / "build/fuzz" / f"readers-{seed}-{runs}-{original.name}"
                kept.parent.mkdir(parents=True, exist_ok=True)
                kept.write_bytes(path.read_bytes())
                traceback.print_exc()
                print(f"fuzz: readers FOUND something in run {runs}; the file is {kept}", file=sys.stderr)
                return 1
            path.unlink()
            runs += 1
    lost = bad["quarantine:extraction_crash"], bad["quarantine:extraction_timeout"]
    print(
        f"fuzz: readers {seconds:.0f} s, {runs} files of {len(by_kind)} kinds, {bad.total()} records quarantined "
        f"({lost[0]} for a crash of the extractor, {lost[1]} for its time), no finding"
    )
    return 0


if __name__ == "__main__":
    sys.exit(main(float(sys.argv[1]), int(sys.argv[2]) if len(sys.argv) > 2 else 20261125))
