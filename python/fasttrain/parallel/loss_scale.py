"""Dynamic loss scaling, which fp16 needs."""

from dataclasses import dataclass

from fasttrain.core.errors import FasttrainError
from fasttrain.core.precision import Precision


@dataclass
class LossScaler:
    """Dynamic loss scaling for fp16, whose gradients vanish below 6e-8 and overflow above 65,504.

    An overflow halves the scale and skips the step; `growth_steps` good steps in a row double it. It is a power of two:
    scaling loses nothing. Source: Micikevicius et al. 2017 (arXiv:1710.03740); constants of torch.amp.GradScaler.
    """

    scale: float = 65536.0
    good_steps: int = 0
    growth_steps: int = 2000
    is_enabled: bool = True

    def update(self, overflowed: bool) -> None:
        """Take note of a step's gradients. Raises FasttrainError when no scale is small enough."""
        if not self.is_enabled:
            return
        if overflowed:
            self.scale, self.good_steps = self.scale / 2, 0
            if self.scale < 2.0**-14:
                raise FasttrainError(
                    f"loss scale fell to {self.scale}: gradients overflow fp16 whatever the scale; "
                    "use train.precision='bf16' or a lower optim.lr"
                )
            return
        self.good_steps += 1
        if self.good_steps >= self.growth_steps:
            self.scale, self.good_steps = min(self.scale * 2, 2.0**24), 0

    def state(self) -> dict[str, float]:
        """Plain data for the checkpoint."""
        return {"scale": self.scale, "good_steps": self.good_steps}

    def load_state(self, state: dict[str, float]) -> None:
        """Take over `state`."""
        self.scale, self.good_steps = float(state["scale"]), int(state["good_steps"])


def make_scaler(precision: Precision) -> LossScaler:
    """A scaler that works in fp16 and does nothing otherwise."""
    return LossScaler() if precision == "fp16" else LossScaler(scale=1.0, is_enabled=False)
