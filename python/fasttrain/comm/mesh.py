"""The mesh of ranks: data x pipeline x tensor parallel, checked here and nowhere else.

Rank r sits at tp = r % TP, dp = r // TP % DP, pp = r // (TP * DP): tensor-parallel ranks, which talk most, are
neighbours; pipeline stages, which talk least, are farthest apart (the order of Megatron-LM, arXiv:2104.04473).
"""

from dataclasses import dataclass

from pydantic import Field

from fasttrain.comm.group import Group
from fasttrain.core.config import Settings
from fasttrain.core.errors import ConfigError


class LayoutConfig(Settings):
    """How the ranks share the work."""

    dp: int = Field(default=0, ge=0)
    """Data-parallel replicas; 0 takes every rank that tp and pp leave."""
    tp: int = Field(default=1, ge=1)
    """Ranks that share each matrix."""
    pp: int = Field(default=1, ge=1)
    """Pipeline stages that share the layers."""

    def resolve(self, num_ranks: int) -> "LayoutConfig":
        """The same layout with dp worked out. Raises ConfigError unless dp * tp * pp == num_ranks."""
        inner = self.tp * self.pp
        dp = self.dp or num_ranks // inner
        if dp * inner != num_ranks or dp < 1:
            fits = f"start {dp * inner} ranks" if self.dp else f"start a multiple of {inner} ranks"
            raise ConfigError(
                f"layout: dp * tp * pp must be the number of ranks, got dp={self.dp or 'rest'} tp={self.tp} "
                f"pp={self.pp} on {num_ranks}; {fits} or change layout.*"
            )
        return LayoutConfig(dp=dp, tp=self.tp, pp=self.pp)


@dataclass(frozen=True, kw_only=True)
class Mesh:
    """This rank's groups along each axis, and the world they cut."""

    world: Group
    dp: Group
    tp: Group
    pp: Group
    stage: Group
    """Ranks that hold the same layers: rank dp * TP + tp."""

    @property
    def is_first_stage(self) -> bool:
        """Whether this rank holds the embedding."""
        return self.pp.rank == 0

    @property
    def is_last_stage(self) -> bool:
        """Whether this rank computes the loss."""
        return self.pp.rank == self.pp.size - 1


def build_mesh(world: Group, layout: LayoutConfig) -> Mesh:
    """Cut the world along the three axes. Raises ConfigError when the layout does not fit the ranks."""
    layout = layout.resolve(world.size)
    tp = world.rank % layout.tp
    dp = world.rank // layout.tp % layout.dp
    pp = world.rank // (layout.tp * layout.dp)
    return Mesh(
        world=world,
        tp=world.split(pp * layout.dp + dp, tp),
        dp=world.split(pp * layout.tp + tp, dp),
        pp=world.split(dp * layout.tp + tp, pp),
        stage=world.split(pp, dp * layout.tp + tp),
    )
