"""Memory of one rank, by closed form: what each rank of a layout holds at its fullest moment.

weights, gradients, m, v    4 bytes each a parameter of the rank (nothing is sharded over dp); with bf16 and fp16 also
                            2 bytes a matrix weight for autocast's copies
activations                 a token and layer: 8 C + 8 + 8 H / tp (stream, norms, logsumexp) + 8 (H + Hkv) D / tp
                            (queries, keys, values and output of attention, kept in fp32) + what goes into matrices:
                            8 C + 16 F / tp in fp32, else 10 C + (2 H D + 8 F) / tp; times the micro-batches in flight
                            (1F1B: min(pp, micro-batches) on the first stage)
process                     what Python, torch and MPI hold before a model is made, measured in this process
head                        a token: V / tp * (8 in fp32, else 10) bytes: logits, their fp32 form, their gradient
"""

from dataclasses import asdict, dataclass
from typing import Any

from fasttrain.comm.mesh import LayoutConfig
from fasttrain.model.config import ModelConfig

FP32 = 4


@dataclass(frozen=True, kw_only=True)
class Memory:
    """Bytes of the fullest rank."""

    weights: int
    gradients: int
    optimizer: int
    activations: int
    head: int
    process: int

    @property
    def total(self) -> int:
        """All of it."""
        return self.weights + self.gradients + self.optimizer + self.activations + self.head + self.process

    def to_dict(self) -> dict[str, Any]:
        """Plain data, with the total."""
        return {**asdict(self), "total": self.total}


def rank_params(model: ModelConfig, layout: LayoutConfig) -> tuple[int, int]:
    """(parameters, of which matrix weights) of the rank that holds the most."""
    C, D, tp, pp = model.dim, model.D, layout.tp, layout.pp
    layers = -(-model.num_layers // pp)
    matrices = (C * D * (2 * model.num_heads + 2 * model.Hkv) + 3 * C * model.F) // tp
    norms = 2 * C + (2 * D if model.qk_norm else 0)
    table = -(-model.vocab_size // tp) * C
    tables = 1 if model.tied_embeddings or pp > 1 else 2
    return layers * (matrices + norms) + tables * table + C, layers * matrices + tables * table


def activation_bytes(model: ModelConfig, tokens: int, precision: str, tp: int = 1) -> int:
    """Bytes that one layer keeps of `tokens` tokens from forward to backward."""
    C, H, D, F = model.dim, model.num_heads, model.D, model.F
    exact = FP32 * (2 * C + 2 + (2 * H + 2 * (H + model.Hkv) * D) // tp)
    if precision == "fp32":
        return tokens * (exact + FP32 * (2 * C + 4 * F // tp))
    return tokens * (exact + 2 * (5 * C + (H * D + 4 * F) // tp))


def rank_memory(
    model: ModelConfig, layout: LayoutConfig, *, micro_tokens: int, num_micro: int, precision: str, process: int = 0
) -> Memory:
    """Memory of the fullest rank that trains micro-batches of `micro_tokens` tokens, `num_micro` a step."""
    params, matrices = rank_params(model, layout)
    layers = -(-model.num_layers // layout.pp)
    in_flight = min(layout.pp, num_micro)
    head = micro_tokens * -(-model.vocab_size // layout.tp) * (8 if precision == "fp32" else 10)
    return Memory(
        weights=FP32 * params + (0 if precision == "fp32" else 2 * matrices),
        gradients=FP32 * params,
        optimizer=2 * FP32 * params,
        activations=in_flight * layers * activation_bytes(model, micro_tokens, precision, layout.tp),
        head=head,
        process=process,
    )
