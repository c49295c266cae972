"""When a training state is saved and which ones are kept."""

from pydantic import Field

from fasttrain.core.config import Settings


class CheckpointConfig(Settings):
    """Checkpoints of a run."""

    every_steps: int = Field(default=100, ge=1)
    """Steps between two checkpoints; the last step is always saved."""
    keep: int = Field(default=2, ge=1)
    """How many of the newest are kept."""
    keep_best: bool = True
    """Whether the one with the lowest validation loss is kept too, however old."""
    keep_every: int = Field(default=0, ge=0)
    """Steps that are multiples of this are kept for ever, where they are saved; 0: none for that reason."""
    async_write: bool = True
    """Whether training goes on while a copy of the state is written; costs memory for that copy."""

    def is_due(self, step: int, num_steps: int) -> bool:
        """Whether the state after `step` steps is to be saved."""
        return step == num_steps or step % self.every_steps == 0
