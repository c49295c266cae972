"""Options that several commands share, and what they do before they start."""

import shutil
import sys
from dataclasses import dataclass
from pathlib import Path
from typing import Annotated

import typer
from rich.console import Console

from fasttrain.comm.group import Group, world
from fasttrain.core import log
from fasttrain.core.errors import ConfigError
from fasttrain.formats import atomic
from fasttrain.formats.run_folder import RunFolder

RecipeArgument = Annotated[
    str, typer.Argument(metavar="[RECIPE]", help="A TOML file or the name of a shipped recipe (demo, lake).")
]
Out = Annotated[
    Path | None, typer.Option("--out", help="Run folder; runs/NAME, after the recipe's name, when not given.")
]
Set = Annotated[
    list[str] | None, typer.Option("--set", metavar="A.B=VALUE", help="Override a key of the recipe; repeatable.")
]
Print = Annotated[bool, typer.Option("--print", help="Show the resolved recipe and stop.")]
Fresh = Annotated[bool, typer.Option("--fresh", help="Empty the run folder first.")]
Verbose = Annotated[bool, typer.Option("--verbose", "-v", help="Also log which implementation each op runs on.")]
RunArgument = Annotated[Path, typer.Argument(metavar="RUN", help="Run folder, runs/demo for example.")]


@dataclass(frozen=True)
class Session:
    """A command's recipe, run folder and ranks."""

    recipe: "Recipe"
    base: Path
    folder: RunFolder
    world: Group


def open_run(
    recipe: str, *, out: Path | None, assignments: list[str] | None, show: bool, fresh: bool, verbose: bool
) -> Session:
    """Read the recipe, join the ranks, claim the run folder. Exits after printing when `show`."""
    from fasttrain.cli.recipe import read

    ranks = world()
    log.setup(rank=ranks.rank, size=ranks.size, verbose=verbose)
    resolved, base = read(recipe, assignments or [])
    if show:
        if ranks.is_root:
            typer.echo(to_toml(resolved.to_dict()))
        raise typer.Exit(0)
    resolved.layout.resolve(ranks.size)
    folder = RunFolder(out or Path("runs") / resolved.name)

    def claim() -> str | None:
        try:
            if fresh and folder.root.exists():
                if any(folder.root.iterdir()) and not (folder.root / "recipe.json").exists():
                    raise ConfigError(
                        f"{folder.root}: not a run folder, so --fresh does not empty it; remove it yourself"
                    )
                _empty(folder)
            folder.claim(resolved.identity())
            atomic.write_json(folder.free, resolved.free())
        except (ConfigError, OSError) as error:
            return str(error)
        return None

    problem = ranks.bcast(claim() if ranks.is_root else None)
    if problem:
        raise ConfigError(problem)
    return Session(resolved, base, folder, ranks)


def _empty(folder: RunFolder) -> None:
    """Remove everything but the removal requests: what must not be read stays so."""
    for path in sorted(
        folder.root.iterdir(), key=lambda p: p.name == "recipe.json"
    ):  # last: it says whose folder it is
        if path.is_dir() and not path.is_symlink():
            if path != folder.removals:
                shutil.rmtree(path)
        else:
            path.unlink()


def reopen(run: Path, assignments: list[str] | None = None, *, verbose: bool = False) -> Session:
    """A run's own recipe. `assignments` are for what is not part of its identity: the layout, the guard, threads.

    Raises: ConfigError: not a run folder, or an assignment that would make it another run.
    """
    from fasttrain.cli.recipe import Recipe
    from fasttrain.core.config import override

    ranks = world()
    log.setup(rank=ranks.rank, size=ranks.size, verbose=verbose)
    path = run / "recipe.json"
    if not path.exists():
        raise ConfigError(f"{run}: not a run folder (it has no recipe.json); give the folder that `run --out` named")
    found, folder = atomic.read_json(path), RunFolder(run)
    for room, table in (atomic.read_json(folder.free) if folder.free.exists() else {}).items():
        found[room] = {**found.get(room, {}), **table}
    recipe = Recipe.load(override(found, assignments or []))
    if recipe.identity() != Recipe.load(found).identity():
        raise ConfigError(
            f"{run}: --set {' --set '.join(assignments or [])} would make it another run; set only layout.*, "
            "guard.* and keys that leave the result as it is (train.threads, train.micro_batch, ...), or start a run "
            "with another --out"
        )
    return Session(recipe, Path.cwd(), folder, ranks)


def device_of(session: Session) -> str:
    """Where a command computes with a run's model: where the run trained, the CPU on a machine without a card.

    Every rank must call it.
    """
    from fasttrain.train.machine import choose_device, local_rank

    rank = local_rank(session.world)[0]
    return str(choose_device("cpu" if session.recipe.train.device == "cpu" else "auto", rank))


def console() -> Console:
    """Where tables are printed: as wide as the terminal, wide enough for whole origins in a file or a pipe."""
    return Console(soft_wrap=True, width=None if sys.stdout.isatty() else 160)


def to_toml(data: dict[str, object], where: str = "") -> str:
    """Plain data as TOML text that `read` takes back; nulls, which TOML has not, are left out."""
    lines: list[str] = []
    tables: list[str] = []
    for key, value in data.items():
        path = f"{where}.{_key(key)}" if where else _key(key)
        if isinstance(value, dict):
            tables.append(f"\n[{path}]\n{to_toml(value, path)}" if value else f"\n[{path}]\n")
        elif isinstance(value, list) and value and all(isinstance(v, dict) for v in value):
            tables += [f"\n[[{path}]]\n{to_toml(v, path)}" for v in value]
        elif value is not None:
            lines.append(f"{_key(key)} = {_value(value)}\n")
    return "".join(lines + tables)


def _key(key: str) -> str:
    return key if key.replace("_", "").replace("-", "").isalnum() and key.isascii() else _quoted(key)


def _quoted(text: str) -> str:
    """A basic string: what JSON escapes, TOML does; it also forbids a bare DEL."""
    import json

    return json.dumps(text, ensure_ascii=False).replace("\x7f", "\\u007f")


def _value(value: object) -> str:
    if isinstance(value, list):
        return "[" + ", ".join(_value(v) for v in value) + "]"
    if isinstance(value, dict):
        return "{" + ", ".join(f"{_key(k)} = {_value(v)}" for k, v in value.items() if v is not None) + "}"
    if isinstance(value, bool):
        return "true" if value else "false"
    return _quoted(value) if isinstance(value, str) else repr(value)


from fasttrain.cli.recipe import Recipe  # noqa: E402  (named by Session; heavy, so last)
