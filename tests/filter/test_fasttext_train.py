import gzip
import json
import subprocess
import sys

import numpy as np
import pytest

from cli import called
from fasttrain.core.errors import FormatError
from fasttrain.filter import classifier_data, fasttext, fasttext_train
from fasttrain.filter.fasttext_train import TrainConfig
from fasttrain.text import columns

OP = "fasttext_train"
SEED = 5519
SMALL = TrainConfig(dim=8, epochs=5, rate=0.5, bucket=500)
NAMES = ("__label__hq", "__label__lq")


def examples(n=400, seed=SEED):
    """Two kinds of text: their words come from one list with opposite frequencies."""
    rng = np.random.default_rng(seed)
    words = np.array([f"w{i}" for i in range(40)])
    weights = 1 / np.arange(1, 41)
    weights /= weights.sum()
    labels = rng.integers(0, 2, n).astype(np.int32)
    texts = [" ".join(rng.choice(words, 20, p=weights if k == 0 else weights[::-1])) for k in labels]
    return columns.from_texts(texts), labels


def drawn(rng, V=30, D=5, L=3, N=20):
    sizes = rng.integers(0, 9, N)
    offsets = np.concatenate([[0], np.cumsum(sizes)]).astype(np.int64)
    rows = rng.integers(0, V, offsets[-1]).astype(np.int32)
    labels, order = rng.integers(0, L, N).astype(np.int32), rng.permutation(N).astype(np.int64)
    inp, output = rng.normal(0, 1, (V, D)).astype(np.float32), rng.normal(0, 1, (L, D)).astype(np.float32)
    return inp, output, rows, offsets, labels, order, np.linspace(0.5, 0, N, dtype=np.float32)


def test_steps_are_the_definitions(impl):
    args, want = drawn(np.random.default_rng(SEED)), drawn(np.random.default_rng(SEED))
    loss = fasttext_train.steps(*args, impl=impl)
    want_loss = fasttext_train.steps(*want, impl="reference")
    # The same operations in the same order; a double's exponential may round to the next float, which moves each of the
    # 20 steps by rate * eps * |h| at most.
    eps = float(np.finfo(np.float32).eps)
    assert loss == pytest.approx(want_loss, rel=20 * eps)
    np.testing.assert_allclose(args[0], want[0], rtol=0, atol=20 * eps * np.abs(want[0]).max())
    np.testing.assert_allclose(args[1], want[1], rtol=0, atol=20 * eps * np.abs(want[1]).max())


def test_one_step_by_hand(impl):
    """h = (1, 0), products 0: p = 1/2 each; step = rate (1/2, -1/2); W starts at 0, so that rows do not move."""
    inp, output = np.array([[2, 0], [0, 0]], np.float32), np.zeros((2, 2), np.float32)
    rows, offsets = np.array([0, 1], np.int32), np.array([0, 2], np.int64)
    one = np.zeros(1, np.int64)
    loss = fasttext_train.steps(
        inp, output, rows, offsets, one.astype(np.int32), one, np.array([0.5], np.float32), impl=impl
    )
    assert output.tolist() == [[0.25, 0], [-0.25, 0]]
    assert inp.tolist() == [[2, 0], [0, 0]]
    assert loss == pytest.approx(-np.log(0.5 + 1e-5))


def test_a_step_descends(impl):
    """With a small rate the loss of the texts that were read falls."""
    inp, output, rows, offsets, labels, order, _ = drawn(np.random.default_rng(SEED + 1))
    rates = np.full(len(order), 0.1, np.float32)
    losses = [fasttext_train.steps(inp, output, rows, offsets, labels, order, rates, impl=impl) for _ in range(12)]
    assert losses[-1] < 0.8 * losses[0]


