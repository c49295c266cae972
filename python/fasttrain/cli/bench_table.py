"""What a run of the benchmarks prints: machine, rows, an earlier run beside them, what was not judged and why."""

import re
import sys
from collections import Counter
from pathlib import Path

from rich.console import Group, RenderableType
from rich.table import Table
from rich.text import Text

from fasttrain.cli import bench_machine
from fasttrain.cli.bench_result import Result, Row

_STYLES = {"passed": "green", "FAILED": "bold red", "ERROR": "bold red", "skipped": "yellow", "not run": "yellow"}
_MISSING = re.compile(r"could not import '([\w.]+)'")
_WIDE = 120
_SET_UP = {"tokenizers", "regex", "sentencepiece", "transformers"}  # rivals that fasttrain's own environment holds


def show(result: Result, earlier: Result | None, *, loss_percent: float, columns: int = 160) -> RenderableType:
    """All of it; on a terminal of few columns without the rates, so that names have room."""
    machine, settings = result.machine, result.settings
    parts: list[RenderableType] = [*map(Text, bench_machine.lines(machine, settings)), ""]
    if result.rows:
        parts += [_table(result, earlier, loss_percent, columns >= _WIDE), ""]
    for row in result.rows:
        if row.verdict in ("FAILED", "ERROR"):
            parts.append(Text(f"{row.verdict}: {row.id}: {row.reason}", style="red"))
    parts += _not_judged(result)
    if earlier is not None:
        parts += _compared(result, earlier, loss_percent)
    other = bench_machine.others_load(machine, settings["threads"])
    if other is not None:
        parts.append(
            Text(
                f"Load of other work was {other:.1f} on {machine['num_cpus']} CPUs, which is high: ratios are good to "
                "10 or 20 %, times are upper bounds. Run it again on a quiet machine before you believe a difference.",
                style="yellow",
            )
        )
    return Group(*parts, _summary(result))


def lost(row: Row, earlier: Result | None, loss_percent: float) -> bool:
    """Whether a row's ratio fell by more than so many percent."""
    change = _change(row, _by_id(earlier))
    return change is not None and change < 1 - loss_percent / 100


def _table(result: Result, earlier: Result | None, loss_percent: float, wide: bool) -> Table:
    table = Table(box=None, pad_edge=False, header_style="bold")
    for name in ("what", "rival"):
        table.add_column(name, overflow="fold")
    then = ("then", "now/then") if earlier else ()
    for name in ("ours", "rival's", *(("rate",) if wide else ()), "ratio", "gate", *then):
        table.add_column(name, justify="right", no_wrap=True)
    table.add_column("verdict", overflow="fold")
    before = _by_id(earlier)
    for row in result.rows:
        old, change = before.get(row.id), _change(row, before)
        cells = [*_pair(row), *([_rate(row)] if wide else []), _times(row.ratio), _gate(row)]
        if earlier is not None:
            cells += [_times(old.ratio if old else None), "" if change is None else f"{change:.2f}"]
        verdict = Text(row.verdict, style=_STYLES.get(row.verdict, ""))
        if row.verdict == "skipped" and (module := _missing(row)):
            verdict.append(f": no {module}")
        if change is not None and lost(row, earlier, loss_percent):
            verdict.append(f", lost {1 - change:.0%}", style="bold red")
        table.add_row(Text(row.what), Text(row.rival), *cells, verdict)  # brackets are no markup
    return table


def _missing(row: Row) -> str:
    """The module that a row was skipped for; "" when it was for something else."""
    found = _MISSING.match(row.reason) if row.verdict == "skipped" else None
    return found[1].partition(".")[0] if found else ""


def _not_judged(result: Result) -> list[RenderableType]:
    """Why rows were skipped, and what would let them run."""
    modules = {_missing(row) for row in result.rows} - {""}
    reasons = Counter(r.reason for r in result.rows if r.verdict in ("skipped", "not run") and not _missing(r))
    lines = [f"{count} not judged: {reason}" for reason, count in reasons.items() if reason]
    if any("FASTTRAIN_LAKE" in reason for reason in reasons):
        lines.append("  tools/fetch_lake.py fetches a lake; FASTTRAIN_LAKE names its folder.")
    if modules - _SET_UP:
        wanted = Path(result.settings["folder"]) / "requirements.txt"
        wanted = wanted.relative_to(Path.cwd()) if wanted.is_relative_to(Path.cwd()) else wanted
        lines.append(f"Not installed: {', '.join(sorted(modules - _SET_UP))}. To install the rivals, and nothing else:")
        lines.append(f"  {sys.executable} -m pip install --no-deps -r {wanted}")
    if modules & _SET_UP:
        lines.append(f"Not installed: {', '.join(sorted(modules & _SET_UP))}; tools/setup.sh brings them.")
    if result.left_out:
        lines.append(
            f"{result.left_out} of more threads than {result.settings['threads']} were left out; see --threads."
        )
    return [Text(line) for line in lines]


