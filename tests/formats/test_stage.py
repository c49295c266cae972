import signal
import subprocess
import sys
import threading

import numpy as np
import pyarrow as pa
import pytest

from comm.thread_ranks import on_ranks
from fasttrain.comm.group import SoloGroup
from fasttrain.core.config import Settings
from fasttrain.core.errors import FormatError
from fasttrain.formats import atomic, document, ledger, manifest
from fasttrain.formats.stage import run_stage
from formats.batches import documents


class Config(Settings):
    factor: int = 2
    """Something that shapes the output."""


def body(calls, items=range(5)):
    def work(item, writer):
        calls.append(item)
        batch = documents([f"text {item} {k}" for k in range(item + 1)])
        writer.write(batch)
        decision = [ledger.KEPT] * item + [ledger.DROPPED]
        writer.decide("demo", batch, decision=decision, reason=[""] * item + ["last"])
        writer.bytes_in += 10

    return lambda stage: stage.map_parts("docs", list(items), work) and None


def run(folder, calls=None, config=None, world=None, **options):
    return run_stage(
        "demo",
        folder=folder,
        config=config or Config(),
        inputs=options.pop("inputs", []),
        world=world or SoloGroup(),
        body=body([] if calls is None else calls),
        **options,
    )


def tree(folder):
    return {p.relative_to(folder).as_posix(): p.read_bytes() for p in sorted(folder.rglob("*")) if p.is_file()}


def test_counts_and_files(tmp_path):
    done = run(tmp_path / "a")
    assert done.report.kept == 10
    assert done.report.dropped == {"last": 5}
    assert done.report.bytes_in == 50
    assert [f.path for f in done.files][:2] == ["docs/part-00000.ledger.parquet", "docs/part-00000.parquet"]
    assert sum(f.rows for f in done.files if f.path.endswith("ledger.parquet")) == 15
    manifest.verify(tmp_path / "a", done)
    assert document.read_documents(tmp_path / "a/docs/part-00004.parquet")["text"].to_pylist()[4] == "text 4 4"


def test_finished_is_skipped_and_changed_is_made_anew(tmp_path):
    calls = []
    first = run(tmp_path / "a", calls)
    assert run(tmp_path / "a", calls) == first
    assert len(calls) == 5
    run(tmp_path / "a", calls, config=Config(factor=3))
    assert len(calls) == 10
    run(tmp_path / "a", calls, config=Config(factor=3), source_fingerprint="other files")
    assert len(calls) == 15


def test_by_part_only_what_has_changed_is_made_again(tmp_path):
    texts = {k: f"text {k}" for k in range(4)}
    read = []

    def first(stage):
        stage.map_parts("docs", sorted(texts), lambda k, w: w.write(documents([texts[k]])), key=lambda k: texts[k])

    def second(stage):
        def work(path, writer):
            read.append(path.name)
            writer.write(document.read_documents(path))

        key = lambda path: [path.name, stage.hash_of(path)]  # noqa: E731
        stage.map_parts("docs", stage.input_parts(), work, key=key)
        stage.map_parts("fewer", stage.input_parts()[1:], work, key=key, output=False)

    def both(folder=tmp_path, config=None, by_part=True, source=None):
        run_stage("first", folder=folder / "first", config=Config(), inputs=(), world=SoloGroup(), body=first,
                  revision=sorted(texts.items()))  # fmt: skip
        return run_stage("second", folder=folder / "second", config=config or Config(), inputs=[folder / "first"],
                         world=SoloGroup(), body=second, by_part=by_part, source_fingerprint=source)  # fmt: skip

    def names(*numbers):
        return [f"part-{k:05d}.parquet" for k in numbers]

    both()
    assert read == names(0, 1, 2, 3, 1, 2, 3)
    read.clear()
    texts[2] = "another"
    done = both()
    assert read == names(2, 2)
    fresh = both(tmp_path / "fresh", by_part=False)
    assert (done.files, done.content_fingerprint) == (fresh.files, fresh.content_fingerprint)
    read.clear()
    both()
    assert read == []
    del texts[3]
    both()
    assert read == []
    assert not list((tmp_path / "second").rglob("part-00003*")), "a part that is no more leaves nothing"
    assert not list((tmp_path / "second/fewer").glob("part-00002*"))
    both(config=Config(factor=3))
    assert len(read) == 5
    both(config=Config(factor=3), source="list files changed")
    assert len(read) == 10


def test_a_missing_or_cut_part_is_made_again(tmp_path):
    calls = []
    first = run(tmp_path / "a", calls)
    (tmp_path / "a/docs/part-00002.parquet").write_bytes(b"cut")
    again = run(tmp_path / "a", calls)
    assert calls[5:] == [2]
    assert again.files == first.files


@pytest.mark.parametrize("damage", [b"", b"{", b"[]"])
@pytest.mark.parametrize("suffix", [".parquet", ".json"])
def test_an_intermediate_part_that_a_power_cut_left_cut_off_is_made_again(tmp_path, monkeypatch, suffix, damage):
    calls, synced = [], []
    monkeypatch.setattr(atomic, "sync", lambda path: synced.append(path.parent.name))

    def work(item, writer):
        calls.append(item)
        writer.write(documents([f"text {item}"]))

    def both(stage):
        stage.map_parts("between", range(3), work, output=False)
        if len(calls) < 4:
            raise KeyboardInterrupt
        stage.map_parts("kept", range(3), work, output=False, durable=True)

    def run_both():
        return run_stage("demo", folder=tmp_path / "a", config=Config(), inputs=[], world=SoloGroup(), body=both)

    with pytest.raises(KeyboardInterrupt):
        run_both()
    assert "between" not in synced
    (tmp_path / f"a/between/part-00001{suffix}").write_bytes(damage)
    run_both()
    assert calls == [0, 1, 2, 1, 0, 1, 2]
    assert "kept" in synced


