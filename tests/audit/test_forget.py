"""A removal request on a prepared run: what it finds, what it takes out, what it leaves as it was."""

import gzip
import json
import random
import shutil

import pyarrow.parquet as pq
import pytest

from fasttrain.audit import forget, forget_report, ledger, rebuilt
from fasttrain.audit.step import open_order
from fasttrain.cli import audit_forget
from fasttrain.cli.options import open_run
from fasttrain.cli.prepare import run_prepare
from fasttrain.core.errors import ConfigError, FormatError
from fasttrain.corpus import removals
from fasttrain.formats import atomic, manifest
from fasttrain.formats.run_folder import RunFolder
from fasttrain.formats.shards import open_shards

RECIPE = """
name = "small"
[corpus]
part_bytes = 3000
[[corpus.sources]]
name = "web"
path = "lake/web-*.jsonl"
url_field = "url"
licence = "CC0-1.0"
[[corpus.sources]]
name = "books"
path = "lake/books"
licence = "CC0-1.0"
[filter]
default_profile = "curated"
[split]
probe_fraction = 0.05
[tokenizer]
vocab_size = 300
[batch]
seq_len = 32
global_batch = 2
[model]
num_layers = 1
dim = 32
num_heads = 2
ffn_dim = 64
max_seq_len = 32
[optim]
lr = 1e-3
warmup_steps = 1
[train]
num_steps = 200
"""
ADJECTIVES = ("blue", "cold", "dark", "dry", "far", "fast", "good", "high", "late", "long", "low", "new", "old", "red")
NOUNS = ("bird", "boat", "book", "door", "field", "fire", "gate", "hill", "house", "lake", "road", "stone")
WORDS = [f"{a}{b}" for a in ADJECTIVES for b in NOUNS]
JANE = "https://a.example/jane"


def prose(seed, sentences=12):
    draw = random.Random(seed)
    return " ".join(" ".join(draw.choices(WORDS, k=9)).capitalize() + "." for _ in range(sentences))


TEXT = prose("jane")
NEAR = f"Perhaps {TEXT[60:]} And that is all."
LAKE = {
    "web-1.jsonl": {JANE: TEXT, "https://a.example/1": prose(1), "https://a.example/2": prose(2)},
    "web-2.jsonl": {"https://b.example/1": prose(3), "https://b.example/2": prose(4), "https://b.example/3": prose(5)},
    "web-3.jsonl": {"https://c.example/near": NEAR, "https://c.example/1": prose(6)},
    "web-4.jsonl": {"https://d.example/same": TEXT, "https://d.example/1": prose(7)},
    "web-5.jsonl": {
        "https://e.example/quotes": f"{prose(8)}\n\n{TEXT}\n\n{prose(9)}",
        "https://e.example/1": prose(10),
    },
}
COPIES = {"https://c.example/near", "https://d.example/same", "https://e.example/quotes"}


@pytest.fixture(scope="module")
def original(tmp_path_factory):
    """A lake, its recipe and a run that is prepared, "trained" and has checkpoints; tests work on copies."""
    base = tmp_path_factory.mktemp("forget")
    make_lake(base)
    run = prepare(base)
    order = open_order(run)
    lines = [{"event": "start", "order": order.fingerprint}]
    lines += [{"step": n, "loss": 1.0, "tokens": 64 * n, "batch": n + 2} for n in range(1, 151)]  # 2 left out before
    run.metrics.write_text("".join(json.dumps(line) + "\n" for line in lines))
    for name in (1, 60, 150):
        (run.checkpoints / f"step-{name:08d}").mkdir(parents=True)
    return base


@pytest.fixture
def base(original, tmp_path):
    return shutil.copytree(original, tmp_path / "base")


@pytest.fixture
def read_only(tmp_path):
    """A lake that is only read: the corpus stage is what a removal list acts on."""
    make_lake(tmp_path)
    prepare(tmp_path, only="corpus")
    return tmp_path


