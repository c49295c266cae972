"""A trace as a table: op, time, achieved GFLOP/s or GB/s against the machine's measured peak."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from fasttrain.monitor.op_cost import cost, is_counted
from fasttrain.monitor.spans import ASIDE, COMPUTE


@dataclass(frozen=True, kw_only=True)
class Row:
    """One op over all profiled steps."""

    name: str
    calls: float
    """A step."""
    seconds: float
    """A step; an op's own, without the ops inside it, unless it is one whose cost is known."""
    gflops: float
    """Achieved; 0 where the op's FLOPs are not known."""
    gbytes: float
    """Achieved GB/s; 0 where its bytes are not known."""


@dataclass
class _Sum:
    calls: int = 0
    seconds: float = 0.0
    flops: float = 0.0
    bytes: float = 0.0


def rows(events: Sequence[Mapping[str, Any]], num_steps: int, known_bytes: Mapping[str, float] = {}) -> list[Row]:
    """The table of a Chrome trace's complete events ("ph": "X"), the longest first.

    Args:
        num_steps: how many steps the trace holds.
        known_bytes: bytes that a span moves a step where no op tells (the optimizer's native passes).
    """
    sums: dict[str, _Sum] = {}
    threads: dict[Any, list[Mapping[str, Any]]] = {}
    for event in events:
        if event.get("ph") == "X" and event.get("cat") in ("cpu_op", "user_annotation"):
            threads.setdefault(event.get("tid"), []).append(event)
    for mine in threads.values():
        _add(sorted(mine, key=lambda e: (e["ts"], -e["dur"])), sums)
    for name, size in known_bytes.items():
        if name in sums:
            sums[name].bytes += size * num_steps
    found = [
        Row(
            name=name,
            calls=s.calls / num_steps,
            seconds=s.seconds / num_steps,
            gflops=s.flops / s.seconds / 1e9 if s.seconds else 0.0,
            gbytes=s.bytes / s.seconds / 1e9 if s.seconds else 0.0,
        )
        for name, s in sums.items()
    ]
    return sorted(found, key=lambda row: -row.seconds)


def _add(events: Sequence[Mapping[str, Any]], sums: dict[str, _Sum]) -> None:
    """Own times of one thread's events, in order of their beginning; what lies in a counted op belongs to it."""
    stack: list[tuple[float, str, bool]] = []  # end, name, whether it is counted whole
    for event in events:
        start, seconds, name = event["ts"], event["dur"] * 1e-6, _short(event["name"])
        while stack and start >= stack[-1][0]:
            stack.pop()
        if stack and stack[-1][2]:
            continue
        if stack:
            sums[stack[-1][1]].seconds -= seconds
        if not name:
            name = stack[-1][1] if stack else "other"
            sums.setdefault(name, _Sum()).seconds += seconds
        else:
            args = event.get("args", {})
            one = cost(name, args.get("Input Dims", []), args.get("Input type", []))
            entry = sums.setdefault(name, _Sum())
            entry.calls, entry.seconds = entry.calls + 1, entry.seconds + seconds
            entry.flops, entry.bytes = entry.flops + one.flops, entry.bytes + one.bytes
        stack.append((start + event["dur"], name, is_counted(name) or name in ASIDE))


def _short(name: str) -> str:
    """Autograd's wrappers are its bookkeeping; the step's own mark is none of its parts."""
    if name.startswith("ProfilerStep"):
        return ""
    if name.startswith(("autograd::engine::evaluate_function", "GeneratedBackwardFor")) or name.endswith("Backward0"):
        return "autograd"
    return name


def outside_share(events: Sequence[Mapping[str, Any]], wall_s: float) -> float:
    """Part of the steps' time (`wall_s`, without what is aside) outside forward, backward and the optimizer."""
    compute = sum(span_s(events, name) for name in COMPUTE)
    inner = span_s(events, "totals")  # lies in backward, and is none of it
    return max(1.0 - (compute - inner) / wall_s, 0.0)


def span_s(events: Sequence[Mapping[str, Any]], name: str) -> float:
    """Seconds of all spans of a name."""
    spans = (e for e in events if e.get("ph") == "X" and e.get("cat") == "user_annotation" and e["name"] == name)
    return float(sum(e["dur"] for e in spans)) * 1e-6


def text(found: Sequence[Row], *, step_s: float, peak_gflops: float, peak_gbytes: float, outside: float) -> str:
    """The table as text: ops of at least 0.2 % of a step."""
    lines = [
        f"step {step_s * 1e3:.1f} ms (profiled); outside forward, backward and optimizer: {outside:.1%}",
        f"peak, measured here: {peak_gflops:.1f} GFLOP/s (matrix product), {peak_gbytes:.1f} GB/s (copy, both ways)",
        f"{'op':<40} {'calls':>7} {'ms':>9} {'% step':>7} {'GFLOP/s':>9} {'GB/s':>7} {'% peak':>7}",
    ]
    for row in found:
        if row.seconds < 0.002 * step_s:
            continue
        part = row.gflops / peak_gflops if row.gflops else row.gbytes / peak_gbytes
        rates = f"{_number(row.gflops):>9} {_number(row.gbytes):>7} {f'{part:.0%}' if part else '':>7}"
        share = f"{row.seconds / step_s:>6.1%}"
        lines.append(f"{row.name[:40]:<40} {row.calls:>7.0f} {row.seconds * 1e3:>9.2f} {share:>7} {rates}")
    return "\n".join(lines) + "\n"


def _number(value: float) -> str:
    return f"{value:.1f}" if value else ""
