"""Which part of which parameter a rank holds: a pure function of (model, place in the mesh); the only place that cuts.

                                   tensor parallel            pipeline
embed.weight (V, C)                rows (vocabulary)          first stage (also the last one when tied)
positions.weight (T, C)            whole                      first stage
wq, wk, wv, w_gate, w_up           rows (heads, hidden)       by layer, their biases with them
wo, w_down                         columns                    by layer; their biases whole, added after the sum
norms                              whole                      by layer; `norm.*` on the last stage
head.weight (V, C)                 rows (vocabulary)          last stage
"""

import math
from dataclasses import dataclass
from typing import Literal

import torch

from fasttrain.comm.mesh import Mesh
from fasttrain.core.errors import ConfigError
from fasttrain.model.config import ModelConfig
from fasttrain.model.init import param_shapes

_BY_ROWS = ("wq", "wk", "wv", "w_gate", "w_up")
_ROWS = ("embed.weight", "head.weight", *(f".{name}.{part}" for name in _BY_ROWS for part in ("weight", "bias")))
_COLUMNS = (".wo.weight", ".w_down.weight")
_PARTIAL = (".q_norm.weight", ".k_norm.weight")  # whole on each rank, but applied to its own heads only


def share(total: int, rank: int, size: int) -> range:
    """Rank's part of `total` things in order; the first ranks take one more when it does not divide."""
    base, extra = divmod(total, size)
    start = rank * base + min(rank, extra)
    return range(start, start + base + (rank < extra))


@dataclass(frozen=True, kw_only=True)
class Cut:
    """One rank's slice of one parameter."""

    shape: tuple[int, ...]
    """Of the whole parameter."""
    dim: Literal[0, 1] | None
    """The dim that is cut; None: the rank holds the whole."""
    kept: range
    """Indices along `dim` that the rank holds."""

    def of(self, whole: torch.Tensor) -> torch.Tensor:
        """The slice, as a view."""
        return whole if self.dim is None else whole.narrow(self.dim, self.kept.start, len(self.kept))


class Plan:
    """What this rank holds."""

    def __init__(self, config: ModelConfig, mesh: Mesh) -> None:
        check(config, tp=mesh.tp.size, pp=mesh.pp.size)
        self.config, self.mesh = config, mesh
        self.layers = share(config.num_layers, mesh.pp.rank, mesh.pp.size)
        self.shapes = param_shapes(config)
        self.is_tied_apart = config.tied_embeddings and mesh.pp.size > 1
        """Whether the embedding lies on two stages, which must then sum its gradients."""
        self.names = tuple(n for n in self.shapes if self._holds(n))
        """Parameters of this rank, under their global names, in the model's order."""

    def _holds(self, name: str) -> bool:
        if name.startswith("blocks."):
            return int(name.split(".")[1]) in self.layers
        if name == "embed.weight":
            return self.mesh.is_first_stage or (self.config.tied_embeddings and self.mesh.is_last_stage)
        return self.mesh.is_first_stage if name == "positions.weight" else self.mesh.is_last_stage

    def cut(self, name: str, tp_rank: int | None = None) -> Cut:
        """The slice of a parameter that `tp_rank` (this rank when None) holds."""
        shape = self.shapes[name]
        dim: Literal[0, 1] | None = 0 if name.endswith(_ROWS) else 1 if name.endswith(_COLUMNS) else None
        if dim is None or self.mesh.tp.size == 1:
            return Cut(shape=shape, dim=None, kept=range(0))
        rank = self.mesh.tp.rank if tp_rank is None else tp_rank
        return Cut(shape=shape, dim=dim, kept=share(shape[dim], rank, self.mesh.tp.size))

    def place(self, name: str) -> dict[str, int]:
        """Where this rank's values lie in the whole model, as stochastic rounding counts (optim/adamw.py, `adamw_`)."""
        cut, rest = self.cut(name), math.prod(self.shapes[name][1:])
        place = {"stream": list(self.shapes).index(name), "offset": 0}
        if cut.dim == 0:
            place["offset"] = cut.kept.start * rest
        elif cut.dim == 1:
            place |= {"offset": cut.kept.start, "width": len(cut.kept), "pitch": rest}
        return place

    def is_counted(self, name: str) -> bool:
        """Whether this rank is the one, of those that hold the same numbers, that counts them (norms, totals)."""
        if name == "embed.weight" and self.is_tied_apart and not self.mesh.is_first_stage:
            return False
        return self.cut(name).dim is not None or self.mesh.tp.rank == 0

    def partial(self) -> tuple[str, ...]:
        """Parameters that are whole on each tensor-parallel rank but get only that rank's part of the gradient."""
        return tuple(n for n in self.names if n.endswith(_PARTIAL)) if self.mesh.tp.size > 1 else ()

    def vocab(self) -> range:
        """Rows of the vocabulary that this rank holds."""
        return share(self.config.vocab_size, self.mesh.tp.rank, self.mesh.tp.size)


def check(config: ModelConfig, *, tp: int, pp: int) -> None:
    """Raise ConfigError when the model cannot be cut so; the message names the keys."""
    for key, value in (("num_heads", config.num_heads), ("num_kv_heads", config.Hkv)):
        if value % tp:
            raise ConfigError(
                f"model.{key}: layout.tp must divide it, got {value} heads for layout.tp={tp}; "
                f"choose layout.tp among {_divisors(config)}"
            )
    for key, value in (("ffn_dim", config.F), ("vocab_size", config.vocab_size)):
        if value < tp:
            raise ConfigError(f"layout.tp: must be at most model.{key} = {value}, got {tp}")
    if config.num_layers < pp:
        raise ConfigError(
            f"layout.pp: must be at most model.num_layers = {config.num_layers} (one layer a stage), got {pp}"
        )


def _divisors(config: ModelConfig) -> list[int]:
    return [n for n in range(1, config.Hkv + 1) if config.Hkv % n == 0 and config.num_heads % n == 0]
