"""Which files a source has, and how they are cut into parts."""

import json
import os

import pytest

from corpus.lake_stage import read, read_one
from fasttrain.core.errors import ConfigError
from fasttrain.corpus import lake, languages, licences
from fasttrain.corpus.config import CorpusConfig, SourceConfig
from fasttrain.corpus.stage import source_fingerprint
from fasttrain.formats import package_path


def tree(root, *names, text="text"):
    for name in names:
        path = root / name
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_text(text)


def names(root, path, **source):
    found = lake.find(SourceConfig.load({"name": "s", "path": path, **source}), root, "corpus.sources.0").files
    return [file.name for file in found]


def test_folders_files_and_globs(tmp_path):
    """Names begin with the path as written, so that entries of one source never share an origin."""
    tree(tmp_path, "a/1.txt", "a/b/2.txt", "a/b/3.md", "a/b/c.py", "a/x.bin", "z.txt")
    assert names(tmp_path, "a") == ["a/1.txt", "a/b/2.txt", "a/b/3.md", "a/b/c.py"]  # x.bin: of no known kind
    assert names(tmp_path, "./a/") == names(tmp_path, "a")
    assert names(tmp_path, ".") == [*names(tmp_path, "a"), "z.txt"]
    assert names(tmp_path, "a/b/2.txt") == ["a/b/2.txt"]
    assert names(tmp_path, "z.txt") == ["z.txt"]
    assert names(tmp_path, "a/*.txt") == ["a/1.txt"]
    assert names(tmp_path, "a/**/*.txt") == ["a/1.txt", "a/b/2.txt"]
    assert names(tmp_path, "*/b") == ["a/b/2.txt", "a/b/3.md", "a/b/c.py"]  # a folder that matches counts whole
    assert names(tmp_path, "a/[12!]*.txt") == ["a/1.txt"]
    assert names(tmp_path, "a/b/?.[!m]*") == ["a/b/2.txt", "a/b/c.py"]
    assert names(tmp_path, "a", kind="code") == ["a/b/c.py"]
    assert names(tmp_path, "a", include=["*.md", "x*"], kind="text") == ["a/b/3.md", "a/x.bin"]
    assert names(tmp_path, "a", exclude=["b/*"]) == ["a/1.txt"]  # include and exclude see the path below it
    assert names(tmp_path, str(tmp_path / "a/b/*.md")) == [str(tmp_path / "a/b/3.md")]


def test_entries_of_one_source_have_their_own_identities(tmp_path):
    tree(tmp_path, "v1/a.txt", "v2/a.txt")
    outcome = read(tmp_path, [{"name": "s", "path": "v1"}, {"name": "s", "path": "v2"}], tmp_path / "out")
    assert [d["origin"] for d in outcome.documents] == ["v1/a.txt", "v2/a.txt"]
    assert len({d["doc_id"] for d in outcome.documents}) == 2


def test_links_are_not_followed(tmp_path):
    tree(tmp_path, "a/src/1.rs")
    (tmp_path / "a/twin").symlink_to(tmp_path / "a/src")
    (tmp_path / "a/two.rs").symlink_to(tmp_path / "a/src/1.rs")
    assert names(tmp_path, "a") == ["a/src/1.rs"]
    assert names(tmp_path, "a/**/*.rs") == ["a/src/1.rs"]


def test_parts_hold_neighbours_and_a_large_file_alone(tmp_path):
    for name, size in {"a.txt": 40, "b.txt": 40, "c.txt": 300, "d.txt": 10, "e.txt.gz": 20, "f.txt": 20}.items():
        (tmp_path / name).write_bytes(b"x" * size)
    sources = [{"name": "one", "path": "."}, {"name": "two", "path": "a.txt"}]
    config = CorpusConfig.load({"sources": sources, "part_bytes": 100})
    parts = [(p.source, [f.name for f in p.files]) for p in lake.plan(config, tmp_path)]
    assert parts == [
        (0, ["a.txt", "b.txt"]),
        (0, ["c.txt"]),
        (0, ["d.txt", "e.txt.gz"]),
        (0, ["f.txt"]),
        (1, ["a.txt"]),
    ]


def test_the_fingerprint_sees_a_change(tmp_path):
    tree(tmp_path, "a.txt", "b.txt")
    config = CorpusConfig.load({"sources": [{"name": "s", "path": "."}]})
    before = source_fingerprint(config, tmp_path)
    assert before == json.loads(json.dumps(before)) == source_fingerprint(config, tmp_path)
    os.utime(tmp_path / "a.txt", ns=(1, 1))
    assert source_fingerprint(config, tmp_path) != before


