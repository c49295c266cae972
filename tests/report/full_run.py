"""A run folder with everything the page shows, made of the same types that a real run writes."""

import math

from audit import small_run
from fasttrain.estimate.estimate import estimate, save
from fasttrain.eval.config import GateConfig
from fasttrain.eval.gates import judge
from fasttrain.eval.generate import Generation
from fasttrain.eval.result import EvalResult
from fasttrain.eval.score import Score, total
from fasttrain.formats import atomic
from fasttrain.model.config import ModelConfig

HOSTILE = "</script><script>document.title='owned'</script><img src=https://evil.example/x.png onerror=alert(1)>"


def _score(bpb, num_bytes, tokens):
    bits = bpb * num_bytes
    return Score(documents=3, tokens=tokens, num_bytes=num_bytes, nll=bits * math.log(2), bits=bits)


def result():
    scores = {"books": _score(1.9, 4000, 1100), "code": _score(1.4, 3000, 900), "web": _score(2.2, 5000, 1300)}
    scores["all"] = total(scores)
    worse = {name: {s: _score(v.bpb * factor, v.num_bytes, v.tokens) for s, v in scores.items()}
             for name, factor in (("unigram", 1.8), ("bigram", 1.25), ("zstd", 1.1))}  # fmt: skip
    gates = [GateConfig(beats="bigram"), GateConfig(max=1.5, source="each")]
    return EvalResult(
        checkpoint={"path": "train/checkpoints/step-00000060", "step": 60, "tokens": 30720},
        probe={"fingerprint": "0123456789abcdef" * 2, "documents": 9, "tokens": 3300, "bytes": 12000},
        scores=scores,
        baselines=worse,
        generations=(
            Generation(prompt="The ", text="whale was <b>white</b> & " + HOSTILE, tokens=20, ended=False),
            Generation(prompt="def ", text="main():\n    return 0\n", tokens=9, ended=True),
        ),
        gates=judge(gates, scores, worse),
        seconds=12.5,
        settings={"temperature": 0.0, "top_k": 0, "seed": 0},
    )


def build(root, steps=60):
    run = small_run.build(root)
    small_run.write_metrics(run, steps)
    atomic.write_json(run.eval / "eval.json", result().to_dict())
    model = ModelConfig(vocab_size=257, num_layers=2, dim=32, num_heads=4, num_kv_heads=2)
    save(run, estimate(model, seq_len=32, batch_rows=16, micro_rows=16, num_steps=steps, run_calibration=False))
    atomic.write_json(
        run.tokenizer.with_name("report.json"),
        {"vocab_size": 257, "bytes_per_token": {"books": 4.1, "code": 3.2, HOSTILE: 1.0},
         "by_language": {"en": {"fertility": 1.3, "whole_words": 0.7}, "de": {"fertility": 1.9, "whole_words": 0.4}}},
    )  # fmt: skip
    return run
