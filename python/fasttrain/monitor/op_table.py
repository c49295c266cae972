"""A trace as a table: op, time, achieved GFLOP/s or GB/s against the machine's measured peak, and what bounds it."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from fasttrain.monitor.op_cost import cost, is_counted
from fasttrain.monitor.spans import ASIDE, COMM, COMPUTE, WAITING

SMALL_CALL_S = 1e-4  # a call as short as this is mostly dispatch: 10 to 20 us of Python and torch an op
SHOWN = 0.002  # of a step


@dataclass(frozen=True, kw_only=True)
class Row:
    """One op over all profiled steps."""

    name: str
    phase: str
    """Span that it ran in: forward, backward, optimizer, or outside of the three; communication is in the same."""
    calls: float
    """A step."""
    seconds: float
    """A step; an op's own, without the ops inside it, unless it is one whose cost is known."""
    gflops: float
    """Achieved; 0 where the op's FLOPs are not known."""
    gbytes: float
    """Achieved GB/s; 0 where its bytes are not known."""


@dataclass(frozen=True, kw_only=True)
class Peaks:
    """What the machine does at most, measured."""

    gflops: float
    gbytes: float

    def bound(self, row: Row) -> tuple[float, str]:
        """(part of the peak that an op's time would be at it, which peak), of the one that bounds it; 0 if none is
        known.

        An op that reaches less than half and whose calls are short is bound by its "calls".
        """
        part, by = max((row.gflops / self.gflops, "FLOPs"), (row.gbytes / self.gbytes, "bytes"))
        if part < 0.5:
            by = "calls" if row.calls and row.seconds / row.calls < SMALL_CALL_S else ""
        return part, by


@dataclass
class _Sum:
    calls: int = 0
    seconds: float = 0.0
    flops: float = 0.0
    bytes: float = 0.0


def rows(
    events: Sequence[Mapping[str, Any]],
    num_steps: int,
    known_bytes: Mapping[str, float] = {},
    *,
    attention_share: float = 1.0,
) -> list[Row]:
    """The table of a Chrome trace's complete events ("ph": "X"), the longest first.

    Only what the thread of the steps did, and autograd's where that is another, which it waits for meanwhile (on a
    card): other threads (batches made ahead, checkpoints written) run beside it, and their time is not the step's.
    Args:
        num_steps: how many steps the trace holds.
        known_bytes: bytes that a span moves a step where no op tells (the optimizer's native passes).
        attention_share: of the causal triangle that attention computes, where documents are masked from each other.
    """
    mine = [e for e in events if e.get("ph") == "X" and e.get("cat") in ("cpu_op", "user_annotation")]
    threads = {e.get("tid") for e in mine if e["name"] in COMPUTE or e["name"].startswith("autograd::engine")}
    if threads:
        mine = [e for e in mine if e.get("tid") in threads]
    sums: dict[tuple[str, str], _Sum] = {}
    _add(sorted(mine, key=lambda e: (e["ts"], -e["dur"])), sums, attention_share)
    for name, size in known_bytes.items():
        for (of, _), entry in sums.items():
            entry.bytes += size * num_steps if of == name else 0.0
    found = [
        Row(
            name=name,
            phase=phase,
            calls=s.calls / num_steps,
            seconds=s.seconds / num_steps,
            gflops=s.flops / s.seconds / 1e9 if s.seconds > 0 else 0.0,
            gbytes=s.bytes / s.seconds / 1e9 if s.seconds > 0 else 0.0,
        )
        for (name, phase), s in sums.items()
    ]
    return sorted(found, key=lambda row: -row.seconds)


def _add(events: Sequence[Mapping[str, Any]], sums: dict[tuple[str, str], _Sum], attention_share: float) -> None:
    """Own times of one thread's events, in order of their beginning; what lies in a counted op belongs to it."""
    stack: list[tuple[float, tuple[str, str], bool]] = []  # end, (name, phase), whether it is counted whole
    for event in events:
        start, seconds, name = event["ts"], event["dur"] * 1e-6, _short(event["name"])
        while stack and start >= stack[-1][0]:
            stack.pop()
        if stack and stack[-1][2]:
            continue
        outer = stack[-1][1] if stack else ("other", "outside")
        if stack:
            sums[outer].seconds -= seconds
        key = outer
        if name:
            is_phase = event.get("cat") == "user_annotation" and name not in COMM
            key = (name, (name if name in COMPUTE else "outside") if is_phase else outer[1])
        entry = sums.setdefault(key, _Sum())
        entry.seconds += seconds
        if name:
            args = event.get("args", {})
            lists = (args.get(what, []) for what in ("Input Dims", "Input type", "Concrete Inputs"))
            one = cost(name, *lists)
            share = attention_share if name.startswith("fasttrain::attention") else 1.0
            entry.calls += 1
            entry.flops, entry.bytes = entry.flops + one.flops * share, entry.bytes + one.bytes
        stack.append((start + event["dur"], key, is_counted(name) or name in ASIDE))