@pytest.mark.parametrize("size", [2, 3, 7])
def test_bytes_do_not_depend_on_ranks(tmp_path, size):
    one = run(tmp_path / "one")
    calls = []
    for many in on_ranks(size, lambda world: run(tmp_path / "many", calls, world=world)):
        assert many.files == one.files
        assert many.content_fingerprint == one.content_fingerprint
    assert sorted(calls) == list(range(5)), "every part is made once, by whoever is free"
    assert not list((tmp_path / "many").rglob("claims"))


def test_a_rank_with_a_heavy_part_leaves_the_others_to_those_who_are_free(tmp_path):
    weights = [1, 1, 9, 1, 1, 1, 1]
    made = {0: [], 1: []}
    others_done = threading.Event()

    def work(world):
        def part(item, writer):
            if item == 2:  # ends when all the light ones are made: with parts dealt out beforehand it never would
                assert others_done.wait(timeout=30)
            made[world.rank].append(item)
            if sum(map(len, made.values())) == len(weights) - 1:
                others_done.set()

        def body(stage):
            stage.map_parts("p", range(len(weights)), part, weight=weights.__getitem__)

        return run_stage("demo", folder=tmp_path / "s", config=Config(), inputs=[], world=world, body=body)

    assert [m.stage for m in on_ranks(2, work)] == ["demo", "demo"]
    assert sorted(map(len, made.values())) == [1, 6]
    assert [2] in made.values(), "the heaviest part is taken first"


def test_claims_of_a_killed_run_do_not_hold_its_parts_back(tmp_path):
    def stop(stage):
        raise InterruptedError

    with pytest.raises(InterruptedError):
        run_stage("demo", folder=tmp_path / "a", config=Config(), inputs=[], world=SoloGroup(), body=stop)
    (tmp_path / "a" / "docs" / "claims").mkdir(parents=True)
    (tmp_path / "a" / "docs" / "claims" / "3").touch()
    calls = []
    on_ranks(2, lambda world: run(tmp_path / "a", calls, world=world))
    assert sorted(calls) == list(range(5))


def test_the_next_stage_sees_the_change(tmp_path):
    run(tmp_path / "a")
    calls = []
    run(tmp_path / "b", calls, inputs=[tmp_path / "a"])
    run(tmp_path / "a", config=Config(factor=9))
    run(tmp_path / "b", calls, inputs=[tmp_path / "a"])
    assert len(calls) == 10, "same documents, but other settings upstream: the input fingerprint must differ"


def test_killed_at_any_part_and_restarted_gives_the_same_bytes(tmp_path):
    """A process that dies with SIGKILL in the middle of part k leaves nothing that is taken as finished."""
    whole = run(tmp_path / "whole")
    for victim in range(5):
        folder = tmp_path / f"killed{victim}"
        code = f"""
import importlib.util, os, signal, sys, time
from pathlib import Path
sys.path[:0] = {sys.path!r}
spec = importlib.util.spec_from_file_location("this_test", {__file__!r})
t = importlib.util.module_from_spec(spec)
spec.loader.exec_module(t)
def work(item, writer):
    batch = t.documents([f"text {{item}} {{k}}" for k in range(item + 1)])
    writer.write(batch)
    if item == {victim}:
        while item and not Path({str(folder)!r}, f"docs/part-{{item - 1:05d}}.json").exists():
            time.sleep(0.01)  # the part before is still on its way to the disk
        os.kill(os.getpid(), signal.SIGKILL)
    writer.decide("demo", batch, decision=["kept"] * item + ["dropped"], reason=[""] * item + ["last"])
    writer.bytes_in += 10
t.run_stage("demo", folder=Path({str(folder)!r}), config=t.Config(), inputs=[], world=t.SoloGroup(),
            body=lambda stage: stage.map_parts("docs", list(range(5)), work) and None)
"""
        died = subprocess.run([sys.executable, "-c", code], capture_output=True)
        assert died.returncode == -signal.SIGKILL, died.stderr.decode()
        assert not (folder / "manifest.json").exists()
        with pytest.raises(FormatError, match="no manifest, so this stage is not finished"):
            manifest.read(folder)
        calls = []
        assert run(folder, calls).files == whole.files
        assert calls == list(range(victim, 5))


def test_a_document_file_of_another_schema_is_refused(tmp_path):
    import pyarrow.parquet as pq

    path = tmp_path / "x.parquet"
    pq.write_table(pa.table({"a": np.arange(3)}), path)
    with pytest.raises(FormatError, match="must have the document schema v1"):
        document.read_documents(path)
    path.write_bytes(b"PAR1 no")
    with pytest.raises(FormatError, match="not a readable Parquet file"):
        document.read_documents(path)


def test_ledger_rows_keep_sizes_and_no_text():
    rows = ledger.rows("demo", documents(["äb", "c"]), decision=["kept", "dropped"], reason=["", "short"])
    assert rows.column("bytes").to_pylist() == [3, 1]
    assert "text" not in rows.schema.names