@pytest.mark.parametrize("grams", [{}, {"word_ngrams": 1}, {"minn": 2, "maxn": 3}, {"word_ngrams": 1, "bucket": 1}])
def test_the_file_is_fasttexts_and_it_learns(tmp_path, grams):
    module = pytest.importorskip("fasttext")
    texts, labels = examples()
    config = SMALL.model_copy(update=grams)
    fasttext_train.train(texts, labels, NAMES, config, tmp_path / "m.bin")
    theirs, ours = module.load_model(str(tmp_path / "m.bin")), fasttext.load(tmp_path / "m.bin")
    fresh, fresh_labels = examples(seed=SEED + 1)
    got, probs = fasttext.predict(ours, fresh, 2)
    for i in range(len(fresh)):
        names, values = theirs.predict(fresh[i].decode(), k=2)
        assert [ours.labels[j] for j in got[i]] == list(names)
        assert probs[i].tolist() == [float(v) for v in values]
    right = np.array([ours.labels[j] == NAMES[k] for j, k in zip(got[:, 0], fresh_labels)])
    assert right.mean() > 0.95


def test_same_bytes_whatever_the_threads(tmp_path):
    texts, labels = examples()
    for threads in (1, 3):
        fasttext_train.train(texts, labels, NAMES, SMALL, tmp_path / f"{threads}.bin", threads=threads)
    other = SMALL.model_copy(update={"seed": 1})
    fasttext_train.train(texts, labels, NAMES, other, tmp_path / "seed.bin")
    assert (tmp_path / "1.bin").read_bytes() == (tmp_path / "3.bin").read_bytes()
    assert (tmp_path / "1.bin").read_bytes() != (tmp_path / "seed.bin").read_bytes()


def test_refusals(tmp_path):
    texts, _ = examples(4)
    with pytest.raises(ValueError, match="each of at least two labels must have texts"):
        fasttext_train.train(texts, np.zeros(4, np.int32), NAMES, SMALL, tmp_path / "m.bin")
    args = list(drawn(np.random.default_rng(SEED)))
    args[2] = args[2] + np.int32(100)
    with pytest.raises(ValueError, match=r"rows must be in \[0, 30\)"):
        fasttext_train.steps(*args)
    (tmp_path / "a.csv").write_text("x")
    (tmp_path / "a.jsonl").write_text('{"body": "x"}\n')
    with pytest.raises(FormatError, match=r"must be \.jsonl, \.txt"):
        list(classifier_data.read_texts(tmp_path / "a.csv"))
    with pytest.raises(FormatError, match=r"a\.jsonl:1 must be a JSON object with a text in 'text'"):
        list(classifier_data.read_texts(tmp_path / "a.jsonl"))


def test_auc_and_precision_by_hand():
    scores, positive = np.array([0.9, 0.4, 0.4, 0.1]), np.array([True, True, False, False])
    assert classifier_data.auc(scores, positive) == 3.5 / 4
    assert classifier_data.precision_recall(scores, positive, 0.4) == (2 / 3, 1.0)
    assert classifier_data.precision_recall(scores, positive, 0.95) == (1.0, 0.0)


@pytest.mark.once
def test_the_command(tmp_path, monkeypatch):
    texts, labels = examples(600)
    good = [texts[i].decode() for i in np.flatnonzero(labels == 0)]
    bad = [texts[i].decode() for i in np.flatnonzero(labels == 1)]
    with gzip.open(tmp_path / "good.jsonl.gz", "wt") as file:
        file.writelines(json.dumps({"text": text}) + "\n" for text in good)
    (tmp_path / "bad.txt").write_text("\n".join(bad))
    sides = ["--positive", "good.jsonl.gz", "--negative", "bad.txt"]
    sizes = ["--set", "dim=8", "--set", "bucket=500", "--set", "rate=0.5"]
    monkeypatch.chdir(tmp_path)
    command = [sys.executable, "-m", "fasttrain", "classifier", "train", *sides, "--out", "m.bin", *sizes]
    trained = subprocess.run(command, capture_output=True, text=True, check=True)
    tested = called.fasttrain("classifier", "test", "m.bin", *sides)
    assert tested.returncode == 0, tested.stderr
    held_out = [line for line in tested.stdout.splitlines() if line.startswith(("held out", "threshold"))]
    assert len(held_out) == 6
    assert all(line in trained.stdout for line in held_out)
    assert float(held_out[0].rpartition(" ")[2]) > 0.98
    wrong = called.fasttrain("classifier", "train", *sides, "--out", "m.bin", "--set", "dim")
    assert wrong.returncode == 2
    assert "--set must be KEY=NUMBER" in wrong.stderr
