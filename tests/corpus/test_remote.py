"""Lists of paths, and files behind a URI: local ones through the same code, and a store that speaks S3's protocol."""

import gzip
import json
import threading
import time
import urllib.parse
from email.utils import formatdate
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer

import pyarrow as pa
import pyarrow.parquet as pq
import pytest

from corpus.lake_stage import read
from fasttrain.core.errors import ConfigError
from fasttrain.corpus import lake, remote, streams
from fasttrain.corpus.config import SourceConfig


@pytest.fixture
def tree(tmp_path):
    root = tmp_path / "lake"
    (root / "deep").mkdir(parents=True)
    (root / "a.txt").write_text("a text")
    rows = "".join(json.dumps({"text": f"line {i} " * 2000}) + "\n" for i in range(60))
    (root / "b.jsonl.gz").write_bytes(gzip.compress(rows.encode()))
    pq.write_table(pa.table({"text": [f"row {i}" for i in range(500)]}), root / "deep/c.parquet")
    (root / "deep/LICENSE").write_text(
        "Permission is hereby granted, free of charge, to any person obtaining a copy of"
    )
    (root / "deep/d.py").write_text("print('a program')\n")
    return root


def files(base, path, **more):
    return lake.find(SourceConfig.load({"name": "s", "path": path, **more}), base, "corpus.sources.0").files


def test_a_list_of_paths_is_read_in_its_order_and_each_file_once(tree):
    base = tree.parent
    names = [f.name for f in files(base, ["lake/deep/c.parquet", "lake/*.txt", "lake"])]
    assert names == ["lake/deep/c.parquet", "lake/a.txt", "lake/b.jsonl.gz", "lake/deep/d.py"]
    outcome = read(base, [{"name": "s", "path": ["lake/a.txt", "lake/b.jsonl.gz"]}], base / "out")
    assert (len(outcome.texts), outcome.texts[0]) == (61, "a text")


@pytest.mark.parametrize("path", ["", [], ["a", ""]])
def test_a_path_that_names_nothing_is_refused(path):
    with pytest.raises(ConfigError, match="path"):
        SourceConfig.load({"name": "s", "path": path})


def test_each_path_of_a_list_must_match(tree):
    with pytest.raises(ConfigError, match=r"'lake/\*\.warc' matches no file"):
        files(tree.parent, ["lake", "lake/*.warc"])


def test_a_uri_gives_the_documents_of_the_folder(tree):
    base = tree.parent
    here = read(base, [{"name": "s", "path": "lake"}], base / "here")
    there = read(base, [{"name": "s", "path": tree.as_uri()}], base / "there")
    assert len(here.texts) == 562
    assert there.texts == here.texts
    assert [d["licence"] for d in there.documents] == [d["licence"] for d in here.documents]
    assert there.documents[0]["origin"] == f"{tree.as_uri()}/a.txt"


@pytest.mark.parametrize(
    ("glob", "names"),
    [
        ("a.txt", ["a.txt"]),
        ("", ["a.txt", "b.jsonl.gz", "deep/c.parquet", "deep/d.py"]),
        ("*.txt", ["a.txt"]),
        ("**/*.p[ay]*", ["deep/c.parquet", "deep/d.py"]),
        ("de*", ["deep/c.parquet", "deep/d.py"]),
        ("deep", ["deep/c.parquet", "deep/d.py"]),
    ],
)
def test_globs(tree, glob, names):
    found = files(tree.parent, f"{tree.as_uri()}/{glob}")
    assert [f.name for f in found] == [f"{tree.as_uri()}/{n}" for n in names]


def test_what_a_part_is_known_by_changes_with_the_file(tree):
    uri = (tree / "a.txt").as_uri()
    before = files(tree, uri)[0].key
    time.sleep(0.01)
    (tree / "a.txt").write_text("b text")
    assert files(tree, uri)[0].key != before


