import math

import pytest

from fasttrain.core.errors import ConfigError
from fasttrain.eval.config import EvalConfig, GateConfig
from fasttrain.eval.gates import judge
from fasttrain.eval.score import Score


def score(bpb, num_bytes=100):
    bits = bpb * num_bytes
    return Score(documents=1, tokens=50, num_bytes=num_bytes, nll=bits * math.log(2), bits=bits)


SCORES = {"code": score(1.5), "chat": score(2.5), "all": score(2.0)}
BASELINES = {"bigram": {"code": score(2.0), "chat": score(2.2), "all": score(2.1)}}


@pytest.mark.parametrize(
    ("gate", "passed"),
    [
        ({"max": 2.0}, [True]),
        ({"max": 1.99}, [False]),
        ({"beats": "bigram"}, [True]),
        ({"beats": "bigram", "by": 0.2}, [False]),
        ({"beats": "bigram", "source": "chat"}, [False]),
        ({"beats": "bigram", "source": "each"}, [False, True]),  # chat, code
        ({"metric": "perplexity", "max": 17.0}, [True]),  # 2 bpb of 100 bytes in 50 tokens: 2^4
        ({"metric": "perplexity", "max": 15.9}, [False]),
    ],
)
def test_gates(gate, passed):
    assert [r.passed for r in judge([GateConfig.load(gate)], SCORES, BASELINES)] == passed


def test_no_number_is_no_pass():
    nan = {"all": score(float("nan"))}
    assert not judge([GateConfig(max=1e9)], nan, {})[0].passed


@pytest.mark.parametrize(
    ("gate", "words"),
    [
        ({"max": 1.0, "source": "wiki"}, "has no source 'wiki'; choose from"),
        ({"beats": "unigram"}, "'unigram' is not measured; add it to eval.baselines"),
    ],
)
def test_what_cannot_be_judged_is_an_error(gate, words):
    with pytest.raises(ConfigError, match=words):
        judge([GateConfig.load(gate)], SCORES, BASELINES)


@pytest.mark.parametrize("gate", [{}, {"max": 1.0, "beats": "bigram"}, {"beats": "zstd", "metric": "perplexity"}])
def test_a_gate_has_one_bound(gate):
    with pytest.raises(ConfigError, match="eval.gates.0"):
        EvalConfig.load({"gates": [gate]}, where="eval")
