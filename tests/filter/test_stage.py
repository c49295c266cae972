import json

import pytest

from fasttrain.core.errors import ConfigError
from fasttrain.filter.config import FilterConfig
from fasttrain.filter.stage import source_fingerprint
from filter.stages import filtered

SENTENCES = (
    "The committee met on the first of May to discuss the plans that had been made.",
    "It was agreed that the work should begin with a study of the river and its banks.",
    "Several members, however, were of the opinion that more money would be needed.",
    "A letter from the mayor was read, and its contents were noted with some interest.",
    "Before the meeting closed, the chair thanked everyone who had come so far to attend.",
    "The next session will have its place in the town hall, as it did in former years.",
)
SHORT = " ".join(SENTENCES[:2])
PROSE = " ".join(SENTENCES)
CODE = "int main() {\n  return 0;\n}\n" * 8
SECRET = "jane.roe@mail.example.net"


def row(text, source="web", origin="https://example.org/a", language=""):
    return (text, source, origin, language)


def reasons(ledger):
    return {r["origin"]: (r["decision"], r["reason"]) for r in ledger}


def test_each_family_gives_its_reason(tmp_path):
    rows = [
        row(PROSE, origin="ok"),
        row(SHORT, origin="short"),
        row("\n".join(["The same line that is here again and again."] * 40), origin="repeats"),
        row("Lorem ipsum is the text that we have to be with. " + PROSE, origin="lorem"),
        row("\n".join(f"{s}\nMenu item {i}" for i, s in enumerate(SENTENCES)), origin="menu"),
        row(PROSE, origin="https://user@ads.Bad.example:80/x"),
        row(PROSE, origin="https://notbad.example/x"),
        row(CODE, source="code", origin="main.c"),
        row("", origin="empty"),
    ]
    config = FilterConfig.load({"url": {"domains": ["bad.example"]}, "profile_of": {"code": "code"}})
    manifest, kept, ledger = filtered(tmp_path, rows, config)
    assert reasons(ledger) == {
        "ok": ("kept", ""),
        "short": ("dropped", "gopher_quality:min_words"),
        "repeats": ("dropped", "gopher_repetition:dup_lines"),
        "lorem": ("dropped", "c4:lorem_ipsum"),
        "menu": ("edited", "c4:lines"),
        "https://user@ads.Bad.example:80/x": ("dropped", "url:domain"),
        "https://notbad.example/x": ("kept", ""),
        "main.c": ("kept", ""),
        "empty": ("dropped", "gopher_repetition:empty"),
    }
    texts = dict(zip(kept["origin"].to_pylist(), kept["text"].to_pylist()))
    assert texts["menu"] == "\n".join(SENTENCES)
    assert texts["main.c"] == CODE
    by_origin = {r["origin"]: r for r in ledger}
    assert json.loads(by_origin["menu"]["evidence"]) == {"lines": {"c4:unpunctuated": 6}, "lines_removed": 6}
    assert by_origin["short"]["score"] == 33  # 16 + 17 words
    assert "c4:sentences" in json.loads(by_origin["short"]["evidence"])["broken"]
    assert manifest.report.kept == 4
    assert sum(manifest.report.dropped.values()) == 5
    words = manifest.extra["histograms"]["gopher_quality:min_words"]
    assert (words["limit"]["low"], words["limit"]["high"], words["mode"]) == (50, None, "drop")
    assert (words["asked"], words["broken"], words["decided"]) == ({"web": 8}, {"web": 2}, {"web": 1})
    assert sum(words["counts"]["web"]) == 8
    assert sum(n for n, edge in zip(words["counts"]["web"], words["edges"]) if edge < 32) == 1  # the empty one
    near, shown = (manifest.extra["samples"][key] for key in ("near", "documents"))
    broken, passed = (near["gopher_quality:min_words"][side] for side in ("broken", "passed"))
    assert [e[:2] for e in broken] == [[17, 33], [50, 0]]
    assert {shown[e[2]]["origin"] for e in passed} == {"ok", "lorem", "https://notbad.example/x"}
    assert shown[broken[0][2]] == {"source": "web", "origin": "short", "text": SHORT}
    assert [shown[e[2]]["text"] for e in near["url:domain"]["broken"]] == [""]
    assert "passed" not in near["url:domain"]


