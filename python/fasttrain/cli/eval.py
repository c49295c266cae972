"""`fasttrain eval RUN`: checkpoint -> scores beside baselines, generations, gates."""

from typing import TYPE_CHECKING, Annotated

import typer

from fasttrain.cli.options import RunArgument, Session, Verbose, console, device_of, reopen

if TYPE_CHECKING:
    from fasttrain.eval.result import EvalResult


def add(app: typer.Typer) -> None:
    """Register the command."""
    app.command("eval")(evaluate)


def evaluate(
    run: RunArgument,
    checkpoint: Annotated[str, typer.Option("--checkpoint", help="newest, best, or a step number.")] = "newest",
    verbose: Verbose = False,
) -> None:
    """Perplexity and bits per byte by source on the probe set, beside unigram, bigram and zstd on the same text.

    Exit status 1 when a gate of the recipe fails.
    """

    from fasttrain.eval.result import format_result

    session = reopen(run, verbose=verbose)
    result = run_eval(session, checkpoint)
    if session.world.is_root:
        console().print(format_result(result))
    session.world.barrier()
    result.check()


def run_eval(session: Session, checkpoint: str = "newest") -> "EvalResult":
    """The evaluation of one of a session's checkpoints; its result, on every rank."""
    from fasttrain.eval import run as evaluation
    from fasttrain.tokenizer.tokenizer import Tokenizer

    tokenizer = Tokenizer.load(session.folder.tokenizer)
    return evaluation.run(
        session.folder,
        session.recipe.eval,
        tokenizer,
        world=session.world,
        checkpoint=checkpoint,
        device=device_of(session),
    )
