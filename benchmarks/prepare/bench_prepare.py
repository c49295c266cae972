"""Workload: English prose of a lake as JSONL.zst (workload.py), from the files to token shards: language, Gopher, C4
and FineWeb rules, personal data, exact and MinHash duplicates, benchmark items, a tokenizer, tokens. One thread.
The lake is FASTTRAIN_LAKE, a folder `lake` that tools/fetch_lake.py filled, else the one in the package. Rival:
datatrove 0.10.1 on the first FEW bytes, in the same process.

Answers first, on what is planted: copies and documents with benchmark items are gone from both outputs, an address is
in neither, and of the other documents both keep the same but for a few where definitions differ (DEFINITIONS.md).
"""

import itertools
import json
import os
import random
from pathlib import Path

import pytest

from fasttrain.cli import recipe as recipes
from fasttrain.comm.group import SoloGroup
from fasttrain.formats.document import iter_documents
from fasttrain.formats.run_folder import RunFolder
from fasttrain.prepare import journey
from prepare import workload

FEW, MANY = 500_000, 40_000_000  # bytes of text of the rival's turn and of ours
ITEMS, COPIES = 40, 10
DOMAIN = "@fasttrain-mail.org"
RECIPE = """
name = "bench"
[[corpus.sources]]
name = "text"
path = "{source}"
licence = "CC0-1.0"
[filter]
default_profile = "prose"
[filter.language]
allow = ["en"]
[filter.c4]
terminal_punct = false
curly_bracket = false
[[decontam.benchmarks]]
name = "items"
path = "{items}"
fields = {{ passage = "passage" }}
[decontam]
passage_alone = true
[tokenizer]
vocab_size = 8192
max_bytes_per_source = 8000000
[batch]
seq_len = 512
global_batch = 8
[model]
num_layers = 1
dim = 64
num_heads = 1
[optim]
lr = 1e-3
[train]
num_steps = 1
"""


@pytest.fixture(scope="module")
def texts(tmp_path_factory):
    """The lake's English prose."""
    folder = RunFolder(tmp_path_factory.mktemp("lake"))
    lake = os.environ.get("FASTTRAIN_LAKE")
    if lake and Path(lake).name != "lake":
        raise ValueError(f"FASTTRAIN_LAKE: must be a folder named lake, as the recipe's paths are, got {lake}")
    recipe, base = recipes.read("lake" if lake else "demo")
    base = Path(lake).parent if lake else base
    journey.run(folder, recipe.prepare, base=base, total_tokens=1, world=SoloGroup(), only="corpus")
    return workload.english(folder.stage("corpus"))


def planted(texts):
    """(documents with an address each, documents that hold an item each, copies of the first documents, items)."""
    rng = random.Random(5)
    words = sorted({word for text in texts[:500] for word in workload.WORD.findall(text)})
    items = [" ".join(rng.choices(words, k=60)) for _ in range(ITEMS)]
    some, size = [], 0
    for text in texts[ITEMS:]:
        if size > FEW:
            break
        some.append(f"{text}\nWrite to reader{len(some)}{DOMAIN} for more of this.")
        size += len(text)
    bad = [f"{text}\n{item}" for text, item in zip(texts, items, strict=False)]
    return some, bad, some[:COPIES], items


def write_items(folder, items):
    """A benchmark's file."""
    path = folder / "items.jsonl"
    path.write_text("".join(json.dumps({"passage": item}) + "\n" for item in items))
    return path


def ours(source, items, out):
    """The run folder that `fasttrain prepare` leaves."""
    out.mkdir()
    (out / "bench.toml").write_text(RECIPE.format(source=source, items=items))
    recipe, base = recipes.read(str(out / "bench.toml"))
    folder = RunFolder(out / "run")
    journey.run(folder, recipe.prepare, base=base, total_tokens=4096, world=SoloGroup())
    return folder


def kept(folder):
    """Texts that are left before the probe set is taken out."""
    parts = workload.parts(folder.stage("decontam"))
    return [text for part in parts for batch in iter_documents(part, ["text"]) for text in batch["text"].to_pylist()]


def same_answers(mine, theirs, some, items):
    """(documents of `some` that ours keeps, that the rival keeps, share judged alike); what is planted is gone."""
    for out in (mine, theirs):
        joined = "\n".join(out)
        assert DOMAIN not in joined
        assert not [item for item in items if item in joined]
        assert all(joined.count(text[:200]) <= 1 for text in some[:COPIES]), "a copy stayed"
    ours_has, theirs_has = ({text[:200] for text in out} for out in (mine, theirs))
    heads = {text[:200] for text in some}
    alike = sum((head in ours_has) == (head in theirs_has) for head in heads) / len(heads)
    return len(heads & ours_has), len(heads & theirs_has), alike


@pytest.mark.rival("datatrove")
def bench_gate_prepare(gate, note, texts, tmp_path):
    rival = pytest.importorskip("prepare.datatrove_pipeline")
    *few, wanted = planted(texts)
    items = write_items(tmp_path, wanted)
    documents = list(itertools.chain(*few))
    few_bytes = workload.write(tmp_path / "few", iter(documents), workload.size(documents))
    many_bytes = workload.write(tmp_path / "many", workload.copies(texts), MANY)
    folder = ours(tmp_path / "few", items, tmp_path / "first")
    rival.run(tmp_path / "few", tmp_path / "theirs", wanted, folder.tokenizer)
    mine, theirs, alike = same_answers(kept(folder), rival.texts(tmp_path / "theirs"), few[0], wanted)
    note("ours_kept", mine)
    note("rival_kept", theirs)
    note("judged_alike", alike)
    assert alike >= 0.8
    number = itertools.count()

    def out():
        turn = next(number)
        return (tmp_path / f"theirs{turn}",), (tmp_path / f"ours{turn}",)

    gate(
        lambda path: rival.run(tmp_path / "few", path, wanted, folder.tokenizer),
        lambda path: ours(tmp_path / "many", items, path),
        at_least=50,
        runs=3,
        setup=out,
        work=many_bytes / few_bytes,
    )
    note("ours_MB", many_bytes / 1e6)
    note("rival_MB", few_bytes / 1e6)
