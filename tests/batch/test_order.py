import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from batch.made_shards import shard
from fasttrain.batch.order import IGNORED, BatchConfig, Order
from fasttrain.batch.permute import permute, subkeys
from fasttrain.core.errors import ConfigError

SHARDS = {
    "web": shard([7, 30, 1, 12, 5, 5, 90, 3], "web", 10_000),
    "code": shard([40, 2, 2, 11], "code", 20_000, np.uint16),
    "law": shard([64], "law", 30_000),
}
WEIGHTS = {"web": 0.5, "code": 0.3, "law": 0.2}
PACKINGS = pytest.mark.parametrize("packing", ["concat", "best_fit"])


def order(packing="concat", weights=None, **options):
    return Order(SHARDS, weights or WEIGHTS, BatchConfig(seq_len=16, global_batch=12, packing=packing, **options))


def same(a, b):
    return all(np.array_equal(getattr(a, n), getattr(b, n)) for n in ("tokens", "targets", "segments", "sources"))


@PACKINGS
@pytest.mark.parametrize("ranks", [1, 2, 3, 4, 6, 12])
def test_every_rank_count_reads_the_same_global_batch(packing, ranks):
    o = order(packing)
    for step in (0, 1, 57):
        whole = o.batch(step)
        parts = [o.batch(step, slice(12 * r // ranks, 12 * (r + 1) // ranks)) for r in range(ranks)]
        for name in ("tokens", "targets", "segments", "sources"):
            np.testing.assert_array_equal(np.concatenate([getattr(p, name) for p in parts]), getattr(whole, name))


@PACKINGS
def test_a_step_does_not_depend_on_the_steps_before(packing):
    walked = order(packing)
    batches = [walked.batch(step) for step in range(30)]
    for step in (29, 3, 17):
        assert same(order(packing).batch(step), batches[step])
    assert not same(batches[0], batches[1])


def in_slot_order(o, steps):
    """(source, sequence) of each slot of the first steps, one after another."""
    drawn = []
    for step in range(steps):
        place = permute(np.arange(12), 12, subkeys(o._row_key, np.array([step])))
        drawn.append(np.stack(o._drawn(step, np.argsort(place)), axis=1))
    return np.concatenate(drawn)


@PACKINGS
def test_seed_changes_the_order_and_weights_do_not_reshuffle_a_source(packing):
    assert not same(order(packing).batch(0), order(packing, seed=1).batch(0))
    laws = []
    for weights in (WEIGHTS, {"web": 0.1, "code": 0.1, "law": 0.8}):
        drawn = in_slot_order(order(packing, weights), 30)
        laws.append(drawn[drawn[:, 0] == 1, 1].tolist())  # source names are in name order: code, law, web
    few, many = sorted(laws, key=len)
    assert 50 < len(few) < len(many)
    assert many[: len(few)] == few


@PACKINGS
def test_every_sequence_of_an_epoch_comes_exactly_once(packing):
    o = order(packing, {"web": 1.0})
    n = o.num_sequences["web"]
    steps = n  # 12 rows a step: 12 epochs, which end in the middle of steps
    drawn = in_slot_order(o, steps)[:, 1]
    for epoch in range(len(drawn) // n):
        np.testing.assert_array_equal(np.sort(drawn[epoch * n : (epoch + 1) * n]), np.arange(n))
    assert not np.array_equal(drawn[:n], drawn[n : 2 * n]), "each epoch has its own order"


@PACKINGS
def test_an_epoch_of_tokens(packing):
    """Inputs and targets of one epoch hold the shard's tokens: all of them, each as often as the packing says."""
    o = Order({"web": SHARDS["web"]}, {"web": 1}, BatchConfig(seq_len=16, global_batch=1, packing=packing))
    n = o.num_sequences["web"]
    for epoch in (0, 3):
        inputs, targets = [], []
        for step in range(epoch * n, (epoch + 1) * n):
            b = o.batch(step)
            scored = b.targets[0] != IGNORED
            assert not scored[np.argmin(scored) :].any() or scored.all(), "padding is at the end"
            inputs += b.tokens[0][b.tokens[0] > 0].tolist()
            targets += b.targets[0][scored].tolist()
            np.testing.assert_array_equal(b.tokens[0, 1:][scored[:-1]], b.targets[0, :-1][scored[:-1]])
        tokens = SHARDS["web"].tokens.tolist()
        if packing == "concat":
            assert sorted(targets) == tokens[1:]
            assert len(set(inputs)) == len(inputs)
        else:
            assert len(set(targets)) == len(targets)
            assert sorted({*inputs, *targets}) == tokens


@PACKINGS
def test_segments_are_documents(packing):
    """Against brute force: two places are in one segment exactly when one document holds both tokens."""
    o = order(packing)
    for step in range(20):
        b = o.batch(step)
        for row in range(12):
            s = SHARDS[o.source_names[b.sources[row]]]
            real = b.tokens[row] > 0
            docs = np.searchsorted(s.offsets, b.tokens[row][real].astype(np.int64) - int(s.tokens[0]), "right") - 1
            segments = b.segments[row]
            np.testing.assert_array_equal(segments[real][:, None] == segments[real], docs[:, None] == docs)
            assert (np.diff(segments) >= 0).all()
            assert segments[0] == 0
            if not real.all():
                assert (segments[~real] == segments[real].max() + 1).all()


@PACKINGS
def test_a_step_gives_its_documents(packing):
    """Each row's spans, read from the shards, are the row's window."""
    o = order(packing)
    for step in (0, 5, 1000):
        b, spans = o.batch(step), o.documents(step)
        for row in range(12):
            window = []
            for span in (s for s in spans if s.row == row):
                s = SHARDS[span.source]
                doc = next(i for i in range(s.num_docs) if s.doc_ids[i].tobytes().hex() == span.doc_id)
                first = s.offsets[doc] + span.start
                assert 0 < span.length <= s.offsets[doc + 1] - first
                window += s.tokens[first : first + span.length].tolist()
                assert span.source == o.source_names[b.sources[row]]
            inputs, targets = b.tokens[row], b.targets[row]
            assert window[:16] == inputs[inputs > 0].tolist()
            assert window[1:] == targets[targets != IGNORED].tolist()


@PACKINGS
@pytest.mark.parametrize("at_once", [5, 1 << 18])
def test_a_document_gives_its_steps(packing, at_once, monkeypatch):
    monkeypatch.setattr("fasttrain.batch.order._SLOTS", at_once)
    o = order(packing)
    held = [{span.doc_id for span in o.documents(step)} for step in range(40)]
    every = {row.tobytes().hex() for s in SHARDS.values() for row in s.doc_ids}
    for wanted in (every, set(sorted(every)[::3]), {"0" * 32}, set()):
        expected = {doc_id: [step for step, docs in enumerate(held) if doc_id in docs] for doc_id in wanted}
        assert o.batches_of(wanted, 40) == expected
    assert all(not steps for steps in o.batches_of(every, 0).values())


@settings(max_examples=30)
@given(st.integers(0, 10**6))
def test_counts_match_the_weights_at_any_step(step):
    o = order()
    epochs = o.epochs(step)
    for s, w in WEIGHTS.items():
        assert abs(epochs[s] * o.num_sequences[s] - w * step * 12) < 1 + 1e-8 * step * 12
    after = o.epochs(step + 1)
    drawn = np.bincount(o.batch(step).sources, minlength=3)
    for i, s in enumerate(o.source_names):
        assert round((after[s] - epochs[s]) * o.num_sequences[s]) == drawn[i]


def test_all_sources_reach_all_rows():
    seen = np.stack([order().batch(step).sources for step in range(60)])
    for row in range(12):
        assert set(seen[:, row].tolist()) == {0, 1, 2}


def test_a_replica_without_rows_gets_an_empty_batch():
    assert order("best_fit").batch(3, slice(5, 5)).tokens.shape == (0, 16)


def test_documents_without_tokens_do_no_harm():
    s = {"s": shard([0, 5, 0, 0, 6, 0], "s")}
    o = Order(s, {"s": 1}, BatchConfig(seq_len=10, global_batch=1, packing="concat"))
    b = o.batch(0)
    assert len(set(b.segments[0, :5].tolist())) == 1
    assert b.segments[0, 5] > b.segments[0, 4]
    assert [(d.doc_id[:2], d.start, d.length) for d in o.documents(0)] == [("01", 0, 5), ("04", 0, 6)]


def test_fingerprint_tells_orders_apart():
    prints = [
        order().fingerprint,
        order(seed=1).fingerprint,
        order("best_fit").fingerprint,
        order(weights={"web": 1}).fingerprint,
        Order(SHARDS, WEIGHTS, order().config, data_fingerprint="other").fingerprint,
    ]
    assert len(set(prints)) == 5
    assert order().fingerprint == prints[0]
    assert order(weights={k: 7 * w for k, w in WEIGHTS.items()}).source_names == ("code", "law", "web")


@pytest.mark.parametrize(
    ("weights", "words"),
    [
        ({"web": 1, "cod": 1}, "order: cod has a weight but no token shard; there are code, empty, law, web"),
        ({"web": -1.0}, "order: the weight of web must be a number >= 0"),
        ({"web": float("nan")}, "order: the weight of web must be a number >= 0"),
        ({"web": 0}, "order: at least one source must have a weight > 0"),
        ({"empty": 1}, "order: empty must hold at least 2 tokens, got 0"),
    ],
)
def test_refuses(weights, words):
    with pytest.raises(ConfigError, match=words):
        Order({**SHARDS, "empty": shard([], "empty")}, weights, BatchConfig())


def test_refuses_a_step_below_zero_and_unknown_keys():
    with pytest.raises(ValueError, match="order: step must be >= 0, got -1"):
        order().batch(-1)
    with pytest.raises(ConfigError, match=r"batch\.seq_length: unknown key; did you mean 'seq_len'"):
        BatchConfig.load({"seq_length": 8}, where="batch")
