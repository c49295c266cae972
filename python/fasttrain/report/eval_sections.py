"""Sections about the result: scores beside baselines, generations, gates, the estimate's error, provenance."""

from typing import Any

from fasttrain.core.config import fingerprint
from fasttrain.estimate.estimate import Estimate, error, load
from fasttrain.report.figures import Figures
from fasttrain.report.gather import RunData, at
from fasttrain.report.html import Html, any_data, duration, join, number, pairs, table, tag
from fasttrain.report.samples import clip, mask


def scores(data: RunData, figures: Figures) -> Html | None:
    """Bits per byte and perplexity by source, beside baselines on the same text."""
    found = data.eval.get("scores")
    if not found:
        return None
    baselines: dict[str, Any] = data.eval.get("baselines") or {}
    sources = [*sorted(s for s in found if s != "all"), *(["all"] if "all" in found else [])]
    rows = [
        [s, found[s]["documents"], found[s]["tokens"], number(found[s]["bytes"], "B"), found[s]["perplexity"],
         _fixed(found[s]["bpb"]), *(_fixed(at(b, s, "bpb")) for b in baselines.values())]
        for s in sources
    ]  # fmt: skip
    bars: dict[str, dict[str, float | None]] = {"this model": {s: found[s]["bpb"] for s in sources}}
    bars |= {name: {s: at(b, s, "bpb") for s in sources} for name, b in baselines.items()}
    probe = data.eval.get("probe") or {}
    lead = (
        f"{probe.get('documents', 0):,} held-out documents, {number(probe.get('bytes', 0), 'B')}, the same at every "
        f"evaluation (fingerprint {str(probe.get('fingerprint', ''))[:16]}). Lower is better."
    )
    methods = data.eval.get("baseline_methods") or {}
    return join([
        tag("p", lead, class_="lead"),
        figures.bars("Bits per byte of the probe set, by source", bars, y="bits per byte"),
        table(("source", "documents", "tokens", "text", "perplexity", "bits per byte",
               *baselines), rows, caption="Bits per byte of the model, then of the baselines",
              numbers=range(1, 6 + len(baselines))),
        tag("h4", "Baselines, on the same text"), pairs(methods) if methods else "",
    ])  # fmt: skip


def generations(data: RunData, figures: Figures) -> Html | None:
    """Fixed prompts in bold, continued by the model."""
    found = data.eval.get("generations")
    if not found:
        return None
    settings = data.eval.get("settings") or {}
    how = "the likeliest token each time" if not settings.get("temperature") else (
        f"temperature {settings['temperature']:g}, top-k {settings.get('top_k') or 'off'}, seed {settings.get('seed')}"
    )  # fmt: skip
    items = [tag("pre", tag("b", g["prompt"]), clip(mask(g["text"]), 3000)) for g in found]
    return join([tag("p", f"Prompts in colour, then the model: {how}.", class_="lead"), *items])


def gates(data: RunData, figures: Figures) -> Html | None:
    """Pass or fail."""
    found = data.eval.get("gates")
    if found is None:
        return None
    if not found:
        return tag("p", "The recipe sets no gates.", class_="note")
    rows = [[pill(g["passed"]), g["name"], _fixed(g["value"]), _fixed(g["bound"])] for g in found]
    return table(("", "gate", "value", "bound"), rows, numbers=(2, 3))


def estimate(data: RunData, figures: Figures) -> Html | None:
    """What was predicted, and what it came to."""
    found = load(data.run)
    if found is None:
        return None
    step_s = data.curves.columns.get("step_s")
    memory = data.curves.columns.get("memory_bytes")
    measured = error(
        found,
        [] if step_s is None else [v for v in step_s.tolist() if v == v],
        None if memory is None else max((v for v in memory.tolist() if v == v), default=None),
    )
    names = {"step_s": ("seconds a step", _fixed), "total_s": ("training time", duration),
             "memory_bytes": ("memory of a rank", lambda v: number(v, "B"))}  # fmt: skip
    rows = [
        [names[k][0], names[k][1](v["predicted"]), names[k][1](v["measured"]), f"{v['error']:+.0%}"]
        for k, v in measured.items()
    ]
    parts = [table(("figure", "predicted", "measured", "error"), rows, numbers=(1, 2, 3))] if rows else []
    return join([*parts, tag("h3", "The estimate"), _estimate(found)])


def provenance(data: RunData, figures: Figures) -> Html | None:
    """Recipe, versions, fingerprints: what is needed to make this run again."""
    versions = next((m.versions for m in data.manifests.values() if m.versions), {})
    facts: dict[str, Any] = {"recipe": data.recipe.get("name", "–"), "seed": data.recipe.get("seed", "–")}
    if data.recipe:
        facts["recipe fingerprint"] = fingerprint(data.recipe)
    facts |= {f"version of {k}": v for k, v in versions.items()}
    checkpoint = data.eval.get("checkpoint") or {}
    facts |= {f"checkpoint {k}": v for k, v in checkpoint.items() if isinstance(v, (str, int, float))}
    stages = [[name, m.content_fingerprint, m.config_fingerprint, len(m.files)] for name, m in data.manifests.items()]
    parts = [pairs(facts)]
    if stages:
        parts.append(table(("stage", "content fingerprint", "settings fingerprint", "files"), stages, numbers=(3,)))
    shards = [[name, i.get("tokenizer_fingerprint", ""), at(i, "sha256", "tokens.bin", default="")[:32]]
              for name, i in data.shards.items()]  # fmt: skip
    if shards:
        parts.append(table(("shard", "tokenizer fingerprint", "sha256 of its tokens (start)"), shards))
    if data.recipe:
        parts.append(tag("details", tag("summary", "The resolved recipe"), any_data(data.recipe, limit=100)))
    return join(parts)


def pill(passed: bool) -> Html:
    """Pass or fail, in words and colour."""
    return tag("span", "pass" if passed else "fail", class_=f"pill {'good' if passed else 'bad'}")


def _estimate(found: Estimate) -> Html:
    kv = {f"KV cache a token, {k}": f"{v:,} bytes" for k, v in found.kv_cache.items()}
    facts: dict[str, Any] = {
        "parameters": found.params["total"],
        "FLOPs a token": f"{found.flops_per_token:,} = {found.flops_formula}",
        "FLOPs in all": number(found.total_flops),
        "layout": ", ".join(f"{k} {v}" for k, v in found.layout.items()) + f", {found.precision}",
        "memory of a rank": ", ".join(f"{k} {number(v, 'B')}" for k, v in found.memory.items()),
        **kv,
    }
    if found.price is not None:
        facts["price"] = found.price
    if found.calibration.get("method"):
        facts["method"] = found.calibration["method"]
    rows = [
        [int(r["tokens"]), f"{r['flops_per_token']:,.0f}", f"{r['attention_share']:.0%}",
         number(r["activation_bytes"], "B"), number(r["kv_cache_bytes"], "B")] for r in found.contexts
    ]  # fmt: skip
    return join([
        pairs(facts),
        table(("context", "FLOPs a token", "of it attention", "activations a sequence", "KV cache a sequence"), rows,
              caption="What a longer context costs", numbers=range(5)),
    ])  # fmt: skip


def _fixed(value: Any) -> str:
    return f"{value:.4f}" if isinstance(value, (int, float)) else "–"
