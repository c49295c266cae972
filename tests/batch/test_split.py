import itertools

import numpy as np
import pyarrow as pa
import pytest
from hypothesis import given
from hypothesis import strategies as st

from fasttrain.batch import split
from fasttrain.batch.split import SplitConfig
from fasttrain.batch.tail import cut_at, tail_bytes
from fasttrain.comm.group import SoloGroup
from fasttrain.core.config import Settings
from fasttrain.formats import document, manifest
from fasttrain.formats.stage import run_stage
from fasttrain.text import columns
from fasttrain.text.hash128 import hash128

PARAGRAPHS = "\n\n".join(
    f"Paragraph {i}: größer als früher, and longer than the last one by a bit." for i in range(120)
)


class Empty(Settings):
    """The stage before needs no settings."""


def rows(source, texts, first=0):
    """Documents of one source; origins count up from `first`."""
    origins = [f"{source}/{first + i}" for i in range(len(texts))]
    ids = hash128(columns.from_texts([f"{source}\0{o}" for o in origins])).view(np.uint8).reshape(-1, 16)
    n = len(texts)
    return pa.RecordBatch.from_arrays(
        [
            pa.array([bytes(i) for i in ids], pa.binary(16)),
            pa.array([bytes(16)] * n, pa.binary(16)),
            pa.array(texts, pa.large_string()),
            pa.array([source] * n),
            pa.array(origins),
            pa.array(["MIT"] * n),
            pa.array(["en"] * n),
            pa.array([None] * n, pa.timestamp("ms", tz="UTC")),
            pa.array(["{}"] * n),
        ],
        schema=document.SCHEMA,
    )


def lake(num_web=1500):
    return [
        rows("web", [f"page {i} " * 20 for i in range(num_web)]),
        rows("book", [PARAGRAPHS, PARAGRAPHS[::-1], "too short to be cut"]),
        rows("note", ["one", "two", "three"]),
    ]


def prepare(folder, batches, parts):
    """A finished stage that holds the documents in `parts` parts."""
    table = pa.Table.from_batches(batches, schema=document.SCHEMA)
    edges = np.linspace(0, len(table), parts + 1).astype(int)
    items = [(int(a), int(b)) for a, b in itertools.pairwise(edges)]

    def work(item, writer):
        if item[1] > item[0]:
            writer.write(table.slice(item[0], item[1] - item[0]))

    run_stage("decontam", folder=folder, config=Empty(), inputs=[], world=SoloGroup(),
              body=lambda stage: stage.map_parts("documents", items, work) and None)  # fmt: skip


def run(tmp_path, batches=None, parts=3, name="split", **settings):
    config = SplitConfig(**settings)
    source, folder = tmp_path / f"in-{name}", tmp_path / name
    prepare(source, batches if batches is not None else lake(), parts)
    done = run_stage("split", folder=folder, config=config, inputs=[source], world=SoloGroup(),
                     body=lambda stage: split.run(stage, config))  # fmt: skip
    return done, {phase: read(folder, done, phase) for phase in ("train", "probe")}


def read(folder, done, phase):
    files = [f.path for f in done.files if f.path.startswith(f"{phase}/") and f.path.count(".") == 1]
    return [row for f in files for row in document.read_documents(folder / f).to_pylist()]


def ledger_rows(folder, done):
    import pyarrow.parquet as pq

    files = [f.path for f in done.files if f.path.endswith(".ledger.parquet")]
    return [row for f in files for row in pq.read_table(folder / f).to_pylist()]


def test_every_source_has_probe_text_and_nothing_is_lost(tmp_path):
    done, out = run(tmp_path)
    before = {r["origin"]: r["text"] for b in lake() for r in b.to_pylist()}
    after = {}
    for row in out["train"] + [r for r in out["probe"] if not r["origin"].endswith("#tail")]:
        assert row["origin"] not in after
        after[row["origin"]] = row["text"]
    tails = {r["origin"]: r["text"] for r in out["probe"] if r["origin"].endswith("#tail")}
    assert {o: t + tails.get(f"{o}#tail", "") for o, t in after.items()} == before
    assert set(tails) == {"book/0#tail", "book/1#tail"}
    assert set(done.extra["probe"]) == {"web", "book", "note"}
    assert done.report.kept == len(out["train"]) + len(out["probe"]) == 1506 + 2
    assert done.report.bytes_in == done.report.bytes_out == sum(len(t.encode()) for t in before.values())
    for phase in ("train", "probe"):
        for source, sums in done.extra[phase].items():
            mine = [r for r in out[phase] if r["source"] == source]
            assert sums == {"documents": len(mine), "bytes": sum(len(r["text"].encode()) for r in mine)}
    manifest.verify(tmp_path / "split", done)


def test_the_share_held_out_is_the_one_asked_for(tmp_path):
    _, out = run(tmp_path, probe_fraction=0.1)
    held = sum(r["source"] == "web" for r in out["probe"])
    assert abs(held - 150) < 4 * np.sqrt(1500 * 0.1 * 0.9)


