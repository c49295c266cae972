"""`fasttrain generate RUN`: text from a checkpoint."""

from typing import Annotated

import typer

from fasttrain.cli.options import RunArgument, console, device_of, reopen


def add(app: typer.Typer) -> None:
    """Register the command."""
    app.command("generate")(generate)


def generate(
    run: RunArgument,
    prompt: Annotated[list[str] | None, typer.Option("--prompt", "-p", help="Text to continue; repeatable.")] = None,
    max_new_tokens: Annotated[int, typer.Option("--max-new-tokens", min=1, help="For each prompt.")] = 64,
    temperature: Annotated[float, typer.Option("--temperature", min=0.0, help="0 takes the likeliest token.")] = 0.8,
    top_k: Annotated[int, typer.Option("--top-k", min=0, help="Sample among so many likeliest tokens; 0: all.")] = 50,
    seed: Annotated[int, typer.Option("--seed", help="Same seed, same text.")] = 0,
    checkpoint: Annotated[str, typer.Option("--checkpoint", help="newest, best, or a step number.")] = "newest",
) -> None:
    """Continue prompts with the run's model, with a KV cache and a seed."""

    from fasttrain.eval import run as evaluation
    from fasttrain.eval.result import format_generations
    from fasttrain.tokenizer.tokenizer import Tokenizer

    session = reopen(run)
    device = device_of(session)
    if not session.world.is_root:
        return
    found = evaluation.generate_from(
        session.folder,
        Tokenizer.load(session.folder.tokenizer),
        prompt or list(session.recipe.eval.prompts),
        max_new_tokens=max_new_tokens,
        temperature=temperature,
        top_k=top_k,
        seed=seed,
        checkpoint=checkpoint,
        device=device,
    )
    console().print(format_generations(found))
