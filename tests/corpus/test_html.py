"""HTML to text in a process of its own: what it keeps, and that a page which hangs or crashes costs that page only."""

import os
import signal
import sys

import pytest

from corpus.lake_stage import read_one
from fasttrain.corpus import extraction
from fasttrain.corpus.extraction import Extractor

PAGE = (
    b"<html><body><nav><a href='/'>Home</a> <a href='/b'>Blog</a></nav><main><h1>Title</h1><p>First paragraph, long "
    b"enough to be taken for content.</p><script>var x = 1;</script></main>"
    b"<footer>Copyright</footer></body></html>"
)


@pytest.fixture
def extractor():
    with Extractor(20.0, 0.01) as worker:
        yield worker


def test_the_main_content_stays(extractor):
    text = extractor.html(PAGE, charset="").text.decode()
    assert text.split("\n")[0] == "Title"
    assert "First paragraph, long enough" in text
    for gone in ("Home", "Blog", "var x", "Copyright"):
        assert gone not in text


@pytest.mark.parametrize(
    "body",
    [
        "<div class='footer'>Copyright 2001-2024. All rights reserved.</div>",
        "<nav><a href='/'>Copyright 2001-2024.</a> All rights reserved.</nav>",
    ],
)
def test_a_page_without_main_content_gives_all_its_words(tmp_path, body):
    folder = tmp_path / "f"
    folder.mkdir()
    (folder / "a.html").write_bytes(PAGE)
    (folder / "copyright.html").write_text(f"<html><head><style>p {{}}</style></head><body>{body}</body></html>")
    (folder / "empty.html").write_text("<html><head><title>x</title></head><body><script>var x;</script></body></html>")
    outcome = read_one(tmp_path, folder)
    assert outcome.texts[1] == "Copyright 2001-2024. All rights reserved."
    assert [(kind, row["origin"]) for kind, row in outcome.bad] == [("empty", "f/empty.html")]
    assert outcome.report.counts == {"html_fallback": 1, "quarantined": 1}


@pytest.mark.parametrize(
    ("page", "charset", "words"),
    [
        ("<p>Füße über Straßen</p>".encode(), "", "Füße über Straßen"),
        ("<p>Füße über Straßen</p>".encode("latin-1"), "iso-8859-1", "Füße über Straßen"),
        ("<meta charset=windows-1251><p>Привет, мир</p>".encode("cp1251"), "", "Привет, мир"),
        ("<p>Привет, мир</p>".encode("utf-16"), "utf-16", "Привет, мир"),
        ("<p>Füße</p>".encode(), "no-such-charset", "Füße"),
    ],
)
def test_encodings(extractor, page, charset, words):
    result = extractor.html(page, charset=charset)
    assert (result.text.decode().strip(), result.problem, result.replaced) == (words, "", 0)


@pytest.mark.parametrize(
    "page", [b"", b"no markup", b"\x89PNG\r\n\x1a\n" + bytes(500), b"\0<p>" * 100, b"PK\x03\x04<a" + bytes(90)]
)
def test_what_is_not_html(extractor, page):
    assert extractor.html(page, charset="").problem == "not_html"


def test_pages_without_end_or_order_are_read(extractor):
    for page in (b"<p>open", b"<b><i>x</b></i></p></div>", b"<" * 2000 + b"p>", b"<div>" * 1000 + b"deep"):
        assert extractor.html(page, charset="").problem in ("", "not_html")


def worker(tmp_path, monkeypatch, body):
    path = tmp_path / "worker.py"
    path.write_text(body)
    monkeypatch.setattr(extraction, "_WORKER", path)


def test_a_page_that_hangs_is_given_up_and_the_next_one_is_read(tmp_path, monkeypatch):
    with Extractor(1.0, 0.01) as extractor:
        worker(tmp_path, monkeypatch, "import time\nprint(1, end='', flush=True)\ntime.sleep(60)\n")
        assert extractor.html(PAGE, charset="").problem == "extraction_timeout"
        monkeypatch.undo()
        extractor._timeout_s = 20.0
        assert "First paragraph" in extractor.html(PAGE, charset="").text.decode()


def test_a_crash_costs_one_page(extractor):
    assert extractor.html(PAGE, charset="").problem == ""
    os.kill(extractor._worker.pid, signal.SIGKILL)
    assert extractor.html(PAGE, charset="").problem == "extraction_crash"
    assert extractor.html(PAGE, charset="").problem == ""


def test_no_worker_without_a_page_and_none_left_behind():
    with Extractor(5.0, 0.01) as extractor:
        assert extractor._worker is None
        extractor.html(PAGE, charset="")
        process = extractor._worker
    assert process.returncode == 0
    assert sys.executable in process.args[0]
