"""What was found in a text is nowhere in a run but in the corpus stage's own documents, which are the texts as read."""

import gzip
import json
import random

import numpy as np
import pyarrow.parquet as pq
import pytest
import zstandard

from fasttrain.audit import datasheet
from fasttrain.batch.split import SplitConfig
from fasttrain.comm.group import SoloGroup
from fasttrain.corpus.config import CorpusConfig
from fasttrain.decontam.benchmarks import DecontamConfig
from fasttrain.dedup.config import DedupConfig
from fasttrain.dedup.passages_config import PassagesConfig
from fasttrain.filter.config import FilterConfig
from fasttrain.formats.run_folder import RunFolder
from fasttrain.formats.shards import open_shards
from fasttrain.mixture.plan import MixtureConfig
from fasttrain.prepare import journey
from fasttrain.report import page
from fasttrain.tokenizer.shards import ShardsConfig
from fasttrain.tokenizer.stage import TokenizerConfig
from fasttrain.tokenizer.tokenizer import Tokenizer

BODY = "MIIEowIBAAKCAQEA7bq1f"
VALUES = {  # what must be nowhere -> how the text has it
    "jane.roe@mail.example.org": "{}",
    "193.99.144.80": "{}",
    "+44 20 7946 0958": "{}",
    "4111 1111 1111 1111": "{}",
    "GB29 NWBK 6016 1331 9268 19": "{}",
    "123-45-6789": "{}",
    "ghp" + "_" + "aB3dE5gH7jK9" * 3: "{}",
    "hunter2Zq": "postgres://bob:{}@db.example.org/x",
    "wJalrXUtnFEMI/K7MDENG/" + "bPxRfiCYEXAMPLEKEY": "aws_secret_access_key = {}",
    BODY: "-----BEGIN PRIVATE" + " KEY-----\n" + "{}\n" * 4 + "-----END PRIVATE" + " KEY-----",
}
WORDS = [
    "whale", "sea", "ship", "crew", "harpoon", "island", "captain", "storm", "mast", "sail", "rope", "deck", "anchor",
    "voyage", "harbour", "lantern", "winter", "morning", "northern", "silent", "ancient", "broken", "distant",
    "narrow", "golden", "bitter", "heavy", "sudden", "watched", "followed", "carried", "answered", "remembered",
    "gathered", "lowered", "wandered", "mended", "painted", "counted", "promised", "sold", "burned", "letters",
    "children", "market", "river", "bridge", "garden", "kitchen", "mountain", "window", "village", "stranger",
    "brother", "teacher", "doctor", "soldier", "farmer", "evening", "supper", "candle",
]  # fmt: skip


def document(k, values):
    """Prose that repeats nothing, with the values in the middle of it."""
    draws = random.Random(k)
    lines = ["The {} {} and the {} {} of that {} {} with a {} {}.".format(*draws.sample(WORDS, 8)) for _ in range(12)]
    told = [
        "The {} said {} was what {} {} had known.".format(*draws.sample(WORDS, 1), v, *draws.sample(WORDS, 2))
        for v in values
    ]
    return "\n".join([*lines[:6], *told, *lines[6:]])


@pytest.fixture(scope="module")
def run(tmp_path_factory):
    base = tmp_path_factory.mktemp("personal")
    planted = [form.format(*[value] * 4) for value, form in VALUES.items()]
    texts = [document(k, [value]) for k, value in enumerate(planted)]
    texts += [
        document(90, planted),
        document(90, planted),
        document(90, planted) + "\nThe captain found one line more.",
    ]  # duplicates
    texts += ["\n".join([*planted, "lorem ipsum"] * 3), "\n".join(planted)]  # dropped by rules
    lines = [json.dumps({"text": text}) for text in texts]
    lines += [f"no JSON but {planted[0]} and {planted[3]}", json.dumps({"note": " ".join(planted)})]  # quarantined
    with gzip.open(base / "lake.jsonl.gz", "wt") as file:
        file.write("\n".join(lines) + "\n")
    sources = {"sources": [{"name": "web", "path": "lake.jsonl.gz", "licence": "CC0-1.0"}]}
    config = journey.PrepareConfig(
        corpus=CorpusConfig.load(sources), filter=FilterConfig(), dedup=DedupConfig(), split=SplitConfig(),
        passages=PassagesConfig(lines=True, paragraphs=True, substring=True, min_bytes=60), decontam=DecontamConfig(),
        tokenizer=TokenizerConfig(vocab_size=400), shards=ShardsConfig(), mixture=MixtureConfig(),
    )  # fmt: skip
    folder = RunFolder(base / "run")
    folder.claim({"name": "personal"})
    journey.run(folder, config, base=base, total_tokens=4096, world=SoloGroup())
    datasheet.write(folder)
    page.build(folder)
    return folder


def contents(run):
    """(file, its bytes, decompressed; of Parquet every value; of shards the text)."""
    for path in sorted(p for p in run.root.rglob("*") if p.is_file()):
        name, data = path.relative_to(run.root).as_posix(), path.read_bytes()
        if path.suffix == ".parquet":
            data = "\n".join(str(v) for c in pq.read_table(path).columns for v in c.to_pylist()).encode()
        elif data[:2] == b"\x1f\x8b":
            data = gzip.decompress(data)
        elif data[:4] == b"\x28\xb5\x2f\xfd":
            data = zstandard.ZstdDecompressor().decompressobj().decompress(data)
        yield name, data
    tokenizer = Tokenizer.load(run.tokenizer)
    for phase in ("train", "probe"):
        for source, shard in open_shards(run.shards / phase).items():
            yield f"tokens of {phase}/{source}", tokenizer.decode(np.asarray(shard.tokens)).encode()


def test_no_value_is_in_any_file_but_the_texts_as_read(run):
    files = dict(contents(run))
    raw = {name for name in files if name.startswith("prepare/corpus/") and name.endswith(".parquet")}
    raw = {name for name in raw if not name.endswith(".ledger.parquet")}
    for value in VALUES:
        kept = value.encode().split(b"\n")[0]
        assert any(kept in files[name] for name in raw)  # the search finds what is there
        assert [name for name, data in files.items() if name not in raw and kept in data] == []
    assert any(b"<SECRET>" in data for name, data in files.items() if name.startswith("tokens of train"))
    # The documents took different ways: kept, duplicates, refused by a rule, never read.
    told = b"".join(data for name, data in files.items() if name.endswith(".ledger.parquet"))
    for reason in (
        b"near",
        b"quarantine:not_json",
        b"quarantine:no_text",
        b"pii:masked",
        b"gopher_repetition:dup_lines",
    ):
        assert reason in told
    assert {p.split("/")[1] for p in files if p.endswith(".ledger.parquet")} >= {"corpus", "filter", "dedup", "split"}