def test_package_files_are_known_by_content():
    config = CorpusConfig.load({"sources": [{"name": "s", "path": "package:demo_lake/factbook.parquet"}]})
    [[_, [[_, _, _, version, _]]]] = source_fingerprint(config, package_path.DATA)
    assert len(version) == 64


def test_an_unknown_key_is_refused_by_name():
    with pytest.raises(ConfigError, match=r"corpus.sources.0.licens: unknown key; did you mean 'licence'\?"):
        CorpusConfig.load({"sources": [{"name": "s", "path": ".", "licens": "MIT"}]}, where="corpus")
    with pytest.raises(ConfigError, match="corpus.sources"):
        CorpusConfig.load({"sources": []}, where="corpus")


MIT = "Permission is hereby granted, free of charge, to any person obtaining\na copy of this software"
BSD = "Redistribution and use in source and binary\n forms, with or without modification"


def test_a_source_tree_knows_licence_language_and_machine_text(tmp_path):
    tree(tmp_path, "t/LICENSE", text=BSD + " ... endorse or promote products")
    tree(tmp_path, "t/vendor/COPYING", text=MIT)
    tree(tmp_path, "t/vendor/LICENSE-APACHE", text="Apache License\n   Version 2.0, January 2004")
    tree(tmp_path, "t/a.go", text="package a\n")
    tree(tmp_path, "t/vendor/x/b.rs", text="fn main() {}\n")
    tree(tmp_path, "t/c.h", text="// SPDX-License-Identifier: GPL-2.0-only WITH Linux-syscall-note */\nint c;\n")
    tree(tmp_path, "t/d.pb.go", text="// Code generated by protoc-gen-go. DO NOT EDIT.\npackage d\n")
    tree(tmp_path, "t/e.min.js", text="var e=1;")
    tree(tmp_path, "t/f.js", text="f();" * 1000)
    outcome = read_one(tmp_path, tmp_path / "t", kind="code", licence="unknown")
    found = {d["origin"]: (d["licence"], json.loads(d["meta"])) for d in outcome.documents}
    assert found == {
        "t/a.go": ("BSD-3-Clause", {"code": "go"}),
        "t/vendor/x/b.rs": ("Apache-2.0 OR MIT", {"code": "rust"}),
        "t/c.h": ("GPL-2.0-only WITH Linux-syscall-note", {"code": "c"}),
        "t/d.pb.go": ("BSD-3-Clause", {"code": "go", "generated": True}),
        "t/e.min.js": ("BSD-3-Clause", {"code": "javascript", "minified": True}),
        "t/f.js": ("BSD-3-Clause", {"code": "javascript", "minified": True}),
    }


@pytest.mark.parametrize(
    ("text", "identifier"),
    [
        (MIT, "MIT"),
        (BSD, "BSD-2-Clause"),
        ("GNU LESSER GENERAL PUBLIC LICENSE\n Version 2.1, February 1999", "LGPL-2.1"),
        ("GNU GENERAL PUBLIC LICENSE\n   Version 3, 29 June 2007", "GPL-3.0"),
        ("All rights reserved.", ""),
    ],
)
def test_licence_texts(text, identifier):
    assert licences.classify(text) == identifier


def test_a_program_that_prints_the_mark_late_is_not_generated():
    assert not languages.generated(b"x = 1\n" * 500 + b"# DO NOT EDIT\n")


def test_fields_reach_into_objects_and_name_the_document(tmp_path):
    row = {"doc": {"body": "hello"}, "link": "http://a.example/x", "lic": "MIT", "lang": "de", "t": 86400}
    (tmp_path / "a.jsonl").write_text(json.dumps(row) + "\n" + json.dumps({"doc": {"body": "bare"}}) + "\n")
    fields = {"url_field": "link", "licence_field": "lic", "language_field": "lang", "timestamp_field": "t"}
    source = {
        "name": "s",
        "path": "a.jsonl",
        "text_field": "doc.body",
        "licence": "CC0-1.0",
        "language": "en",
        **fields,
    }
    first, second = read(tmp_path, [source], tmp_path / "out").documents
    assert (first["text"], first["origin"], first["licence"], first["language"]) == ("hello", row["link"], "MIT", "de")
    assert first["timestamp"].isoformat() == "1970-01-02T00:00:00+00:00"
    assert json.loads(first["meta"]) == {"record": "a.jsonl#1"}
    assert (second["origin"], second["licence"], second["language"]) == ("a.jsonl#2", "CC0-1.0", "en")
    assert second["timestamp"] is None
