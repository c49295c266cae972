"""The machine under a run of the benchmarks: CPU, load, versions, cores; and whether other work was in the way."""

import importlib.metadata
import os
import platform
import subprocess
from pathlib import Path
from typing import Any

from fasttrain.core import backend
from fasttrain.core.errors import ConfigError

_PACKAGES = ("torch", "numpy", "pyarrow")


def describe(folder: Path) -> dict[str, Any]:
    """CPU, instruction sets, system and versions. `load_before` is set here, `load_after` by `ended`."""
    isas = backend._native().cpu_isas() if backend.is_native() else []
    return {
        "cpu": _cpu(),
        "num_cpus": os.cpu_count() or 1,
        "isas": [str(name) for name in isas],
        "system": f"{platform.system()} {platform.release()}",
        "versions": {
            "fasttrain": importlib.metadata.version("fasttrain"),
            "python": platform.python_version(),
            **{name: importlib.metadata.version(name) for name in _PACKAGES},
        },
        "revision": _revision(folder),
        "load_before": _load(),
    }


def ended(machine: dict[str, Any]) -> dict[str, Any]:
    """The same with the load at the end."""
    return {**machine, "load_after": _load()}


def others_load(machine: dict[str, Any], threads: int) -> float | None:
    """Load of other work beside a run of `threads` threads, when it is high: ratios are then good to 10 or 20 %.

    High is more than half of the CPUs, which share caches and memory, or more than the run leaves free. The load is
    the last minute's mean: at the end the run itself is in it, unless it was short.
    """
    cpus = machine["num_cpus"]
    other = max(machine["load_before"], machine.get("load_after", 0.0) - threads)
    return other if other > max(0.25, min(cpus - threads, cpus / 2)) else None


def choose_cores(asked: str | None, threads: int) -> list[int]:
    """The cores that a run of `threads` threads is pinned to; the last ones, for the first take interrupts. Empty
    where a process cannot be pinned."""
    if not hasattr(os, "sched_getaffinity"):
        if asked:
            raise ConfigError("bench: --core: this system cannot pin a process to cores; leave it out")
        return []
    allowed = sorted(os.sched_getaffinity(0))
    if asked is None:
        if threads > len(allowed):
            raise ConfigError(f"bench: --threads {threads} must not be more than the cores it may use, {len(allowed)}")
        return allowed[-threads:]
    try:
        cores = sorted({core for part in asked.split(",") for core in _span(part)})
    except ValueError:
        raise ConfigError(f"bench: --core must be numbers of cores such as 1, 0,2 or 4-7, got {asked!r}") from None
    if set(cores) - set(allowed):
        raise ConfigError(f"bench: --core {asked} must be among the cores it may use, {_list(allowed)}")
    if len(cores) != threads:
        raise ConfigError(f"bench: --core must name as many cores as --threads, {threads}, got {len(cores)}")
    return cores


def lines(machine: dict[str, Any], settings: dict[str, Any]) -> list[str]:
    """The description in two lines."""
    versions = {**machine["versions"]}
    ours = f"fasttrain {versions.pop('fasttrain')}" + (f" ({machine['revision']})" if machine["revision"] else "")
    isas = f", {' '.join(machine['isas'])}" if machine["isas"] else ""
    load = f"load {machine['load_before']:.1f} before" + (
        f", {machine['load_after']:.1f} after" if "load_after" in machine else ""
    )
    plural = "s" if len(settings["cores"]) > 1 else ""
    cores = f"pinned to core{plural} {_list(settings['cores'])}" if settings["cores"] else "not pinned"
    threads = "one thread" if settings["threads"] == 1 else f"{settings['threads']} threads"
    impl = f", FASTTRAIN_IMPL={settings['impl']}" if settings.get("impl") else ""
    return [
        f"{machine['cpu']}, {machine['num_cpus']} CPUs{isas}; {machine['system']}; {load}",
        f"{ours}, {', '.join(f'{k} {v}' for k, v in versions.items())}; {threads}, {cores}, {settings['clock']}{impl}",
    ]


def _span(text: str) -> range:
    first, _, last = text.partition("-")
    return range(int(first), int(last or first) + 1)


def _list(cores: list[int]) -> str:
    return ",".join(map(str, cores))


def _load() -> float:
    return round(os.getloadavg()[0], 2) if hasattr(os, "getloadavg") else 0.0


def _cpu() -> str:
    """The model's name with the family, for virtual machines leave the rest of the name out."""
    try:
        text = Path("/proc/cpuinfo").read_text(encoding="utf-8")
    except OSError:
        return platform.processor() or platform.machine()
    found: dict[str, str] = {}
    for line in text.split("\n\n")[0].splitlines():
        key, _, value = line.partition(":")
        found[key.strip()] = value.strip()
    name = found.get("model name") or platform.machine()
    numbers = [f"{key.split()[-1]} {found[key]}" for key in ("cpu family", "model") if key in found]
    return f"{name} ({', '.join(numbers)})" if numbers else name


def _revision(folder: Path) -> str:
    """The checkout's commit, with a + when files of it were changed; "" without git."""
    try:
        done = subprocess.run(
            ["git", "-C", str(folder), "describe", "--always", "--dirty=+", "--exclude=*"],
            capture_output=True, text=True, timeout=20,
        )  # fmt: skip
    except (OSError, subprocess.TimeoutExpired):
        return ""
    return done.stdout.strip()
