"""Recall by the form of a leak, false flags on hard negatives: the figures that the stage is built for."""

import io
import json
import os
from collections import Counter
from pathlib import Path

import pytest
import zstandard

from decontam import leaks
from decontam.stage_run import run, spans_of
from fasttrain.decontam.benchmarks import DecontamConfig
from fasttrain.decontam.registry import BenchmarkConfig
from fasttrain.formats.package_path import DATA

LAKE = Path(os.environ.get("FASTTRAIN_LAKE", ""))


def measure(tmp_path, made, note):
    """Recall by form (an item counts where a document of it names it) and the share of negatives that were flagged."""
    (tmp_path / "b.jsonl").write_text("".join(json.dumps({"q": q}) + "\n" for q in made.items))
    benchmark = BenchmarkConfig(name="b", path="b.jsonl", fields={"q": "question"})
    done, rows = run(tmp_path, DecontamConfig(benchmarks=(benchmark,), action="flag"), made.texts)
    named = {(s["origin"], s["row"]) for s in spans_of(tmp_path, done)}
    found, of, false = Counter(), Counter(), []
    for k, (form, item) in enumerate(zip(made.form, made.item, strict=True)):
        of[form] += 1
        if form:
            found[form] += (f"o{k}", item) in named
        elif rows[k]["decision"] != "kept":
            false.append(json.loads(rows[k]["evidence"])["span"])
    recall = {form: found[form] / of[form] for form in leaks.FORMS}
    print(note, recall, f"{len(false)} of {of['']} negatives flagged")
    return recall, false, len(false) / of[""]


def words_of(*paths):
    return [w for path in paths for w in zstandard.decompress(path.read_bytes(), 1 << 24).decode().split()]


def test_recall_and_false_flags(tmp_path):
    books = DATA / "demo_lake" / "books"
    made = leaks.make(
        words_of(books / "austen-northanger-abbey.txt.zst"),
        words_of(*sorted(books.glob("moby-dick-0*.zst"))),
        words_of(books / "shakespeare-macbeth.txt.zst"),
        count=120,
        seed=20261125,
    )
    recall, false, rate = measure(tmp_path, made, "demo lake:")
    assert all(recall[form] >= least for form, least in leaks.LEAST.items()), recall
    assert rate < 0.01, false[:5]


def jsonl(path, field="text"):
    with zstandard.open(LAKE / path, "rb") as raw:
        return [w for line in io.TextIOWrapper(raw, encoding="utf-8") for w in json.loads(line)[field].split()]


@pytest.mark.slow
@pytest.mark.timeout(900)
@pytest.mark.skipif(not (LAKE / "manifest.json").is_file(), reason="FASTTRAIN_LAKE names no fetched lake")
@pytest.mark.parametrize("seed", [1, 2, 3])
def test_recall_and_false_flags_on_the_fetched_lake(tmp_path, seed):
    made = leaks.make(
        jsonl("encyclopedia/en.jsonl.zst"),
        jsonl("recipes/en.jsonl.zst"),
        [w for p in sorted((LAKE / "speeches").glob("*.txt")) for w in p.read_text(errors="replace").split()],
        count=1000,
        seed=seed,
    )
    recall, false, rate = measure(tmp_path, made, f"fetched lake, seed {seed}:")
    assert all(recall[form] >= least for form, least in leaks.LEAST.items()), recall
    assert rate < 0.01, false[:5]
