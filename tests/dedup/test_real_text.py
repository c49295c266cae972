"""Facts of the fetched lake (tools/fetch_lake.py): what must go, what must stay. FASTTRAIN_LAKE names its folder."""

import io
import json
import os
from collections import Counter
from pathlib import Path

import numpy as np
import pytest
import zstandard

from dedup.documents import documents_of, finished, ledger_of
from fasttrain.comm.group import SoloGroup
from fasttrain.dedup import stage
from fasttrain.dedup.config import DedupConfig, detection
from fasttrain.dedup.exchange import raw
from fasttrain.formats.stage import run_stage

LAKE = Path(os.environ.get("FASTTRAIN_LAKE", ""))
pytestmark = [
    pytest.mark.slow,
    pytest.mark.timeout(900),
    pytest.mark.skipif(not (LAKE / "manifest.json").is_file(), reason="FASTTRAIN_LAKE names no fetched lake"),
]


def files(folder, *suffixes):
    """(path below the folder, text) of every file; os.walk does not follow the links of Debian's source trees."""
    for where, folders, names in os.walk(LAKE / folder):
        folders.sort()
        for name in sorted(names):
            path = Path(where) / name
            if path.suffix in suffixes and path.is_file() and not path.is_symlink():
                yield str(path.relative_to(LAKE / folder)), path.read_bytes().decode("utf-8", "replace")


def jsonl(path):
    with zstandard.open(LAKE / path, "rb") as raw:
        yield from map(json.loads, io.TextIOWrapper(raw, encoding="utf-8"))


def dedup(tmp_path, rows, name="out", /, **settings):
    source = tmp_path / "in"
    if not source.exists():
        finished(source, rows, parts=4)
    config = DedupConfig.load(settings)
    m = run_stage(
        "dedup",
        folder=tmp_path / name,
        config=config,
        inputs=[source],
        world=SoloGroup(),
        body=lambda s: stage.run(s, config),
    )
    gone = {r["origin"]: r for r in ledger_of(tmp_path / name) if r["decision"] == "dropped"}
    return m, gone


def test_shakespeare_loses_seven_copies_and_no_edition(tmp_path):
    rows = [("books", p, t) for p, t in files("books/shakespeare", ".txt")]
    assert len(rows) == 91
    m, gone = dedup(tmp_path, rows)
    print(m.report, sorted((o, r["reason"], r["score"]) for o, r in gone.items()))
    assert m.report.dropped["exact"] == 7
    for origin, row in gone.items():  # modern spelling never falls to the First Folio's, nor the reverse
        survivor = json.loads(row["evidence"])["survivor_origin"]
        assert origin.endswith("_gut_f.txt") == survivor.endswith("_gut_f.txt"), (origin, survivor)
    editions = [p for _, p, _ in rows if p.endswith("_gut_f.txt")]
    assert len(editions) >= 30
    assert not set(editions) & set(gone)


def test_go_loses_311_exact_copies(tmp_path):
    rows = [("go", p, t) for p, t in files("code/go", ".go")]
    m, gone = dedup(tmp_path, rows, fuzzy=False)
    print(len(rows), m.report)
    assert len(gone) == 311


@pytest.mark.parametrize(("source", "copies"), [("gnome-help", 950), ("encyclopedia", 17)])
def test_exact_copies_are_those_of_a_set_of_strings(tmp_path, source, copies):
    """The number for gnome-help hangs on how tags are stripped from its 12,306 Mallard pages: a cruder stripping, which
    keeps the blank space that the tags leave, made 710 copies; that of tools/fetch_lake.py makes 950.
    """
    rows = [
        (source, f"{path.name}#{i}", record["text"])
        for path in sorted((LAKE / source).glob("*.jsonl.zst"))
        for i, record in enumerate(jsonl(path.relative_to(LAKE)))
    ]
    m, gone = dedup(tmp_path, rows, fuzzy=False)
    print(source, len(rows), m.report)
    assert len(gone) == len(rows) - len({text for _, _, text in rows}) == copies


def test_two_editions_of_the_factbook_both_stay(tmp_path):
    rows = [
        (edition, f"{edition}#{i}", record["text"])
        for edition in ("2016", "2026")
        for i, record in enumerate(jsonl(f"factbook/{edition}/factbook.jsonl.zst"))
    ]
    m, gone = dedup(tmp_path, rows)
    print(len(rows), m.report, m.extra["pairs"], m.extra["jaccard_of_proposed"])
    for origin, row in gone.items():
        assert json.loads(row["evidence"])["survivor_source"] == origin[:4], (origin, row["evidence"])
    kept = Counter(d["source"] for d in documents_of(tmp_path / "out"))
    assert kept["2016"] >= 255
    assert kept["2026"] >= 250


def test_django_pairs_go_as_the_banding_formula_says(tmp_path):
    """Equal paths of Django 4.2 and 5.2: proposed at each J as 1 - (1 - J^r)^b, within four binomial deviations."""
    rows = []
    for version in ("4.2", "5.2"):
        for kind, suffix in (("docs", ".txt"), ("code", ".py")):
            rows += [(version, f"{kind}/{p}", t) for p, t in files(f"{kind}/django-{version}", suffix) if t.strip()]
    m, _ = dedup(tmp_path, rows, exact=False, threshold=0.5, min_words=50)
    folder, number = tmp_path / "out", {(v, p): i for i, (v, p, _) in enumerate(rows)}
    pairs = np.concatenate([raw(p, np.uint64, (-1, 5))[:, 3:] for p in sorted((folder / "merge").glob("*.pairs"))])
    proposed = {tuple(p) for p in np.sort(pairs, axis=1).tolist()}
    truth = jaccard_of_paths(rows, number)
    config, table = DedupConfig(), []
    for low, high in ((0.3, 0.5), (0.5, 0.6), (0.6, 0.7), (0.7, 0.8), (0.8, 0.9), (0.9, 1.0), (1.0, 1.1)):
        here = [pair for pair, j in truth.items() if low <= j < high]
        p = np.array([detection(truth[pair], config) for pair in here])
        found = sum(pair in proposed for pair in here)
        deviation = float(np.sqrt((p * (1 - p)).sum()))
        table.append((low, len(here), found, round(float(p.sum()), 1), round(deviation, 1)))
    print(len(rows), m.report, m.extra["pairs"], m.extra["buckets"], *table, sep="\n")
    assert sum(count for _, count, *_ in table) >= 1000
    # In an oversized bucket a document meets the best few only: those pairs may be missed.
    assert m.extra["buckets"]["documents_in_oversized_buckets"] < 0.01 * 14 * len(rows)
    for low, count, found, expected, deviation in table:
        assert abs(found - expected) <= 4 * deviation + 1, (low, count, found, expected)


def jaccard_of_paths(rows, number):
    """Exact Jaccard of the two versions of each path with at least 50 words, by Python sets of hashed shingles."""
    from fasttrain.text import columns
    from fasttrain.text.shingle import shingle

    grams, offsets = shingle(columns.from_texts([t for _, _, t in rows]))
    sets, truth = {}, {}
    for (version, path), i in number.items():
        sets[version, path] = (
            set(grams[offsets[i] : offsets[i + 1]].tolist()) if offsets[i + 1] - offsets[i] >= 46 else None
        )
    for (version, path), one in sets.items():
        two = sets.get(("5.2", path)) if version == "4.2" else None
        if one and two:
            truth[number["4.2", path], number["5.2", path]] = len(one & two) / len(one | two)
    return truth
