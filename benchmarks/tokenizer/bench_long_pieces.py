"""Workload: 500,000 bytes that are one pretoken, of several kinds, cl100k, one thread. Rivals: quicktok and toktok.

Ids are compared with tiktoken's first. Needs FASTTRAIN_VOCAB, a folder with cl100k_base.tiktoken (not shipped here).
"""

import os
import random
from pathlib import Path

import numpy as np
import pytest

from fasttrain.tokenizer import Tokenizer

VOCAB = Path(os.environ.get("FASTTRAIN_VOCAB", "")) / "cl100k_base.tiktoken"
SIZE = 500_000
pytestmark = pytest.mark.skipif(not VOCAB.is_file(), reason="FASTTRAIN_VOCAB names no folder with cl100k")


def text_of(kind):
    rng = random.Random(kind)
    alphabet = {
        "one_letter": "a",
        "spaces": " ",
        "digits": "0123456789",
        "letters": "abcdefghijklmnopqrstuvwxyz",
        "cjk": [chr(c) for c in range(0x4E00, 0x9FA5)],
        "signs": "!#$%&()*+,-./:;<=>?@[]^_{|}~",
    }[kind]
    size = SIZE // 3 if kind == "cjk" else SIZE
    return "".join(rng.choices(alphabet, k=size))


def rival_encode(name):
    if name == "quicktok":
        return pytest.importorskip("quicktok").get_encoding("cl100k_base").encode
    return pytest.importorskip("toktok")._encoding("cl100k_base").encode_to_numpy


@pytest.mark.parametrize("rival", ["quicktok", "toktok"])
@pytest.mark.parametrize("kind", ["one_letter", "spaces", "digits", "letters", "cjk", "signs"])
def bench_gate_long_pieces(gate, kind, rival):
    ours, theirs, text = Tokenizer.load(VOCAB, pattern="cl100k"), rival_encode(rival), text_of(kind)
    np.testing.assert_array_equal(np.asarray(theirs(text)), ours.encode(text))
    gate(lambda: theirs(text), lambda: ours.encode(text), 0.35)
