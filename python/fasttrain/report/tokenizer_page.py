"""The figures of `fasttrain tokenizer report` as one self-contained HTML page."""

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

from fasttrain.formats import atomic
from fasttrain.report.figures import Figures
from fasttrain.report.html import Html, join, number, table, tag
from fasttrain.report.page import card, document

TOP_LANGUAGES = 40
_WORST = 25
_RATIOS = (
    ("bytes_per_token", "Bytes per token by source: more is denser", "bytes per token"),
    ("fertility", "Tokens a word (fertility) by source: 1 is the least there can be", "tokens a word"),
    ("strr", "Words that are one token (STRR) by source", "share of words"),
)


def write(path: Path, data: Mapping[str, Any]) -> Path:
    """Write the page of `tokenizer report`'s data. Raises FormatError on a full disk."""
    atomic.write_bytes(path, render(data).encode())
    return path


def render(data: Mapping[str, Any]) -> str:
    """The whole page."""
    figures, tokenizers = Figures(), data["tokenizers"]
    sections = [
        ("fit", "How densely they pack the text", _fit(tokenizers, figures)),
        ("languages", "Languages", _languages(data, figures)),
        ("terms", "Terms of the list", _terms(data)),
        ("health", "The vocabulary's health", _health(tokenizers, figures)),
        ("cost", "What it means for a model", _cost(data, figures)),
        ("definitions", "Definitions", _definitions(data["definitions"])),
    ]
    return document("Tokenizers", "fasttrain: tokenizer report", _header(data), [s for s in sections if s[2]])


def _header(data: Mapping[str, Any]) -> Html:
    best = max(data["tokenizers"], key=lambda t: t["total"]["bytes_per_token"] or 0)
    total = best["total"]
    cards = [
        card("text", number(total["bytes"], "B"), f"{total['docs']:,} documents of {len(data['texts'])} texts"),
        card("densest", f"{total['bytes_per_token']:.3f}", f"bytes per token: {best['name']}"),
    ]
    for t in data["tokenizers"]:
        if premium := t["premium"]["languages"]:
            worst = max(premium, key=lambda k: premium[k])
            cards.append(card(f"dearest language, {t['name']}", f"{premium[worst]:.1f}x", f"{worst} against English"))
    names = ", ".join(f"{t['name']} ({t['vocab_size']:,} tokens, {t['pattern']})" for t in data["tokenizers"])
    return join([tag("h1", "Tokenizers"), tag("p", names, class_="lead"), tag("div", *cards[:4], class_="cards")])


def _fit(tokenizers: Sequence[Mapping[str, Any]], figures: Figures) -> Html:
    parts = []
    for key, title, unit in _RATIOS:
        bars = {t["name"]: {s: row[key] for s, row in t["by_source"].items()} | {"all": t["total"][key]}
                for t in tokenizers}  # fmt: skip
        parts.append(figures.bars(title, bars, y=unit))
    rows = [
        [t["name"], source, row["bytes"], row["tokens"], row["bytes_per_token"], row["fertility"],
         _share(row["strr"]), row["renyi"], _share(row["partial_share"])]
        for t in tokenizers
        for source, row in [("all", t["total"]), *t["by_source"].items()]
    ]  # fmt: skip
    head = ("tokenizer", "source", "bytes", "tokens", "bytes/token", "tokens/word", "STRR", "Renyi efficiency",
            "partial tokens")  # fmt: skip
    return join([*parts, table(head, rows, numbers=range(2, 9))])


def _languages(data: Mapping[str, Any], figures: Figures) -> Html:
    tokenizers = data["tokenizers"]
    kind = tokenizers[0]["premium"]["of"]
    parts = [tag("p", kind, class_="lead")]
    union = {k: v for t in reversed(tokenizers) for k, v in t["premium"]["languages"].items()}
    shown = _spread(sorted(union, key=lambda k: union[k]), TOP_LANGUAGES)
    if shown:
        bars = {t["name"]: {k: t["premium"]["languages"].get(k) for k in shown} for t in tokenizers}
        parts.append(figures.bars(
            f"Premium against English, {len(shown)} of {len(union)} languages from the cheapest to the dearest",
            bars, y="times English"))  # fmt: skip
    rows = [
        [t["name"], language, row["bytes"], row["tokens"], row["bytes_per_token"], row["tokens_per_char"],
         row["fertility"], _share(row["strr"])]
        for t in tokenizers
        for language, row in sorted(t["by_language"].items(), key=lambda kv: -kv[1]["bytes"])[:TOP_LANGUAGES]
    ]  # fmt: skip
    head = ("tokenizer", "language", "bytes", "tokens", "bytes/token", "tokens/character", "tokens/word", "STRR")
    made = table(head, rows, numbers=range(2, 8))
    parts.append(tag("details", tag("summary", f"By language, the {TOP_LANGUAGES} with the most text"), made))
    return join(parts)


