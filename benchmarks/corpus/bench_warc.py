"""Workloads: 480 real pages (the embedded lake's 24, twenty times; HTML to text); a WET file of 2,000 texts; .warc.gz.

Rival: warcio 1.8.1 with the same extraction called in the process. Texts are compared before anything is timed.
"""

import gzip
import io

import pytest
from fastwarc.warc import ArchiveIterator

from fasttrain.corpus import html_text, warc
from fasttrain.corpus.config import CorpusConfig
from fasttrain.corpus.extraction import Extractor
from fasttrain.corpus.intake import Intake
from fasttrain.corpus.lake import LakeFile
from fasttrain.formats import package_path

CONFIG = CorpusConfig.load({"sources": [{"name": "web", "path": "."}]})
WEB = ("creativecommons.warc.gz", "python-docs.warc.gz")


def pages():
    members = [(package_path.DATA / "demo_lake/web" / name).read_bytes() for name in WEB]
    return b"".join(members) * 20


def wet():
    text = ("Page %05d. " + "The quick brown fox jumps over the lazy dog. " * 80).encode()
    head = (
        "WARC/1.0\r\nWARC-Type: conversion\r\nWARC-Record-ID: <urn:uuid:%d>\r\nWARC-Target-URI: http://a.example/%d\r\n"
    )
    rest = "Content-Type: text/plain\r\nContent-Length: %d\r\n\r\n"
    bodies = [text % i for i in range(2000)]
    records = [((head % (i, i)) + rest % len(b)).encode() + b + b"\r\n\r\n" for i, b in enumerate(bodies)]
    return b"".join(gzip.compress(r, 6, mtime=0) for r in records)


def payload_bytes(data):
    return sum(len(record.reader.read()) for record in ArchiveIterator(io.BytesIO(data)))


@pytest.fixture(scope="module", params=[pages, wet], ids=["pages", "wet"])
def crawl(request, tmp_path_factory):
    path = tmp_path_factory.mktemp("crawl") / "a.warc.gz"
    data = request.param()
    path.write_bytes(data)
    return LakeFile(path, path.name, "warc", len(data), ""), payload_bytes(data)


@pytest.fixture(scope="module")
def extractor():
    with Extractor(60.0, 0.01) as worker:
        yield worker


def fasttrain_texts(file, extractor):
    batches = []
    intake = Intake(CONFIG.sources[0], CONFIG, batches.append, batches.append)
    warc.read(file, intake, extractor)
    intake.flush()
    return [text for batch in batches for text in batch.column("text").to_pylist()]


def warcio_texts(file):
    archive = pytest.importorskip("warcio.archiveiterator")
    texts = []
    with file.path.open("rb") as stream:
        for record in archive.ArchiveIterator(stream):
            body = record.content_stream().read()
            if record.rec_type == "conversion":
                texts.append(body.decode())
            elif record.rec_type == "response" and record.http_headers.get_statuscode() == "200":
                texts.append(html_text.text_of(body, "utf-8", 0.01)["text"].decode())
    return texts


def bench_fasttrain(benchmark, record, crawl, extractor):
    file, num_bytes = crawl
    assert fasttrain_texts(file, extractor) == warcio_texts(file)
    benchmark(fasttrain_texts, file, extractor)
    record("MB_per_s", num_bytes / 1e6)


def bench_rival_warcio(benchmark, record, crawl):
    file, num_bytes = crawl
    pytest.importorskip("warcio")
    benchmark(warcio_texts, file)
    record("MB_per_s", num_bytes / 1e6)
