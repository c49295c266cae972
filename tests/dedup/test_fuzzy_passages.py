"""Near copies of paragraphs and lines: whatever goes is a verified near copy of one that stays, and few are missed."""

import json
import random

import numpy as np
import pytest

from dedup.documents import documents_of, ledger_of
from dedup.stages import WORDS
from dedup.test_passages import cut
from fasttrain.core.errors import ConfigError
from fasttrain.dedup.config import BEST_OF_BUCKET, detection
from fasttrain.dedup.passages_config import FuzzyPassages, PassagesConfig

NGRAM = FuzzyPassages().ngram


def shingles(paragraph):
    words = paragraph.split()
    return {tuple(words[k : k + NGRAM]) for k in range(len(words) - NGRAM + 1)}


def jaccard(a, b):
    a, b = shingles(a), shingles(b)
    return len(a & b) / len(a | b)


def sentence(seed, length=24):
    return " ".join(random.Random(seed).choices(WORDS, k=length))


def changed(paragraph, place):
    words = paragraph.split()
    words[place] = "changed"
    return " ".join(words)


def near_of(folder, name="out"):
    """What the ledger says of near copies: (origin, begin) to the evidence."""
    return {
        (r["origin"], n["begin"]): n
        for r in ledger_of(folder / name)
        for n in json.loads(r["evidence"]).get("near", [])
    }


def test_a_near_copy_goes_and_the_ledger_says_for_what(tmp_path):
    first = sentence(1)
    second = changed(first, 0)  # 1 of 22 shingles: J = 21 / 23
    third = changed(second, 23)  # J = 21 / 23 to the second, 20 / 24 to the first
    other = changed(changed(changed(first, 4), 11), 18)  # 9 of 22: J = 13 / 31
    rows = [
        ("s", "a", f"own a\n\n{first}\n\ntail a"),
        ("s", "b", f"{second}\r\n\r\nown b"),
        ("s", "c", f"own c\n\n{third}"),
        ("s", "d", f"own d\n\n{other}"),
        ("t", "e", f"own e\n\n{second}"),
    ]
    m, found = cut(tmp_path, rows, fuzzy={})
    assert found == {"a": rows[0][2], "b": "own b", "c": "own c\n\n", "d": rows[3][2], "e": rows[4][2]}
    near = near_of(tmp_path)
    assert near.keys() == {("b", 0), ("c", 7)}
    assert near["b", 0]["score"] == 21 / 23
    assert near["c", 7]["score"] == 20 / 24
    stays = [(n["survivor_origin"], n["survivor_begin"]) for n in near.values()]
    assert stays == [("a", 7), ("a", 7)]
    assert near["c", 7]["end"] == 7 + len(third)
    assert {r["reason"] for r in ledger_of(tmp_path / "out") if r["decision"] == "edited"} == {"passages:fuzzy"}
    assert m.extra["sources"]["s"]["bytes_fuzzy"] == len(second) + 4 + len(third)
    assert (m.extra["rules"], m.extra["fuzzy"]["cuts"], m.extra["fuzzy"]["units"]) == (["fuzzy"], 2, 5)
    _, found = cut(tmp_path, rows, "global", scope="global", fuzzy={})
    assert found["e"] == "own e\n\n"
    m, found = cut(tmp_path, rows, "exempt", scope="global", exempt=["s"], fuzzy={})
    assert found == {o: t for _, o, t in rows}
    assert m.extra["fuzzy"]["units"] == 1


def test_a_chain_does_not_go_for_what_went(tmp_path):
    """Each paragraph is like the one before; a removed one justifies no removal."""
    chain = [sentence(2, 40)]
    for i in range(6):
        chain.append(changed(chain[-1], 6 * i))
    rows = [("s", f"o{i}", f"own\n\n{p}") for i, p in enumerate(chain)]
    alike = [[jaccard(a, b) >= 0.8 for b in chain] for a in chain]
    stays = []
    for i in range(len(chain)):
        if not any(alike[i][j] for j in stays):
            stays.append(i)
    assert 1 < len(stays) < len(chain)
    _, found = cut(tmp_path, rows, fuzzy={"bands": 64, "rows": 2})
    assert [i for i in range(len(chain)) if chain[i] in found[f"o{i}"]] == stays
    for (origin, _), near in near_of(tmp_path).items():
        i, j = int(origin[1:]), int(near["survivor_origin"][1:])
        assert j == min(k for k in stays if alike[i][k])
        assert near["score"] == jaccard(chain[i], chain[j])


