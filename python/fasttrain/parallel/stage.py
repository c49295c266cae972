"""This rank's part of the model: its layers, its slices of their matrices, and one forward pass over a micro-batch."""

from dataclasses import dataclass

import torch
from torch import nn

from fasttrain.core.precision import Precision, autocast
from fasttrain.model.init import initial
from fasttrain.model.recompute import run_blocks, run_to_norm
from fasttrain.model.transformer import Block, Transformer
from fasttrain.nn.dropout import DropoutKey
from fasttrain.nn.rms_norm import RMSNorm
from fasttrain.parallel.plan import Plan
from fasttrain.parallel.tensor import RowParallelLinear, VocabParallelEmbedding, copy_to_group, vocab_parallel_loss
from fasttrain.parallel.wire import Wire


@dataclass(frozen=True, kw_only=True)
class MicroBatch:
    """Rows that go through the model together."""

    tokens: torch.Tensor
    """(B, T) int64."""
    targets: torch.Tensor
    """(B, T) int64, -100 where there is none."""
    segments: torch.Tensor | None
    """(B, T) int32 document ids; None: one document a row."""
    sources: torch.Tensor
    """(B, T) int64, index of each target's source; on the CPU."""
    rows: tuple[int, ...]
    """Index of each row in the global batch."""
    counted: torch.Tensor | None = None
    """(B, T) bool on the CPU, where there is a target; None: as `targets` say, for which a card is waited for."""

    def is_target(self) -> torch.Tensor:
        """(B, T) bool on the CPU."""
        return (self.targets >= 0).cpu() if self.counted is None else self.counted


class Stage:
    """The modules of `Transformer` with this rank's parameters; what belongs to other ranks stays without memory."""

    def __init__(
        self,
        plan: Plan,
        *,
        wire: Wire,
        device: torch.device,
        precision: Precision,
        recompute: int = 0,
    ) -> None:
        """Its parameters have no memory until somebody gives it, and no values until `draw`.

        Args: recompute: every how many blocks one is computed again in backward; 0: none.
        """
        self.plan, self.device, self.precision, self.recompute = plan, device, precision, recompute
        self._wire = wire
        with torch.device("meta"):
            self.model = Transformer(plan.config)
        self.named: dict[str, nn.Parameter] = {}
        for name in plan.names:
            shape = plan.cut(name).of(torch.empty(plan.shapes[name], device="meta")).shape
            dtype = torch.bfloat16 if precision == "bf16_stochastic" and len(shape) > 1 else torch.float32
            self._put(name, nn.Parameter(torch.zeros((), dtype=dtype, device=device).expand(shape)))
        self.blocks = [module for i in plan.layers if isinstance(module := self.model.blocks[i], Block)]
        if wire.size > 1:
            self._share_matrices()
        elif device.type == "cuda" and precision in ("bf16", "bf16_stochastic"):
            self._narrow_norms()
        self.model.head.even = True  # targets are checked where batches are made (train/feed.py); losses are added up
        if precision == "bf16_stochastic":  # the residual stream is fp32 whatever the weights are
            for embedding in (self.model.embed, self.model.positions):
                if embedding is not None:
                    embedding.register_forward_hook(lambda _, args, y: y.float())

    @torch.no_grad()
    def draw(self, seed: int) -> None:
        """Give the parameters their initial values, in place: a pure function of (config, seed)."""
        for name, parameter in self.named.items():  # one whole tensor at a time
            parameter.copy_(self.plan.cut(name).of(initial(self.plan.config, name, seed)))

    def _put(self, name: str, parameter: nn.Parameter) -> None:
        self.named[name] = parameter
        module, _, attribute = name.rpartition(".")
        setattr(self.model.get_submodule(module), attribute, parameter)

    def _narrow_norms(self) -> None:
        """Let norms make what the products behind them would make of it, bf16; no sum over ranks lies between."""
        for module in self.model.modules():
            if isinstance(module, RMSNorm):
                module.dtype = torch.bfloat16

    def _share_matrices(self) -> None:
        wire = self._wire
        for block in self.blocks:
            for module, last in ((block.attn, "wo"), (block.ffn, "w_down")):
                module.register_forward_pre_hook(lambda _, args: (copy_to_group(args[0], wire), *args[1:]))
                linear = getattr(module, last)
                setattr(module, last, RowParallelLinear(linear.weight, linear.bias, wire))
        if self.plan.mesh.is_first_stage:
            embedding = VocabParallelEmbedding(self.named["embed.weight"], self.plan.vocab().start, wire)
            setattr(self.model, "embed", embedding)  # noqa: B010 - torch types the attribute as the class it replaces

    def boundary(self, micro: MicroBatch) -> torch.Tensor:
        """Room for what crosses stages: the residual stream (B, T, C), always float32."""
        return torch.empty((*micro.tokens.shape, self.plan.config.dim), device=self.device)

    def forward(self, micro: MicroBatch, x: torch.Tensor | None, dropout: DropoutKey | None) -> torch.Tensor:
        """(B, T, C) float32 for the next stage; on the last stage (2, B, T) float32: nll and z2 of each token."""
        with autocast(self.precision, self.device):
            context = self.model.context(
                micro.tokens.shape[1],
                segments=micro.segments,
                dropout=dropout,
                recompute=self.recompute,
                device=self.device,
            )
            if x is None:
                x = self.model.embed_tokens(micro.tokens, context)
            if not self.plan.mesh.is_last_stage:
                return run_blocks(self.blocks, x, context).float()
            x = run_to_norm(self.blocks, x, context, self.model.norm)
            return torch.stack(self._loss(x, micro.targets))

    def _loss(self, x: torch.Tensor, targets: torch.Tensor) -> tuple[torch.Tensor, torch.Tensor]:
        if self._wire.size == 1:
            nll, z2 = self.model.head(x, targets)
            return nll, z2
        name = "embed.weight" if self.plan.config.tied_embeddings else "head.weight"
        x = self.model.head.scaled(x)
        return vocab_parallel_loss(x, self.named[name], targets, self.plan.vocab().start, self._wire)
