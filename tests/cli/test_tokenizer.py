"""`fasttrain tokenizer report | extend | convert` from a command line to files, and each mistake's message."""

import gzip
import json
import re

import pytest
from typer.testing import CliRunner

from fasttrain.cli import tokenizer as command
from fasttrain.cli.tokenizer_options import open_tokenizer, open_tokenizers, read_texts
from fasttrain.core.errors import ConfigError, FormatError
from fasttrain.tokenizer import Tokenizer, train_bpe

TEXTS = [
    "The white blood cells, the leukocytes, defend the body; the red ones, erythrocytes, carry oxygen through it.",
    "Les globules blancs ou leucocytes et les globules rouges, qui portent l'oxygène, circulent dans le sang.",
] * 9


@pytest.fixture(scope="module")
def app():
    import typer

    made = typer.Typer()
    command.add(made)
    return made


@pytest.fixture
def files(tmp_path, monkeypatch):
    """A tokenizer and texts of several kinds in the working folder."""
    monkeypatch.chdir(tmp_path)
    train_bpe(TEXTS, vocab_size=320).save(tmp_path / "tokenizer.json")
    (tmp_path / "plain.txt").write_text("\n".join(TEXTS))
    rows = [{"text": t, "language": "en" if n % 2 == 0 else "fr"} for n, t in enumerate(TEXTS)]
    with gzip.open(tmp_path / "rows.jsonl.gz", "wt") as file:
        file.writelines(json.dumps(row) + "\n" for row in rows)
    (tmp_path / "terms.txt").write_text("leukocyte\nerythrocyte\nthrombocyte\n")
    return tmp_path


def run(app, *arguments):
    done = CliRunner().invoke(app, ["tokenizer", *map(str, arguments)], catch_exceptions=False)
    assert done.exit_code == 0, done.output
    return done.output


def refused(app, error, words, *arguments):
    with pytest.raises(error, match=words):
        CliRunner().invoke(app, ["tokenizer", *map(str, arguments)], catch_exceptions=False)


def test_report_measures_every_source_and_writes_both_files(app, files):
    out = run(app, "report", "a=tokenizer.json", "-t", "plain.txt", "-t", "rows=rows.jsonl.gz", "--parallel",
              "rows.jsonl.gz", "--terms", "terms.txt", "--html", "page.html", "--json", "figures.json")  # fmt: skip
    data = json.loads((files / "figures.json").read_text())
    (row,) = data["tokenizers"]
    tokenizer = Tokenizer.load(files / "tokenizer.json")
    joined = "\n".join(TEXTS)
    assert row["by_source"]["plain.txt"]["tokens"] == len(tokenizer.encode(joined))
    assert row["by_source"]["rows"]["tokens"] == len(tokenizer.encode_batch(TEXTS)[0])
    assert {"en", "fr"} <= set(row["by_language"])
    assert row["by_language"]["fr"]["docs"] == 9
    english, french = (len(tokenizer.encode(t)) for t in TEXTS[:2])
    assert row["premium"]["languages"] == {"fr": pytest.approx(french / english), "en": 1.0}
    assert "2 fragments" not in row["premium"]["of"]
    assert row["terms"]["terms"] == 3
    assert row["cost"]["embedding_params"] == 320 * 320  # tied, width 320 of the recipe lake
    assert "bytes/token" in out
    page = (files / "page.html").read_text()
    assert page.count("<h2>") == 6
    assert "leukocyte" in page
    assert re.search(r'<script type="application/json" data-plot="plot-1">', page)


def test_report_on_a_source_of_a_recipe_and_on_everything_that_is_no_known_kind(app, files):
    (files / "notes.xyz").write_text("plain words")
    (files / "r.toml").write_text("nonsense")
    out = run(app, "report", "tokenizer.json", "-t", "notes.xyz", "-t", "demo#books")
    assert "notes" in out
    assert "books" in out
    refused(app, ConfigError, "demo#nonesuch: the recipe has no source 'nonesuch'; it has ", "report", "tokenizer.json",
            "-t", "demo#nonesuch")  # fmt: skip


def test_a_budget_bounds_what_is_read(files):
    sizes = []
    read_texts(["rows.jsonl.gz"], lambda column, keys: sizes.append(column.num_bytes), max_bytes=200)
    assert 200 <= sum(sizes) < 300
    read_texts(["rows.jsonl.gz"], lambda column, keys: sizes.append(column.num_bytes), max_bytes=None)
    assert sum(sizes[1:]) >= sum(len(t) for t in TEXTS)


def test_names_of_tokenizers(files):
    (files / "other").mkdir()
    Tokenizer.load(files / "tokenizer.json").save(files / "other")
    assert open_tokenizer("x=tokenizer.json").name == "x"
    assert [t.name for t in open_tokenizers(["other", "other/tokenizer.json"])] == ["other", "other/tokenizer.json"]


def test_extend_writes_three_files_and_says_what_it_saves(app, files):
    out = run(app, "extend", "tokenizer.json", "--out", "new", "-t", "d=plain.txt", "--terms", "terms.txt", "--keep",
              "other=rows.jsonl.gz", "--tokens", 20, "--multiple", 16)  # fmt: skip
    data = json.loads((files / "new/extension.json").read_text())
    made = Tokenizer.load(files / "new")
    assert made.vocab_size == data["vocab_size"] == 352  # 340, rounded up
    assert (data["new_tokens"], data["reserved"], data["reused_ids"]) == (32, 0, [])
    assert data["parameters"]["added"] == 32 * 320
    old = Tokenizer.load(files / "tokenizer.json")
    assert data["learnt_from"]["d"]["old_tokens"] == len(old.encode("\n".join(TEXTS)))
    assert data["learnt_from"]["d"]["new_tokens"] == len(made.encode("\n".join(TEXTS)))
    assert data["kept"]["other"]["new_tokens"] == len(made.encode_batch(TEXTS)[0])
    assert data["terms"]["new"]["mean_pieces"] < data["terms"]["old"]["mean_pieces"]
    pieces = json.loads((files / "new/old_pieces.json").read_text())
    assert (pieces["old_fingerprint"], pieces["new_fingerprint"]) == (old.fingerprint, made.fingerprint)
    assert "320 -> 352 ids" in out


