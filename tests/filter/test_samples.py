"""Histograms and samples: sums and nearest documents, however documents are cut into batches."""

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from fasttrain.filter import histograms, samples
from fasttrain.filter.docket import Docket
from fasttrain.filter.family import Documents, Opinion
from fasttrain.filter.rules import Limit, Verdict
from fasttrain.filter.text_stats import NAMES
from fasttrain.text import columns
from filter.stages import documents

LIMITS = (Limit(high=0.5, top=1), Limit(low=2.0, high=4.0), None)


def batch_of(rows):
    """Documents of (source, value, value, list hit)."""
    of = documents([(f"text {i} a@b.example", row[0], f"o{i}", "") for i, row in rows])
    values = np.array([[*row[1:3], 1.0] for _, row in rows])
    fails = np.column_stack([LIMITS[0].fails(values[:, 0]), LIMITS[1].fails(values[:, 1]), [r[3] for _, r in rows]])
    docket = Docket(len(rows))
    n, text = len(rows), of.column("text")
    stats, edit = np.zeros((n, len(NAMES)), np.int64), np.zeros(n, np.uint8)
    view = Documents(of, text, [""] * n, stats, edit, columns.from_arrow(text), np.ones(n, np.bool_), 1)
    verdict = Verdict(("f:share", "f:mean", "url:domain"), values, fails, LIMITS)
    asked = np.array([row[0] != "unasked" for _, row in rows])
    docket.record(Opinion(verdict), view, asked)
    names = sorted({row[0] for _, row in rows})
    return docket, of, names, np.array([names.index(row[0]) for _, row in rows], np.int64)


ROWS = st.lists(
    st.tuples(st.sampled_from(["a", "b", "unasked"]), st.sampled_from([0.0, 0.25, 0.5, 0.75, 1.0]),
              st.sampled_from([0.0, 1.9, 2.0, 3.0, 4.0, 4.5, 90.0]), st.booleans()), min_size=1, max_size=30,
)  # fmt: skip


def gathered(batches, limit):
    counts, near = {}, samples.Samples(limit)
    for rows in batches:
        docket, of, names, code = batch_of(rows)
        histograms.count(docket, names, code, counts)
        near.add(docket, of)
    return counts, near.to_dict()


@given(ROWS, st.integers(1, 3), st.integers(1, 7))
def test_batches_and_parts_do_not_matter(rows, limit, size):
    numbered = list(enumerate(rows))
    cut = [numbered[i : i + size] for i in range(0, len(rows), size)]
    whole = gathered([numbered], limit)
    one = gathered(cut, limit)
    parts = [gathered([part], limit) for part in cut]
    assert samples.merge([whole[1]], limit) == samples.merge([one[1]], limit)
    assert samples.merge([p[1] for p in parts], limit) == samples.merge([whole[1]], limit)
    assert histograms.merge([p[0] for p in parts]) == histograms.merge([whole[0]]) == histograms.merge([one[0]])


@given(ROWS, st.integers(1, 3))
def test_against_brute_force(rows, limit):
    numbered = list(enumerate(rows))
    docket, of, *_ = batch_of(numbered)
    counts, near = gathered([numbered], limit)
    ids = [i.hex() for i in of.column("doc_id").to_pylist()]
    for r, (reason, rule) in enumerate(zip(docket.reasons, LIMITS)):
        sides = {"broken": [], "passed": []}
        for i, (source, *values, hit) in numbered_rows(numbered):
            if source == "unasked" or (hit and rule is not None):
                continue
            value = values[r] if rule is not None else 1.0
            ends = [] if rule is None else [e for e in (rule.low, rule.high) if e is not None]
            distance = min((abs(value - e) for e in ends), default=0.0)
            broken = hit if rule is None else bool(rule.fails(np.array([value]))[0])
            sides["broken" if broken else "passed"].append([distance, value, ids[i]])
        if rule is None:
            sides["passed"] = []
        wanted = {k: samples.nearest(v, limit) for k, v in sides.items() if v}
        assert near["near"].get(reason, {}) == wanted
        asked = [row for _, row in numbered if row[0] != "unasked"]
        assert sum(counts[reason]["asked"].values()) == len(asked)
        bins = counts[reason]["counts"]
        assert sum(map(sum, bins.values())) == (len(asked) if rule else 0)
    for i, (_, row) in enumerate(numbered):
        told = near["documents"].get(ids[i])
        assert told is None or told["text"] == ("" if row[3] else f"text {i} <EMAIL>")


def numbered_rows(numbered):
    return [(i, (row[0], row[1], row[2], row[3])) for i, row in numbered]


def test_nothing_is_kept_when_nothing_is_asked_for():
    assert gathered([[(0, ("a", 1.0, 1.0, True))]], 0)[1] == {"near": {}, "documents": {}}


@pytest.mark.parametrize(
    ("limit", "edges", "fails", "distance"),
    [
        (Limit(high=0.3, top=1), (0.0, 0.6), [False, False, True], [0.3, 0.0, 0.2]),
        (Limit(high=0.9, top=1), (0.0, 1.0), [False, False, False], [0.9, 0.6, 0.4]),
        (Limit(low=0.3), (0.0, 0.6), [True, False, False], [0.3, 0.0, 0.2]),
        (Limit(low=0.3, high=0.4), (0.0, 0.6), [True, False, True], [0.3, 0.0, 0.1]),
        (Limit(high=0), (0.0, 10.0), [False, True, True], [0.0, 0.3, 0.5]),
        (Limit(low=1, log=True), (0.0, 2.0**20), [True, True, True], [1.0, 0.7, 0.5]),
    ],
)
def test_limits(limit, edges, fails, distance):
    values = np.array([0.0, 0.3, 0.5])
    assert (limit.edges()[0], limit.edges()[-1]) == pytest.approx(edges)
    assert limit.fails(values).tolist() == fails
    assert limit.distance(values) == pytest.approx(distance)
