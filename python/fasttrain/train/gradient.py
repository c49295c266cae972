"""The gradient of a step as all ranks see it together, and what the guard makes of it: the same on every rank."""

import math
from dataclasses import dataclass

from fasttrain.comm.group import Group
from fasttrain.monitor.guard import Decision, Guard
from fasttrain.parallel.engine import Engine
from fasttrain.parallel.sums import Sums
from fasttrain.train.feed import Rows


@dataclass(frozen=True, kw_only=True)
class Gradient:
    """What a step has computed."""

    sums: Sums | None = None
    """None: the batch could not be read."""
    loss: float = math.nan
    """Mean over the global batch, nats a token."""
    norm: float = math.nan
    """Of the whole gradient, before clipping."""
    batch_damage: str = ""
    """What is wrong with the batch itself, on any rank."""
    state_damage: str | None = None
    """Name of a weight or moment that is not finite, on any rank; looked for only when something else is not."""
    is_overflow: bool = False
    """Under loss scaling: the scale was too large, which says nothing about the batch."""


def compute(engine: Engine, rows: Rows, index: int, world: Group, *, any_damaged: bool) -> Gradient:
    """Put the gradient of batch `index` into the engine's buffers; every rank must call it.

    Args: any_damaged: whether some rank's rows are; nothing is computed then.
    """
    if any_damaged:
        return Gradient(batch_damage=next(text for text in world.allgather(rows.damage) if text))
    sums = engine.forward_backward(rows.micros, step=index)
    with engine.spans("optimizer"):
        mine = (sums.mean_loss, engine.grad_norm(), engine.has_finite_moments())
    # Equal on all ranks by construction, but decisions must not hang on that, and one rank alone may hold a NaN (a
    # fault of its memory, say): the first pair that is not finite counts, else rank 0's.
    seen = world.allgather(mine)
    pairs = [(loss, norm) for loss, norm, _ in seen]
    loss, norm = next((pair for pair in pairs if not all(map(math.isfinite, pair))), pairs[0])
    is_overflow = engine.scaler.is_enabled and math.isfinite(loss) and not math.isfinite(norm)
    is_suspect = not all(is_whole for *_, is_whole in seen) or not (math.isfinite(loss) and math.isfinite(norm))
    damaged = engine.damaged() if is_suspect and not is_overflow else None
    return Gradient(sums=sums, loss=loss, norm=norm, state_damage=damaged, is_overflow=is_overflow)


def judge(gradient: Gradient, guard: Guard, world: Group) -> Decision:
    """The guard's decision; every rank must call it."""
    if gradient.is_overflow:
        return Decision("ok")
    if gradient.batch_damage:
        return guard.condemn(f"damaged batch: {gradient.batch_damage}")
    return guard.agree(guard.check(gradient.loss, gradient.norm), world)