@pytest.mark.parametrize(
    ("uri", "said"),
    [
        ("nosuch://bucket/a", "cannot be listed"),
        ("file:///nowhere/at/all", "matches no file"),
    ],
)
def test_a_wrong_uri_is_told(tmp_path, uri, said):
    with pytest.raises(ConfigError, match=said) as error:
        files(tmp_path, uri)
    assert "corpus.sources.0.path" in str(error.value)


def test_a_file_that_went_away_is_unreadable(tree):
    (file,) = files(tree, (tree / "a.txt").as_uri())
    (tree / "a.txt").unlink()
    with pytest.raises(streams.Damaged, match="unreadable"):
        list(streams.chunks(file.path))
    with pytest.raises(ValueError, match="only read"):
        file.path.open("wb")


def serve(folder):
    """A server of one bucket: ListObjectsV2, HEAD and ranged GET of S3's protocol (XML of the API reference)."""

    class Bucket(BaseHTTPRequestHandler):
        protocol_version = "HTTP/1.1"

        def do_HEAD(self):
            self.answer(body=False)

        def do_GET(self):
            url = urllib.parse.urlsplit(self.path)
            query = dict(urllib.parse.parse_qsl(url.query))
            if "list-type" in query:
                self.send(200, self.listing(query.get("prefix", "")).encode(), {})
            else:
                self.answer(body=True)

        def listing(self, prefix):
            keys = sorted(p.relative_to(folder).as_posix() for p in folder.rglob("*") if p.is_file())
            contents = "".join(
                f"<Contents><Key>{k}</Key><LastModified>2026-01-02T03:04:05.000Z</LastModified>"
                f"<Size>{(folder / k).stat().st_size}</Size></Contents>"
                for k in keys
                if k.startswith(prefix)
            )
            count = contents.count("<Key>")
            whole = f"<KeyCount>{count}</KeyCount><IsTruncated>false</IsTruncated>{contents}"
            return f"<ListBucketResult>{whole}</ListBucketResult>"

        def answer(self, *, body):
            key = urllib.parse.unquote(urllib.parse.urlsplit(self.path).path).removeprefix("/bucket").strip("/")
            path = folder / key
            if key and not path.is_file():
                return self.send(404, b"", {})
            data = path.read_bytes() if key else b""
            first, last = 0, len(data) - 1
            if asked := self.headers.get("Range"):
                first, last = (int(v) for v in asked.removeprefix("bytes=").split("-"))
            piece = data[first : last + 1]
            headers = {"Last-Modified": formatdate(path.stat().st_mtime, usegmt=True), "ETag": '"1"'}
            if asked:
                headers["Content-Range"] = f"bytes {first}-{min(last, len(data) - 1)}/{len(data)}"
            self.send(206 if asked else 200, piece, headers, body=body)

        def send(self, status, data, headers, *, body=True):
            self.send_response(status)
            for name, value in {"Content-Length": str(len(data)), **headers}.items():
                self.send_header(name, value)
            self.end_headers()
            if body:
                self.wfile.write(data)

        def log_message(self, *args):
            pass

    server = ThreadingHTTPServer(("127.0.0.1", 0), Bucket)
    threading.Thread(target=server.serve_forever, daemon=True).start()
    return server


def test_a_bucket_gives_the_documents_of_the_folder(tree, monkeypatch):
    monkeypatch.setenv("AWS_ACCESS_KEY_ID", "key")
    monkeypatch.setenv("AWS_SECRET_ACCESS_KEY", "none")
    monkeypatch.setenv("AWS_EC2_METADATA_DISABLED", "true")
    base, server = tree.parent, serve(tree)
    try:
        where = f"?endpoint_override=127.0.0.1:{server.server_port}&scheme=http&region=us-east-1"
        there = read(base, [{"name": "s", "path": f"s3://bucket/*{where}"}], base / "there")
        assert [f.name for f in files(base, f"s3://bucket/deep{where}")] == [
            "s3://bucket/deep/c.parquet",
            "s3://bucket/deep/d.py",
        ]
    finally:
        server.shutdown()
        server.server_close()
    here = read(base, [{"name": "s", "path": "lake"}], base / "here")
    assert there.texts == here.texts
    assert remote.is_uri(there.documents[0]["origin"])
