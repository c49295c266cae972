"""Models that sentencepiece trains on the tests' samples and the demo lake, where it is installed."""

import io
from functools import cache

import pytest

from fasttrain.tokenizer.sentencepiece import SentencePieceTokenizer
from fasttrain.tokenizer.sentencepiece_file import read
from tokenizer.scripts import SAMPLES

IDENTITY = {"normalization_rule_name": "identity", "remove_extra_whitespaces": False}
SYMBOLS = ["<sep>", "    ", "  ", "aa"]
SETTINGS = {
    "bytes": {"byte_fallback": True, "character_coverage": 0.98, "user_defined_symbols": SYMBOLS, **IDENTITY},
    "unknown": {"character_coverage": 0.98, **IDENTITY},
    "nfkc": {"character_coverage": 0.98},
    "folded": {"normalization_rule_name": "nmt_nfkc_cf", "add_dummy_prefix": False},
    "suffix": {"treat_whitespace_as_suffix": True},
}


@cache
def lines():
    from pathlib import Path

    from fasttrain.corpus.config import SourceConfig
    from fasttrain.corpus.sample import read_documents

    found = []
    source = SourceConfig(name="demo", path="package:demo_lake")
    read_documents(
        [source], Path.cwd(), lambda batch: found.extend(batch.column("text").to_pylist()), max_bytes=400_000
    )
    return [line for text in [*found, *SAMPLES] for line in text.split("\n") if line.strip()][:3000]


@cache
def trained(algorithm, name, path):
    """(their processor, our tokenizer) of one model."""
    spm = pytest.importorskip("sentencepiece")
    out = io.BytesIO()
    spm.SentencePieceTrainer.train(
        sentence_iterator=iter(lines()),
        model_writer=out,
        model_type=algorithm,
        vocab_size=1200,
        minloglevel=2,
        hard_vocab_limit=False,
        **SETTINGS[name],
    )
    path.write_bytes(out.getvalue())
    return spm.SentencePieceProcessor(model_file=str(path)), SentencePieceTokenizer(read(path))
