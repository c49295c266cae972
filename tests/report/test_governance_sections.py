"""The governance section over a corpus stage that was really run."""

import json
import re

import pytest

from corpus.lake_stage import read
from fasttrain.audit.forget import Request, Wanted
from fasttrain.audit.forget_report import Report, now, write
from fasttrain.comm.group import SoloGroup
from fasttrain.corpus import removals
from fasttrain.corpus.config import CorpusConfig
from fasttrain.formats import atomic
from fasttrain.formats.run_folder import RunFolder
from fasttrain.prepare import journey
from fasttrain.report.figures import Figures
from fasttrain.report.gather import RunData
from fasttrain.report.governance_sections import governance

SOURCES = [
    {"name": "web", "path": "web.jsonl", "licence_field": "licence", "url_field": "url"},
    {"name": "secret", "path": "secret.jsonl", "licence": "MIT"},
]
POLICY = {
    "allow": ["MIT", "CC0-1.0"], "review": ["GPL-*"], "deny": ["CC-BY-NC-4.0"], "other": "review", "unknown": "allow",
    "sources": [{"source": "secret", "verdict": "deny", "reason": "told so <b>by</b> its owner", "terms": "contract"}],
}  # fmt: skip
LICENCES = ["MIT", "MIT", "GPL-3.0-only", "CC-BY-NC-4.0", "WTFPL", "unknown"]


def lake(base):
    rows = [{"url": f"https://w.example/{k}", "licence": x, "text": f"Text {k}."} for k, x in enumerate(LICENCES)]
    (base / "web.jsonl").write_text("".join(json.dumps(row) + "\n" for row in rows))
    (base / "secret.jsonl").write_text(json.dumps({"text": "Not to be read."}) + "\n")
    return {"sources": SOURCES, "policy": POLICY}


def section(run):
    with RunData(run) as data:
        return str(governance(data, Figures()))


def rows(text):
    cells = [re.findall(r"<td[^>]*>(.*?)</td>", row) for row in re.findall(r"<tr>(.*?)</tr>", text)]
    return [row for row in cells if row]


def test_verdicts_review_and_requests(tmp_path):
    run = RunFolder(tmp_path / "run")
    config = CorpusConfig.load(lake(tmp_path))
    gone = "https://w.example/1"
    read(tmp_path, SOURCES, run.stage("corpus"), policy=POLICY)
    text = section(run)
    assert ["web", "MIT", "allow", "the allow list", "came in", "2", "14 B"] in rows(text)
    assert ["web", "unknown", "allow", "the rule for unknown licences", "came in", "1", "7 B"] in rows(text)
    assert ["web", "CC-BY-NC-4.0", "deny", "the deny list", "kept out", "1", "7 B"] in rows(text)
    assert ["web", "WTFPL", "review", "the rule for other licences", "kept out", "1", "7 B"] in rows(text)
    assert ["secret", "(whole source)", "deny", "source", "kept out", "1"] in [row[:6] for row in rows(text)]
    assert ["secret", "deny", "told so &lt;b&gt;by&lt;/b&gt; its owner", "contract"] in rows(text)
    waiting = rows(text[text.index("Needs review") :])
    assert waiting[:2] == [["web", "GPL-3.0-only", "held", "1", "7 B"], ["web", "WTFPL", "held", "1", "7 B"]]
    assert "3 documents came in, the policy kept 4 out" in text
    assert "None has been carried out." in text
    assert "No datasheet yet" in text

    name = removals.Removal(request="r-0123456789ab", doc_id=doc_id(run, gone))
    removals.add(run.removals / "list.jsonl", [name])
    journey._corpus(run, config, tmp_path, SoloGroup())
    asked = Wanted(doc_id=name.doc_id, text_hash=None, why="asked", of=None, similarity=None, source="web", record="",
                   by_name=True, dropped="")  # fmt: skip
    request = Request(request=name.request, asked=1, not_found=(), threshold=0.7, documents=(asked,), fragments=(),
                      may_return=(), steps_known=True, first_step=1200, checkpoints=("step-00001500",))  # fmt: skip
    write(run, Report(date=now(), applied=True, request=request))
    write(run, Report(date=now(), applied=False, request=request.model_copy(update={"request": "r-dry"})))
    atomic.write_bytes(run.root / "datasheet.md", b"# Datasheet")
    text = section(run)
    link = '<a href="removals/r-0123456789ab.md">r-0123456789ab</a>'
    assert [now()[:10], link, "1", "0", "from step 1,200", "1"] in rows(text)
    assert "by the removal lists, by source: web 1." in text
    assert "r-dry" not in text
    assert '<a href="datasheet.md">datasheet.md</a>.' in text


def doc_id(run, origin):
    with RunData(run) as data:
        return data.rows("SELECT doc_id FROM documents WHERE origin = ?", (origin,))[0]["doc_id"]


@pytest.mark.parametrize("on_review", ["hold", "keep"])
def test_what_is_kept_under_review_is_on_the_list(tmp_path, on_review):
    run = RunFolder(tmp_path / "run")
    lake(tmp_path)
    read(tmp_path, SOURCES, run.stage("corpus"), policy={**POLICY, "on_review": on_review})
    waiting = rows((text := section(run))[text.index("Needs review") :])
    assert {row[2] for row in waiting if len(row) == 5} == {"held" if on_review == "hold" else "kept"}


def test_nothing_without_a_corpus(tmp_path):
    (tmp_path / "run").mkdir()
    with RunData(RunFolder(tmp_path / "run")) as data:
        assert governance(data, Figures()) is None
