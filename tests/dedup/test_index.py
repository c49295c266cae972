"""An index of an earlier corpus: its documents stay, exactly verified, and are not emitted again."""

import json
import shutil

import pytest

from dedup.documents import documents_of
from dedup.stages import corpus, dedup, dropped, kept, text, words
from fasttrain.core.errors import ConfigError, FormatError
from fasttrain.dedup import index, stage
from fasttrain.dedup.config import DedupConfig


def test_earlier_documents_stay_and_are_not_emitted(tmp_path):
    base = words(1)
    old = [("old", "a", " ".join(base)), ("old", "b", text(2)), ("old", "b again", text(2))]
    near = " ".join([*base[:100], "zz", *base[101:]])
    new = [
        ("new", "copy of b", text(2)),
        ("new", "near a, and longer", near + " and much more of it"),
        ("new", "fresh", text(3)),
        ("new", "fresh again", text(3)),
    ]
    dedup(tmp_path, old, name="first", index_out=True)
    m = dedup(tmp_path, new, parts=2, name="second", against=["first"])
    assert len(kept(tmp_path / "second")) == 1
    assert kept(tmp_path / "second") <= {"fresh", "fresh again"}
    found = dropped(tmp_path / "second")
    assert found["copy of b"]["reason"] == "exact"
    assert json.loads(found["copy of b"]["evidence"])["survivor_origin"] in {"b", "b again"}
    row = found["near a, and longer"]
    evidence = json.loads(row["evidence"])
    assert (row["reason"], evidence["survivor_origin"], evidence["survivor_source"]) == ("near", "a", "old")
    assert evidence["survivor_is_earlier"] is True
    one, two = (
        {tuple(w[k : k + 5]) for k in range(len(w) - 4)} for w in (base, (near + " and much more of it").split())
    )
    assert row["score"] == pytest.approx(len(one & two) / len(one | two))
    assert m.extra["against"] == {"documents": 2, "removed": 2}
    assert m.extra["clusters"]["count"] == 3
    assert {c["origin"] for c in m.extra["clusters"]["top"]} >= {"a"}


@pytest.mark.parametrize(("parts", "memory_records"), [(1, 1 << 22), (4, 32)])
def test_two_runs_with_an_index_keep_what_one_run_keeps(tmp_path, parts, memory_records):
    """The earlier corpus first: what one run over both keeps when the earlier source has priority."""
    rows = corpus()
    cut = len(rows) // 2
    old = [("old", o, t) for _, o, t in rows[:cut]]
    new = [("new", o, t) for _, o, t in rows[cut:]]
    settings = {"memory_records": memory_records}
    dedup(tmp_path, old + new, name="both", priority={"old": 1})
    dedup(tmp_path, old, parts=parts, name="first", index_out=True, **settings)
    dedup(tmp_path, new, parts=parts, name="second", against=["first"], **settings)
    one, two, both = (kept(tmp_path / name) for name in ("first", "second", "both"))
    assert not one & two
    assert one | two == both
    want = {o: (r["reason"], r["score"]) for o, r in dropped(tmp_path / "both").items() if r["source"] == "new"}
    assert {o: (r["reason"], r["score"]) for o, r in dropped(tmp_path / "second").items()} == want


def test_indexes_add_up_and_may_be_moved(tmp_path):
    for name, seed in (("first", 1), ("second", 2)):
        dedup(tmp_path, [("s", name, text(seed))], name=name, index_out=True, fuzzy=True)
    shutil.move(tmp_path / "second" / "index", tmp_path / "elsewhere")
    rows = [("s", f"{i}", text(i)) for i in range(1, 5)]
    dedup(tmp_path, rows, name="third", against=["first", "elsewhere"])
    assert kept(tmp_path / "third") == {"3", "4"}
    # What was kept against an index is an index of its own, without the earlier documents.
    m = dedup(tmp_path, rows, name="third", against=["first", "elsewhere"], index_out=True)
    found = index.read(tmp_path / "third" / "index")
    assert [p.rows for p in found.parts] == [2]
    assert {f.path for f in m.files} >= {"index/index.json", "index/part-00000.sets"}


