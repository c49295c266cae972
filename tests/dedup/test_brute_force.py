"""5,000 documents, every pair of which is compared: what the stage removed, and what it left."""

import json
import random
from collections import Counter, defaultdict

import pytest

from dedup.documents import documents_of
from dedup.stages import WORDS, dedup, dropped
from fasttrain.dedup.config import DedupConfig, detection

DOCUMENTS, NGRAM = 5000, 5
CONFIG = DedupConfig()
BOILERPLATE = WORDS[:30]


def edited(draws, base):
    """The words after some edits: words replaced, put before, taken out, the parts turned round."""
    words = list(base)
    for _ in range(draws.choice((0, 1, 1, 2, 3, 5, 8))):
        at = draws.randrange(len(words))
        words[at : at + draws.choice((0, 1, 4))] = draws.choices(WORDS, k=draws.choice((0, 1, 6)))
    if draws.random() < 0.2:
        at = draws.randrange(len(words))
        words = words[at:] + words[:at]
    return words


def corpus():
    draws = random.Random(20261125)
    rows = []
    while len(rows) < DOCUMENTS:
        base = draws.choices(WORDS, k=draws.choice((40, 80, 160)))
        for _ in range(draws.choice((1, 1, 2, 3, 6))):
            words = edited(draws, base) + (BOILERPLATE if draws.random() < 0.3 else [])
            rows.append((f"s{len(rows) % 3}", f"o{len(rows)}", " ".join(words)))
    return rows[:DOCUMENTS]


ROWS = corpus()


def similar_pairs():
    """{(i, j): exact Jaccard} of every pair that shares a shingle beyond those of the boilerplate, i < j."""
    shingles = []
    for _, _, text in ROWS:
        words = text.split()
        shingles.append({tuple(words[k : k + NGRAM]) for k in range(len(words) - NGRAM + 1)})
    holders = defaultdict(list)
    for i, held in enumerate(shingles):
        for shingle in held:
            holders[shingle].append(i)
    common = defaultdict(int)
    for held in holders.values():
        if len(held) < 500:  # the boilerplate's 26 shingles: 26 of at least 50 are no duplicate without another
            for a, i in enumerate(held):
                for j in held[a + 1 :]:
                    common[i, j] += 1
    return {(i, j): len(shingles[i] & shingles[j]) / len(shingles[i] | shingles[j]) for i, j in common}


@pytest.fixture(scope="module")
def pairs():
    return similar_pairs()


@pytest.fixture(scope="module")
def folder(tmp_path_factory):
    base = tmp_path_factory.mktemp("brute")
    dedup(base, ROWS, parts=3)
    return base


def test_whatever_goes_is_as_alike_as_said_to_a_document_that_stays(folder, pairs):
    number = {origin: i for i, (_, origin, _) in enumerate(ROWS)}
    texts = Counter(text for _, _, text in ROWS)
    kept = {d["origin"] for d in documents_of(folder / "out")}
    gone = dropped(folder / "out")
    assert len(kept) + len(gone) == DOCUMENTS
    assert kept.isdisjoint(gone)
    assert 500 < len(gone) < 4000
    for origin, row in gone.items():
        evidence = json.loads(row["evidence"])
        survivor = evidence["survivor_origin"]
        assert survivor in kept
        i, j = sorted((number[origin], number[survivor]))
        assert pairs[i, j] == pytest.approx(row["score"], abs=1e-12)
        assert pairs[i, j] >= CONFIG.threshold
        if row["reason"] == "exact":  # its copy stays, or went for the same survivor
            assert texts[ROWS[number[origin]][2]] > 1
            assert ("same_text_as" in evidence) == (ROWS[i][2] != ROWS[j][2])


def test_no_more_duplicates_stay_than_banding_misses(folder, pairs):
    kept = {d["origin"] for d in documents_of(folder / "out")}
    alike = {(ROWS[i][1], ROWS[j][1]): jaccard for (i, j), jaccard in pairs.items() if jaccard >= CONFIG.threshold}
    left = sum(a in kept and b in kept for a, b in alike)
    missed = [1 - detection(jaccard, CONFIG) for jaccard in alike.values()]
    deviation = sum(p * (1 - p) for p in missed) ** 0.5
    assert len(alike) > 1000
    assert left <= sum(missed) + 4 * deviation


def test_the_order_of_the_input_changes_nothing(folder):
    rows = list(ROWS)
    random.Random(3).shuffle(rows)
    dedup(folder, rows, parts=2, name="shuffled")
    first, second = folder / "out", folder / "shuffled"
    assert sorted(map(str, documents_of(first))) == sorted(map(str, documents_of(second)))
    stable = ("origin", "reason", "score", "evidence")
    told = [{o: [row[k] for k in stable] for o, row in dropped(f).items()} for f in (first, second)]
    assert told[0] == told[1]


def test_documents_of_one_name_are_in_one_order_wherever_they_lie(tmp_path):
    """Two dumps of one page: one doc_id, texts of one length."""
    words = [f"{a}{b}{a}" for a in "abcdefgh" for b in "klmnopqr"]
    rows = [("s", "page", " ".join([*words, last])) for last in ("aaaa", "bbbb", "cccc")]
    kept = []
    for k, some in enumerate([rows, rows[::-1], [rows[1], rows[0], rows[2]]]):
        dedup(tmp_path, some, parts=1 + k, name=f"out{k}")
        kept.append([d["text"] for d in documents_of(tmp_path / f"out{k}")])
    assert len(kept[0]) == 1
    assert kept[0] == kept[1] == kept[2]