def _spread(names: Sequence[str], most: int) -> list[str]:
    """At most so many of the names, evenly from the first to the last."""
    if len(names) <= most:
        return list(names)
    return [names[round(k * (len(names) - 1) / (most - 1))] for k in range(most)]


def _terms(data: Mapping[str, Any]) -> Html:
    made = [t for t in data["tokenizers"] if t.get("terms")]
    if not made:
        return Html("")
    rows = [[t["name"], t["terms"]["terms"], _share(t["terms"]["single"]), t["terms"]["mean_pieces"]] for t in made]
    parts = [table(("tokenizer", "terms", "share of one token", "mean pieces"), rows, numbers=(1, 2, 3))]
    for t in made:
        worst = [[w["term"], w["tokens"], " | ".join(w["pieces"])] for w in t["terms"]["worst"][:_WORST]]
        parts += [tag("h3", f"Cut into the most pieces by {t['name']}"),
                  table(("term", "tokens", "pieces"), worst, numbers=(1,))]  # fmt: skip
    return join(parts)


def _health(tokenizers: Sequence[Mapping[str, Any]], figures: Figures) -> Html:
    keys = ("ordinary", "used", "unused", "unreachable", "partial", "repeated", "special", "holes")
    rows = [[t["name"], *(t["health"][k] for k in keys)] for t in tokenizers]
    bars = {
        t["name"]: {k: t["health"][k] / max(1, t["health"]["ordinary"]) for k in ("unused", "unreachable", "partial")}
        for t in tokenizers
    }
    return join([
        table(("tokenizer", "ordinary tokens", "used by this text", *keys[2:]), rows, numbers=range(1, 9)),
        figures.bars("Share of the ordinary tokens that this text does not use, that no text can give, that are part "
                     "of a character", bars, y="share"),
    ])  # fmt: skip


def _cost(data: Mapping[str, Any], figures: Figures) -> Html:
    tokenizers, model = data["tokenizers"], data["model"]
    first = tokenizers[0]["cost"]
    lead = (
        f"A model of {model['num_layers']} layers and width {model['dim']} (recipe {model['recipe']}), contexts of "
        f"{model['seq_len']:,} tokens, on this text; changes are against {tokenizers[0]['name']}."
    )
    rows = [
        [t["name"], c["embedding_params"], _share(c["embedding_share"]), c["flops_per_byte"],
         f"{c['flops_per_byte'] / first['flops_per_byte'] - 1:+.1%}", c["kv_cache_per_kilobyte"],
         f"{c['kv_cache_per_kilobyte'] / first['kv_cache_per_kilobyte'] - 1:+.1%}", c["context_bytes"]]
        for t in tokenizers for c in [t["cost"]]
    ]  # fmt: skip
    head = ("tokenizer", "embedding parameters", "share of all", "training FLOPs a byte", "change",
            "KV cache a kB of text", "change", "bytes in a context")  # fmt: skip
    bars = {
        "training FLOPs a byte of text": {t["name"]: t["cost"]["flops_per_byte"] / first["flops_per_byte"]
                                          for t in tokenizers},
        "KV cache a byte of text": {t["name"]: t["cost"]["kv_cache_per_kilobyte"] / first["kv_cache_per_kilobyte"]
                                    for t in tokenizers},
        "embedding parameters": {t["name"]: t["cost"]["embedding_params"] / first["embedding_params"]
                                 for t in tokenizers},
    }  # fmt: skip
    return join([tag("p", lead, class_="lead"), table(head, rows, numbers=range(1, 8)),
                 figures.bars(f"Times {tokenizers[0]['name']}", bars, y="ratio")])  # fmt: skip


def _definitions(definitions: Mapping[str, str]) -> Html:
    return tag("dl", *(join([tag("dt", name), tag("dd", text)]) for name, text in definitions.items()))


def _share(value: float | None) -> str | None:
    return None if value is None else f"{value:.2%}"