def _compared(result: Result, earlier: Result, loss_percent: float) -> list[RenderableType]:
    lines = [f"then: {earlier.date}, {bench_machine.lines(earlier.machine, earlier.settings)[1]}"]
    if earlier.machine["cpu"] != result.machine["cpu"]:
        lines.append(f"The earlier run was on another CPU, {earlier.machine['cpu']}: its ratios need not be these.")
    if (then := earlier.settings["clock"]) != (now := result.settings["clock"]):
        lines.append(f"The earlier run was timed otherwise: {then}, not {now}.")
    if (other := bench_machine.others_load(earlier.machine, earlier.settings["threads"])) is not None:
        lines.append(f"Load of other work was {other:.1f} in the earlier run: its ratios are good to 10 or 20 %.")
    if not any(_change(row, _by_id(earlier)) for row in result.rows):
        lines.append("None of its ratios is of a gate that was measured now.")
    if worse := [row.what for row in result.rows if lost(row, earlier, loss_percent)]:
        lines.append(f"Lost more than {loss_percent:g} %: {'; '.join(worse)}.")
    return [Text(line) for line in lines]


def _summary(result: Result) -> Text:
    gates = result.gates()
    counts = Counter(row.verdict for row in gates)
    told = ", ".join(f"{counts[v]} {v}" for v in ("passed", "FAILED", "ERROR", "skipped", "not run") if counts[v])
    others = len(result.rows) - len(gates)
    text = f"{len(gates)} gate{'' if len(gates) == 1 else 's'}: {told or 'none'}"
    text += f"; {others} without a gate" if others else ""
    if gates and not result.gates("passed", "FAILED", "ERROR"):
        text += "; NO GATE WAS JUDGED"
    return Text(f"{text}; {sum(row.seconds for row in result.rows):,.0f} s", style="bold")


def _by_id(earlier: Result | None) -> dict[str, Row]:
    return {row.id: row for row in earlier.rows} if earlier else {}


def _change(row: Row, before: dict[str, Row]) -> float | None:
    old = before.get(row.id)
    return row.ratio / old.ratio if old is not None and row.ratio is not None and old.ratio else None


def _pair(row: Row) -> tuple[str, str]:
    """Ours and the rival's figure: times where there are such, for the same work, else the first figure of both."""
    f = row.figures
    if "ours_ms" in f and "rival_ms" in f:
        return _value("ms", f["ours_ms"]), _value("ms", f["rival_ms"] * f.get("work", 1.0))
    for name in f:
        for ours, theirs in ((name, f"rival_{name}"), (f"ours_{name.removeprefix('rival_')}", name)):
            if ours != theirs and ours in f and theirs in f:
                return _value(ours.removeprefix("ours_"), f[ours]), _value(ours.removeprefix("ours_"), f[theirs])
    if row.is_gate and row.outcome != "skipped":
        first = next((name for name in f if name not in ("median_ms", "ratio", "gate", "at_most")), None)
        if first is not None and not first.endswith("_per_s"):
            return _value(first, f[first]), ""
    return (_value("ms", f["median_ms"]), "") if "median_ms" in f else ("", "")


def _rate(row: Row) -> str:
    """The first rate that is not already in the columns before."""
    for name, value in row.figures.items():
        if name.endswith("_per_s") and not name.startswith("rival_") and f"rival_{name}" not in row.figures:
            return _value(name, value)
    return ""


def _gate(row: Row) -> str:
    if "at_most" in row.figures:
        return f"<= {row.figures['at_most']:g}"
    return _times(row.figures.get("gate"))


def _value(name: str, value: float) -> str:
    """A figure with its unit, which its name ends with: MB_per_s, cpu_s, extra_MiB."""
    if name == "ms":
        scale, unit = (1e-3, "s") if value >= 1e3 else (1.0, "ms") if value >= 1 else (1e3, "us")
        return f"{_digits(value * scale)} {unit}"
    if name.endswith("_per_s"):
        return f"{_digits(value)} {name.removesuffix('_per_s').replace('_', ' ')}/s"
    words = name.split("_")
    return f"{_digits(value)} {' '.join([words[-1], *words[:-1]])}"


def _times(value: float | None) -> str:
    return "" if value is None else f"{_digits(value)}x"


def _digits(value: float) -> str:
    """Three figures that mean something."""
    return f"{value:,.0f}" if value >= 100 else f"{value:.1f}" if value >= 10 else f"{value:.2f}"
