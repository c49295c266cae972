"""Workloads: 8,192 tokens learnt from 8 MB of Python sources, one thread, against Hugging Face tokenizers' BpeTrainer
(on all its threads; the same vocabulary is the answer); 32,768 tokens of 50 MB of mixed text in processes of their own,
against rustbpe, gigabpe and tokenizers, vocabularies compared byte for byte before times."""

import json
import os
import statistics
import subprocess
import sys
from pathlib import Path

import pytest

from fasttrain.text import columns
from fasttrain.tokenizer import patterns, tokenizer_json, train_bpe

OP = "bpe_train"
VOCAB = 8192
JOB, TEXT = (Path(__file__).with_name(name) for name in ("train_job.py", "mixed_text.py"))
LAKE = Path(os.environ.get("FASTTRAIN_LAKE", ""))


def bench_bpe_train(benchmark, documents, speed, impl):
    if impl == "reference":
        texts, size = documents(20_000), 400
    else:
        texts, size = documents(8_000_000), VOCAB
    column = columns.from_texts(texts)
    benchmark.pedantic(lambda: train_bpe(column, vocab_size=size, threads=1, impl=impl), rounds=2)
    speed(texts)


@pytest.mark.rival("tokenizers")
def bench_gate_bpe_train(gate, documents, speed):
    hf = pytest.importorskip("tokenizers")
    texts = documents(8_000_000)
    column = columns.from_texts(texts)

    def theirs():
        tokenizer = hf.Tokenizer(hf.models.BPE())
        split = hf.pre_tokenizers.Split(hf.Regex(patterns.HUGGING_FACE["cl100k"]), "isolated")
        step = hf.pre_tokenizers.ByteLevel(add_prefix_space=False, use_regex=False)
        tokenizer.pre_tokenizer = hf.pre_tokenizers.Sequence([split, step])
        trainer = hf.trainers.BpeTrainer(
            vocab_size=VOCAB,
            special_tokens=["<|endoftext|>"],
            initial_alphabet=hf.pre_tokenizers.ByteLevel.alphabet(),
            show_progress=False,
        )
        tokenizer.train_from_iterator(texts, trainer)
        return tokenizer

    def mine():
        return train_bpe(column, vocab_size=VOCAB, threads=1)

    found = json.loads(theirs().to_str())["model"]
    ours = tokenizer_json.to_json(mine().vocabulary)["model"]
    assert ours["vocab"] == found["vocab"]
    assert [list(m) for m in ours["merges"]] == [list(m) for m in found["merges"]]
    gate(theirs, mine, 6.0, runs=3)
    speed(texts)


RIVALS = [
    # pattern, rival, ours with its ties, at least so many times as fast, at most so much of its memory
    ("cl100k", "rustbpe", "fasttrain, ties as rustbpe", 3.0, 1.0),
    ("cl100k", "tokenizers", "fasttrain", 5.0, 1.0),
    ("gpt2", "gigabpe", "fasttrain", 1.1, None),
    ("gpt2", "tokenizers", "fasttrain", 6.0, 1.0),
]


def _run(trainer, pattern, path, answer):
    """One training in a process of its own, on one thread: its figures and the tokens it learnt."""
    one = {**os.environ, "OMP_NUM_THREADS": "1", "RAYON_NUM_THREADS": "1", "TOKENIZERS_PARALLELISM": "false"}
    expression = (patterns.TIKTOKEN if trainer == "rustbpe" else patterns.HUGGING_FACE)[pattern]
    done = subprocess.run(
        [sys.executable, JOB, trainer, pattern, expression, str(32768), str(path), str(answer)],
        env=one, stdout=subprocess.PIPE, check=True, text=True,
    )  # fmt: skip
    return json.loads(done.stdout), json.loads(answer.read_text())


@pytest.mark.skipif(not (LAKE / "gnome-help").is_dir(), reason="FASTTRAIN_LAKE names no fetched lake")
@pytest.mark.parametrize(("pattern", "rival", "ours", "at_least", "memory"), RIVALS, ids=lambda v: str(v))
def bench_gate_on_mixed_text(benchmark, note, tmp_path, pattern, rival, ours, at_least, memory):
    """32,768 tokens of 50 MB, English, code, European languages, other scripts; CPU time and peak memory."""
    pytest.importorskip(rival)
    path = tmp_path / "text"
    # gigabpe reads files, whose lines are then the texts, for tokenizers and us too.
    with path.open("wb") as file:
        end = "\\n" if pattern == "gpt2" else "\\0"
        subprocess.run([sys.executable, TEXT, "50_000_000", end], stdout=file, check=True)
    runs = 1 if benchmark.disabled else 3 if rival == "tokenizers" else 5
    mine, theirs = [], []

    def turn():
        theirs.append(_run(rival, pattern, path, tmp_path / "theirs.json"))
        mine.append(_run(ours, pattern, path, tmp_path / "ours.json"))
        wanted, found = theirs[-1][1], mine[-1][1]
        # gigabpe has no tokens for bytes that the text does not hold, so as many more merges.
        assert found == wanted[: len(found)]
        assert len(found) == 32768 - 256

    benchmark.pedantic(turn, rounds=runs)
    for key in ("cpu_s", "peak_mb"):
        note(f"ours_{key}", statistics.median(m[key] for m, _ in mine))
        note(f"rival_{key}", statistics.median(t[key] for t, _ in theirs))
    ratio = statistics.median(t["cpu_s"] / m["cpu_s"] for (t, _), (m, _) in zip(theirs, mine, strict=True))
    note("ratio", ratio)
    note("gate", at_least)
    share = statistics.median(m["peak_mb"] / t["peak_mb"] for (t, _), (m, _) in zip(theirs, mine, strict=True))
    note("of_its_memory", share)
    if not benchmark.disabled:
        assert ratio >= at_least
        assert memory is None or share <= memory