def test_fineweb_reads_what_c4_left(tmp_path):
    # Short lines are 6 of 10 before C4 takes them, none after; without C4 the document breaks a rule of FineWeb.
    text = "\n".join([*SENTENCES[:4], "one\ntwo\nthree\nfour\nfive\nsix\nseven\neight\nnine", *SENTENCES[4:]])
    without = {"refinedweb": {"enabled": False}}
    _, _, ledger = filtered(tmp_path / "a", [row(text)], FilterConfig.load(without))
    assert ledger[0]["reason"] == "c4:lines"
    config = FilterConfig.load({**without, "c4": {"enabled": False}, "fineweb": {"max_short_lines": 0.5}})
    _, _, ledger = filtered(tmp_path / "b", [row(text)], config)
    assert ledger[0]["reason"] == "fineweb:short_lines"


def test_c4_and_refinedweb_edit_in_one_go(tmp_path):
    text = "\n".join([*SENTENCES, "MINUTES OF MAY", "3 likes", "No sentence that ends", "It goes on. Read more..."])
    profiles = {"both": ["c4", "refinedweb"], "c4": ["c4"], "refinedweb": ["refinedweb"]}
    config = FilterConfig.load({"profiles": profiles, "profile_of": {name: name for name in profiles},
                                "refinedweb": {"max_removed_words": 0.1}})  # fmt: skip
    manifest, kept, ledger = filtered(tmp_path, [row(text, name, name) for name in profiles], config)
    assert reasons(ledger) == {
        "both": ("edited", "c4:lines+refinedweb:lines"),
        "c4": ("edited", "c4:lines"),
        "refinedweb": ("edited", "refinedweb:lines"),
    }
    left = dict(zip(kept["source"].to_pylist(), kept["text"].to_pylist()))
    assert left["both"] == left["c4"] == "\n".join(SENTENCES)
    assert left["refinedweb"] == "\n".join([*SENTENCES, "No sentence that ends", "It goes on."])
    notes = {r["origin"]: json.loads(r["evidence"]) for r in ledger}
    of_refinedweb = {"refinedweb:counter": 1, "refinedweb:phrase": 1, "refinedweb:uppercase": 1}
    assert notes["refinedweb"] == {"lines": of_refinedweb, "lines_removed": 2}
    assert notes["c4"]["lines"] == {"c4:unpunctuated": 4}
    assert notes["both"] == {"lines": {**notes["c4"]["lines"], **of_refinedweb}, "lines_removed": 4}
    assert manifest.report.counts["lines:refinedweb:counter"] == 2
    assert manifest.report.counts["edited:refinedweb:lines"] == 2


def tagging(scores):
    return FilterConfig.load(
        {"gopher_quality": {"mode": "tag", "scores": scores}, "default_profile": "q",
         "profiles": {"q": ["gopher_quality"], "off": ["pii"]}, "profile_of": {"other": "off"}}
    )  # fmt: skip


def test_tag_keeps_and_tells(tmp_path):
    rows = [row("Too short and that.", origin="short"), row(PROSE, origin="good"), row("x", "other", "unasked")]
    manifest, kept, ledger = filtered(tmp_path, rows, tagging("broken"))
    by_origin = {r["origin"]: r for r in ledger}
    assert reasons(ledger) == {
        "short": ("tagged", "gopher_quality:min_words"), "good": ("kept", ""), "unasked": ("kept", ""),
    }  # fmt: skip
    assert by_origin["short"]["score"] == 4
    scores = {"gopher_quality:min_words": 4}
    assert json.loads(by_origin["short"]["evidence"]) == {"broken": ["gopher_quality:min_words"], "scores": scores}
    assert [json.loads(m) for m in kept["meta"].to_pylist()] == [{"scores": scores}, {}, {}]
    assert manifest.report.counts["tagged:gopher_quality:min_words"] == 1


