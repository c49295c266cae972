"""Curves of one figure can be told apart."""

import json
import re
from pathlib import Path

import fasttrain.report
from fasttrain.report import figures


def test_no_two_of_many_curves_look_alike():
    page = str(figures.Figures().lines("t", {f"source {k}": ([1.0], [float(k)]) for k in range(20)}, y="nats"))
    data = json.loads(re.search(r'type="application/json"[^>]*>(.*?)</script>', page, re.S)[1])["data"]
    looks = [(k % figures.NUM_COLOURS, curve["line"]["dash"]) for k, curve in enumerate(data)]
    assert len(set(looks)) == 20


def test_the_number_of_colours_is_that_of_the_page():
    script = (Path(fasttrain.report.__file__).parent / "page.js").read_text()
    assert len(re.search(r"colorway: \[(.*?)\]", script)[1].split(",")) == figures.NUM_COLOURS
