import numpy as np
import pytest

from fasttrain.dedup.sketch import family, sketch
from fasttrain.text.shingle_ref import mix64

OP = "sketch"


def sets_of(lengths, seed=970317):
    rng = np.random.default_rng(seed)
    offsets = np.concatenate([[0], np.cumsum(lengths)]).astype(np.int64)
    return rng.integers(0, 2**64, offsets[-1], dtype=np.uint64), offsets


@pytest.mark.parametrize("num_hashes", [1, 7, 8, 15, 16, 17, 112, 128, 256])
@pytest.mark.parametrize("lengths", [[], [0], [1], [7, 0, 33], [5000]], ids=str)
def test_equals_reference(impl, lengths, num_hashes):
    case = sets_of(lengths)
    want = sketch(*case, num_hashes=num_hashes, impl="reference")
    np.testing.assert_array_equal(sketch(*case, num_hashes=num_hashes, impl=impl), want)


def test_known_answer(impl):
    """Worked by hand from the family's first function: the smaller of a * x + b mod 2**32."""
    a, b = (int(v[0]) for v in family(1, 0))
    assert (a, b) == (0xE220A839, 0x7B1DCDAF)  # SplitMix64 from 0: e220a8397b1dcdaf, the upper half made odd
    x = [3, 5 + (1 << 32), 2**64 - 1]
    want = min((a * (v % 2**32) + b) % 2**32 for v in x)
    got = sketch(np.array(x, np.uint64), np.array([0, 3]), num_hashes=1, impl=impl)
    assert got.tolist() == [[want]]


def test_multipliers_are_odd_and_prefixes_agree():
    a, b = family(300, 7)
    assert (a % 2 == 1).all()
    np.testing.assert_array_equal(family(112, 7)[0], a[:112])
    assert len(np.unique(b)) == 300


def test_order_repeats_and_merging_do_not_matter(impl):
    x, _ = sets_of([500])
    whole = sketch(x, np.array([0, 500]), impl=impl)
    mixed = np.concatenate([x[::-1], x[:100]])
    np.testing.assert_array_equal(sketch(mixed, np.array([0, 600]), impl=impl), whole)
    parts = sketch(x, np.array([0, 123, 500]), impl=impl)
    np.testing.assert_array_equal(parts.min(axis=0, keepdims=True), whole)


@pytest.mark.parametrize("jaccard", [0.0, 0.2, 0.5, 0.8, 0.95])
@pytest.mark.parametrize("union", [20, 200, 5000])
@pytest.mark.parametrize("structured", [False, True], ids=["random", "sequential"])
def test_estimator(impl, jaccard, union, structured):
    """Bias within four standard errors and spread within theory, over trials, for random and for sequential keys.

    Shingles are outputs of mix64 by contract; sequential inputs to it are the case where weak permutations fail.
    """
    if impl == "reference" and union == 5000:
        pytest.skip("bit for bit the same as the native ones, and slow")
    trials, num_hashes = 60, 112
    common = round(jaccard * union)
    half = (union - common) // 2
    truth = common / (common + 2 * half)
    rng = np.random.default_rng([union, common])
    errors = []
    for t in range(trials):
        if structured:
            start = t * 1_000_003
            keys = np.array([mix64(v) for v in range(start, start + union)], np.uint64)
        else:
            keys = rng.integers(0, 2**64, union, dtype=np.uint64)
        one, two = keys[: common + half], np.concatenate([keys[:common], keys[common + half : common + 2 * half]])
        offsets = np.array([0, len(one), len(one) + len(two)])
        sig = sketch(np.concatenate([one, two]), offsets, num_hashes=num_hashes, seed=t, impl=impl)
        errors.append(float((sig[0] == sig[1]).mean()) - truth)
    sigma = np.sqrt(truth * (1 - truth) / num_hashes)
    assert abs(np.mean(errors)) <= 4 * sigma / np.sqrt(trials) + 1e-12
    # Theory's spread plus 10 %, plus four relative standard errors 1 / sqrt(2 (trials - 1)) of a sample's spread.
    assert np.std(errors, ddof=1) <= sigma * (1.1 + 4 / np.sqrt(2 * (trials - 1))) + 1e-12


@pytest.mark.parametrize(
    ("shingles", "offsets", "options", "error", "words"),
    [
        (np.zeros(3, np.int64), np.array([0, 3]), {}, TypeError, "sketch: shingles must have dtype uint64, got int64"),
        (np.zeros(3, np.uint64), np.array([0, 4]), {}, ValueError, "offsets must rise from 0 to at most 3"),
        (
            np.zeros(3, np.uint64),
            np.array([0, 3]),
            {"num_hashes": 0},
            ValueError,
            "num_hashes must be at least 1, got 0",
        ),
        (np.zeros(3, np.uint64), np.array([0, 3]), {"seed": -1}, ValueError, "seed must fit in 64 bits, got -1"),
        (np.zeros(3, np.uint64), np.array([0, 3]), {"impl": "avx1024"}, ValueError, "'avx1024' cannot run here"),
    ],
)
def test_refuses(shingles, offsets, options, error, words):
    with pytest.raises(error, match=words):
        sketch(shingles, offsets, **options)
