"""What `fasttrain bench` adds to the pytest that it starts: which benchmarks run, and a line of JSON for each event.

Loaded there by `-p`, nowhere else. Lines go to a pipe: `collected` (the rows, and how many were left out), `started`,
`finished` (outcome, reason, the figures that `note` of benchmarks/conftest.py recorded), `broken` (a file that cannot
be collected).
"""

import importlib.metadata
import json
import platform
from functools import cache
from pathlib import Path
from typing import Any

import pytest

_SAID_ELSEWHERE = {"rival", "at_least", "memory", "ours"}  # parameters that other columns tell of


def pytest_addoption(parser: pytest.Parser) -> None:
    """What the command passes on."""
    group = parser.getgroup("fasttrain bench")
    group.addoption("--bench-folder", type=Path)
    group.addoption("--bench-events", type=int, metavar="DESCRIPTOR")
    group.addoption("--bench-threads", type=int, default=1)
    group.addoption(
        "--bench-all", action="store_true", help="Also what has no gate, but for reference implementations."
    )


def pytest_configure(config: pytest.Config) -> None:
    """Join in; what comes after needs the configuration, which reports do not carry."""
    config.addinivalue_line("markers", "rival: what a gate measures against, a distribution's name first")
    config.pluginmanager.register(_Teller(config))


@pytest.hookimpl(optionalhook=True)
def pytest_benchmark_generate_machine_info() -> dict[str, str]:
    """The command describes the machine itself; pytest-benchmark's way takes a second."""
    return {"machine": "told by fasttrain bench"}


class _Teller:
    """Chooses what runs, and tells what happens."""

    def __init__(self, config: pytest.Config) -> None:
        self._config = config
        self._folder: Path = config.getoption("--bench-folder")
        self._pipe: int = config.getoption("--bench-events")
        self._left_out = 0
        self._reports: list[pytest.TestReport] = []

    @pytest.hookimpl(trylast=True)  # behind -k, so that only what it chose is counted as left out
    def pytest_collection_modifyitems(self, items: list[pytest.Item]) -> None:
        """Keep the gates, or all rows; leave out what wants more threads than there are cores for."""
        threads, every = self._config.getoption("--bench-threads"), self._config.getoption("--bench-all")
        named = self._config.getoption("keyword")
        wanted = [i for i in items if _is_gate(i) or (every and (named or not _is_reference(i)))]
        kept = [i for i in wanted if int(_parameters(i).get("threads", 1)) <= threads]
        self._left_out = len(wanted) - len(kept)
        self._config.hook.pytest_deselected(items=[i for i in items if i not in kept])
        items[:] = kept

    def pytest_collectreport(self, report: pytest.CollectReport) -> None:
        """A file that cannot be collected is a row of its own."""
        if report.failed or (report.skipped and report.nodeid.endswith(".py")):
            self._tell(event="broken", id=report.nodeid, outcome=report.outcome, reason=_reason(report))

    def pytest_collection_finish(self, session: pytest.Session) -> None:
        """The rows, before the first one runs."""
        rows = [
            {"id": i.nodeid, "what": _what(i, self._folder), "rival": _rival(i), "is_gate": _is_gate(i)}
            for i in session.items
        ]
        self._tell(event="collected", rows=rows, left_out=self._left_out)

    def pytest_runtest_logstart(self, nodeid: str) -> None:
        """A benchmark begins."""
        self._reports = []
        self._tell(event="started", id=nodeid)

    def pytest_runtest_logreport(self, report: pytest.TestReport) -> None:
        """A benchmark has ended when its teardown has; the worst of its reports is its outcome."""
        self._reports.append(report)
        if report.when != "teardown":
            return
        bad = next((r for how in ("failed", "skipped") for r in self._reports if r.outcome == how), None)
        self._tell(
            event="finished",
            id=report.nodeid,
            outcome=bad.outcome if bad else "passed",
            reason=_reason(bad) if bad else "",
            figures={name: value for name, value in report.user_properties if not isinstance(value, str)},
            seconds=sum(r.duration for r in self._reports),
        )

    def _tell(self, **what: Any) -> None:
        with open(self._pipe, "w", encoding="utf-8", closefd=False) as pipe:  # os.write may write a part
            pipe.write(json.dumps(what, default=float) + "\n")


def _reason(report: pytest.TestReport | pytest.CollectReport) -> str:
    """The reason of a skip, or the last line of an error, which names it."""
    found = report.longrepr
    if isinstance(found, tuple):
        return found[2].removeprefix("Skipped: ")
    crash = getattr(found, "reprcrash", None)
    lines = (crash.message if crash else str(found)).strip().splitlines()
    return (lines[0] if crash else lines[-1]).removeprefix("AssertionError: ") if lines else ""


def _is_gate(item: pytest.Item) -> bool:
    return "gate" in getattr(item, "fixturenames", ()) or "gate" in _function(item).split("_")


def _is_reference(item: pytest.Item) -> bool:
    return "reference" in (_parameters(item).get("impl"), _parameters(item).get("how"))


def _function(item: pytest.Item) -> str:
    return getattr(item, "originalname", None) or item.name


def _parameters(item: pytest.Item) -> dict[str, Any]:
    return item.callspec.params if hasattr(item, "callspec") else {}


def _what(item: pytest.Item, folder: Path) -> str:
    """nn/bench_rope.py::bench_gate_rope[dtype0] -> "nn/rope: float32"."""
    path = item.path.relative_to(folder)
    op = path.stem.removeprefix("bench_")
    words = _function(item).removeprefix("bench_").removeprefix("gate").removeprefix("rival").strip("_")
    mark = item.get_closest_marker("rival")
    rivals = mark.args[0].lower().split() if mark else []  # they have a column of their own
    rest = " ".join(word for word in words.removeprefix(op).split("_") if word not in rivals)
    told = {k: _text(k, v) for k, v in _parameters(item).items() if k not in _SAID_ELSEWHERE}
    values = [v for v in told.values() if v]
    if None in told.values():
        values = [item.name.partition("[")[2].removesuffix("]")]
    head = f"{path.with_name(op)} {rest}".strip()
    return f"{head}: {', '.join(values)}" if values else head


def _text(name: str, value: Any) -> str | None:
    """A parameter in words; "" for one that says nothing, None for one that only pytest's own id can name."""
    if name == "threads":
        return f"{value} threads" if value != 1 else ""
    if isinstance(value, int | float):
        return f"{name} {value}"
    kind = str(value)
    return kind.removeprefix("torch.") if isinstance(value, str) or kind.startswith("torch.") else None


def _rival(item: pytest.Item) -> str:
    """The words of the mark `rival` and the parameter of that name, with the version of what is installed."""
    mark = item.get_closest_marker("rival")
    parameter = _parameters(item).get("rival")
    words = [*(mark.args if mark else ()), *([parameter] if isinstance(parameter, str) else ())]
    first, _, rest = " ".join(words).partition(" ")
    name = first.rstrip(",")
    version = platform.python_version() if name == "Python" else _version(name) if name else ""
    return f"{f'{name} {version}'.strip()}{first[len(name) :]} {rest}".strip()


@cache
def _version(name: str) -> str:
    """Of a distribution, or of the one that brings a module of that name; "" when it is neither."""
    for distribution in (name, *importlib.metadata.packages_distributions().get(name, ())):
        try:
            return importlib.metadata.version(distribution).partition("+")[0]  # torch's says +cpu, which is seen
        except importlib.metadata.PackageNotFoundError:
            continue
    return ""
