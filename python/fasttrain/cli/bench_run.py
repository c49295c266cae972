"""The benchmarks of a checkout, run by pytest in a process of its own, on cores of its own, row by row as they end."""

import difflib
import importlib.util
import json
import os
import signal
import subprocess
import sys
import tempfile
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import IO, Any

import fasttrain
from fasttrain.cli.bench_result import Row
from fasttrain.core.errors import ConfigError, FasttrainError
from fasttrain.core.log import progress

_ENDED, _FAILED, _NONE_CHOSEN = 0, 1, 5  # pytest's exit statuses after which every row has its outcome


@dataclass(frozen=True, kw_only=True)
class Plan:
    """What is run and how."""

    folder: Path
    targets: list[str]
    keyword: str | None
    every: bool
    threads: int
    cores: list[int]
    wall: bool
    verbose: bool


@dataclass
class Outcome:
    """What a run gave."""

    rows: dict[str, Row]
    left_out: int = 0
    interrupted: bool = False


def find_folder(given: Path | None) -> Path:
    """The benchmarks of the checkout that this fasttrain is, else of the one that is the current folder."""
    if importlib.util.find_spec("pytest") is None or importlib.util.find_spec("pytest_benchmark") is None:
        raise ConfigError("bench: needs pytest and pytest-benchmark; python -m pip install pytest pytest-benchmark")
    package = Path(fasttrain.__file__).resolve().parent
    for folder in [given] if given else [package.parents[1] / "benchmarks", Path.cwd() / "benchmarks"]:
        if (folder / "conftest.py").is_file():
            return folder.resolve()
    if given:
        raise ConfigError(f"bench: --folder must be a folder of benchmarks with their conftest.py, got {given}")
    raise ConfigError(
        f"bench: the benchmarks are in fasttrain's checkout, and {package} is installed without one; start the command "
        "in a checkout, or name its benchmarks with --folder"
    )


def find_targets(folder: Path, names: list[str]) -> list[str]:
    """Rooms (dedup), ops (minhash) and files, a benchmark behind :: where one is meant, as paths for pytest."""
    found: list[str] = []
    for name in names:
        path, colons, inside = name.partition("::")
        places = [Path(path), folder / path, folder.parent / path, *sorted(folder.glob(f"*/bench_{path}.py"))]
        there = next((p.resolve() for p in places if path and p.exists() and p.resolve().is_relative_to(folder)), None)
        if there is None:
            rooms = sorted(p.name for p in folder.iterdir() if any(p.glob("bench_*.py")))
            ops = [p.stem.removeprefix("bench_") for p in folder.glob("*/bench_*.py")]
            near = difflib.get_close_matches(path, [*rooms, *ops], 1)
            hint = f"did you mean {near[0]}? " if near else ""
            raise ConfigError(f"bench: no room, op or file {path!r} in {folder}; {hint}rooms: {', '.join(rooms)}")
        found.append(f"{there}{colons}{inside}")
    return found or [str(folder)]


def listed(plan: Plan) -> Outcome:
    """The rows that would run; nothing is."""
    return _run(plan, ["--collect-only"])


def run(plan: Plan) -> Outcome:
    """Run them. Raises FasttrainError when pytest itself stops; a benchmark that kills its process has an outcome."""
    with tempfile.TemporaryDirectory(prefix="fasttrain-bench-") as folder:
        figures = Path(folder) / "benchmark.json"
        outcome = _run(plan, [f"--benchmark-json={figures}"])
        if figures.is_file() and figures.stat().st_size:
            _add_medians(plan, outcome, json.loads(figures.read_bytes()))
    return outcome