def test_parts_do_not_matter_and_growth_moves_nobody(tmp_path):
    one, few = run(tmp_path, parts=1, name="one")
    many, more = run(tmp_path, parts=7, name="many")
    assert one.extra == many.extra
    for phase in ("train", "probe"):
        assert sorted(map(str, few[phase])) == sorted(map(str, more[phase]))
    _, grown = run(tmp_path, lake(3000), name="grown")
    kept = {r["origin"] for r in grown["probe"]}
    assert {r["origin"] for r in few["probe"]} <= kept
    assert not kept & {r["origin"] for r in few["train"]}


def test_fingerprint_is_of_the_held_out_texts(tmp_path):
    of_seed = [run(tmp_path, name=f"s{i}", seed=i)[0].extra["probe_fingerprint"] for i in (0, 1)]
    assert of_seed[0] != of_seed[1]
    more = [*lake(), rows("web", ["not held out"], first=next(_not_held(5000)))]
    assert run(tmp_path, more, name="more")[0].extra["probe_fingerprint"] == of_seed[0]
    nothing = run(tmp_path, [rows("web", [])], name="nothing")[0]
    assert nothing.extra == {"probe_fingerprint": "0" * 32, "train": {}, "probe": {}}


def _not_held(first):
    """Numbers of web pages from `first` on that the hash does not hold out."""
    for i in itertools.count(first):
        ids = np.frombuffer(rows("web", [""], i).column("doc_id")[0].as_py(), np.uint64).reshape(1, 2)
        if split.keyed_hash(ids, 0)[0] >= np.uint64(SplitConfig().hash_limit):
            yield i


def test_changed_probe_text_changes_the_fingerprint(tmp_path):
    changed = PARAGRAPHS[:-4] + "new!"
    a = run(tmp_path, [rows("book", [PARAGRAPHS])], name="a")[0].extra["probe_fingerprint"]
    b = run(tmp_path, [rows("book", [changed])], name="b")[0].extra["probe_fingerprint"]
    assert a != b


@pytest.mark.parametrize("limit", [1024, 5000, 20_000])
def test_no_source_gives_more_than_the_limit(tmp_path, limit):
    done, _ = run(tmp_path, probe_fraction=0.5, max_probe_bytes=limit)
    for source, sums in done.extra["probe"].items():
        assert 0 < sums["bytes"] <= limit, source
    assert done.extra["probe"]["web"]["bytes"] > 0.7 * limit


def test_a_source_of_few_huge_documents_gives_tails_though_it_has_many(tmp_path):
    _, out = run(tmp_path, [rows("huge", [f"{i} {PARAGRAPHS}" for i in range(100)])], max_probe_bytes=4096)
    assert all(r["origin"].endswith("#tail") for r in out["probe"])
    assert 0 < sum(len(r["text"].encode()) for r in out["probe"]) <= 4096


def test_ledger_names_what_is_held_out(tmp_path):
    done, out = run(tmp_path)
    found = ledger_rows(tmp_path / "split", done)
    probe = {r["doc_id"] for r in found if r["reason"] == "probe"}
    assert probe == {r["doc_id"] for r in out["probe"]}
    cut = [r for r in found if r["decision"] == "edited"]
    assert {r["origin"] for r in cut} == {"book/0", "book/1"}
    assert len(found) == len(probe) + len(cut)
    assert {r["decision"] for r in found if r["reason"] == "probe"} == {"kept"}


@given(st.text(min_size=1), st.integers(1, 200), st.integers(1, 60))
def test_a_cut_falls_between_characters(piece, repeats, wanted):
    text = (piece * repeats).encode()
    if len(text) < 4 * wanted:
        return
    cut = cut_at(text, wanted)
    assert text[:cut].decode() + text[cut:].decode() == piece * repeats
    assert 0 <= len(text) - cut <= 2 * wanted


def test_a_cut_prefers_the_nearest_paragraph():
    text = b"a" * 300 + b"\n\n" + b"b" * 40 + b" " + b"c" * 59
    assert text[cut_at(text, 90) :].startswith(b"bbbb")
    assert text[cut_at(text, 40) :] == b"c" * 59
    assert len(text[cut_at(b"x" * 400, 50) :]) == len(text) - 350


def test_tail_sizes_by_hand():
    sizes = np.array([2047, 2048, 4000, 100_000])
    assert tail_bytes(sizes, 0.02).tolist() == [0, 512, 512, 2000]
    assert tail_bytes(sizes, 0.5).tolist() == [0, 512, 1000, 25_000]


def test_killed_between_phases_gives_the_same_bytes(tmp_path, monkeypatch):
    want, _ = run(tmp_path, name="whole")
    with monkeypatch.context() as patch:
        patch.setattr(split, "_probe", lambda *_: (_ for _ in ()).throw(KeyboardInterrupt))
        with pytest.raises(KeyboardInterrupt):
            run(tmp_path, name="killed")
    again, _ = run(tmp_path, name="killed")
    assert again.files == want.files
    assert again.extra == want.extra