def _short(name: str) -> str:
    """Autograd's wrappers are its bookkeeping; marks of a step and of an optimizer are part of what they lie in."""
    if name.startswith(("ProfilerStep", "Optimizer.")):
        return ""
    is_wrapper = name.startswith(("autograd::engine", "GeneratedBackwardFor", "torch::autograd"))
    return "autograd" if is_wrapper or name.endswith(("Backward", "Backward0")) else name


def outside_share(events: Sequence[Mapping[str, Any]], wall_s: float) -> float:
    """Part of the steps' time (`wall_s`, without what is aside) outside forward, backward and the optimizer."""
    compute = sum(span_s(events, name) for name in COMPUTE)
    return max(1.0 - compute / wall_s, 0.0)


def span_s(events: Sequence[Mapping[str, Any]], name: str) -> float:
    """Seconds of all spans of a name."""
    spans = (e for e in events if e.get("ph") == "X" and e.get("cat") == "user_annotation" and e["name"] == name)
    return float(sum(e["dur"] for e in spans)) * 1e-6


def text(
    found: Sequence[Row], *, step_s: float, peaks: Peaks, outside: float, unprofiled_s: float, model_flops: float
) -> str:
    """The table as text: ops of at least 0.2 % of a step, then the sum of the others; all of it adds up to the step.

    Args:
        step_s, unprofiled_s: a step's seconds, and those of one that was not profiled.
        outside: part of a step outside forward, backward and optimizer.
        model_flops: FLOPs of a step by the model's formula.
    """
    found = [row for row in found if row.name not in ASIDE]
    shown = [row for row in found if row.seconds >= SHOWN * step_s]
    phases = {phase: sum(row.seconds for row in found if row.phase == phase) / step_s for phase in COMPUTE}
    flops = sum(row.gflops * row.seconds for row in found)
    products = [row for row in found if row.phase == "optimizer" and row.gflops]
    extra = sum(row.gflops * row.seconds for row in products)
    lines = [
        f"step {step_s * 1e3:.1f} ms, {unprofiled_s * 1e3:.1f} without the profiler: "
        + ", ".join(f"{phase} {share:.1%}" for phase, share in phases.items())
        + f"; outside forward, backward and optimizer: {outside:.1%}"
        + _communication(found, step_s),
        f"FLOPs of these ops: {flops:,.1f} G a step, {(flops - extra) * 1e9 / model_flops:.0%} of the model's formula"
        + (
            f" and {extra:,.1f} G of the optimizer's, {extra / sum(p.seconds for p in products):,.1f} GFLOP/s"
            if extra
            else ""
        )
        + f"; at {unprofiled_s * 1e3:.1f} ms {flops / unprofiled_s:,.1f} GFLOP/s",
        f"peak, measured here: {peaks.gflops:.1f} GFLOP/s (matrix product), {peaks.gbytes:.1f} GB/s (copy, both ways)",
        f"{'op':<36} {'in':<9} {'calls':>6} {'ms':>8} {'% step':>7} {'GFLOP/s':>8} {'GB/s':>7} {'% peak':>7}  bound by",
    ]
    lines += [_line(row, step_s, *peaks.bound(row)) for row in shown]
    rest = step_s - sum(row.seconds for row in shown)
    lines.append(f"{'others, and outside of all':<36} {'':<9} {'':>6} {rest * 1e3:>8.2f} {rest / step_s:>7.1%}")
    return "\n".join(line.rstrip() for line in lines) + "\n"


def _communication(found: Sequence[Row], step_s: float) -> str:
    """What part of a step it is, wherever it lies; nothing on one rank."""
    waited, all_ = (sum(row.seconds for row in found if row.name in names) / step_s for names in ((WAITING,), COMM))
    return f"; communication, in these: {all_:.1%}, of it {waited:.1%} waiting for other ranks" if all_ else ""


def _line(row: Row, step_s: float, part: float, by: str) -> str:
    name = "between ops" if row.name in ("forward", "backward") else row.name
    rates = f"{_number(row.gflops):>8} {_number(row.gbytes):>7} {f'{part:.0%}' if part else '':>7}  {by}"
    share = f"{row.seconds / step_s:>7.1%}"
    return f"{name[:36]:<36} {row.phase:<9} {row.calls:>6.0f} {row.seconds * 1e3:>8.2f} {share} {rates}"


def _number(value: float) -> str:
    return f"{value:.1f}" if value else ""
