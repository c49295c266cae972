"""MediaWiki dumps: which pages come, what their wikitext leaves, and what damage costs."""

import bz2
import gzip
import importlib.util
import json
import logging
import tracemalloc
from functools import partial

import pytest
import zstandard
from hypothesis import HealthCheck, example, given, settings
from hypothesis import strategies as st

from corpus.dumps import FOOTER, HEADER, PLAIN, WIKITEXT, dump, page
from corpus.intakes import read_bytes
from corpus.lake_stage import read, read_one
from fasttrain.core.errors import ConfigError
from fasttrain.corpus import extraction, lake, wikidump
from fasttrain.corpus.config import SourceConfig

needs_wiki = pytest.mark.skipif(importlib.util.find_spec("mwparserfromhell") is None, reason="needs fasttrain[wiki]")
NAME = "dewiki-20240301-pages-articles.xml"


class Labels:
    """Stands for the extractor: the wikitext as it is."""

    def wikitext(self, page, dropped):
        return extraction.Extracted(text=page)


def pages_of(data, name=NAME, max_bytes=4000, **source):
    """(documents, reasons, counts) of a dump's bytes, its wikitext unchanged."""
    reader = partial(wikidump.read, extractor=Labels())
    documents, bad, counts = read_bytes(reader, data, name, max_bytes=max_bytes, **source)
    return documents, [reason.removeprefix("quarantine:") for reason in bad], counts


def taken(data, name=NAME, max_bytes=4000, **source):
    """The same with the texts alone."""
    documents, bad, counts = pages_of(data, name, max_bytes, **source)
    return [d["text"] for d in documents], bad, counts


@needs_wiki
@pytest.mark.parametrize(
    ("suffix", "pack"),
    [("", bytes), (".gz", gzip.compress), (".bz2", bz2.compress), (".zst", zstandard.ZstdCompressor().compress)],
)
def test_a_page_with_every_construct(tmp_path, suffix, pack):
    path = tmp_path / f"{NAME}{suffix}"
    path.write_bytes(pack(dump([page(7, WIKITEXT, title="Pequod & Söhne?"), page(8, "Two.")])))
    outcome = read_one(tmp_path, path, licence="CC-BY-SA-4.0")
    assert outcome.texts == [f"Pequod & Söhne?\n\n{PLAIN}", "Seite 8\n\nTwo."]
    first = outcome.documents[0]
    assert first["origin"] == "https://de.example.org/wiki/Pequod_%26_S%C3%B6hne%3F"
    assert (first["licence"], first["language"]) == ("CC-BY-SA-4.0", "de")
    assert first["timestamp"].isoformat() == "2024-02-03T04:05:06+00:00"
    assert json.loads(first["meta"]) == {"page": "7", "record": f"{path.name}#1", "revision": "1007"}
    assert outcome.bad == []


@needs_wiki
@pytest.mark.parametrize(
    ("wikitext", "plain"),
    [
        ("a\n{|\n| torn {{x\n! table\n\nafter", "a\n\nafter"),
        ("'''''both''' torn'' l''amour", "both torn lamour"),
        ("'' torn [[link|''a'']] and [[b]]", "torn a and b"),
        ("<ref>no end [[x]]", "no end x"),
        ("x</div></ref><br>y <small>z", "x\ny z"),
        ("[[a|b [[c]] d]]", "b c d"),
        ("== A ==\n=== B ===\ntext\n=== C ===\n== D ==\n{{x}}", "A\n\nB\ntext"),
        ("{{a|{{b|{{c}}}}}}{{d", "{{d"),
        ("[[fr:Baleine]] [[Whale]] [[de:x|y]]", "Whale y"),
        ("[[]] [[|x]] [http://a.example]", "x"),
        ("1&nbsp;000 &lt; &amp;lt; &bogus; (&nbsp;; )", "1 000 < &lt; &bogus;"),
        ("Ah&nbsp;! f() ({{x}}) {{y}}, z ({{a}}; {{b}}) .", "Ah ! f(), z."),
        ("<nowiki>'''x''' {{y}} __TOC__</nowiki>", "'''x''' {{y}} __TOC__"),
        ("<ul><li>one</li><li>two</li></ul>", "- one\n- two"),
        ("\x00 0 \x01 1 <pre>k</pre>", "0 1 k"),
        ("__KEIN_INHALTSVERZEICHNIS__ __init__ x__Y", "__init__ x__Y"),
    ],
)
def test_small_and_torn_wikitext(wikitext, plain):
    from fasttrain.corpus import wikitext_text

    assert wikitext_text.text_of(wikitext.encode(), ["file"])["text"].decode() == plain


