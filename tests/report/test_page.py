import re
import shutil
import subprocess
import threading
from functools import partial
from http.server import BaseHTTPRequestHandler, HTTPServer
from pathlib import Path

import pytest

from audit import small_run
from fasttrain.core.errors import FormatError
from fasttrain.formats.run_folder import RunFolder
from fasttrain.report.page import SECTIONS, build
from report import full_run

CHROMIUM = next(filter(None, map(shutil.which, ("chromium", "chromium-browser", "google-chrome", "chrome"))), None)
# Headless, without a sandbox (containers), without what a browser asks of its maker by itself.
FLAGS = [
    "--headless",
    "--no-sandbox",
    "--disable-gpu",
    "--disable-quic",
    "--no-first-run",
    "--disable-background-networking",
    "--disable-component-update",
    "--disable-sync",
    "--enable-logging=stderr",
    "--virtual-time-budget=15000",
]


@pytest.fixture(scope="module")
def run(tmp_path_factory):
    run = full_run.build(tmp_path_factory.mktemp("report") / "full")
    build(run)
    return run


@pytest.fixture(scope="module")
def page(run):
    return run.report.read_text(encoding="utf-8")


def body(page):
    """The page without plotly and the page's own script."""
    return re.sub(r"<script>.*?</script>", "", page, flags=re.S)


@pytest.mark.skipif(CHROMIUM is None, reason="no Chromium on the PATH")
def test_a_browser_draws_every_figure_and_asks_for_nothing(run, page, tmp_path):
    asked = []

    class Listener(BaseHTTPRequestHandler):
        def do_GET(self):
            asked.append(self.path)
            self.send_error(404)

        do_CONNECT = do_GET

        def log_message(self, *args):
            return

    server = HTTPServer(("127.0.0.1", 0), Listener)
    threading.Thread(target=server.serve_forever, daemon=True).start()
    try:  # every request that the page made would go through this proxy
        command = [CHROMIUM, *FLAGS, f"--proxy-server=127.0.0.1:{server.server_port}", f"--user-data-dir={tmp_path}/c",
                   "--dump-dom", f"file://{run.report}"]  # fmt: skip
        done = subprocess.run(command, capture_output=True, text=True, timeout=120, check=False)
    finally:
        server.shutdown()
        server.server_close()
    assert done.returncode == 0, done.stderr[-2000:]
    dom = done.stdout
    figures = page.count("data-plot=")
    assert figures >= 12
    assert f'data-plots="{figures}"' in dom
    assert 'data-errors="0"' in dom
    assert dom.count('class="main-svg"') >= 2 * figures  # plotly draws each figure in two or three layers
    assert dom.count('<g class="trace scatter') + dom.count('<g class="trace bars') >= figures
    console = [line for line in done.stderr.splitlines() if "CONSOLE" in line]
    assert console == []
    assert "owned" not in re.search(r"<title>(.*?)</title>", dom)[1]
    # The browser itself may phone home; what the page would ask for are these hosts.
    assert [path for path in asked if "evil" in path or "plot" in path] == []


def test_nothing_refers_to_the_outside(page):
    assert re.findall(r"<(?:link|iframe|object|embed|img|base)\b", body(page)) == []
    assert re.findall(r"<script[^>]*\bsrc=", page) == []
    links = re.findall(r'\b(?:href|src)="(?!#)([^"]*)', body(page))
    assert [
        x for x in links if not re.fullmatch(r"datasheet\.(md|json)|removals/r-\w+\.md", x)
    ] == []  # of the run folder
    assert "Content-Security-Policy" in page
    assert "default-src &#x27;none&#x27;" in page


def test_what_documents_say_is_text(page):
    assert full_run.HOSTILE not in page
    assert "<script>alert" not in page  # a document of the run says so
    assert "&lt;script&gt;alert" in page
    assert "<b>white</b>" not in page


def test_personal_data_is_masked(page):
    assert "jane.roe" not in page
    assert "192.0.2.44" not in page
    assert "&lt;EMAIL&gt;" in page
    assert "[IP]" in page


@pytest.mark.parametrize(
    "words",
    [
        "filter: c4:lorem_ipsum", "dedup: near:jaccard", "benchmark: humaneval", "HumanEval/0", "https://a.example/one",
        "CC-BY-4.0", "bpb of all &lt;= bigram", "pill bad", "pill good", "guard: skipped", "resume",
        "rollback at step 29", "Times that each source has been gone through", "1.23%", "4,321",
        "MFU = 6 N + 6 L C T (causal half), peak 230 GFLOP/s", "6 * (non-embedding matrix weights",
        "whole words", "0123456789abcdef",
    ],
)  # fmt: skip
def test_it_says(page, words):
    assert words in page


def test_it_is_made_for_everyone(page):
    assert '<html lang="en">' in page
    assert page.count("<h1>") == 1
    for anchor, title, _, _ in SECTIONS:
        assert f'<section id="{anchor}">' in page
        assert f'<a href="#{anchor}">' in page
        assert f"<h2>{title}</h2>" in page
    figures = re.findall(r'<div id="plot-\d+"[^>]*>', page)
    assert figures
    assert all('role="img"' in f and 'aria-label="' in f for f in figures)
    assert "prefers-color-scheme: dark" in page


@pytest.mark.parametrize("make", [None, partial(small_run.build), "empty"])
def test_missing_parts_are_said_to_be_missing(tmp_path, make):
    run = RunFolder(tmp_path / "run")
    if make == "empty":
        run.root.mkdir()
    elif make is None:
        run.claim({"name": "bare"})
    else:
        make(run.root)
    text = build(run).read_text(encoding="utf-8")
    assert "Not trained yet" in text
    assert "Not evaluated yet" in text


def test_damaged_parts_are_named(tmp_path):
    run = full_run.build(tmp_path / "run", steps=12)
    (run.eval / "eval.json").write_text('{"scores": ')
    (run.stage("filter") / "manifest.json").write_text("{}")
    text = build(run).read_text(encoding="utf-8")
    assert "Damaged and left out: eval/eval.json" in text
    assert "Damaged and left out: prepare/filter/manifest.json" in text
    assert "Not evaluated yet" in text


def test_the_seconds_of_a_step_are_told(page):
    text = re.sub(r"<[^>]+>", " ", body(page))
    assert "the others wait for rank 1 in 75% of steps" in text
    for name, ms, share in (("outside forward, backward and optimizer", "6.00", "2.40%"),
                            ("waiting for ranks that came later", "3.00", "1.20%"),
                            ("own work: batches, totals, guard, metrics", "2.00", "0.80%")):  # fmt: skip
        assert re.search(rf"{name}\s+{ms}\s+{share}", text), name


def test_a_long_run_stays_small(tmp_path):
    short, long = full_run.build(tmp_path / "a", steps=60), full_run.build(tmp_path / "b", steps=6000)
    sizes = [build(r).stat().st_size for r in (short, long)]
    assert sizes[1] - sizes[0] < 1_500_000


def test_no_such_folder():
    with pytest.raises(FormatError, match="no such run folder"):
        build(RunFolder(Path("/nonexistent/run")))
