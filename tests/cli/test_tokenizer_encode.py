"""`fasttrain tokenizer encode` from a command line to shards, and each mistake's message."""

import gzip
import json
from itertools import pairwise

import pyarrow as pa
import pyarrow.parquet as pq
import pytest
import typer
from typer.testing import CliRunner

from fasttrain.cli import tokenizer as command
from fasttrain.cli import tokenizer_encode
from fasttrain.core.errors import ConfigError, FormatError
from fasttrain.corpus import text_alone
from fasttrain.corpus.intake import Intake
from fasttrain.formats import shards
from fasttrain.tokenizer import Tokenizer, train_bpe

TEXTS = [f"Document {n}: the white blood cells, the leukocytes.\nÜber {'漢' * (n % 5)}" for n in range(60)]


@pytest.fixture(scope="module")
def app():
    made = typer.Typer()
    command.add(made)
    return made


@pytest.fixture
def files(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    train_bpe(TEXTS, vocab_size=320).save(tmp_path / "tokenizer.json")
    (tmp_path / "one.txt").write_text(TEXTS[0])
    with gzip.open(tmp_path / "rows.jsonl.gz", "wt") as file:
        file.writelines(json.dumps({"text": t}) + "\n" for t in TEXTS)
    pq.write_table(pa.table({"text": TEXTS}), tmp_path / "table.parquet")
    return tmp_path


def run(app, *arguments):
    done = CliRunner().invoke(app, ["tokenizer", "encode", *map(str, arguments)], catch_exceptions=False)
    assert done.exit_code == 0, done.output
    return done.output


def documents(folder):
    shard = shards.open_shard(folder)
    return shard, [shard.tokens[a:b].tolist() for a, b in pairwise(shard.offsets)]


@pytest.mark.parametrize("threads", [(), ("--threads", "2")])
def test_files_of_every_kind_become_shards(app, files, threads):
    out = run(app, "tokenizer.json", "one.txt", "j=rows.jsonl.gz", "t=table.parquet", "--out", "made", *threads)
    tokenizer = Tokenizer.load(files / "tokenizer.json")
    for name, texts in (("one.txt", TEXTS[:1]), ("j", TEXTS), ("t", TEXTS)):
        shard, rows = documents(files / "made" / name)
        assert rows == [[*tokenizer.encode(t).tolist(), tokenizer.eot_id] for t in texts]
        assert shard.source == name
        assert shard.num_bytes == sum(len(t.encode()) for t in texts)
        assert len({bytes(i) for i in shard.doc_ids}) == len(texts)
        assert shard.tokens.dtype == "<u2"
    assert "made/t: 60 documents, " in out
    assert set(shards.open_shards(files / "made")) == {"one.txt", "j", "t"}


def test_a_tiktoken_file_gets_its_special_tokens(app, files):
    run_convert = CliRunner().invoke(
        app, ["tokenizer", "convert", "tokenizer.json", "r.tiktoken", "-t", "one.txt"], catch_exceptions=False
    )
    assert run_convert.exit_code == 0
    with pytest.raises(ConfigError, match="tokenizer encode: r.tiktoken: tokenizer: no end-of-text token"):
        run(app, "r.tiktoken@cl100k", "one.txt", "--out", "made")
    run(app, "r.tiktoken@cl100k", "one.txt", "--out", "made", "--special", "<|endoftext|>=0")
    assert documents(files / "made" / "one.txt")[1][0][-1] == 0


def test_mistakes(app, files):
    with pytest.raises(ConfigError, match="another text has that name too; give each one, as NAME=one.txt"):
        run(app, "tokenizer.json", "one.txt", "one.txt", "--out", "made")
    with pytest.raises(ConfigError, match="none.txt"):
        run(app, "tokenizer.json", "none.txt", "--out", "made")
    with pytest.raises(FormatError, match="no such tokenizer file"):
        run(app, "none.json", "one.txt", "--out", "made")
    run(app, "tokenizer.json", "one.txt", "--out", "made")
    with pytest.raises(ConfigError, match="made/one.txt: holds a shard already; give another --out or remove it"):
        run(app, "tokenizer.json", "one.txt", "--out", "made")


def test_a_reader_that_fails_leaves_no_shard(app, files, monkeypatch):
    (files / "bad.jsonl").write_text("{}\n")
    with pytest.raises(ConfigError, match="holds no text to read"):
        run(app, "tokenizer.json", "bad.jsonl", "--out", "made")
    assert not [p for p in (files / "made").rglob("*") if p.is_file()]


def test_a_writer_that_fails_ends_the_reading(app, files, monkeypatch):
    def full(*_, **__):
        raise FormatError("disk full")

    monkeypatch.setattr(shards, "write_shard", full)
    monkeypatch.setattr(tokenizer_encode, "_BATCHES_AHEAD", 1)
    with pytest.raises(FormatError, match="disk full"):
        run(app, "tokenizer.json", "t=table.parquet", "--out", "made")


def test_records_of_which_a_shard_keeps_the_text_alone_are_read_in_blocks(app, files, monkeypatch):
    taken = []
    texts = Intake.texts
    monkeypatch.setattr(Intake, "texts", lambda self, *given: taken.append(given[1]) or texts(self, *given))
    (files / "named.jsonl").write_text("".join(json.dumps({"text": t, "language": "de"}) + "\n" for t in TEXTS))
    run(app, "tokenizer.json", "named.jsonl", "table.parquet", "--out", "blocks")
    assert set(taken) == {"named.jsonl", "table.parquet"}
    monkeypatch.setattr(text_alone, "suits", lambda source: False)
    run(app, "tokenizer.json", "named.jsonl", "table.parquet", "--out", "one-by-one")
    for name in ("named.jsonl", "table.parquet"):
        for part in ("tokens.bin", "offsets.bin", "doc_ids.bin"):
            one, other = (files / way / name / part for way in ("blocks", "one-by-one"))
            assert one.read_bytes() == other.read_bytes()
