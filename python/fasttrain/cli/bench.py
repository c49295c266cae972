"""`fasttrain bench`: the performance gates on this machine, each against its rival, with a table."""

import datetime
import os
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from fasttrain.cli.options import console
from fasttrain.core import log
from fasttrain.core.errors import ConfigError, GateError

if TYPE_CHECKING:
    from fasttrain.cli.bench_result import Result
    from fasttrain.cli.bench_run import Plan

_LAST = "last"


def add(app: typer.Typer) -> None:
    """Register the command."""
    app.command("bench")(bench)


def bench(
    targets: Annotated[
        list[str] | None,
        typer.Argument(
            metavar="ROOM or FILE",
            help="Rooms (dedup), ops (minhash) or files of benchmarks/, FILE::NAME for one; all when not given.",
        ),
    ] = None,
    every: Annotated[
        bool, typer.Option("--all", help="Every row, also those without a gate; reference implementations by -k only.")
    ] = False,
    keyword: Annotated[
        str | None, typer.Option("-k", metavar="EXPRESSION", help="Only those whose name matches, as pytest has it.")
    ] = None,
    threads: Annotated[
        int, typer.Option("--threads", min=1, help="Threads, and cores; rivals written in Rust keep to one.")
    ] = 1,
    core: Annotated[
        str | None,
        typer.Option(
            "--core", metavar="CORES", help="Cores to be pinned to, 3 or 2,3 or 4-7; the last when not given."
        ),
    ] = None,
    wall: Annotated[
        bool, typer.Option("--wall", help="Wall time, for a quiet machine; CPU time of the process when not given.")
    ] = False,
    json_file: Annotated[Path | None, typer.Option("--json", metavar="FILE", help="Write rows and machine.")] = None,
    save: Annotated[
        bool, typer.Option("--save", help="The same, under the checkout's .benchmarks, by date and revision.")
    ] = False,
    compare: Annotated[
        str | None,
        typer.Option("--compare", metavar="FILE", help="An earlier run beside this one: its --json, or last (--save)."),
    ] = None,
    loss: Annotated[
        float, typer.Option("--loss", metavar="PERCENT", min=0, help="A ratio that fell by more than this is marked.")
    ] = 15.0,
    fail_on_loss: Annotated[bool, typer.Option("--fail-on-loss", help="Exit status 1 for such a ratio too.")] = False,
    show: Annotated[
        Path | None, typer.Option("--show", metavar="FILE", help="The table of a saved run; nothing is run.")
    ] = None,
    list_only: Annotated[bool, typer.Option("--list", help="Name what would run, and stop.")] = False,
    folder: Annotated[
        Path | None, typer.Option("--folder", help="Benchmarks elsewhere; those of this checkout when not given.")
    ] = None,
    verbose: Annotated[bool, typer.Option("--verbose", "-v", help="Also what pytest says.")] = False,
) -> None:
    """Run the performance gates on this machine: ours against each rival in turn, answers compared first, on one core.

    A gate is the median ratio of interleaved runs; exit status 1 when one is below its bound. Rivals that are not
    installed are skipped, with the command that installs them. Needs fasttrain's checkout.

    `fasttrain bench nn --save` and later `fasttrain bench nn --compare last` show what a change gave or cost.
    """
    from fasttrain.cli import bench_result, bench_table

    if fail_on_loss and compare is None:
        raise ConfigError("bench: --fail-on-loss needs --compare, the run that nothing may be lost against")
    if show is not None:
        if targets or list_only or json_file or save:
            raise ConfigError("bench: --show runs nothing; give it without targets, --list, --json and --save")
        result = bench_result.load(show)
        earlier = None if compare is None else _earlier(compare, Path(result.settings["folder"]))
    else:
        plan = _plan(targets or [], folder, keyword, every, threads, core, wall, verbose)
        if list_only:
            _list(plan)
            return
        # Read before anything runs: a name mistyped would cost the run.
        earlier = None if compare is None else _earlier(compare, plan.folder)
        result = _measure(plan)
    screen = console()
    screen.print(bench_table.show(result, earlier, loss_percent=loss, columns=screen.width))
    if show is None:
        for path in ([json_file] if json_file else []) + ([_saved_as(result)] if save else []):
            bench_result.save(result, path)
            typer.echo(f"saved: {path}")
    _judge(result, [r.what for r in result.rows if bench_table.lost(r, earlier, loss)] if fail_on_loss else [])