def test_tag_gives_scores_to_all(tmp_path):
    rows = [row("Too short and that.", origin="short"), row(PROSE, origin="good"), row("x", "other", "unasked")]
    _, kept, ledger = filtered(tmp_path, rows, tagging("all"))
    meta = [json.loads(m) for m in kept["meta"].to_pylist()]
    assert [len(m.get("scores", ())) for m in meta] == [9, 9, 0]
    assert meta[1]["scores"]["gopher_quality:min_words"] == 93
    assert meta[0]["scores"]["gopher_quality:mean_word_chars"] == 15 / 4
    assert json.loads(ledger[1]["evidence"]) == {}


def test_a_tagged_and_edited_document(tmp_path):
    config = FilterConfig.load({"gopher_quality": {"mode": "tag"}, "default_profile": "q",
                                "profiles": {"q": ["gopher_quality", "pii"]}})  # fmt: skip
    _, kept, ledger = filtered(tmp_path, [row(f"Do write to {SECRET} and to that.")], config)
    assert (ledger[0]["decision"], ledger[0]["reason"], ledger[0]["score"]) == ("edited", "pii:masked", None)
    assert json.loads(ledger[0]["evidence"]) == {
        "broken": ["gopher_quality:min_words"], "masked": {"email": 1}, "scores": {"gopher_quality:min_words": 8},
    }  # fmt: skip
    assert json.loads(kept["meta"][0].as_py()) == {"scores": {"gopher_quality:min_words": 8}}


def test_personal_data_is_masked_and_told_nowhere(tmp_path):
    rows = [row(f"{PROSE} Write to {SECRET} or {SECRET}.", origin="kept"), row(f"{SHORT} {SECRET}", origin="gone")]
    manifest, kept, ledger = filtered(tmp_path, rows, FilterConfig())
    assert kept["text"].to_pylist() == [f"{PROSE} Write to <EMAIL> or <EMAIL>."]
    found = {r["origin"]: r for r in ledger}
    assert (found["kept"]["decision"], found["kept"]["reason"]) == ("edited", "pii:masked")
    assert json.loads(found["kept"]["evidence"]) == {"masked": {"email": 2}}
    assert manifest.report.counts["masked:email"] == 2
    everything = [p for p in (tmp_path / "filter").rglob("*") if p.is_file()]
    assert len(everything) > 4
    assert SECRET not in json.dumps(manifest.to_dict()) + json.dumps([{**r, "doc_id": ""} for r in ledger])
    assert f"{SHORT} <EMAIL>"[:240] in [d["text"] for d in manifest.extra["samples"]["documents"].values()]
    for path in everything:
        if path.suffix == ".json":
            assert SECRET not in path.read_text()


KEY = "AKIA" + "IOSFODNN7EXAMPLE"


def test_personal_data_may_drop_or_flag(tmp_path):
    config = FilterConfig.load({"pii": {"drop": ["secret"], "flag": ["email"]}, "default_profile": "code"})
    rows = [
        row(f"{PROSE} {KEY}", origin="key"),
        row(f"{PROSE} {SECRET} 123-45-6789", origin="mail"),
        row(PROSE, origin="no"),
    ]
    manifest, kept, ledger = filtered(tmp_path, rows, config)
    found = {r["origin"]: r for r in ledger}
    assert (found["key"]["decision"], found["key"]["reason"]) == ("dropped", "pii:secret")
    assert found["mail"]["decision"] == "edited"
    assert json.loads(found["mail"]["evidence"]) == {"flagged": {"email": 1}, "masked": {"national_id": 1}}
    assert found["no"]["decision"] == "kept"
    assert kept["text"].to_pylist() == [f"{PROSE} {SECRET} <NATIONAL_ID>", PROSE]
    assert manifest.report.counts["masked:national_id"] == manifest.report.counts["flagged:email"] == 1
    told = json.dumps(manifest.to_dict()) + json.dumps([{**r, "doc_id": ""} for r in ledger])
    assert not [value for value in (KEY, SECRET, "123-45-6789") if value in told]


def test_a_kind_has_one_action():
    with pytest.raises(ConfigError, match="flag: email must not be in kinds or drop too"):
        FilterConfig.load({"pii": {"drop": ["email"], "flag": ["email"]}})


def test_parts_do_not_matter(tmp_path):
    rows = [row(f"{PROSE} Number {i}.", origin=str(i)) for i in range(30)] + [row("x", origin="x")]
    one = filtered(tmp_path / "a", rows, FilterConfig(), parts=1)
    five = filtered(tmp_path / "b", rows, FilterConfig(), parts=5)
    assert one[1].equals(five[1])
    assert one[2] == five[2]
    assert one[0].extra == five[0].extra