@needs_wiki
@given(st.lists(st.sampled_from([
    "[[", "]]", "{{", "}}", "{|", "|}", "|-", "|", "\n", "''", "'''", "=", "==", "*", ":", ";", "<ref>", "</ref>",
    "<ref ", "/>", "<nowiki>", "</nowiki>", "<pre>", "</pre>", "<math>", "</math>", "<b>", "</b>", "<li>", "<!--",
    "-->", "http://", "[", "]", "&#0;", "&#1;", "&amp;", "{{{", "}}}", "File:", "de:", "__TOC__", "word", " ", "é",
    "<table>", "</table>",
]), max_size=60))  # fmt: skip
@example(["<pre>", "[[", " ", "</pre>"])
@settings(max_examples=300, deadline=None)
def test_any_wikitext_gives_text_without_marks(pieces):
    from fasttrain.corpus import wikitext_text

    text = wikitext_text.text_of("".join(pieces).encode(), ["file"])["text"].decode()
    assert "\x00" not in text
    assert "\x01" not in text
    assert text == text.rstrip()


def test_pages_that_are_no_articles_are_counted():
    pages = [
        page(1, "kept"),
        page(2, "#REDIRECT [[Seite 1]]", redirect="Seite 1"),
        page(3, "talk", ns=1),
        page(4, "template", ns=10),
        page(5, "x = 1", model="Scribunto"),
        page(6, "x = 1", model="javascript"),
        page(7, "  "),
        page(8, "also kept"),
    ]
    texts, bad, counts = taken(dump(pages))
    assert texts == ["Seite 1\n\nkept", "Seite 8\n\nalso kept"]
    assert bad == ["empty"]
    assert counts == {
        "quarantined": 1, "repaired_texts": 0, "replaced_characters": 0, "wiki_model_javascript": 1,
        "wiki_model_other": 1, "wiki_namespace_1": 1, "wiki_namespace_10": 1, "wiki_redirects": 1,
    }  # fmt: skip
    assert [t.split("\n")[0] for t in taken(dump(pages), namespaces=[1, 10])[0]] == ["Seite 3", "Seite 4"]


def test_old_dumps_without_namespaces_and_address():
    pages = [page(1, "kept", ns=None), page(2, "x", title="Vorlage: Y", ns=None), page(3, "z", title="A: B", ns=None)]
    assert taken(dump(pages))[0] == ["Seite 1\n\nkept", "A: B\n\nz"]
    with_index = HEADER.replace("/wiki/Wikipedia:Hauptseite", "/index.php?title=Hauptseite")
    without = HEADER.replace("<base>https://de.example.org/wiki/Wikipedia:Hauptseite</base>", "")
    for header, origin in ((with_index, "https://de.example.org/index.php?title=Seite_1"), (without, f"{NAME}#1")):
        assert [d["origin"] for d in pages_of(dump([page(1, "x")], header))[0]] == [origin]


def test_of_several_revisions_the_last_counts():
    one = page(1, "old").replace("  </page>\n", "")
    two = "<revision><timestamp>2025-01-01T00:00:00Z</timestamp><text>new</text></revision></page>"
    assert taken(dump([one + two]))[0] == ["Seite 1\n\nnew"]


