import json

import pytest

from fasttrain.core.errors import ConfigError
from fasttrain.filter.config import FilterConfig
from filter.fasttext_files import LABELS, model_bytes
from filter.stages import filtered

TEXTS = ["the höhle\nund die", "日本 lo x1 a of", "zebra of the", "a a a\n\nlo"]
ROWS = [(text, "web", str(i), "") for i, text in enumerate(TEXTS)]
SEED = 88


def config(family, **settings):
    profiles = {"l": [family]}
    return FilterConfig.load({family: settings, "default_profile": "l", "profiles": profiles})


@pytest.fixture
def base(tmp_path):
    (tmp_path / "model.bin").write_bytes(model_bytes(SEED, dim=4))
    return tmp_path


@pytest.fixture
def want(base):
    """Probabilities of the second label by fastText itself, from texts with their lines joined."""
    module = pytest.importorskip("fasttext")
    model = module.load_model(str(base / "model.bin"))
    found = [dict(zip(*model.predict(text.replace("\n", " "), k=len(LABELS)))) for text in TEXTS]
    return [float(probs[LABELS[1]]) for probs in found]


def test_quality_drops_below_the_threshold(base, want):
    threshold = sorted(want)[2]
    settings = config("quality", enabled=True, model="model.bin", label=LABELS[1], threshold=threshold)
    manifest, kept, decisions = filtered(base, ROWS, settings, base)
    assert sorted(kept["origin"].to_pylist()) == sorted(str(i) for i, p in enumerate(want) if p >= threshold)
    assert manifest.report.dropped == {"quality:score": 2}
    for row in decisions:
        if row["decision"] == "dropped":
            assert row["reason"] == "quality:score"
            assert row["score"] == pytest.approx(want[int(row["origin"])], rel=1e-6)


def test_quality_in_tag_mode_writes_every_score(base, want):
    settings = config("quality", enabled=True, model="model.bin", label=LABELS[1], mode="tag", scores="all")
    _, kept, _ = filtered(base, ROWS, settings, base)
    for origin, meta in zip(kept["origin"].to_pylist(), kept["meta"].to_pylist()):
        assert json.loads(meta)["scores"]["quality:score"] == pytest.approx(want[int(origin)], rel=1e-6)


def test_safety_drops_above_the_threshold(base, want):
    threshold = sorted(want)[2]
    settings = config("safety", model="model.bin", label=LABELS[1], threshold=threshold)
    manifest, kept, _ = filtered(base, ROWS, settings, base)
    assert manifest.report.dropped == {"safety:score": 1}
    assert str(want.index(max(want))) not in kept["origin"].to_pylist()


def test_another_model_is_another_stage(base):
    settings = config("quality", enabled=True, model="model.bin", label=LABELS[1], threshold=0.0)
    first = filtered(base, ROWS, settings, base)[0]
    (base / "model.bin").write_bytes(model_bytes(SEED + 1, dim=4))
    scores = config(
        "quality", enabled=True, model="model.bin", label=LABELS[1], threshold=0.0, mode="tag", scores="all"
    )
    again = filtered(base / "other", ROWS, scores, base)
    assert first.report.kept == again[0].report.kept == len(ROWS)
    values = [json.loads(meta)["scores"]["quality:score"] for meta in again[1]["meta"].to_pylist()]
    module = pytest.importorskip("fasttext")
    model = module.load_model(str(base / "model.bin"))
    theirs = [dict(zip(*model.predict(text.replace("\n", " "), k=9)))[LABELS[1]] for text in TEXTS]
    assert values == pytest.approx([min(float(p), 1.0) for p in theirs], rel=1e-6)


@pytest.mark.parametrize("family", ["quality", "safety"])
def test_refusals(base, family):
    enabled = {"enabled": True}
    with pytest.raises(ConfigError, match=rf"filter\.{family}\.model: .*gone\.bin"):
        filtered(base, ROWS, config(family, model="gone.bin", **enabled), base)
    with pytest.raises(ConfigError, match=rf"filter\.{family}\.model: .*has no label '__label__z'; it has __label__a"):
        filtered(base, ROWS, config(family, model="model.bin", label="__label__z", **enabled), base)
    (base / "model.bin").write_bytes(b"no model")
    with pytest.raises(ConfigError, match=rf"filter\.{family}\.model: .*must be a supervised fastText model"):
        filtered(base, ROWS, config(family, model="model.bin", **enabled), base)


def test_quality_needs_a_model():
    with pytest.raises(ConfigError, match="must name a fastText file"):
        config("quality", enabled=True)