def test_short_ones_and_those_of_one_document_stay(tmp_path):
    first = sentence(3)
    rows = [
        ("s", "a", f"{first}\n\n{changed(first, 0)}"),
        ("s", "b", f"own\n\n{sentence(4, 19)}"),
        ("s", "c", sentence(4, 19)),
    ]
    _, found = cut(tmp_path, rows, fuzzy={})
    assert found == {o: t for _, o, t in rows}
    _, found = cut(tmp_path, rows, "words", fuzzy={"min_words": 19})
    assert "c" not in found  # nothing was left of it


def test_lines_may_be_compared_instead(tmp_path):
    first = sentence(5)
    rows = [("s", "a", f"x\n{first}\ny"), ("s", "b", f"z\n{changed(first, 0)}\nw"), ("s", "c", "q")]
    _, found = cut(tmp_path, rows, fuzzy={"unit": "line"})
    assert found == {"a": rows[0][2], "b": "z\nw", "c": "q"}
    _, found = cut(tmp_path, rows, "paragraphs", fuzzy={})
    assert (
        found["b"] == rows[1][2] if jaccard(f"x {first} y", f"z {changed(first, 0)} w") < 0.8 else "z" not in found["b"]
    )


def test_containment_cuts_an_excerpt(tmp_path):
    first = sentence(6, 60)
    excerpt = " ".join(first.split()[:45])  # J = 43 / 58, contained whole
    rows = [("s", "a", first), ("s", "b", f"own\n\n{excerpt}")]
    many = {"bands": 32, "rows": 2}
    assert cut(tmp_path, rows, fuzzy=many)[1]["b"] == rows[1][2]
    assert cut(tmp_path, rows, "contained", fuzzy={**many, "verify": "containment"})[1]["b"] == "own\n\n"
    assert near_of(tmp_path, "contained")["b", 5]["score"] == 1


def test_no_exact_cut_points_at_what_went_as_a_near_copy(tmp_path):
    """b's paragraph goes for a's; c holds a line and a long string of b's, which must not go for what is gone."""
    first = sentence(7, 60)
    second = " ".join([*first.split()[:-2], "two", "others"])
    own = " ".join(second.split()[20:])  # of second only with its end: under the threshold to both
    rows = [
        ("s", "a", first),
        ("s", "b", f"own b\n\n{second}"),
        ("s", "c", f"own c\n\nx {own} y"),
        ("s", "d", f"own d\n\n{own}"),
    ]
    _, found = cut(tmp_path, rows, fuzzy={}, substring=True, min_bytes=16, whole_words=False)
    assert "two others" not in found["a"] + found["b"]
    assert "two others" in found["c"]
    assert "two others" not in found["d"]
    for row in ledger_of(tmp_path / "out"):
        assert json.loads(row["evidence"]).get("survivor_origin") != "b"


@pytest.mark.parametrize(
    ("values", "said"),
    [
        ({"min_words": 2}, "min_words must be at least ngram, got 2 and 3"),
        ({"threshold": 0}, "passages.fuzzy.threshold"),
        ({"threshold": 1.2}, "passages.fuzzy.threshold"),
        ({"bands": 65}, "passages.fuzzy.bands"),
        ({"unit": "sentence"}, "passages.fuzzy.unit"),
        ({"treshold": 0.5}, "threshold"),
    ],
)
def test_bad_settings_are_refused(values, said):
    with pytest.raises(ConfigError, match=said):
        PassagesConfig.load({"fuzzy": values}, where="passages")


def test_an_oversized_bucket_is_capped_and_reported(tmp_path):
    first = sentence(8, 30)
    rows = [("s", f"o{i}", f"own {WORDS[i]}\n\n{first}") for i in range(12)]
    m, found = cut(tmp_path, rows, fuzzy={"max_bucket": 5})
    assert sum(first in t for t in found.values()) == 1
    assert m.extra["fuzzy"]["buckets"]["oversized_buckets"] == FuzzyPassages().bands
    assert m.extra["fuzzy"]["buckets"]["largest_bucket"] == 12
    pairs = sum(min(i, BEST_OF_BUCKET) for i in range(12))
    assert m.extra["fuzzy"]["pairs"] == {"proposed": pairs, "verified": pairs, "rejected": 0}


