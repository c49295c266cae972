import json
import random
from collections import Counter

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from dedup.documents import documents_of, finished, ledger_of
from fasttrain.comm.group import SoloGroup
from fasttrain.core.errors import ConfigError
from fasttrain.dedup import near, stage
from fasttrain.dedup.config import BEST_OF_BUCKET, DedupConfig, detection
from fasttrain.dedup.exchange import columns
from fasttrain.formats import manifest
from fasttrain.formats.stage import run_stage

WORDS = ["".join(chr(97 + i // 26**k % 26) for k in range(4)) for i in range(4000)]


def words(seed, length=200):
    return random.Random(seed).choices(WORDS, k=length)


def text(seed, length=200):
    return " ".join(words(seed, length))


def dedup(tmp_path, rows, /, parts=1, name="out", **settings):
    source = tmp_path / f"in{parts}"
    if not source.exists():
        finished(source, rows, parts)
    config = DedupConfig.load(settings)
    return run_stage(
        "dedup",
        folder=tmp_path / name,
        config=config,
        inputs=[source],
        world=SoloGroup(),
        body=lambda s: stage.run(s, config),
    )


def origins(folder):
    return {d["origin"] for d in documents_of(folder)}


def dropped(folder):
    return {r["origin"]: r for r in ledger_of(folder) if r["decision"] == "dropped"}


def test_exact_copies_leave_one_and_the_ledger_names_it(tmp_path):
    rows = [("web", f"page{i}", text(i % 5)) for i in range(20)] + [("web", "empty1", ""), ("web", "empty2", "")]
    m = dedup(tmp_path, rows, fuzzy=False)
    assert (m.report.kept, m.report.dropped) == (6, {"exact": 16})
    ids = {d["doc_id"].hex(): d["text"] for d in documents_of(tmp_path / "out")}
    texts = {o: t for _, o, t in rows}
    for origin, row in dropped(tmp_path / "out").items():
        evidence = json.loads(row["evidence"])
        assert (row["reason"], row["score"]) == ("exact", 1.0)
        assert ids[evidence["survivor"]] == texts[origin] == texts[evidence["survivor_origin"]]
    assert m.report.bytes_in - m.report.bytes_out == m.extra["sources"]["web"]["bytes_removed"]


def test_copies_that_differ_in_a_byte_stay_without_fuzzy(tmp_path):
    m = dedup(tmp_path, [("a", "1", text(1)), ("a", "2", text(1) + "\n")], fuzzy=False)
    assert m.report.kept == 2


def test_near_copies_go_with_jaccard_and_bands(tmp_path):
    base = words(1)
    near_copy = [*base[:100], "zz", *base[101:]]
    half = [*base[:110], *words(2, 90)]  # J of about 0.37: no duplicate
    m = dedup(
        tmp_path,
        [("a", "base", " ".join(base) + "!"), ("a", "near", " ".join(near_copy)), ("a", "half", " ".join(half))],
    )
    assert origins(tmp_path / "out") == {"base", "half"}
    (row,) = dropped(tmp_path / "out").values()
    assert row["reason"] == "near"
    assert row["score"] == pytest.approx(191 / 201)  # five of 196 shingles differ on each side
    evidence = json.loads(row["evidence"])
    assert evidence["survivor_origin"] == "base"
    assert evidence["bands"] == sorted(evidence["bands"])
    assert len(evidence["bands"]) > 0
    assert m.extra["pairs"]["verified"] == 1


def test_nothing_goes_transitively(tmp_path):
    """A chain in which each is like the next and the ends are not: only direct duplicates of a survivor go."""
    chain, rows = words(7, 400), []
    for i in range(12):
        rows.append(("a", f"{i:02d}", " ".join(chain) + " x" * (50 - i)))  # falling length: the order of preference
        chain = [*chain[:20], *chain[40:], *words(100 + i, 20)]
    dedup(tmp_path, rows, threshold=0.75, bands=32, rows=4)
    kept = origins(tmp_path / "out")
    assert "00" in kept
    assert 3 <= len(kept) < 12
    for origin, row in dropped(tmp_path / "out").items():
        assert json.loads(row["evidence"])["survivor_origin"] in kept, origin
        assert row["score"] >= 0.75


@given(st.lists(st.tuples(st.integers(0, 14), st.integers(0, 14)).filter(lambda p: p[0] != p[1]), max_size=40))
def test_resolve_equals_the_sequential_definition(edges):
    pairs = np.array(sorted({(max(e), min(e)) for e in edges}), np.uint64).reshape(-1, 2)
    removed = np.zeros(15, bool)
    for worse in range(15):
        removed[worse] = any(not removed[b] for w, b in pairs.tolist() if w == worse)
    np.testing.assert_array_equal(near.resolve(pairs), np.flatnonzero(removed))


@given(st.lists(st.tuples(st.integers(0, 4), st.integers(0, 1)), max_size=30), st.integers(2, 6))
def test_propose_equals_all_pairs_of_a_bucket(documents, max_bucket):
    n = len(documents)
    rank = np.random.default_rng(n).permutation(n)
    keys, scope = np.array(documents, np.uint64).reshape(-1, 2).T.copy()
    counts = Counter()
    found = near.propose(columns(keys, scope, rank), max_bucket, 2, counts)
    pairs = [tuple(p) for some in found for p in some.tolist()]
    want = set()
    for key in set(documents):
        members = sorted((i for i in range(n) if documents[i] == key), key=lambda i: rank[i])
        best = members if len(members) <= max_bucket else members[:BEST_OF_BUCKET]
        want |= {(int(rank[w]), int(rank[b])) for i, b in enumerate(best) for w in members[i + 1 :] if rank[w] >= 2}
    assert len(pairs) == len(want)
    assert set(pairs) == want
    sizes = [n for k in set(documents) if (n := documents.count(k)) > 1]
    assert counts["largest_bucket"] == max(sizes, default=0)
    assert counts["buckets"] == len(sizes)


@pytest.mark.parametrize(
    ("settings", "stays"),
    [
        ({}, "long"),
        ({"priority": {"books": 1}}, "book"),
        ({"quality_key": "q"}, "good"),
        ({"quality_key": "q", "priority": {"books": 1}, "order": ["quality", "priority"]}, "good"),
        ({"priority": {"web": -1}, "order": ["priority", "length"]}, "book"),
    ],
)
def test_policy_decides_who_stays(tmp_path, settings, stays):
    base = words(3)
    rows = [
        ("web", "long", " ".join(base) + " . . . .", '{"q": 0.1}'),
        ("web", "good", " ".join(base) + " .", '{"q": 0.9}'),
        ("books", "book", " ".join(base), "{}"),
    ]
    dedup(tmp_path, rows, **settings)
    assert origins(tmp_path / "out") == {stays}


def test_scope_of_a_source(tmp_path):
    rows = [("a", "1", text(1)), ("b", "2", text(1)), ("b", "3", text(1)), ("b", "4", "zz " + text(1))]
    dedup(tmp_path, rows, scope="source")
    kept = origins(tmp_path / "out")
    assert "1" in kept
    assert len(kept) == 2
    dedup(tmp_path, rows, name="global")
    assert len(origins(tmp_path / "global")) == 1


def test_empty_and_short_documents_do_not_collide(tmp_path):
    rows = [("a", f"e{i}", " " * i) for i in range(5)] + [("a", f"s{i}", f"page {i} of 99") for i in range(9)]
    m = dedup(tmp_path, rows)
    assert m.report.kept == len(rows)
    assert m.extra["too_short_for_fuzzy"] == len(rows)
    assert m.extra["pairs"]["proposed"] == 0


def test_a_copy_of_a_near_duplicate_names_who_stays(tmp_path):
    rows = [("a", "copy1", text(1)), ("a", "copy2", text(1)), ("a", "best", text(1) + " and more at the end")]
    dedup(tmp_path, rows)
    assert origins(tmp_path / "out") == {"best"}
    found = dropped(tmp_path / "out")
    assert {r["reason"] for r in found.values()} == {"exact", "near"}
    for row in found.values():
        assert json.loads(row["evidence"])["survivor_origin"] == "best"
        assert row["score"] < 1.0


def corpus():
    rows = []
    for i in range(120):
        base = words(i)
        rows.append((f"s{i % 3}", f"o{i}", " ".join(base)))
        if i % 4 == 0:
            rows.append(("s1", f"x{i}", " ".join(base)))
        if i % 5 == 0:
            rows.append(("s2", f"n{i}", " ".join(["new", *base[:150], "zz", *base[150:]])))
    random.Random(5).shuffle(rows)
    return rows


def test_result_does_not_depend_on_parts_threads_or_implementation(tmp_path, monkeypatch):
    rows = corpus()
    want = None
    for parts, threads, impl in [(1, "1", "scalar"), (3, "2", ""), (7, "1", "")]:
        monkeypatch.setenv("FASTTRAIN_THREADS", threads)
        monkeypatch.setenv("FASTTRAIN_IMPL", impl)
        m = dedup(tmp_path, rows, parts=parts, name=f"out{parts}")
        got = [(d["origin"], d["text"]) for d in documents_of(tmp_path / f"out{parts}")]
        evidence = {o: (r["reason"], r["score"], r["evidence"]) for o, r in dropped(tmp_path / f"out{parts}").items()}
        want = want or (got, evidence, m.extra)
        assert (got, evidence, m.extra) == want
    assert len(want[0]) == 120


def test_interrupted_work_goes_on_to_the_same_bytes(tmp_path, monkeypatch):
    rows = corpus()
    whole = dedup(tmp_path, rows, parts=3)
    real, calls = stage.figures, []

    def dies(*args):
        calls.append(1)
        raise KeyboardInterrupt

    monkeypatch.setattr(stage, "figures", dies)
    with pytest.raises(KeyboardInterrupt):
        dedup(tmp_path, rows, parts=3, name="broken")
    monkeypatch.setattr(stage, "figures", real)
    again = dedup(tmp_path, rows, parts=3, name="broken")
    assert calls
    assert again.content_fingerprint == whole.content_fingerprint
    assert not (tmp_path / "broken" / "sets").exists()
    assert manifest.missing_files(tmp_path / "broken", again) == []


def test_templates_are_capped_and_told(tmp_path):
    """A hundred documents of one template: an oversized bucket costs a few comparisons each, and is reported."""
    base = words(9, 300)
    rows = [("a", f"t{i:03d}", " ".join([*base, f"v{chr(97 + i % 26)}{chr(97 + i // 26)}"])) for i in range(100)]
    m = dedup(tmp_path, rows, max_bucket=16)
    assert m.report.kept == 1
    assert m.extra["buckets"]["oversized_buckets"] >= 1
    assert m.extra["buckets"]["largest_bucket"] > 16
    assert m.extra["pairs"]["proposed"] < 100 * 99 / 2
    assert m.extra["alarms"] == ["a"]
    assert m.extra["clusters"]["top"][0]["documents"] == 100


def test_removal_follows_the_banding_formula(tmp_path):
    """Share of pairs removed at J of about .72, .8, .9 against 1 - (1 - J^r)^b, within four binomial deviations."""
    rng = random.Random(11)
    rows, truth = [], {}
    for i in range(450):
        base, changes = words(1000 + i, 300), (3, 7, 11)[i % 3]
        other = list(base)
        for at in rng.sample(range(2, 298, 6), changes):
            other[at] = f"q{i % 7}x"
        rows += [("a", f"{i}a", " ".join(base) + " ."), ("a", f"{i}b", " ".join(other))]
        one, two = ({tuple(w[k : k + 5]) for k in range(296)} for w in (base, other))
        truth[f"{i}b"] = len(one & two) / len(one | two)
    dedup(tmp_path, rows, threshold=0.5)
    gone = dropped(tmp_path / "out")
    config = DedupConfig()
    for low, high in ((0.5, 0.75), (0.75, 0.85), (0.85, 1.0)):
        here = [o for o, j in truth.items() if low <= j < high]
        assert len(here) >= 100
        p = [detection(truth[o], config) for o in here]
        found = sum(o in gone for o in here)
        assert abs(found - sum(p)) <= 4 * sum(x * (1 - x) for x in p) ** 0.5 + 1
    for origin, row in gone.items():
        assert row["score"] == pytest.approx(truth[origin])


@pytest.mark.parametrize(
    ("settings", "words"),
    [
        ({"treshold": 0.8}, "unknown key; did you mean 'threshold'"),
        ({"threshold": 0}, "dedup.threshold"),
        ({"order": ["id", "id"]}, "must name each criterion once"),
        ({"order": ["quality"]}, "quality_key must name a key"),
        ({"scope": "web"}, "dedup.scope"),
    ],
)
def test_refuses(settings, words):
    with pytest.raises(ConfigError, match=words):
        DedupConfig.load(settings, where="dedup")
