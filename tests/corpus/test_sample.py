"""Documents for a command that measures: of what, how much, and what is said when there is none."""

import json

import pytest

from fasttrain.core.errors import ConfigError
from fasttrain.corpus.config import SourceConfig
from fasttrain.corpus.sample import read_documents


def read(path, base, **options):
    found = []
    read_documents([SourceConfig(name="s", path=path, **options.pop("source", {}))], base, found.append, **options)
    return [text for batch in found for text in batch.column("text").to_pylist()]


def test_everything_is_read_in_the_order_of_names(tmp_path):
    for k in range(5):
        (tmp_path / f"{k}.txt").write_text(f"text {k}")
    assert read(".", tmp_path) == [f"text {k}" for k in range(5)]


def test_a_budget_takes_files_from_everywhere_and_the_same_ones_again(tmp_path):
    for k in range(40):
        (tmp_path / f"{k:02}.txt").write_text(f"{k:02}" * 50)
    some = read(".", tmp_path, max_bytes=1000)
    assert len(some) == 10
    assert some == read(".", tmp_path, max_bytes=1000)
    assert some != sorted(some)
    assert any(int(t[:2]) >= 20 for t in some)


def test_a_budget_ends_in_the_middle_of_a_file(tmp_path):
    (tmp_path / "a.jsonl").write_text("".join(json.dumps({"text": f"record {k:04}"}) + "\n" for k in range(3000)))
    assert read("a.jsonl", tmp_path, max_bytes=110) == [f"record {k:04}" for k in range(10)]


def test_each_entry_has_its_own_budget(tmp_path):
    (tmp_path / "a.txt").write_text("a" * 100)
    (tmp_path / "b.txt").write_text("b" * 100)
    found = []
    entries = [SourceConfig(name=n, path=f"{n}.txt") for n in "ab"]
    read_documents(entries, tmp_path, found.append, max_bytes=50)
    assert [b.column("source")[0].as_py() for b in found] == ["a", "b"]


def test_no_text_is_an_error_that_says_what_was_wrong_first(tmp_path):
    (tmp_path / "a.jsonl").write_text("{}\nnonsense\n")
    with pytest.raises(ConfigError, match=r"a.jsonl: holds no text to read \(a.jsonl#1: quarantine:no_text\)"):
        read("a.jsonl", tmp_path)
    with pytest.raises(ConfigError, match="matches no file"):
        read("none", tmp_path)
