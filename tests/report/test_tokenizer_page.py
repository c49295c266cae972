"""The tokenizer report's page: complete, self-contained, nothing in it taken for markup."""

import copy
import json
import re

import pytest

from fasttrain.cli.tokenizer_options import NamedTokenizer
from fasttrain.cli.tokenizer_report import measure
from fasttrain.report import tokenizer_page
from fasttrain.tokenizer import train_bpe

TEXT = "Words and <b>markup</b> & more. Des mots.\n" * 20


@pytest.fixture(scope="module")
def data(tmp_path_factory):
    path = tmp_path_factory.mktemp("text") / "a.txt"
    path.write_text(TEXT)
    tokenizers = [NamedTokenizer(n, path, train_bpe([TEXT], vocab_size=v)) for n, v in (("<one>", 270), ("two", 290))]
    return measure(tokenizers, [f"src={path}"], [], ["<i>term</i>", "mots"], "demo", None)


def test_the_page_needs_nothing_and_takes_nothing_for_markup(data):
    page = tokenizer_page.render(data)
    assert 'content="default-src &#x27;none&#x27;;' in page
    assert not re.search(r'(src|href)="(?!#)', page.split("<script>")[0])  # behind it is plotly itself
    assert "<b>markup" not in page
    assert "<i>term" not in page
    assert "&lt;i&gt;term&lt;/i&gt;" in page
    figures = re.findall(r'<script type="application/json" data-plot="[\w-]+">(.*?)</script>', page, re.S)
    assert len(figures) == 5  # three ratios, health, cost; there is no second language
    for figure in figures:
        assert {trace["type"] for trace in json.loads(figure.replace("<\\/", "</"))["data"]} == {"bar"}
    for anchor in ("fit", "languages", "terms", "health", "cost", "definitions"):
        assert f'id="{anchor}"' in page


def test_a_report_without_terms_has_no_such_section(data):
    plain = copy.deepcopy(data)
    for t in plain["tokenizers"]:
        t["terms"] = None
    assert 'id="terms"' not in tokenizer_page.render(plain)


def test_of_many_languages_the_plot_shows_the_cheapest_and_the_dearest(data):
    many = copy.deepcopy(data)
    for t in many["tokenizers"]:
        t["premium"]["languages"] = {f"l{k:03}": 1 + k / 10 for k in range(200)}
    page = tokenizer_page.render(many)
    assert "40 of 200 languages" in page
    assert '"l000"' in page
    assert '"l199"' in page


def test_all_of_it_is_plain_data(data):
    assert json.loads(json.dumps(data)) == data