def test_a_page_that_is_broken_costs_itself():
    def broken(number, was, becomes):
        data = page(number, "lost")
        assert was in data
        return data.replace(was, becomes)

    pages = [
        page(1, "one"),
        broken(2, "</title>", "</name>"),
        broken(3, "lost", "&unknown;"),
        broken(4, "  </page>\n", ""),  # the next one begins within it
        page(5, "five"),
        broken(6, "<title>", "<!DOCTYPE x><title>"),
        broken(7, "<ns>0", "<ns>zero"),
        broken(8, "<title>Seite 8</title>", ""),
        broken(9, "lost", "x" * 5000),
        broken(10, "  <page>\n", ""),  # neither page nor white space
        page(11, "eleven"),
        broken(12, "lost", "\x07"),
        page(13, "last"),
    ]
    texts, bad, _ = taken(dump(pages))
    assert [t.split("\n")[-1] for t in texts] == ["one", "five", "eleven", "last"]
    assert bad == [
        "not_xml",
        "not_xml",
        "not_xml",
        "not_xml",
        "not_a_page",
        "not_a_page",
        "too_large",
        "not_a_page",
        "not_xml",
    ]


def test_characters_that_cannot_be_decoded():
    data = dump([page(1, "x" * 500 + "@"), page(2, "@" * 600), page(3, "y")]).replace(b"@", b"\xff")
    texts, bad, counts = taken(data)
    assert texts == ["Seite 1\n\n" + "x" * 500 + "\ufffd", "Seite 3\n\ny"]
    assert (bad, counts["replaced_characters"]) == (["encoding"], 1)


@pytest.mark.parametrize(
    ("data", "reason"),
    [
        (b"garbage", "not_a_dump"),
        (b"   \n", "not_a_dump"),
        (b"<html><page></page></html>", "not_a_dump"),
        (page(1, "x").encode(), "not_a_dump"),
        (HEADER.replace("</siteinfo>", "").replace("<base>", "<b>").encode() + page(1, "x").encode(), "not_a_dump"),
        (b"<!DOCTYPE x [<!ENTITY a 'aaaa'>]>" + dump([page(1, "&a;")]), "doctype"),
        (b"<mediawiki>" + b" " * (2 << 20) + b"<base>" + b"x" * (1 << 20) + b"</mediawiki>", "not_a_dump"),
        (dump([page(1, "lost")])[:-40], "truncated"),
        (HEADER.encode(), "truncated"),
        (gzip.compress(dump([page(1, "lost")]))[:-300], "truncated"),
        (dump([]) + b"more", "not_a_dump"),
        (dump([page(1, "lost")]).decode().encode("utf-16"), "encoding"),
    ],
)
def test_files_that_are_no_dump_or_have_no_end(data, reason):
    texts, bad, _ = taken(data)
    assert texts == []
    assert bad == [reason]


def test_what_follows_the_last_page():
    assert taken(dump([page(1, "x")], footer=""))[:2] == (["Seite 1\n\nx"], ["truncated"])
    assert taken(dump([page(1, "x")], footer="junk</mediawiki>"))[:2] == (["Seite 1\n\nx"], ["not_a_page"])
    assert taken(dump([]))[:2] == ([], [])


def test_a_page_of_100_mb_is_set_aside_in_little_memory(tmp_path):
    path = tmp_path / f"{NAME}.gz"
    with gzip.open(path, "wb", 1) as file:
        begin, end = dump([page(1, "before"), page(2, "@"), page(3, "after")]).split(b"@")
        file.write(begin)
        for _ in range(100):
            file.write(b"a" * 1_000_000)
        file.write(end)
    tracemalloc.start()
    try:
        texts, bad, _ = taken(path.read_bytes(), path.name, 5_000_000)
        peak = tracemalloc.get_traced_memory()[1]
    finally:
        tracemalloc.stop()
    assert texts == ["Seite 1\n\nbefore", "Seite 3\n\nafter"]
    assert bad == ["too_large"]
    assert peak < 30_000_000


QUICK = settings(max_examples=60, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])


@QUICK
@given(st.integers(1, 5), st.sampled_from(["", ".bz2", ".gz"]), st.data())
def test_cut_or_overwritten_anywhere_no_page_before_is_lost(count, suffix, data):
    pieces = [HEADER, *[page(i, f"words {i}") for i in range(count)], FOOTER]
    pack = {"": bytes, ".bz2": bz2.compress, ".gz": gzip.compress}[suffix]
    ends, packed = [], b""
    for piece in pieces:  # each a stream of its own, as multistream dumps are
        packed += pack(piece.encode())
        ends.append(len(packed))
    want = [f"Seite {i}\n\nwords {i}" for i in range(count)]
    at = data.draw(st.integers(0, len(packed) - 1))
    junk = data.draw(st.one_of(st.none(), st.binary(min_size=1, max_size=20)))
    damaged = packed[:at] if junk is None else packed[:at] + junk + packed[at + len(junk) :]
    texts, bad, _ = taken(damaged, NAME + suffix)
    whole = max(0, sum(end <= at for end in ends) - 1)
    assert texts[:whole] == want[:whole]
    if junk is None and at <= len(packed) - len("</mediawiki>\n"):
        assert bad