def _plan(
    targets: list[str],
    folder: Path | None,
    keyword: str | None,
    every: bool,
    threads: int,
    core: str | None,
    wall: bool,
    verbose: bool,
) -> "Plan":
    from fasttrain.cli import bench_machine, bench_run
    from fasttrain.comm.group import launched_size

    if launched_size() > 1:
        raise ConfigError("bench: measures one process; start it without mpirun or srun")
    log.setup(verbose=verbose)
    place = bench_run.find_folder(folder)
    return bench_run.Plan(
        folder=place,
        targets=bench_run.find_targets(place, targets),
        keyword=keyword,
        every=every,
        threads=threads,
        cores=bench_machine.choose_cores(core, threads),
        wall=wall,
        verbose=verbose,
    )


def _list(plan: "Plan") -> None:
    from fasttrain.cli import bench_run

    rows = bench_run.listed(plan).rows.values()
    for row in rows:
        typer.echo(f"{row.id}  ({row.what}{f'; {row.rival}' if row.rival else ''})")
    typer.echo(f"{len(rows)} benchmarks, {sum(row.is_gate for row in rows)} with a gate")


def _measure(plan: "Plan") -> "Result":
    """Run the plan. Ctrl-C leaves what is finished, with exit status 130 behind the table."""
    from fasttrain.cli import bench_machine, bench_result, bench_run, bench_table

    machine = bench_machine.describe(plan.folder)
    outcome = bench_run.run(plan)
    if not outcome.rows:
        hint = "--all runs rows without a gate" if not plan.every else "see --list"
        hint = f"{outcome.left_out} take more threads, --threads" if outcome.left_out else hint
        raise ConfigError(f"bench: nothing to run is in {', '.join(plan.targets)}; {hint}")
    result = bench_result.Result(
        date=datetime.datetime.now().astimezone().isoformat(timespec="seconds"),
        machine=bench_machine.ended(machine),
        settings={
            "folder": str(plan.folder),
            "threads": plan.threads,
            "cores": plan.cores,
            "clock": "wall time" if plan.wall else "CPU time",
            "all": plan.every,
            "impl": os.environ.get("FASTTRAIN_IMPL", ""),
        },
        rows=list(outcome.rows.values()),
        left_out=outcome.left_out,
    )
    if outcome.interrupted:
        console().print(bench_table.show(result, None, loss_percent=0))
        raise typer.Abort
    return result


def _store(folder: Path) -> Path:
    return folder.parent / ".benchmarks" / "fasttrain"


def _saved_as(result: "Result") -> Path:
    revision = result.machine["revision"].replace("+", "-changed") or "unknown"
    moment = result.date[:19].replace(":", "")
    return _store(Path(result.settings["folder"])) / f"{moment}_{revision}.json"


def _earlier(name: str, folder: Path) -> "Result":
    from fasttrain.cli import bench_result

    if name != _LAST:
        return bench_result.load(Path(name))
    saved = sorted(_store(folder).glob("*.json"))
    if not saved:
        raise ConfigError(f"bench: --compare last: no run was saved in {_store(folder)}; --save saves one")
    return bench_result.load(saved[-1])


def _judge(result: "Result", losses: list[str]) -> None:
    failed = result.gates("FAILED", "ERROR") + [r for r in result.rows if not r.is_gate and r.verdict == "ERROR"]
    if failed:
        told = "; ".join(f"{r.what}" + (f" {r.ratio:.2f}x" if r.ratio is not None else "") for r in failed)
        raise GateError(f"bench: {len(failed)} failed: {told}")
    if losses:
        raise GateError(f"bench: lost against the earlier run: {'; '.join(losses)}")
