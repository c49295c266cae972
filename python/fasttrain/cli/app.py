"""The command line: one command a file, errors without tracebacks, the same command on one rank and on many."""

import importlib
import importlib.metadata
import sys
import time
from typing import Annotated, NoReturn

import typer

from fasttrain.core.errors import ConfigError, FasttrainError, GateError

app = typer.Typer(
    name="fasttrain",
    no_args_is_help=True,
    add_completion=False,
    pretty_exceptions_enable=False,
    rich_markup_mode="markdown",
    help="From a data lake to a base model: prepare, train over MPI, evaluate, export, and prove what was done. "
    "Every command works on one process; `mpirun -n 8 python -m fasttrain COMMAND` shares the work among ranks.",
)
# In the order of --help: the journey first, groups of commands last.
_COMMANDS = (
    "run",
    "prepare",
    "train",
    "eval",
    "generate",
    "export",
    "estimate",
    "report",
    "bench",
    "audit",
    "tokenizer",
    "classifier",
)

EXIT_GATE, EXIT_USE = 1, 2


def _version(asked: bool) -> None:
    if asked:
        print(f"fasttrain {importlib.metadata.version('fasttrain')}")
        raise typer.Exit


@app.callback()
def _options(
    version: Annotated[
        bool, typer.Option("--version", callback=_version, is_eager=True, help="Print the version and exit.")
    ] = False,
) -> None:
    pass


def main() -> NoReturn:
    """Run the command line and exit: 0 done, 1 a gate failed, 2 a configuration or input error."""
    for name in _COMMANDS:
        importlib.import_module(f"fasttrain.cli.{name}").add(app)
    try:
        status = app(standalone_mode=False)
    except typer.Exit as stop:
        status = stop.exit_code
    except typer.Abort:
        status = 130
    except GateError as error:
        _fail(EXIT_GATE, f"fasttrain: {error}")
    except ConfigError as error:
        _fail(EXIT_USE, f"fasttrain: {error}")
    except FasttrainError as error:
        _fail(EXIT_USE, f"fasttrain: {type(error).__name__}: {error}")
    except Exception as error:
        if not hasattr(error, "format_message"):  # not a usage error of the command line
            raise
        show = getattr(error, "show", None)
        if show is not None:
            show()
        status = int(getattr(error, "exit_code", EXIT_USE))
    # A trainer's process holds threads of MPI, OpenMP and the checkpoint writer: all are idle by now.
    sys.stdout.flush()
    sys.exit(int(status or 0))


def _fail(status: int, message: str) -> NoReturn:
    """Print one message and end every rank. What all ranks found, rank 0 says for them."""
    from fasttrain.comm import group

    if group.launched_size() > 1 and group.world.cache_info().currsize:
        if status == EXIT_GATE:  # every rank judged the same scores: nobody waits for anybody
            if group.world().is_root:
                print(message, file=sys.stderr, flush=True)
            sys.exit(status)
        if not group.world().is_root:
            time.sleep(2.0)
        group.abort(status, message)
    print(message, file=sys.stderr, flush=True)
    sys.exit(status)
