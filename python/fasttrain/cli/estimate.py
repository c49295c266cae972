"""`fasttrain estimate`: what a recipe will cost, before anything is run."""

from typing import TYPE_CHECKING, Annotated

import typer

from fasttrain.cli.options import RecipeArgument, Set, console
from fasttrain.comm.group import world
from fasttrain.core import log

if TYPE_CHECKING:
    from fasttrain.cli.recipe import Recipe
    from fasttrain.comm.group import Group
    from fasttrain.estimate.estimate import Estimate


def add(app: typer.Typer) -> None:
    """Register the command."""
    app.command("estimate")(estimate)


def estimate(
    recipe: RecipeArgument = "demo",
    assignments: Set = None,
    ranks: Annotated[
        int | None, typer.Option("--ranks", help="Ranks of the run; those of this command when not given.")
    ] = None,
    calibrate: Annotated[
        bool, typer.Option(help="Time a few passes of two layers here, to predict step times.")
    ] = True,
    price: Annotated[float | None, typer.Option("--price", help="Of one rank for an hour, in any currency.")] = None,
) -> None:
    """Parameters, FLOPs per token (formula printed), memory by rank, step and total time, KV cache. Nothing is run."""

    from fasttrain.cli.recipe import read
    from fasttrain.estimate import table

    group = world()
    log.setup(rank=group.rank, size=group.size)
    resolved, _ = read(recipe, assignments or [])
    found = estimate_recipe(resolved, group, ranks=ranks or group.size, calibrate=calibrate, price=price)
    if group.is_root:
        console().print(table.format_estimate(found))


def estimate_recipe(
    recipe: "Recipe", group: "Group", *, ranks: int, calibrate: bool = True, price: float | None = None
) -> "Estimate":
    """Estimate a recipe on `ranks` ranks; the ranks of `group` calibrate together."""
    from fasttrain.estimate import estimate as cost
    from fasttrain.model.recompute import every
    from fasttrain.train.machine import choose_device, choose_precision, local_rank
    from fasttrain.train.setup import check_layout

    check_layout(recipe.model, recipe.batch, recipe.layout, ranks)
    device = choose_device(recipe.train.device, local_rank(group)[0])
    return cost.estimate(
        recipe.model,
        seq_len=recipe.batch.seq_len,
        batch_rows=recipe.batch.global_batch,
        micro_rows=recipe.micro_rows(ranks),
        num_steps=recipe.train.resolve_steps(recipe.batch),
        layout=recipe.layout,
        num_ranks=ranks,
        precision=choose_precision(recipe.train.precision, device, group),
        optim=recipe.optim,
        warmup=recipe.batch.warmup,
        recompute=every(recipe.train.recompute),
        cuda_graph=recipe.train.cuda_graph == "auto",
        async_write=recipe.checkpoint.async_write,
        device=str(device),
        run_calibration=calibrate,
        price_per_rank_hour=price,
        world=group,
    )