def make_lake(tmp_path):
    (tmp_path / "lake/books").mkdir(parents=True)
    for name, records in LAKE.items():
        lines = [json.dumps({"url": url, "text": text}) for url, text in records.items()]
        (tmp_path / "lake" / name).write_text("\n".join(lines) + "\n")
    for k in range(8):
        (tmp_path / f"lake/books/{k}.txt").write_text(prose(f"book {k}", 20))
    (tmp_path / "recipe.toml").write_text(RECIPE)


def prepare(base, out="run", *, fresh=False, only=None):
    options = {"assignments": None, "show": False, "verbose": False}
    session = open_run(str(base / "recipe.toml"), out=base / out, fresh=fresh, **options)
    run_prepare(session, only=only)
    return session.folder


def ask(run, **options):
    plain = {**dict.fromkeys(("doc_id", "url", "text", "file")), "threshold": 0.7, "limit": 100, "apply": False}
    audit_forget.forget(run.root, **{**plain, "base": run.root.parent, **options})
    found = sorted(run.removals.glob("r-*.json"), key=lambda p: p.stat().st_mtime_ns)
    return forget_report.Report.load(atomic.read_json(found[-1]))


def tree(folder):
    return {p: (p.stat().st_mtime_ns, p.read_bytes()) for p in sorted(folder.rglob("*")) if p.is_file()}


def origins(run, stage):
    return {r[0] for r in ledger.sql(run, f"SELECT origin FROM documents WHERE stage = '{stage}'").rows}


def dropped(run, origin):
    query = f"SELECT stage, reason FROM ledger WHERE decision = 'dropped' AND origin = '{origin}'"
    return ledger.sql(run, query).rows


def test_a_dry_run_finds_the_document_and_its_copies_and_changes_nothing(base):
    run = RunFolder(base / "run")
    before = tree(run.root)
    report = ask(run, url=[JANE])
    after = tree(run.root)
    assert {p: after[p] for p in before} == before
    assert {p.parent for p in after.keys() - before.keys()} == {run.removals}
    assert not (base / "removals.jsonl").exists()

    asked, *copies = report.request.documents
    assert (asked.why, asked.record) == ("asked", "lake/web-1.jsonl#1")
    assert {c.record for c in copies} == {"lake/web-3.jsonl#1", "lake/web-4.jsonl#1", "lake/web-5.jsonl#1"}
    assert {c.why for c in copies} == {"same text", "like the text"}
    assert all(c.of == asked.doc_id and c.similarity >= 0.7 for c in copies)
    for d in report.request.documents:  # every place is true
        assert any(p.stage == "corpus" for p in d.places)
        for place in d.places:
            assert pq.read_table(run.root / place.file).column("doc_id")[place.row].as_py().hex() in d.names
        for at in d.shards:
            shard = open_shards(run.shards / at.shard.split("/")[0])[at.shard.split("/")[1]]
            assert shard.doc_ids[at.document].tobytes().hex() in d.names
            assert shard.offsets[at.document : at.document + 2].tolist() == [at.first_token, at.first_token + at.tokens]
    assert any(d.shards for d in report.request.documents)
    written = b"".join(p.read_bytes() for p in run.removals.iterdir()).decode()
    assert not any(word in written for word in ("a.example", TEXT[:30], "c.example"))