def test_convert_refuses_until_the_difference_can_be_counted(app, files):
    refused(app, ConfigError, "ids may differ: ranks know .*nothing was written: give --text", "convert",
            "tokenizer.json", "a.tiktoken")  # fmt: skip
    assert sorted(p.name for p in files.iterdir()) == ["plain.txt", "rows.jsonl.gz", "terms.txt", "tokenizer.json"]
    out = run(app, "convert", "tokenizer.json", "a.tiktoken", "-t", "plain.txt")
    assert re.search(r"\d+ of [\d,]+ tokens differ, in \d of 1 documents", out)
    assert "pattern 'cl100k' and its special tokens: <|endoftext|>=0" in out
    back = run(app, "convert", "a.tiktoken@cl100k", "b.json", "--special", "<|endoftext|>=0", "-t", "plain.txt")
    assert "written: b.json" in back
    assert Tokenizer.load(files / "b.json").special_tokens == {"<|endoftext|>": 0}


@pytest.mark.parametrize(
    ("error", "words", "arguments"),
    [
        (FormatError, "none.json: no such tokenizer file", ("report", "none.json", "-t", "plain.txt")),
        (ConfigError, "'none.txt' matches no file", ("report", "tokenizer.json", "-t", "none.txt")),
        (ConfigError, "empty.txt: holds no text to read .*:empty", ("report", "tokenizer.json", "-t", "empty.txt")),
        (ConfigError, "list.jsonl: holds no text to read .*no_text", ("report", "tokenizer.json", "-t", "list.jsonl")),
        (ConfigError, "no parallel text in 'en'",
         ("report", "tokenizer.json", "-t", "plain.txt", "--parallel", "fr.jsonl")),
        (ConfigError, "nothing to learn from; give --text, --terms", ("extend", "tokenizer.json", "--out", "new")),
        (ConfigError, "empty.txt: holds no text", ("extend", "tokenizer.json", "--out", "new", "-t", "empty.txt")),
        (ConfigError, "empty.txt: holds no term", ("extend", "tokenizer.json", "--out", "new", "--terms", "empty.txt")),
        (ConfigError, "must end in .json or .tiktoken", ("convert", "tokenizer.json", "a.bin")),
        (ConfigError, "is the file that is read", ("convert", "tokenizer.json", "tokenizer.json")),
        (ConfigError, "must read NAME=ID", ("convert", "a.tiktoken@cl100k", "a.json", "--special", "x")),
        (ConfigError, "does not name its pattern.*a.tiktoken@cl100k", ("convert", "a.tiktoken", "a.json")),
        (ConfigError, "pattern must be one of .*got 'klingon'", ("convert", "a.tiktoken@klingon", "a.json")),
    ],
)  # fmt: skip
def test_a_mistake_is_named(app, files, error, words, arguments):
    (files / "empty.txt").write_text("\n")
    (files / "list.jsonl").write_text('{"body": "x"}\n')
    (files / "fr.jsonl").write_text('{"text": "bonjour", "language": "fr"}\n')
    (files / "a.tiktoken").write_text("IQ== 0\n")
    refused(app, error, words, *arguments)


def test_a_sentencepiece_model_is_measured_and_not_extended(app, files):
    from tokenizer import pieces

    rows = [("▁", -3.0), *((c, -4.0) for c in "abcdefghijklmnopqrstuvwxyz"), ("▁the", -1.0)]
    (files / "m.model").write_bytes(pieces.model(rows, algorithm="unigram"))
    run(app, "report", "m.model", "tokenizer.json", "-t", "plain.txt", "--terms", "terms.txt", "--json", "f.json")
    row = json.loads((files / "f.json").read_text())["tokenizers"][0]
    assert (row["name"], row["pattern"], row["vocab_size"]) == ("m", "sentencepiece unigram", 31)
    assert row["by_source"]["plain.txt"]["bytes"] == len("\n".join(TEXTS).encode())
    words = "m.model: SentencePiece's vocabularies are measured and become a tokenizer.json, but are neither extended"
    refused(app, ConfigError, words, "extend", "m.model", "--out", "new", "-t", "plain.txt")
    refused(app, ConfigError, words, "convert", "m.model", "a.tiktoken")


def test_a_sentencepiece_model_becomes_a_tokenizer_json(app, files):
    from tokenizer import pieces

    rows = [("▁", -9.0), *((c, -9.0) for c in "abcdefghijklmnopqrstuvwxyz"), ("th", -2.0), ("he", -3.0), ("the", -1.0)]
    (files / "m.model").write_bytes(pieces.model(rows, byte_fallback=True, remove_extra=False))
    words = "1 pieces are made by several pairs, and a list must put these in an order; nothing was written"
    refused(app, ConfigError, words, "convert", "m.model", "a.json")
    said = run(app, "convert", "m.model", "a.json", "-t", "plain.txt")
    assert "0 of" in said
    assert "tokens differ, in 0 of" in said
    ours, made = Tokenizer.load(files / "m.model"), Tokenizer.load(files / "a.json")
    assert made.encode("the thing").tolist() == ours.encode("the thing").tolist()
    run(app, "report", "a.json", "-t", "plain.txt", "--terms", "terms.txt")
