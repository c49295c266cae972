"""Terminal tables of an estimate and of its error."""

from collections.abc import Mapping, Sequence

from rich.console import Group, RenderableType
from rich.table import Table
from rich.text import Text

from fasttrain.estimate.estimate import Estimate


def format_estimate(found: Estimate) -> RenderableType:
    """The whole estimate, formulas included."""
    lines: list[tuple[str, str]] = [
        ("parameters", f"{found.params['total']:,} ({found.params['non_embedding']:,} without embeddings)"),
        ("tokens", f"{found.total_tokens:,} = {found.num_steps:,} steps of {found.tokens_per_step:,}"),
        ("FLOPs a token", f"{found.flops_per_token:,} = {found.flops_formula}"),
        ("FLOPs in all", f"{found.total_flops:.3g}"),
        ("layout", ", ".join(f"{k} {v}" for k, v in found.layout.items()) + f", {found.precision}"),
        ("memory of a rank", f"{gigabytes(found.memory['total'])}: " + ", ".join(
            f"{k} {gigabytes(v)}" for k, v in found.memory.items() if k != "total")),
    ]  # fmt: skip
    if found.step_s is not None and found.tokens_per_s is not None and found.total_s is not None:
        parts = ", ".join(f"{name} {seconds:.3f}" for name, seconds in found.step_parts.items() if seconds)
        lines.append(("step", f"{found.step_s:.3f} s, {found.tokens_per_s:,.0f} tokens/s: {parts}"))
        lines.append(("whole run", f"{found.total_s / 3600:.2f} hours"))
        lines.append(("method", str(found.calibration.get("method", ""))))
    else:
        lines.append(("time", "not estimated: calibration was switched off"))
    if found.price is not None:
        lines.append(("price", f"{found.price:,.2f}"))
    for name, size in found.kv_cache.items():
        lines.append((f"KV cache, {name}", f"{size:,} bytes a token (16 bit)"))
    head = Table(show_header=False, show_edge=False, pad_edge=False)
    head.add_column(no_wrap=True, style="bold")
    head.add_column(overflow="fold")
    for name, value in lines:
        head.add_row(Text(name), Text(value))
    return Group(head, Text(), format_contexts(found.contexts))


def format_contexts(rows: Sequence[Mapping[str, float]]) -> Table:
    """What longer sequences cost."""
    table = Table(show_edge=False, pad_edge=False)
    for name in ("context", "FLOPs a token", "of it attention", "activations a sequence", "KV cache a sequence"):
        table.add_column(name, justify="right")
    for row in rows:
        table.add_row(f"{row['tokens']:,.0f}", f"{row['flops_per_token']:,.0f}", f"{row['attention_share']:.0%}",
                      gigabytes(row["activation_bytes"]), gigabytes(row["kv_cache_bytes"]))  # fmt: skip
    return table


def format_error(errors: Mapping[str, Mapping[str, float]]) -> RenderableType:
    """One line a figure: predicted, measured, error."""
    if not errors:
        return Text("estimate: no prediction to compare with")
    names = {"step_s": "step", "total_s": "training time", "memory_bytes": "memory of a rank"}
    lines = []
    for key, row in errors.items():
        show = gigabytes if key == "memory_bytes" else _seconds
        lines.append(
            f"estimate: {names.get(key, key)} predicted {show(row['predicted'])}, measured {show(row['measured'])}, "
            f"error {row['error']:+.0%}"
        )
    return Text("\n".join(lines))


def gigabytes(size: float) -> str:
    """Bytes as people say them."""
    for limit, unit in ((1e12, "TB"), (1e9, "GB"), (1e6, "MB"), (1e3, "kB")):
        if size >= limit:
            return f"{size / limit:.3g} {unit}"
    return f"{size:.0f} B"


def _seconds(value: float) -> str:
    return f"{value:.3f} s" if value < 100 else f"{value:,.0f} s"