def test_what_is_asked_for_goes_and_nothing_else_does(base):
    run = RunFolder(base / "run")
    held = {"part-00000", "part-00002", "part-00003", "part-00004"}  # by JANE and its copies
    before, later, order = tree(run.stage("corpus")), origins(run, "split"), open_order(run)
    assert any(dropped(run, copy) for copy in COPIES)  # a former duplicate could take its place
    report = ask(run, url=[JANE], apply=True)
    after = tree(run.stage("corpus"))

    gone = COPIES | {JANE}
    for stage in ("corpus", "filter", "dedup", "decontam", "split"):
        assert not {o.removesuffix("#tail") for o in origins(run, stage)} & gone
    assert {o for o in later if o.removesuffix("#tail") not in gone} <= origins(run, "split")
    for origin in gone:
        assert dropped(run, origin) == [("corpus", "governance:removal_request")]
    names = {n for d in report.request.documents for n in d.names}
    assert len(names) > 4  # a tail was cut off one of them
    for phase in ("train", "probe"):
        for shard in open_shards(run.shards / phase).values():
            assert not names & {row.tobytes().hex() for row in shard.doc_ids}

    changed = {p.name.split(".")[0] for p in before if p.name.startswith("part-") and before[p] != after.get(p)}
    assert changed == held
    corpus = report.rebuilt[0]
    assert (corpus.stage, {f.split("/")[1].split(".")[0] for f in corpus.made_again}) == ("corpus", held)
    filtered = report.rebuilt[1]
    assert (filtered.stage, {f.split("/")[1].split(".")[0] for f in filtered.made_again}) == ("filter", held)
    assert filtered.stayed > 0
    assert report.applied
    assert not (run.stage("corpus") / "documents/part-00000.parquet").read_bytes().count(TEXT[:20].encode())

    saw = {n for n in range(1, 151) for s in order.documents(n + 2) if s.doc_id in names}
    assert {n for d in report.request.documents for n in d.steps} == saw
    assert report.request.first_step == min(saw)
    assert report.request.checkpoints == tuple(f"step-{n:08d}" for n in (1, 60, 150) if n >= min(saw))
    assert "has seen them" in forget_report.markdown(report)
    # The shards are others now: which steps saw what can no longer be told from them.
    assert not forget.find(run, [forget.Key("origin", "https://a.example/1")], threshold=0.7).steps_known

    # What was made by mending is what a run from the beginning makes, with the list of the recipe's folder.
    again = prepare(base, "other", only="corpus")
    mended, made = manifest.read(run.stage("corpus")), manifest.read(again.stage("corpus"))
    assert (mended.content_fingerprint, mended.report.dropped) == (made.content_fingerprint, made.report.dropped)
    # Asked again there is nothing to do: not one file is written but the report.
    before = tree(run.root / "prepare")
    ask(run, doc_id=[report.request.documents[0].doc_id], apply=True)
    assert {p: v for p, v in tree(run.root / "prepare").items() if p != run.base} == {
        p: v for p, v in before.items() if p != run.base
    }


def test_no_copy_comes_back(read_only):
    base, run = read_only, RunFolder(read_only / "run")
    ask(run, url=["https://c.example/near"], apply=True)
    assert not origins(run, "corpus") & (COPIES | {JANE})
    # Not under another name, not compressed, not after --fresh, not without one of the two lists.
    with gzip.open(base / "lake/web-6.jsonl.gz", "wt") as file:
        file.write(json.dumps({"url": "https://f.example/new", "text": NEAR}) + "\n")
    (base / "recipe.toml").write_text(RECIPE.replace("web-*.jsonl", "web-*"))
    (base / "removals.jsonl").rename(base / "kept")
    run = prepare(base, fresh=True, only="corpus")
    assert not origins(run, "corpus") & (COPIES | {JANE, "https://f.example/new"})
    assert dropped(run, "https://f.example/new") == [("corpus", "governance:removal_request")]
    (base / "kept").rename(base / "removals.jsonl")
    run = prepare(base, "other", only="corpus")
    assert not origins(run, "corpus") & (COPIES | {JANE, "https://f.example/new"})


