"""Section on what may be trained on: policy, its verdicts by source and licence, what waits for review, removals."""

from typing import Any

from fasttrain.audit import forget_report
from fasttrain.core.errors import FasttrainError
from fasttrain.corpus.policy import Decision, PolicyConfig, decide
from fasttrain.corpus.removals import REASON
from fasttrain.report.figures import Figures
from fasttrain.report.gather import RunData
from fasttrain.report.html import Html, join, number, table, tag

MAX_ROWS = 60
MAX_REQUESTS = 40


def governance(data: RunData, figures: Figures) -> Html | None:
    """Licence and terms policy, verdicts with counts, the list for review, removal requests, the datasheet's link."""
    corpus = data.manifests.get("corpus")
    if corpus is None:
        return None
    policy = PolicyConfig.load(corpus.config.get("policy", {}))
    read = data.rows(
        "SELECT source, licence, count(*) AS documents, sum(bytes)::BIGINT AS bytes FROM documents "
        "WHERE stage = 'corpus' GROUP BY ALL ORDER BY source, bytes DESC, licence"
    )
    told = data.rows(
        "SELECT source, reason, decision, count(*) AS documents, sum(bytes)::BIGINT AS bytes FROM ledger "
        "WHERE stage = 'corpus' AND reason LIKE 'policy:%' GROUP BY ALL ORDER BY documents DESC, source, reason"
    )
    return join([
        _lead(data, read, told),
        _lists(policy),
        _verdicts(policy, read, told),
        _review(policy, told),
        _removals(data),
    ])  # fmt: skip


def _lead(data: RunData, read: list[dict[str, Any]], told: list[dict[str, Any]]) -> Html:
    kept_out = sum(r["documents"] for r in told if r["decision"] == "dropped")
    sheet = data.run.root / "datasheet.md"
    links = [tag("a", name, href=name) for name in ("datasheet.md", "datasheet.json") if sheet.with_name(name).exists()]
    where = ["The corpus's datasheet: ", join(links, ", "), "."] if links else ["No datasheet yet: ", tag(
        "code", "fasttrain audit datasheet"), " writes it."]  # fmt: skip
    text = f"{sum(r['documents'] for r in read):,} documents came in, the policy kept {kept_out:,} out. "
    return tag("p", text, *where, class_="lead")


def _lists(policy: PolicyConfig) -> Html:
    rows = [[key, ", ".join(getattr(policy, key))] for key in ("allow", "review", "deny") if getattr(policy, key)]
    rows += [["any other licence", policy.other], ["no known licence", policy.unknown]]
    held = "stay out of the corpus" if policy.on_review == "hold" else "go on and are named in the ledger"
    rows.append(["documents under review", held])
    decided = [[s.source, s.verdict, s.reason, s.terms or "–"] for s in policy.sources]
    parts = [table(("licences", "verdict or list"), rows, caption="The policy")]
    if decided:
        parts.append(table(("source", "verdict", "why", "terms"), decided, caption="Decisions about whole sources"))
    return join(parts)


def _verdicts(policy: PolicyConfig, read: list[dict[str, Any]], told: list[dict[str, Any]]) -> Html:
    rows: list[list[Any]] = []
    for r in read:
        decision = decide(r["licence"], r["source"], policy)
        rows.append([r["source"], r["licence"], decision.verdict, _why(decision), "came in", r["documents"],
                     number(r["bytes"], "B")])  # fmt: skip
    for r in told:
        if r["decision"] == "dropped":
            _, verdict, licence = r["reason"].split(":", 2)
            whole = licence == "source"
            why = "source" if whole else _why(decide(licence, r["source"], policy))
            rows.append([r["source"], "(whole source)" if whole else licence, verdict, why, "kept out",
                         r["documents"], number(r["bytes"], "B")])  # fmt: skip
    more = [tag("p", f"and {len(rows) - MAX_ROWS:,} more rows", class_="note")] if len(rows) > MAX_ROWS else []
    head = ("source", "licence", "verdict", "decided by", "", "documents", "text")
    note = "Of a source that is denied whole, files are counted: they are not opened."
    made = table(head, rows[:MAX_ROWS], caption="Verdicts by source and licence", numbers=(5, 6))
    return join([made, *more, tag("p", note, class_="note")])


def _why(decision: Decision) -> str:
    plain = {"other": "the rule for other licences", "unknown": "the rule for unknown licences", "source": "the source"}
    return plain.get(decision.why, f"the {decision.why} list")


def _review(policy: PolicyConfig, told: list[dict[str, Any]]) -> Html:
    waiting = [r for r in told if r["reason"].startswith("policy:review:")]
    if not waiting:
        return tag("p", "Nothing waits for review.", class_="note")
    rows = [[r["source"], r["reason"].split(":", 2)[2], "held" if r["decision"] == "dropped" else "kept",
             r["documents"], number(r["bytes"], "B")] for r in waiting[:MAX_ROWS]]  # fmt: skip
    note = (
        "Somebody must look at these: put the licence onto corpus.policy.allow or deny, or decide about the source in "
        "corpus.policy.sources, with the reason."
    )
    head = ("source", "licence", "until then", "documents", "text")
    return join([tag("h3", "Needs review"), tag("p", note, class_="note"), table(head, rows, numbers=(3, 4))])


def _removals(data: RunData) -> Html:
    heading = tag("h3", "Removal requests")
    kept_out = {
        r["source"]: r["documents"]
        for r in data.rows(
            "SELECT source, count(*) AS documents FROM ledger WHERE stage = 'corpus' AND reason = ? "
            "GROUP BY ALL ORDER BY source",
            (REASON,),
        )
    }
    try:
        reports = forget_report.applied(data.run)
    except FasttrainError as error:
        data.damaged.append(f"removals: {error}")
        reports = []
    if not reports and not kept_out:
        return join([heading, tag("p", "None has been carried out.", class_="note")])
    rows = [
        [r.date[:10], _link(data, r.request.request), sum(d.why == "asked" for d in r.request.documents),
         sum(d.why != "asked" for d in r.request.documents),
         ("not known" if not r.request.steps_known else "none" if r.request.first_step is None
          else f"from step {r.request.first_step:,}"), len(r.request.checkpoints)]
        for r in reports[-MAX_REQUESTS:]
    ]  # fmt: skip
    counts = ", ".join(f"{source} {count:,}" for source, count in kept_out.items()) or "none"
    head = ("date", "request", "documents", "copies", "trained on", "checkpoints that saw them then")
    parts = [heading, tag("p", f"Kept out of this corpus by the removal lists, by source: {counts}.", class_="note")]
    return join([*parts, table(head, rows, numbers=(2, 3, 5))] if rows else parts)


def _link(data: RunData, request: str) -> Html:
    return tag("a", request, href=f"{data.run.removals.name}/{request}.md")
