"""PDF: the pages' words in order, nothing that runs through all pages, and files that give none."""

import gzip
import importlib.util
import json
import logging

import pytest

from corpus.lake_stage import read, read_one
from corpus.pdfs import encrypted, pdf
from fasttrain.core.errors import ConfigError
from fasttrain.corpus import extraction

WORDS = [
    "none",
    "one",
    "two",
    "three",
    "four",
    "Five",
    "Six",
    "Seven",
    "Eight",
    "Nine",
    "Ten",
    "Eleven",
    "Twelve",
    "Thirteen",
]
needs_pdf = pytest.mark.skipif(importlib.util.find_spec("pypdfium2") is None, reason="needs fasttrain[pdf]")


def one(tmp_path, data, name="a.pdf", **limits):
    (tmp_path / name).write_bytes(data)
    return read_one(tmp_path, tmp_path / name, limits or None)


@needs_pdf
@pytest.mark.parametrize("pack", [False, True])
def test_pages_in_order_with_number_and_title(tmp_path, pack):
    pages = [["The first page.", "It has two lines: café, “quoted”."], ["The second page."]]
    outcome = one(tmp_path, pdf(pages, title="Zwei Straßen\n II", pack=pack))
    assert outcome.texts == ["The first page.\nIt has two lines: café, “quoted”.\n\nThe second page."]
    (document,) = outcome.documents
    assert (document["origin"], json.loads(document["meta"])) == ("a.pdf", {"pages": 2, "title": "Zwei Straßen II"})
    assert outcome.bad == []


@needs_pdf
def test_a_compressed_file_without_a_title(tmp_path):
    (document,) = one(tmp_path, gzip.compress(pdf([["Words."]])), "a.pdf.gz").documents
    assert (document["text"], document["meta"]) == ("Words.", '{"pages": 1}')


@needs_pdf
def test_a_title_that_is_no_text_costs_only_itself(tmp_path):
    (document,) = one(tmp_path, pdf([["Words."]], title="half a pair: \ud83d.")).documents
    assert (document["text"], document["meta"]) == ("Words.", '{"pages": 1}')


@needs_pdf
def test_words_that_a_line_cut_are_whole_again(tmp_path):
    first = ["A well-known ship of the com-", "pany, a well-", "known one, met Jean-", "Paul in its har-"]
    outcome = one(tmp_path, pdf([first, ["bour. It was 1990-", "2000."]]))
    text = "A well-known ship of the company, a well-known one, met Jean-Paul in its harbour. It was 1990-\n2000."
    assert outcome.texts == [text]


@needs_pdf
def test_what_runs_through_all_pages_is_removed(tmp_path):
    def body(i):
        return [f"Here begins page {WORDS[i]} of the book.", "A line.", "A line.", f"{WORDS[i]} ends, a page as long."]

    def page(i):  # left and right pages have their own headers, and 9 and 10 are numbers of one kind
        return [f"{i} History of Whales" if i % 2 else f"Chapter Four {i}", "Author", *body(i), f"- {i} -"]

    pages = [["Author", "A HISTORY"], *[page(i) for i in range(5, 14)]]
    (text,) = one(tmp_path, pdf(pages)).texts
    assert text == "\n\n".join(["Author\nA HISTORY", *["\n".join(body(i)) for i in range(5, 14)]])


@needs_pdf
def test_pages_that_are_alike_as_a_whole_stay(tmp_path):
    (text,) = one(tmp_path, pdf([["Form 7", f"Number {i}", "Sign here"] for i in range(9)])).texts
    assert text == "\n\n".join(f"Form 7\nNumber {i}\nSign here" for i in range(9))


@needs_pdf
def test_two_equal_lines_are_no_header(tmp_path):
    assert one(tmp_path, pdf([["Same", "a"], ["Same", "b"]])).texts == ["Same\na\n\nSame\nb"]


@needs_pdf
def test_files_without_text_are_counted_by_their_reasons(tmp_path):
    folder = tmp_path / "f"
    folder.mkdir()
    good = pdf([["Words of the good one."]])
    files = {
        "broken": b"%PDF-1.4\n" + bytes(500),
        "empty": b"",
        "encrypted": encrypted([["secret"]]),
        "good": good,
        "late": b"\r\n" + good,
        "none": pdf([]),
        "png": b"\x89PNG\r\n\x1a\n" + bytes(2000),
        "scan": pdf([[], []], image_only=True),
        "vast": pdf([["x" * 80] * 40] * 40),
    }
    for name, data in files.items():
        (folder / f"{name}.pdf").write_bytes(data)
    outcome = read_one(tmp_path, folder, {"max_document_bytes": 100_000})
    assert [d["origin"] for d in outcome.documents] == ["f/good.pdf", "f/late.pdf"]
    assert {row["origin"][2:-4]: kind for kind, row in outcome.bad} == {
        "broken": "corrupt",
        "empty": "empty",
        "encrypted": "encrypted",
        "none": "corrupt",
        "png": "not_pdf",
        "scan": "image_only",
        "vast": "too_large",
    }
    assert outcome.report.counts["quarantined"] == 7