def test_the_survivor_goes_with_the_duplicate_that_was_asked_for(base):
    run = RunFolder(base / "run")
    [(near, survivor)] = ledger.sql(
        run, "SELECT doc_id, evidence ->> '$.survivor' FROM ledger WHERE reason LIKE 'near%'"
    ).rows
    for one, other in ((near, survivor), (survivor, near)):
        found = {d.doc_id: d.why for d in forget.find(run, [forget.Key("id", one)], threshold=1.0).documents}
        assert (found[one], found[other]) == ("asked", "duplicate by the ledger")
    tail = ledger.sql(run, "SELECT evidence ->> '$.probe', doc_id FROM ledger WHERE decision = 'edited' LIMIT 1").rows[
        0
    ]
    assert forget.find(run, [forget.Key("id", tail[0])], threshold=1.0).documents[0].doc_id == tail[1]


def test_a_line_taken_back_makes_its_part_again(read_only):
    base, run = read_only, RunFolder(read_only / "run")
    whole = manifest.read(run.stage("corpus")).content_fingerprint
    ask(run, url=[JANE], apply=True)
    assert manifest.read(run.stage("corpus")).content_fingerprint != whole
    for path in (base / "removals.jsonl", run.removals / "list.jsonl"):
        path.write_text("")
    run = prepare(base, only="corpus")
    assert origins(run, "corpus") >= COPIES | {JANE}
    assert manifest.read(run.stage("corpus")).content_fingerprint == whole


def test_keys(base):
    run = RunFolder(base / "run")
    (base / "keys").write_text(f"https://a.example/1\n{json.dumps(prose(2))}\n\nhttps://nowhere.example\n")
    report = ask(run, file=base / "keys")
    assert {d.record for d in report.request.documents} == {"lake/web-1.jsonl#2", "lake/web-1.jsonl#3"}
    assert report.request.not_found == (3,)
    assert not ask(run, url=["https://a.example"]).request.documents  # a part of an origin is too little
    passage = prose(3)[40:160]
    assert [d.record for d in ask(run, text=[passage]).request.documents] == ["lake/web-2.jsonl#1"]
    with pytest.raises(ConfigError, match="makes it more than 3 documents; name them more closely, or raise --limit"):
        ask(run, text=["stone"], limit=3)
    with pytest.raises(ConfigError, match="give at least one doc_id, URL or text"):
        ask(run)


def test_a_wrong_folder_is_refused_before_anything_is_written(base):
    run = RunFolder(base / "run")
    (base / "elsewhere").mkdir()
    with pytest.raises(ConfigError, match="matches no file"):
        ask(run, url=[JANE], base=base / "elsewhere", apply=True)
    assert not (run.removals / "list.jsonl").exists()
    assert JANE in origins(run, "corpus")


def test_what_is_left_is_found(base):
    run = RunFolder(base / "run")
    [asked, *_] = forget.find(run, [forget.Key("origin", JANE)], threshold=0.7).documents
    with pytest.raises(FormatError, match=r"corpus/documents/part-00000.parquet still holds a document"):
        rebuilt.check(run, removals.Removals([asked.removal("r")]), [])
    shutil.rmtree(run.stage("corpus"))
    with pytest.raises(FormatError, match=r"filter/documents/part-00000.parquet still holds a document"):
        rebuilt.check(run, removals.Removals(), [asked.names])
    for stage in ledger.STAGES:
        shutil.rmtree(run.stage(stage), ignore_errors=True)
    if asked.shards:
        with pytest.raises(FormatError, match=r"the shard \w+/web still holds a document"):
            rebuilt.check(run, removals.Removals(), [asked.names])


def test_the_list(tmp_path):
    path = tmp_path / "list.jsonl"
    one = removals.Removal(request="r", doc_id="0" * 32, text_hash="1" * 32)
    assert removals.add(path, [one]) == 1
    assert removals.add(path, [one]) == 0
    assert removals.lines(path) == [one]
    assert len(removals.read([path, tmp_path / "none"])) == 2
    path.write_text(path.read_text() + '{"request": "r"}\n')
    with pytest.raises(ConfigError, match=r"list.jsonl, line 2: .*doc_id and text_hash must not both be missing"):
        removals.read([path])