def test_languages(tmp_path):
    rows = [
        row(PROSE, origin="en"),
        row("Alle Menschen sind frei und gleich an Würde und Rechten geboren. " * 3, origin="de"),
        row("xx 12 qq", origin="unsure"),
        row("Der Rat tagte am ersten Mai und beriet die Pläne.", origin="told", language="en"),
    ]
    config = FilterConfig.load({"language": {"allow": ["en"]}, "default_profile": "l", "profiles": {"l": ["language"]}})
    _, kept, ledger = filtered(tmp_path, rows, config)
    assert reasons(ledger) == {
        "en": ("kept", ""),
        "de": ("dropped", "language:other"),
        "unsure": ("dropped", "language:score"),
        "told": ("kept", ""),
    }
    assert kept["language"].to_pylist() == ["en", "en"]


def test_list_files(tmp_path):
    (tmp_path / "d.txt").write_text("# ours\nBad.Example  # subdomains too\n\n")
    (tmp_path / "u.txt").write_text("https://good.example/bad-page\n")
    config = FilterConfig.load(
        {"url": {"domain_files": ["d.txt"], "url_files": ["u.txt"], "words": ["casino"]}, "default_profile": "u",
         "profiles": {"u": ["url"]}}
    )  # fmt: skip
    origins = [
        "http://x.y.bad.example/", "https://bad.example", "https://good.example/bad-page", "https://good.example/bad-page2",
        "https://good.example/my-casino/1", "https://good.example/casinos", "books/bad.example#3", "https://bad.example.org/",
    ]  # fmt: skip
    _, _, ledger = filtered(tmp_path, [row("t", origin=o) for o in origins], config, base=tmp_path)
    wanted = ["url:domain", "url:domain", "url:url", "", "url:word", "", "", ""]
    assert [reasons(ledger)[o][1] for o in origins] == wanted
    tagging = config.model_copy(update={"url": config.url.model_copy(update={"mode": "tag"})})
    _, kept, ledger = filtered(tmp_path / "t", [row("t", origin=o) for o in origins], tagging, base=tmp_path)
    assert [reasons(ledger)[o] for o in origins] == [("tagged" if w else "kept", w) for w in wanted]
    assert len(kept) == len(origins)
    with pytest.raises(ConfigError, match=r"filter.url.domain_files.0: .*nowhere.txt must be a readable file"):
        filtered(
            tmp_path / "n", [row("t")], FilterConfig.load({"url": {"domain_files": ["nowhere.txt"]}}), base=tmp_path
        )


def test_lists_are_part_of_what_the_stage_is(tmp_path):
    config = FilterConfig.load({"url": {"domain_files": ["d.txt"]}, "safety": {"lists": {"en": "w.txt"}}})
    (tmp_path / "d.txt").write_text("a.example\n")
    (tmp_path / "w.txt").write_text("zork\n")
    before = source_fingerprint(config, tmp_path)
    (tmp_path / "w.txt").write_text("zorks\n")
    assert source_fingerprint(config, tmp_path) != before
    assert source_fingerprint(FilterConfig(), tmp_path) is None
    (tmp_path / "w.txt").unlink()
    with pytest.raises(ConfigError, match=r"filter.safety.lists.en: .*w.txt must be a readable file"):
        source_fingerprint(config, tmp_path)


@pytest.mark.parametrize(
    ("table", "words"),
    [
        ({"gopher_qality": {}}, "did you mean 'gopher_quality'"),
        ({"profile_of": {"books": "novels"}}, "profile_of.books: no profile 'novels'; known are code, curated"),
        ({"profiles": {"x": ["gopher"]}}, "filter.profiles.x.0"),
        ({"gopher_quality": {"min_words": "50"}}, "filter.gopher_quality.min_words"),
        ({"c4": {"mode": "warn"}}, "filter.c4.mode"),
    ],
)
def test_settings_refuse(table, words):
    with pytest.raises(ConfigError, match=words):
        FilterConfig.load(table, where="filter")
