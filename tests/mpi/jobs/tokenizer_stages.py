"""The tokenizer and shards stages on every rank of the world: python tokenizer_stages.py <run folder with split/>."""

import sys
from pathlib import Path

from fasttrain.comm.group import world
from fasttrain.formats.stage import run_stage
from fasttrain.tokenizer import Tokenizer, TokenizerConfig, shards, stage

split, out = Path(sys.argv[1]), Path(sys.argv[2])
# All that is decided over all parts: shares of sources and languages, the bound on words (which is passed here).
config = TokenizerConfig(
    vocab_size=400, weights={"code": 1.0, "web.en": 3.0}, language_weights={"fr": 2.0}, max_words=100, also_sizes=(300,)
)
trained = run_stage(
    "tokenizer",
    folder=out / "tokenizer",
    config=config,
    inputs=[split],
    world=world(),
    body=lambda s: stage.run(s, config),
)
settings = shards.ShardsConfig(batch_documents=4)
tokenizer = Tokenizer.load(out / "tokenizer")
made = run_stage(
    "shards",
    folder=out / "shards",
    config=settings,
    inputs=[split, out / "tokenizer"],
    world=world(),
    body=lambda s: shards.run(s, settings, tokenizer),
)
assert trained.extra["documents_trained_on"] != "1/1"
world().agree([trained.content_fingerprint, made.content_fingerprint, made.extra], "manifests")