@needs_wiki
def test_a_page_that_hangs_costs_itself(tmp_path, monkeypatch):
    worker = tmp_path / "worker.py"
    worker.write_text(
        "import runpy, time\n"
        "from fasttrain.corpus import wikitext_text\n"
        "def text_of(raw, dropped, extract=wikitext_text.text_of):\n"
        "    if b'hang' in raw: time.sleep(60)\n"
        "    if b'fail' in raw: raise RecursionError('too deep')\n"
        "    return extract(raw, dropped)\n"
        "wikitext_text.text_of = text_of\n"
        f"runpy.run_path({str(extraction._WORKER)!r}, run_name='__main__')\n"
    )
    monkeypatch.setattr(extraction, "_WORKER", worker)
    path = tmp_path / NAME
    path.write_bytes(dump([page(1, "one"), page(2, "hang"), page(3, "fail"), page(4, "four"), page(5, "{{only}}")]))
    outcome = read_one(tmp_path, path, {"extraction_timeout_s": 3.0})
    assert outcome.texts == ["Seite 1\n\none", "Seite 4\n\nfour"]
    assert [kind for kind, _ in outcome.bad] == ["extraction_timeout", "extraction_crash", "empty"]
    row = outcome.bad[1][1]
    assert row["origin"] == "https://de.example.org/wiki/Seite_3"
    evidence = json.loads(row["evidence"])
    assert (evidence["detail"], evidence["record"]) == ("RecursionError: too deep", 3)
    assert path.read_bytes()[evidence["position"] :].startswith(b"<page>\n    <title>Seite 3")


def test_dumps_are_known_by_their_names(tmp_path, monkeypatch):
    monkeypatch.setattr(extraction, "_NEEDS", {})
    names = {
        "a.xml": None,
        "dewiki-20240301-pages-articles.xml": "wikitext",
        "dewiki-latest-pages-articles-multistream.xml.bz2": "wikitext",
        "dewiki-latest-pages-articles-multistream-index.txt.bz2": None,
        "enwiki-20240301-pages-articles27.xml-p71475910p72975909.bz2": "wikitext",
        "wiki-pages-meta-current.xml.zst": "wikitext",
        "words.txt.bz2": "text",
        "x.jsonl.bz2": "jsonl",
    }
    for name in names:
        (tmp_path / name).write_bytes(b"x" * 10)
    found = lake.find(SourceConfig.load({"name": "s", "path": "."}), tmp_path, "here").files
    assert {f.name: f.kind for f in found} == {name: kind for name, kind in names.items() if kind}
    assert {f.name: f.weight for f in found}["x.jsonl.bz2"] == 40


def test_without_the_extra(tmp_path, monkeypatch, caplog):
    monkeypatch.setitem(extraction._NEEDS, "wikitext", ("no_such_library", "wiki"))
    (tmp_path / "f").mkdir()
    (tmp_path / "f" / NAME).write_bytes(dump([page(1, "x")]))
    (tmp_path / "f" / "b.txt").write_bytes(b"text")
    for source in ({"path": "f", "kind": "wikitext"}, {"path": f"f/{NAME}"}, {"path": "f/*-pages-articles*.xml"}):
        with pytest.raises(ConfigError, match=r"an extra that is not installed; pip install 'fasttrain\[wiki\]'"):
            read(tmp_path, [{"name": "s", **source}], tmp_path / "out")
    with caplog.at_level(logging.WARNING, logger="fasttrain"):
        outcome = read_one(tmp_path, tmp_path / "f")
    assert (outcome.texts, outcome.report.counts) == (["text"], {"passed_over_wikitext": 1})
    assert "1 files passed over: wikitext needs fasttrain[wiki]" in caplog.text
