"""Workload: 4 MB of each kind of the fetched lake (lake_mix.py) by SentencePiece models, one thread.

Rivals: gigatoken for a BPE model with byte fallback (FASTTRAIN_MODEL names a .model file, such as Mistral's v3),
sentencepiece for a Unigram model of 32,000 pieces with nmt_nfkc, trained on the lake here. Normalising is part of all;
ids are compared first, document by document. A first pass is one by tokenizers that have met a few words only.
"""

import io
import os
import sys
from functools import cache
from itertools import pairwise
from pathlib import Path

import pytest

from fasttrain.text import columns
from fasttrain.tokenizer import sentencepiece_file
from fasttrain.tokenizer.sentencepiece import SentencePieceTokenizer

sys.path.insert(0, str(Path(__file__).parent))
import lake_mix

MODEL = Path(os.environ.get("FASTTRAIN_MODEL", "none"))
SIZE = 4_000_000
pytestmark = pytest.mark.skipif(not lake_mix.is_here(), reason="FASTTRAIN_LAKE names no lake")


@cache
def unigram_model():
    spm = pytest.importorskip("sentencepiece")
    texts = [t for kind in lake_mix.KINDS for t in lake_mix.documents(kind, 1_500_000)]
    lines = [line[:2000] for text in texts for line in text.split("\n") if line.strip()]
    out = io.BytesIO()
    spm.SentencePieceTrainer.train(
        sentence_iterator=iter(lines), model_writer=out, model_type="unigram", vocab_size=32_000, minloglevel=2,
        hard_vocab_limit=False,
    )  # fmt: skip
    return out.getvalue()


def same(theirs, ours, texts):
    ids, offsets = ours.encode_batch(texts, threads=1)
    assert [ids[a:b].tolist() for a, b in pairwise(offsets)] == [list(t) for t in theirs]


@pytest.mark.rival("gigatoken")
@pytest.mark.skipif(not MODEL.is_file(), reason="FASTTRAIN_MODEL names no .model file")
@pytest.mark.parametrize("kind", lake_mix.KINDS)
def bench_gate_bpe_gigatoken(gate, kind):
    rival, ours = pytest.importorskip("gigatoken").Tokenizer(str(MODEL)), SentencePieceTokenizer.load(MODEL)
    texts = list(lake_mix.documents(kind, SIZE))
    column = columns.from_texts(texts)
    same(rival.encode_batch(texts, parallel=False).to_list(), ours, column)
    gate(lambda: rival.encode_batch(texts, parallel=False), lambda: ours.encode_batch(column, threads=1), 0.9)


@pytest.mark.rival("gigatoken")
@pytest.mark.skipif(not MODEL.is_file(), reason="FASTTRAIN_MODEL names no .model file")
@pytest.mark.parametrize("kind", lake_mix.KINDS)
def bench_gate_bpe_gigatoken_first_pass(gate, kind):
    gigatoken = pytest.importorskip("gigatoken")
    texts = list(lake_mix.documents(kind, SIZE))
    column = columns.from_texts(texts)

    def setup():
        rival, ours = gigatoken.Tokenizer(str(MODEL)), SentencePieceTokenizer.load(MODEL)
        rival.encode_batch(["ab c"], parallel=False)
        ours.encode_batch(["ab c"], threads=1)
        return (rival,), (ours,)

    gate(lambda r: r.encode_batch(texts, parallel=False), lambda o: o.encode_batch(column, threads=1), 1.2, setup=setup)


@pytest.mark.rival("sentencepiece")
@pytest.mark.parametrize("kind", lake_mix.KINDS)
def bench_gate_unigram_sentencepiece(gate, kind):
    rival = pytest.importorskip("sentencepiece").SentencePieceProcessor(model_proto=unigram_model())
    ours = SentencePieceTokenizer(sentencepiece_file.parse(unigram_model(), "trained"))
    texts = list(lake_mix.documents(kind, SIZE))
    column = columns.from_texts(texts)
    same(rival.encode(texts, num_threads=1), ours, column)
    gate(lambda: rival.encode(texts, num_threads=1), lambda: ours.encode_batch(column, threads=1), 1.5)


@pytest.mark.rival("sentencepiece")
@pytest.mark.parametrize("kind", lake_mix.KINDS)
def bench_gate_unigram_sentencepiece_first_pass(gate, kind):
    rival = pytest.importorskip("sentencepiece").SentencePieceProcessor(model_proto=unigram_model())
    model = sentencepiece_file.parse(unigram_model(), "trained")
    texts = list(lake_mix.documents(kind, SIZE))
    column = columns.from_texts(texts)

    def setup():
        ours = SentencePieceTokenizer(model)
        ours.encode_batch(["ab c"], threads=1)
        return (rival,), (ours,)

    gate(lambda r: r.encode(texts, num_threads=1), lambda o: o.encode_batch(column, threads=1), 1.5, setup=setup)
