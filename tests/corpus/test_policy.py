"""What may be read: licence expressions, lists, sources; and that nothing else gets past the corpus stage."""

import json

import pytest
from hypothesis import given
from hypothesis import strategies as st

from corpus.lake_stage import config, read
from fasttrain.core.errors import ConfigError
from fasttrain.corpus.policy import PolicyConfig, decide

LISTS = {"allow": ["MIT", "Apache-2.0", "CC-BY-*", "GPL-2.0 WITH Classpath-exception-2.0"], "review": ["GPL-*"],
         "deny": ["CC-BY-NC*"], "other": "review", "unknown": "deny"}  # fmt: skip


@pytest.mark.parametrize(
    ("licence", "verdict"),
    [
        ("MIT", "allow"),
        ("mit", "allow"),
        ("CC-BY-4.0", "allow"),
        ("CC-BY-NC-4.0", "deny"),  # deny goes before allow's CC-BY-*
        ("GPL-3.0-only", "review"),
        ("MIT OR GPL-3.0-only", "allow"),
        ("MIT AND GPL-3.0-only", "review"),
        ("MIT AND CC-BY-NC-4.0 OR Apache-2.0", "allow"),  # AND binds tighter
        ("MIT AND (CC-BY-NC-4.0 OR GPL-2.0)", "review"),
        ("GPL-2.0 WITH Classpath-exception-2.0", "allow"),
        ("GPL-2.0 WITH Bison-exception-2.2", "review"),
        ("((MIT))", "allow"),
        ("", "deny"),
        ("unknown", "deny"),
        ("NOASSERTION", "deny"),
        ("LicenseRef-Own", "review"),
        ("CC BY-SA 4.0", "review"),  # no SPDX expression: one name, on no list
        ("MIT OR", "review"),
        ("(MIT", "review"),
    ],
)
def test_expressions(licence, verdict):
    assert decide(licence, "s", PolicyConfig.load(LISTS)).verdict == verdict


def test_a_source_decides_where_no_list_does():
    table = {**LISTS, "sources": [{"source": "web", "verdict": "allow", "reason": "fair use, reviewed"},
                                  {"source": "mail", "verdict": "deny", "reason": "private"}]}  # fmt: skip
    policy = PolicyConfig.load(table)
    assert decide("unknown", "web", policy).verdict == "allow"
    assert decide("LicenseRef-Own", "web", policy).verdict == "allow"
    assert decide("CC-BY-NC-4.0", "web", policy).verdict == "deny", "a list that names the licence goes first"
    assert decide("MIT", "mail", policy).verdict == "deny"
    assert decide("unknown", "books", policy).verdict == "deny"


def test_everything_is_allowed_without_a_policy():
    assert {decide(x, "s", PolicyConfig()).verdict for x in ("", "MIT", "anything at all")} == {"allow"}


@given(st.lists(st.sampled_from(["MIT", "GPL-2.0", "CC-BY-NC-1.0", "X", "AND", "OR", "WITH", "(", ")"]), max_size=12))
def test_any_text_has_a_verdict(tokens):
    assert decide(" ".join(tokens), "s", PolicyConfig.load(LISTS)).verdict in ("allow", "review", "deny")


def lake(tmp_path):
    rows = [{"text": f"text {i}", "licence": name} for i, name in enumerate(["MIT", "GPL-2.0", "CC-BY-NC-4.0", ""])]
    (tmp_path / "a.jsonl").write_text("".join(json.dumps(r) + "\n" for r in rows))
    (tmp_path / "b.jsonl").write_text('{"text": "a private letter"}\n')
    return [
        {"name": "a", "path": "a.jsonl", "licence": "CC0-1.0", "licence_field": "licence"},
        {"name": "mail", "path": "b.jsonl"},
    ]


def test_only_what_is_allowed_becomes_a_document(tmp_path):
    denied = {"source": "mail", "verdict": "deny", "reason": "private", "terms": "https://example.org/terms"}
    policy = {**LISTS, "allow": ["MIT", "CC0-1.0"], "sources": [denied]}
    found = read(tmp_path, lake(tmp_path), tmp_path / "out", policy=policy)
    assert found.texts == ["text 0", "text 3"]  # the last one has the source's licence
    assert {(r["origin"], r["reason"]) for r in found.ledger if r["decision"] == "dropped"} == {
        ("a.jsonl#2", "policy:review:GPL-2.0"),
        ("a.jsonl#3", "policy:deny:CC-BY-NC-4.0"),
        ("b.jsonl", "policy:deny:source"),
    }
    assert found.report.kept == 2
    assert found.report.dropped == {
        "policy:deny:CC-BY-NC-4.0": 1, "policy:deny:source": 1, "policy:review:GPL-2.0": 1,
    }  # fmt: skip
    sources = found.manifest.extra["sources"]
    assert sources["mail"]["policy"] == {"policy:deny:source": 1}
    assert sources["a"]["licences"] == {"CC0-1.0": 1, "MIT": 1}
    (why,) = [json.loads(r["evidence"]) for r in found.ledger if r["source"] == "mail"]
    assert why == {"why": "private", "terms": "https://example.org/terms"}
    assert "private letter" not in json.dumps([*found.texts, str(found.ledger)])


def test_documents_under_review_can_go_on(tmp_path):
    policy = {"review": ["GPL-*"], "on_review": "keep"}
    found = read(tmp_path, lake(tmp_path), tmp_path / "out", policy=policy)
    assert len(found.texts) == 5
    (row,) = [r for r in found.ledger if r["reason"]]
    assert (row["decision"], row["reason"]) == ("kept", "policy:review:GPL-2.0")


def test_refusals(tmp_path):
    sources = lake(tmp_path)
    with pytest.raises(ConfigError, match=r"policy.sources: there is no source 'b'; there are a, mail"):
        config(sources, policy={"sources": [{"source": "b", "verdict": "allow", "reason": "x"}]})
    with pytest.raises(ConfigError, match=r"corpus\.policy\.sources\.0\.reason: this key must be given"):
        config(sources, policy={"sources": [{"source": "a", "verdict": "allow"}]})
    with pytest.raises(ConfigError, match="unknown key; did you mean 'deny'"):
        config(sources, policy={"denny": ["MIT"]})