@needs_pdf
def test_pages_that_cannot_be_loaded_are_counted(tmp_path):
    data = pdf([["One."], ["Two."], ["Three."]]).replace(b"[5 0 R 7 0 R 9 0 R]", b"[5 0 R 1 0 R 9 0 R]")
    outcome = one(tmp_path, data)
    assert outcome.texts == ["One.\n\nThree."]
    assert outcome.report.counts["unreadable_pdf_pages"] == 1


@needs_pdf
def test_a_crash_an_endless_page_or_a_bomb_costs_its_file(tmp_path, monkeypatch):
    folder = tmp_path / "f"
    folder.mkdir()
    for name in ("a", "crash", "hang", "vast", "z"):
        (folder / f"{name}.pdf").write_bytes(pdf([[f"Words of {name}."]]))
    worker = tmp_path / "worker.py"
    worker.write_text(
        "import os, runpy, signal, sys, time\n"
        "from fasttrain.corpus import pdf_text\n"
        "def text_of(raw, extract=pdf_text.text_of, **options):\n"
        "    found = extract(raw, **options)\n"
        "    if b'crash' in found['text']: os.kill(os.getpid(), signal.SIGSEGV)\n"
        "    if b'vast' in found['text']: bytearray(3 << 30)\n"
        "    if b'hang' in found['text']: time.sleep(60)\n"
        "    return found\n"
        "pdf_text.text_of = text_of\n"
        f"runpy.run_path({str(extraction._WORKER)!r}, run_name='__main__')\n"
    )
    monkeypatch.setattr(extraction, "_WORKER", worker)
    outcome = read_one(tmp_path, folder, {"extraction_timeout_s": 3.0})
    assert outcome.texts == ["Words of a.", "Words of z."]
    assert [kind for kind, _ in outcome.bad] == ["extraction_crash", "extraction_timeout", "extraction_crash"]
    assert json.loads(outcome.bad[2][1]["evidence"])["detail"].startswith("MemoryError")


@pytest.fixture
def without_the_extra(monkeypatch):
    monkeypatch.setitem(extraction._NEEDS, "pdf", ("no_such_library", "pdf"))


@pytest.mark.parametrize(
    ("source", "words"),
    [
        ({"path": "f", "kind": "pdf"}, r"corpus.sources.0.kind: source 's': 'pdf' must be read with"),
        ({"path": "f/a.pdf"}, r"corpus.sources.0: source 's': 'f/a.pdf' names files that must be read with"),
        ({"path": "f/*.pdf"}, r"'f/\*.pdf' names files that"),
        ({"path": "f", "include": ["*.pdf"]}, r"'\*.pdf' names files that"),
        ({"path": "only"}, r"corpus.sources.0.path: source 's': 'only' holds only files \(pdf\) that must"),
    ],
)
def test_pdf_that_was_asked_for_needs_the_extra(tmp_path, without_the_extra, source, words):
    for name in ("f/a.pdf", "f/b.txt", "only/a.pdf"):
        (tmp_path / name).parent.mkdir(exist_ok=True)
        (tmp_path / name).write_bytes(pdf([["x"]]))
    with pytest.raises(ConfigError, match=words + r".*an extra that is not installed; pip install 'fasttrain\[pdf\]'"):
        read(tmp_path, [{"name": "s", **source}], tmp_path / "out")


def test_without_the_extra_auto_passes_over_and_says_so(tmp_path, without_the_extra, caplog):
    folder = tmp_path / "f"
    folder.mkdir()
    for name in ("a.pdf", "b.txt", "c.pdf", "d.txt"):
        (folder / name).write_bytes(b"text")
    with caplog.at_level(logging.WARNING, logger="fasttrain"):
        outcome = read_one(tmp_path, folder, {"part_bytes": 1})
    assert [d["origin"] for d in outcome.documents] == ["f/b.txt", "f/d.txt"]
    assert outcome.report.counts == {"passed_over_pdf": 2}
    assert "source s: 2 files passed over: pdf needs fasttrain[pdf]" in caplog.text


def test_a_rank_without_the_library_stops_the_run(tmp_path, monkeypatch):
    worker = tmp_path / "worker.py"
    worker.write_text(
        "import runpy, sys\nsys.modules['pypdfium2'] = None\n"
        f"runpy.run_path({str(extraction._WORKER)!r}, run_name='__main__')\n"
    )
    monkeypatch.setattr(extraction, "_WORKER", worker)
    with extraction.Extractor(20.0, 0.01) as extractor:
        with pytest.raises(ConfigError, match=r"reads pdf must be there on every rank.*pip install 'fasttrain\[pdf\]'"):
            extractor.pdf(pdf([["x"]]), max_bytes=1000)
        assert extractor.html(b"<p>still alive</p>", charset="").problem == ""
