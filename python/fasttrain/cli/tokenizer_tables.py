"""Terminal tables of the tokenizer report."""

from typing import Any

from rich.table import Table

_LANGUAGES, _WORST = 12, 10


def fit(data: dict[str, Any]) -> Table:
    """One row a tokenizer and source."""
    table = _table("tokenizer", "source", "bytes/token", "tokens/word", "STRR", "Renyi", "partial tokens")
    for t in data["tokenizers"]:
        for source, row in [*t["by_source"].items(), ("all", t["total"])]:
            table.add_row(
                t["name"], source, _number(row["bytes_per_token"]), _number(row["fertility"]), _share(row["strr"]),
                _number(row["renyi"]), _share(row["partial_share"]),
            )  # fmt: skip
        table.add_section()
    return table


def premiums(data: dict[str, Any]) -> Table | None:
    """The dearest languages of each tokenizer."""
    if not any(t["premium"]["languages"] for t in data["tokenizers"]):
        return None
    table = _table("tokenizer", "median", f"dearest {_LANGUAGES} languages, times English", numbers=1)
    table.caption = data["tokenizers"][0]["premium"]["of"]
    for t in data["tokenizers"]:
        ranked = list(t["premium"]["languages"].items())
        worst = ", ".join(f"{name} {value:.1f}" for name, value in ranked[: -_LANGUAGES - 1 : -1])
        table.add_row(t["name"], _number(ranked[len(ranked) // 2][1]), worst)
    return table


def terms(data: dict[str, Any]) -> Table | None:
    """The terms that are cut into the most pieces."""
    made = [t for t in data["tokenizers"] if t["terms"]]
    if not made:
        return None
    table = _table("tokenizer", "one token", "mean pieces", "cut into the most pieces", numbers=2)
    for t in made:
        worst = ", ".join(f"{w['term']} {w['tokens']}" for w in t["terms"]["worst"][:_WORST])
        table.add_row(t["name"], _share(t["terms"]["single"]), _number(t["terms"]["mean_pieces"]), worst)
    return table


def cost(data: dict[str, Any]) -> Table:
    """The vocabulary's health and what it means for the model."""
    table = _table("tokenizer", "tokens", "unused here", "unreachable", "partial", "embedding", "FLOPs a byte", "",
                   "KV cache a kB", "", "bytes in a context")  # fmt: skip
    model, first = data["model"], data["tokenizers"][0]["cost"]
    table.caption = (
        f"Model of recipe {model['recipe']}: {model['num_layers']} layers of width {model['dim']}, "
        f"{model['seq_len']:,} tokens of context; changes against {data['tokenizers'][0]['name']}."
    )
    for t in data["tokenizers"]:
        c, h = t["cost"], t["health"]
        table.add_row(
            t["name"], f"{t['vocab_size']:,}", f"{h['unused']:,}", f"{h['unreachable']:,}", f"{h['partial']:,}",
            f"{c['embedding_params']:,} ({c['embedding_share']:.0%})", f"{c['flops_per_byte']:,.0f}",
            _change(c, first, "flops_per_byte"), f"{c['kv_cache_per_kilobyte']:,.0f}",
            _change(c, first, "kv_cache_per_kilobyte"), f"{c['context_bytes']:,.0f}",
        )  # fmt: skip
    return table


def _table(*names: str, numbers: int = 99) -> Table:
    """Names on the left, figures flush right; `numbers` columns behind the first hold figures."""
    table = Table(box=None, pad_edge=False, caption_justify="left")
    for k, name in enumerate(names):
        flush_left = k == 0 or name == "source" or k > numbers
        table.add_column(name, justify="left" if flush_left else "right", overflow="fold")
    return table


def _number(value: float | None) -> str:
    return "-" if value is None else f"{value:.3f}"


def _share(value: float | None) -> str:
    return "-" if value is None else f"{value:.1%}"


def _change(cost: dict[str, float], first: dict[str, float], key: str) -> str:
    return "" if cost is first else f"{cost[key] / first[key] - 1:+.1%}"
