import math

import pytest
from hypothesis import given
from hypothesis import strategies as st

from fasttrain.core.errors import ConfigError
from fasttrain.mixture.plan import Mixture, MixtureConfig, plan

NAMES = st.text("abcdefgh", min_size=1, max_size=4)
SIZES = st.dictionaries(NAMES, st.integers(1, 10**12), min_size=1, max_size=12)


def test_by_hand():
    mixed = plan(MixtureConfig(), {"web": 600, "code": 300, "law": 100}, 1000)
    assert mixed.tokens == {"web": 600, "code": 300, "law": 100}
    assert mixed.weights == pytest.approx({"web": 0.6, "code": 0.3, "law": 0.1})
    assert mixed.epochs == {"web": 1.0, "code": 1.0, "law": 1.0}
    assert mixed.warnings == ()


def test_temperature_goes_from_size_to_alike():
    sizes = {"a": 10_000, "b": 100}
    assert plan(MixtureConfig(temperature=0), sizes, 100).tokens == {"a": 50, "b": 50}
    half = plan(MixtureConfig(temperature=0.5), sizes, 1100).tokens  # roots 100 and 10: shares 10/11 and 1/11
    assert half == {"a": 1000, "b": 100}


def test_a_capped_source_gives_its_share_to_the_others_by_weight():
    config = MixtureConfig(weights={"a": 1, "b": 1, "c": 2}, max_epochs=2)
    mixed = plan(config, {"a": 10, "b": 10_000, "c": 10_000}, 400)
    assert mixed.tokens["a"] == 20
    assert mixed.tokens["b"] == pytest.approx(380 / 3, abs=1)
    assert mixed.tokens["c"] == pytest.approx(760 / 3, abs=1)
    assert [w for w in mixed.warnings if w.startswith("a: capped at 2.00 epochs, weight 0.2500 became 0.0500")]


def test_too_little_text_is_repeated_evenly_and_said():
    mixed = plan(MixtureConfig(weights={"a": 9, "b": 1}, max_epochs=3), {"a": 100, "b": 300}, 4000)
    assert mixed.epochs == {"a": 10.0, "b": 10.0}
    assert any("each is seen 10.0 times, more than max_epochs = 3" in w for w in mixed.warnings)


def test_repeats_past_their_worth_are_said():
    mixed = plan(MixtureConfig(weights={"a": 1, "b": 1}, max_epochs=20), {"a": 10, "b": 1000}, 200)
    assert any(w.startswith("a: seen 10.0 times") for w in mixed.warnings)
    assert not any(w.startswith("b:") for w in mixed.warnings)


@given(SIZES, st.integers(1, 10**13), st.floats(0, 1), st.floats(0.1, 50), st.data())
def test_properties(sizes, total, temperature, max_epochs, data):
    names = sorted(sizes)
    given_weights = data.draw(
        st.none()
        | st.fixed_dictionaries({n: st.floats(0, 1e6) for n in names}).filter(lambda w: any(v > 0 for v in w.values()))
    )
    config = MixtureConfig(weights=given_weights, temperature=temperature, max_epochs=max_epochs)
    mixed = plan(config, sizes, total)
    assert math.fsum(mixed.weights.values()) == pytest.approx(1.0, rel=1e-12)
    assert all(w > 0 for w in mixed.weights.values())
    assert sum(mixed.tokens.values()) == total
    assert set(mixed.weights) == set(mixed.tokens) == set(mixed.epochs)
    room = {s: max_epochs * sizes[s] for s in mixed.weights}
    if total <= sum(room.values()):
        for s in mixed.weights:  # one token of rounding, and the rounding of the shares
            assert mixed.tokens[s] <= room[s] + 1 + 1e-9 * total
    else:
        assert max(mixed.epochs.values()) <= total / sum(sizes[s] for s in mixed.weights) + 2 / min(sizes.values())
    assert Mixture.load(mixed.to_dict()) == mixed


@given(SIZES, st.integers(1, 10**10))
def test_an_uncapped_mixture_keeps_the_given_proportions(sizes, total):
    weights = {s: 1.0 + i for i, s in enumerate(sorted(sizes))}
    mixed = plan(MixtureConfig(weights=weights, max_epochs=1e300), sizes, total)
    for s in sizes:
        assert mixed.weights[s] == pytest.approx(weights[s] / sum(weights.values()), rel=1e-12)


def test_sources_left_out_are_said():
    mixed = plan(MixtureConfig(weights={"a": 1}), {"a": 10, "b": 5, "c": 0}, 10)
    assert mixed.weights == {"a": 1.0}
    assert mixed.warnings == ("c: holds no tokens, so it is left out", "b: has no weight, so it is left out")


@pytest.mark.parametrize(
    ("weights", "words"),
    [
        ({"a": 1, "cod": 1}, r"mixture\.weights\.cod: must name a source of the lake, which has a, code, empty"),
        ({"a": 1, "empty": 1}, r"mixture\.weights\.empty: this source holds no tokens"),
        ({"a": -1}, "every weight must be a number >= 0"),
        ({"a": 0}, "at least one weight must be > 0"),
    ],
)
def test_refuses(weights, words):
    with pytest.raises(ConfigError, match=words):
        plan(MixtureConfig.load({"weights": weights}, where="mixture"), {"a": 9, "code": 9, "empty": 0}, 10)


def test_refuses_nothing_to_mix():
    with pytest.raises(ConfigError, match="at least one source must hold tokens"):
        plan(MixtureConfig(), {"a": 0}, 10)
    with pytest.raises(ConfigError, match="training tokens must be > 0"):
        plan(MixtureConfig(), {"a": 1}, 0)