def corpus():
    """Some thousand paragraphs in documents of two sources; most have near copies at random distances."""
    draws = random.Random(20261127)
    paragraphs = []
    while len(paragraphs) < 3000:
        base = draws.choices(WORDS, k=draws.choice((24, 40, 80)))
        for _ in range(draws.choice((1, 2, 3, 4, 5))):
            words = list(base)
            for _ in range(draws.choice((0, 1, 1, 1, 2, 4))):
                at = draws.randrange(len(words))
                words[at : at + draws.choice((0, 1, 3))] = draws.choices(WORDS, k=draws.choice((0, 1, 2)))
            paragraphs.append(" ".join(words))
    draws.shuffle(paragraphs)
    rows, at = [], 0
    while at < len(paragraphs):
        size = draws.choice((1, 2, 4, 8))
        rows.append((f"s{len(rows) % 7 % 2}", f"o{len(rows)}", "\n\n".join(["own", *paragraphs[at : at + size]])))
        at += size
    return rows


ROWS = corpus()


@pytest.fixture(scope="module")
def folder(tmp_path_factory):
    base = tmp_path_factory.mktemp("fuzzy")
    cut(base, ROWS, "out", 3, fuzzy={"bands": 10, "rows": 8})  # a banding that misses some
    return base


@pytest.fixture(scope="module")
def pairs():
    """{((origin, begin) earlier, (origin, begin) later): Jaccard} of pairs of a scope that may be compared."""
    places = []
    for i, (source, origin, text) in enumerate(ROWS):
        begin = 0
        for paragraph in text.split("\n\n"):
            if len(paragraph.split()) >= 20:
                places.append((i, source, (origin, begin), shingles(paragraph)))
            begin += len(paragraph) + 2
    holders, found = {}, {}
    for k, (i, source, place, held) in enumerate(places):
        common = {}
        for s in held:
            for j in holders.setdefault(s, []):
                common[j] = common.get(j, 0) + 1
            holders[s].append(k)
        for j, n in common.items():
            if places[j][0] != i and places[j][1] == source:
                found[places[j][2], place] = n / (len(held) + len(places[j][3]) - n)
    return found


def test_every_cut_is_verified_against_a_paragraph_that_stays(folder, pairs):
    near = near_of(folder, "out")
    assert 400 < len(near) < 2000
    earlier = {}
    for (a, b), similarity in pairs.items():
        if similarity >= 0.8 and a not in near:
            earlier.setdefault(b, {})[a] = similarity
    for place, said in near.items():
        survivor = (said["survivor_origin"], said["survivor_begin"])
        assert survivor not in near
        assert said["score"] == pytest.approx(pairs[survivor, place], abs=1e-12)
        assert survivor in earlier[place]
    texts = {d["origin"]: d["text"] for d in documents_of(folder / "out")}
    for _, origin, text in ROWS:
        gone = [(b, n["end"]) for (o, b), n in near.items() if o == origin]
        want, at = "", 0
        for begin, end in sorted(gone):
            want, at = want + text[at:begin], min(end + 2, len(text))
        assert texts[origin] == want + text[at:]


def test_no_more_stay_than_banding_misses(folder, pairs):
    config = FuzzyPassages(bands=10, rows=8).search("domain", 1 << 22)
    near = near_of(folder, "out")
    alike = {p: s for p, s in pairs.items() if s >= 0.8}
    left = sum(a not in near and b not in near for a, b in alike)
    missed = [1 - detection(s, config) for s in alike.values()]
    assert len(alike) > 500
    assert left <= sum(missed) + 4 * sum(p * (1 - p) for p in missed) ** 0.5
    assert sum(missed) > 10  # so that the bound is of something


@pytest.mark.parametrize(("name", "parts", "more"), [("whole", 1, {}), ("small", 7, {"memory_records": 256})])
def test_parts_and_memory_change_nothing(folder, name, parts, more):
    m, _ = cut(folder, ROWS, name, parts, fuzzy={"bands": 10, "rows": 8}, **more)
    assert documents_of(folder / name) == documents_of(folder / "out")
    assert ledger_of(folder / name) == ledger_of(folder / "out")
    assert np.isfinite([c["score"] for c in m.extra["fuzzy"]["closest_rejected"]]).all()


def test_threads_change_nothing(folder, monkeypatch):
    monkeypatch.setenv("FASTTRAIN_THREADS", "3")
    cut(folder, ROWS, "threads", 3, fuzzy={"bands": 10, "rows": 8})
    assert ledger_of(folder / "threads") == ledger_of(folder / "out")