def _run(plan: Plan, arguments: list[str]) -> Outcome:
    reads, writes = os.pipe()
    command = [  # hypothesis takes a second to load, and no benchmark asks for it
        *[sys.executable, "-m", "pytest", *plan.targets, *arguments, "-q"],
        *["-p", "no:cacheprovider", "-p", "no:hypothesispytest"],
        *["-p", "fasttrain.cli.bench_plugin", f"--bench-folder={plan.folder}", f"--bench-events={writes}"],
        *[f"--bench-threads={plan.threads}", *(["--bench-all"] if plan.every else [])],
        *(["-k", plan.keyword] if plan.keyword else []),
        *[f"--rootdir={plan.folder.parent}", "-o", "python_files=bench_*.py", "-o", "python_functions=bench_*"],
        *[
            "--continue-on-collection-errors",
            f"--benchmark-timer=time.{'perf_counter' if plan.wall else 'process_time'}",
        ],
    ]
    with tempfile.TemporaryFile() as said:
        with _pinned(plan.cores):
            child = subprocess.Popen(
                command, cwd=plan.folder.parent, env=_environment(plan.threads), pass_fds=[writes],
                stdin=subprocess.DEVNULL, stdout=2 if plan.verbose else said, stderr=subprocess.STDOUT,
            )  # fmt: skip
        os.close(writes)
        outcome = Outcome({})
        with os.fdopen(reads, encoding="utf-8") as events:
            try:
                _follow(plan, events, outcome)
                status = child.wait()
            except KeyboardInterrupt:
                outcome.interrupted = True
                status = _stop(child)
        if outcome.interrupted:
            for row in outcome.rows.values():
                if row.outcome == "started":
                    outcome.rows[row.id] = row.ended(outcome="not run", reason="interrupted")
        elif status not in (_ENDED, _FAILED, _NONE_CHOSEN):
            _mark_the_dead(outcome, status, said)
    return outcome


def _environment(threads: int) -> dict[str, str]:
    """One thread for rivals in Rust, whose calls take no number; nothing of a pytest that this may itself run under."""
    kept = {k: v for k, v in os.environ.items() if not k.startswith("PYTEST_")}
    return {**kept, "RAYON_NUM_THREADS": "1", "OMP_NUM_THREADS": str(threads), "OPENBLAS_NUM_THREADS": str(threads)}


@contextmanager
def _pinned(cores: list[int]) -> Iterator[None]:
    """What is started in the block inherits the cores."""
    if not cores:
        yield
        return
    before = os.sched_getaffinity(0)
    os.sched_setaffinity(0, cores)
    try:
        yield
    finally:
        os.sched_setaffinity(0, before)


def _follow(plan: Plan, events: IO[str], outcome: Outcome) -> None:
    """Rows as the plugin tells of them, until it ends."""
    with progress("bench", 0, "benchmarks") as bar:
        for line in events:
            event = json.loads(line)
            name = _id(plan.folder, event.get("id", ""))
            match event["event"]:
                case "collected":
                    rows = [Row(**{**row, "id": _id(plan.folder, row["id"])}) for row in event["rows"]]
                    outcome.rows.update((row.id, row) for row in rows)
                    outcome.left_out, bar.total = event["left_out"], len(rows)
                case "started":
                    outcome.rows[name] = outcome.rows[name].ended(outcome="started")
                    bar.advance(0, outcome.rows[name].what)
                case "finished":
                    outcome.rows[name] = outcome.rows[name].ended(**_fields(event))
                    bar.advance(1)
                case "broken":
                    outcome.rows[name] = Row(id=name, what=name, outcome=event["outcome"], reason=event["reason"])


def _fields(event: dict[str, Any]) -> dict[str, Any]:
    return {key: event[key] for key in ("outcome", "reason", "figures", "seconds")}


def _id(folder: Path, nodeid: str) -> str:
    return nodeid.removeprefix(f"{folder.name}/")


def _stop(child: "subprocess.Popen[bytes]") -> int:
    """A terminal's Ctrl-C reached pytest too; a signal to this process alone did not."""
    for last in (signal.SIGINT, signal.SIGKILL):
        try:
            return child.wait(timeout=5)
        except subprocess.TimeoutExpired:
            child.send_signal(last)
    return child.wait()


def _mark_the_dead(outcome: Outcome, status: int, said: IO[bytes]) -> None:
    """A kernel may kill the process: the row that ran then says so, and the others did not run."""
    how = f"the process ended by signal {-status}" if status < 0 else f"pytest stopped with status {status}"
    running = [row for row in outcome.rows.values() if row.outcome == "started"]
    if not running and not any(row.outcome == "failed" for row in outcome.rows.values()):
        said.seek(0)
        tail = "\n  ".join(said.read().decode(errors="replace").strip().splitlines()[-12:])
        raise FasttrainError(f"bench: {how}; what it said last:\n  {tail}" if tail else f"bench: {how}")
    for row in running:
        outcome.rows[row.id] = row.ended(outcome="failed", reason=how)


def _add_medians(plan: Plan, outcome: Outcome, data: dict[str, Any]) -> None:
    """Of each benchmark's rounds, from pytest-benchmark's file."""
    for benchmark in data["benchmarks"]:
        row = outcome.rows.get(_id(plan.folder, benchmark["fullname"]))
        if row is not None and "median" in benchmark["stats"]:
            outcome.rows[row.id] = row.ended(figures={**row.figures, "median_ms": 1e3 * benchmark["stats"]["median"]})