def test_exact_search_alone_uses_an_index(tmp_path):
    dedup(tmp_path, [("s", "a", "short"), ("s", "b", text(1))], name="first", index_out=True, fuzzy=False)
    dedup(tmp_path, [("s", "c", "short"), ("s", "d", text(1) + "!")], name="second", against=["first"], fuzzy=False)
    assert kept(tmp_path / "second") == {"d"}
    with pytest.raises(ConfigError, match="made with fuzzy = false"):
        dedup(tmp_path, [("s", "c", "short")], name="third", against=["first"])


def test_scope_holds_across_an_index(tmp_path):
    dedup(tmp_path, [("a", "1", text(1)), ("b", "2", text(2))], name="first", index_out=True, scope="source")
    rows = [("b", "3", text(1)), ("b", "4", text(2)), ("a", "5", "zz " + text(1))]
    dedup(tmp_path, rows, name="second", against=["first"], scope="source")
    assert kept(tmp_path / "second") == {"3"}


def test_nothing_new_and_nothing_old(tmp_path):
    dedup(tmp_path, [], name="first", index_out=True)
    m = dedup(tmp_path, [("s", "a", text(1))], name="second", against=["first"])
    assert m.report.kept == 1
    dedup(tmp_path, [("s", "a", text(1))], name="full", index_out=True)
    assert dedup(tmp_path, [], name="none", against=["full"]).report.kept == 0


def test_refuses_other_settings_and_damage(tmp_path):
    dedup(tmp_path, [("s", "a", text(1))], name="first", index_out=True)
    rows = [("s", "b", text(1))]
    with pytest.raises(ConfigError, match=r"dedup.against.0: .*made with ngram = 5, this run has 4"):
        dedup(tmp_path, rows, name="second", against=["first"], ngram=4)
    with pytest.raises(ConfigError, match="holds no index.json"):
        dedup(tmp_path, rows, name="second", against=["nowhere"])
    sets = tmp_path / "first" / "index" / "part-00000.sets"
    sets.write_bytes(sets.read_bytes()[:-8])
    with pytest.raises(FormatError, match=r"part-00000.sets: missing or not of \d+ bytes"):
        dedup(tmp_path, rows, name="second", against=["first"])
    file = tmp_path / "first" / "index" / "index.json"
    file.write_text(file.read_text().replace('"format": 1', '"format": 99'))
    with pytest.raises(FormatError, match="must have format 1, got 99"):
        dedup(tmp_path, rows, name="second", against=["first"])


def test_another_index_is_another_input(tmp_path):
    config = DedupConfig(against=("first",))
    dedup(tmp_path, [("s", "a", text(1))], name="first", index_out=True)
    before = stage.source_fingerprint(config, tmp_path)
    shutil.rmtree(tmp_path / "first")
    shutil.rmtree(tmp_path / "in-first-1")
    dedup(tmp_path, [("s", "a", text(2))], name="first", index_out=True)
    assert stage.source_fingerprint(config, tmp_path) != before


def test_what_an_indexed_document_costs(tmp_path):
    """80 bytes of row, 8 a band, 32 of digest, 8 each for two offsets, the origin, 8 bytes a distinct shingle."""
    rows = [("s", f"page{i}", text(i)) for i in range(50)]
    dedup(tmp_path, rows, name="first", index_out=True)
    folder = tmp_path / "first" / "index"
    size = sum(p.stat().st_size for p in folder.iterdir() if p.suffix != ".json")
    shingles = sum(len({tuple(t.split()[k : k + 5]) for k in range(196)}) for _, _, t in rows)
    origins = sum(len(o) for _, o, _ in rows)
    assert size - 50 * (64 + 8 + 8 + 14 * 8 + 32) - origins - 8 * shingles - 2 * 8 * 51 <= 2 * 128  # two headers
    assert len(documents_of(tmp_path / "first")) == 50
