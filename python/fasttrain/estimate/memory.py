"""Memory of one rank, by closed form: what each rank of a layout holds at its fullest moment.

weights, gradients, m, v    4 bytes each a parameter of the rank (nothing is sharded over dp); with bf16 and fp16 also
                            2 bytes a matrix weight for autocast's copies
activations                 a token and layer: 8 C + 8 + 8 H / tp (stream, norms, of LayerNorm 8 more, logsumexp) +
                            8 (H + Hkv) D / tp (queries, keys, values and output of attention, kept in fp32) + what
                            goes into matrices:
                            8 C + 16 F / tp in fp32, else 10 C + (2 H D + 8 F) / tp, with GELU half the F; times the
                            micro-batches in flight (1F1B: min(pp, micro-batches) on the first stage). A layer that is
                            recomputed keeps 4 C (its input), and all of one such layer is there while backward is in it
process                     what Python, torch and MPI hold before a model is made, measured in this process
head                        a token: V / tp * (8 in fp32, else 10) bytes: logits, their fp32 form, their gradient
"""

from dataclasses import asdict, dataclass
from typing import Any

from fasttrain.comm.mesh import LayoutConfig
from fasttrain.model.config import ModelConfig
from fasttrain.model.cost import block_vectors, num_ffn_matrices

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
    matrices = (C * D * (2 * model.num_heads + 2 * model.Hkv) + num_ffn_matrices(model) * C * model.F) // tp
    table = -(-model.vocab_size // tp) * C
    tables = table * (1 if model.tied_embeddings or pp > 1 else 2)
    if model.positions == "learned":
        tables += model.max_seq_len * C
    norm = C * (2 if model.norm == "layer" else 1)
    return layers * (matrices + block_vectors(model)) + tables + norm, layers * matrices + tables


def activation_bytes(model: ModelConfig, tokens: int, precision: str, tp: int = 1) -> int:
    """Bytes that one layer keeps of `tokens` tokens from forward to backward."""
    C, H, D, F = model.dim, model.num_heads, model.D, model.F
    F = F // 2 if model.activation == "gelu_tanh" else F  # no gate, and nothing of the product beside its input
    per_norm = 2 if model.norm == "layer" else 1  # the mean beside the root mean square
    exact = FP32 * (2 * C + 2 * per_norm + (2 * H + 2 * (H + model.Hkv) * D) // tp)
    if precision == "fp32":
        return tokens * (exact + FP32 * (2 * C + 4 * F // tp))
    return tokens * (exact + 2 * (5 * C + (H * D + 4 * F) // tp))


def recomputed_bytes(model: ModelConfig, tokens: int) -> int:
    """Bytes that a layer keeps of `tokens` tokens when backward computes it again: its input."""
    return tokens * FP32 * model.dim


def rank_memory(
    model: ModelConfig,
    layout: LayoutConfig,
    *,
    micro_tokens: int,
    num_micro: int,
    precision: str,
    recompute: int = 0,
    process: int = 0,
) -> Memory:
    """Memory of the fullest rank that trains micro-batches of `micro_tokens` tokens, `num_micro` a step.

    Args:
        recompute: every how many layers one is computed again in backward; 0: none.
    """
    params, matrices = rank_params(model, layout)
    layers = -(-model.num_layers // layout.pp)
    again = -(-layers // recompute) if recompute else 0
    layer = activation_bytes(model, micro_tokens, precision, layout.tp)
    kept = (layers - again) * layer + again * recomputed_bytes(model, micro_tokens)
    in_flight = min(layout.pp, num_micro)
    head = micro_tokens * -(-model.vocab_size // layout.tp) * (8 if precision == "fp32" else 10)
    return Memory(
        weights=FP32 * params + (0 if precision == "fp32" else 2 * matrices),
        gradients=FP32 * params,
        optimizer=2 * FP32 * params,
        activations=in_flight * kept + (layer if again else 0),
        head=head,
        process=process,
    )
