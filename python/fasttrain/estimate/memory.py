"""Memory of one rank, by closed form: what each rank of a layout holds at its fullest moment.

weights, m, v               4 bytes each a parameter of the rank (nothing is sharded over dp); Muon keeps no v of
                            blocks' matrices. bf16_stochastic: matrix weights take 2 bytes. What a matrix takes while
                            Muon makes it orthogonal lies where activations were
gradients                   4 bytes a parameter, which have memory from backward to the optimizer's step: with one
                            micro-batch a step they move in where its activations were, and only what finds no room
                            there counts. Where a card replays micro-batches as CUDA graphs they keep their memory, and
                            passes beside the graphs (evaluation, another shape) find no room in it: all of them count
activations                 a token and layer, w = 4 bytes in fp32, else 2: 8 C + 16 + 8 H / tp (stream, norms, of
                            LayerNorm 8 more, which keys each query sees, logsumexp) + 2 w (H + Hkv) D / tp (queries,
                            keys, values and output of attention, which wo multiplies) + with qk_norm
                            (w D + 4) (H + Hkv) / tp + 2 w F / tp (gate and up; with GELU half of it): what norms and
                            activations give is made again; fp16, where torch does what is native in bf16: attention at
                            w = 4, also 2 H D / tp (wo's copy), 4 C of RMSNorm and 2 F / tp of SwiGLU, and with qk_norm
                            4 (H + Hkv) D / tp more; times the micro-batches in flight (1F1B: min(pp, micro-batches) on
                            the first stage). A layer that is recomputed keeps 4 C (its input), and all of one such
                            layer is there while backward is in it. On a card in bf16 and fp16 also 2 bytes a weight of
                            the layer's matrices, their copies, and a recomputed layer of a rank without stages keeps
                            4 C + w C (its input in two summands, which its first norm adds)
process                     what Python, torch and MPI hold before a model is made, measured in this process behind a
                            first product and its gradient, which load kernels, and on a CPU again behind the
                            calibration, which loads the others
checkpoint                  while one is written beside the training (async_write), a copy of weights and both moments,
                            and a file of them at a time, of at most FILE_BYTES, twice (safetensors makes it in its own
                            memory and in Python's); else a file's tensors and it twice. Counted as if no page that
                            activations left were free for it, which is so when training goes on
exchange                    where dp > 1, 4 bytes a parameter: MPI sums each bucket in a buffer as large, and all of
                            them are under way at the end of backward. They lie where the files of a checkpoint do, so
                            that only what finds no room there counts
head                        12 C a token: input and output of the last norm, in half precision their copy, and a
                            gradient; and with the fused loss (CPU, tp = 1, fp32 and bf16) a chunk of logits, a tile of
                            the weight's gradient (bf16) and 4 V C, that gradient (bf16_stochastic: 2 V C more); a
                            card has longer chunks, beside which lies the weight's copy (bf16: 2 V C), or then, in
                            their place, the scaled gradients (4 V C and w C a token);
                            under tensor parallelism a chunk of logits, twice in half precision, and 8 V / tp C;
                            else V (8 in fp32, else 10) a token: logits, their fp32 form, their gradient
"""

from dataclasses import asdict, dataclass
from typing import Any

from fasttrain.checkpoint.save import FILE_BYTES
from fasttrain.comm.mesh import LayoutConfig
from fasttrain.core import backend
from fasttrain.model.config import ModelConfig
from fasttrain.model.cost import block_vectors, num_ffn_matrices
from fasttrain.nn import linear_cross_entropy_cuda
from fasttrain.nn.linear_cross_entropy_op import LOGITS_BYTES
from fasttrain.nn.linear_cross_entropy_products import TILE_BYTES
from fasttrain.optim.config import OptimConfig

FP32 = 4


@dataclass(frozen=True, kw_only=True)
class Memory:
    """Bytes of the fullest rank."""

    weights: int
    gradients: int
    optimizer: int
    activations: int
    head: int
    exchange: int
    checkpoint: int
    process: int

    @property
    def total(self) -> int:
        """All of it."""
        return sum(asdict(self).values())

    def to_dict(self) -> dict[str, Any]:
        """Plain data, with the total."""
        return {**asdict(self), "total": self.total}


def rank_params(model: ModelConfig, layout: LayoutConfig) -> tuple[int, int]:
    """(parameters, of which matrix weights) of the rank that holds the most."""
    C, tp, pp = model.dim, layout.tp, layout.pp
    layers, matrices = _layers(model, layout)
    table = -(-model.vocab_size // tp) * C
    tables = table * (1 if model.tied_embeddings or pp > 1 else 2)
    if model.positions == "learned":
        tables += model.max_seq_len * C
    norm = C * (2 if model.norm == "layer" else 1)
    return layers * (matrices + block_vectors(model)) + tables + norm, layers * matrices + tables


def muon_params(model: ModelConfig, layout: LayoutConfig, optim: OptimConfig) -> int:
    """Those of them that Muon updates: matrices of blocks."""
    layers, matrices = _layers(model, layout)
    return layers * matrices if optim.name == "muon" else 0


def _layers(model: ModelConfig, layout: LayoutConfig) -> tuple[int, int]:
    """(layers of the rank that holds the most, parameters of a layer's matrices there)."""
    C, D = model.dim, model.D
    matrices = C * D * (2 * model.num_heads + 2 * model.Hkv) + num_ffn_matrices(model) * C * model.F
    return -(-model.num_layers // layout.pp), matrices // layout.tp


def activation_bytes(model: ModelConfig, tokens: int, precision: str, tp: int = 1) -> int:
    """Bytes that one layer keeps of `tokens` tokens from forward to backward."""
    C, D, F, heads = model.dim, model.D, model.F, model.num_heads + model.Hkv
    width, attention_width = _width(precision), 2 if precision.startswith("bf16") else FP32
    per_norm = 2 if model.norm == "layer" else 1  # the mean beside the root mean square
    is_gated = model.activation == "swiglu"
    kept = FP32 * (2 * C + 2 * per_norm + 2 + 2 * model.num_heads // tp)
    kept += 2 * attention_width * heads * D // tp + width * (2 if is_gated else 1) * F // tp
    if model.qk_norm:
        kept += (attention_width * D + FP32) * heads // tp
    if precision == "fp16":  # torch's own: the norms' outputs before their weight, silu(gate)
        kept += 2 * model.num_heads * D // tp + (2 * F // tp if is_gated else 0)
        kept += FP32 * (C if model.norm == "rms" else 0) + (FP32 * heads * D // tp if model.qk_norm else 0)
    return tokens * kept


def _width(precision: str) -> int:
    return FP32 if precision == "fp32" else 2


def head_bytes(
    model: ModelConfig, tokens: int, precision: str, tp: int = 1, *, is_fused: bool = True, device: str = "cpu"
) -> int:
    """Bytes that the last norm, the output matrix and the loss of `tokens` tokens need at their fullest.

    Args: is_fused: whether the native loss is there, which fp16 does without; tensor parallelism has one of its own.
    """
    C, V, width = model.dim, -(-model.vocab_size // tp), _width(precision)
    ends = tokens * C * 3 * FP32
    if tp > 1:  # logits as products and in fp32; of the weight its copy, its gradient and a chunk's part of that
        forms, copies = (FP32, 1) if precision == "fp32" else (FP32 + width, 2)
        return ends + min(tokens, max(1, LOGITS_BYTES // (FP32 * V))) * V * forms + (FP32 + copies * width) * V * C
    if not is_fused or precision == "fp16":
        return ends + tokens * V * (8 if precision == "fp32" else 10)
    if device == "cuda":
        row = linear_cross_entropy_cuda.pitch(V) * width
        chunk = min(tokens * row, max(linear_cross_entropy_cuda.LOGITS_BYTES, row))
        copy = width * V * C if precision == "bf16" else 0
        return ends + FP32 * V * C + max(chunk + copy, FP32 * V * C + tokens * C * width)
    chunk = min(tokens * V * width, max(LOGITS_BYTES, V * width))
    tile = 0 if precision == "fp32" else min(TILE_BYTES, V * C * width)
    return ends + chunk + tile + FP32 * V * C  # sums; a bf16 gradient's are its own and their lower halves


def recomputed_bytes(model: ModelConfig, tokens: int, branch_width: int = 0) -> int:
    """Bytes that a layer keeps of `tokens` tokens when backward computes it again: its input.

    Args: branch_width: bytes a value of the second summand, where there is one.
    """
    return tokens * (FP32 + branch_width) * model.dim


def copies_bytes(model: ModelConfig, layout: LayoutConfig, precision: str, device: str) -> int:
    """Bytes of the copies of a layer's matrices in the products' dtype that are kept from forward to backward."""
    return 2 * _layers(model, layout)[1] if device == "cuda" and precision in ("bf16", "fp16") else 0


def checkpoint_bytes(weights: int, moments: int, *, async_write: bool) -> int:
    """Bytes that writing a checkpoint of so many bytes of weights and moments takes."""
    state = weights + moments
    file = min(state, FILE_BYTES)
    return (state if async_write else file) + 2 * file


def rank_memory(
    model: ModelConfig,
    layout: LayoutConfig,
    *,
    micro_tokens: int,
    num_micro: int,
    precision: str,
    recompute: int = 0,
    async_write: bool = True,
    optim: OptimConfig | None = None,
    process: int = 0,
    device: str = "cpu",
    cuda_graph: bool = False,
) -> Memory:
    """Memory of the fullest rank that trains micro-batches of `micro_tokens` tokens, `num_micro` a step.

    Args:
        recompute: every how many layers one is computed again in backward; 0: none.
        async_write: whether training goes on while a checkpoint is written.
        optim: AdamW when None.
        cuda_graph: whether micro-batches become CUDA graphs where that can be: on one card, without dropout.
    """
    params, matrices = rank_params(model, layout)
    layers = -(-model.num_layers // layout.pp)
    again = -(-layers // recompute) if recompute else 0
    layer = activation_bytes(model, micro_tokens, precision, layout.tp)
    layer += copies_bytes(model, layout, precision, device)
    branch_width = _width(precision) if device == "cuda" and layout.pp == 1 else 0
    kept = (layers - again) * layer + again * recomputed_bytes(model, micro_tokens, branch_width)
    in_flight = min(layout.pp, num_micro)
    is_fused = device == "cpu" or backend.is_cuda_built()
    head = head_bytes(model, micro_tokens, precision, layout.tp, is_fused=is_fused, device=device)
    activations = in_flight * kept + (layer if again else 0)
    is_graph = cuda_graph and device == "cuda" and layout.dp * layout.tp * layout.pp == 1 and not model.dropout
    room = activations + head if num_micro == 1 and not is_graph else 0
    weights = FP32 * params - (2 * matrices if precision == "bf16_stochastic" else 0)
    moments = FP32 * (2 * params - muon_params(model, layout, optim or OptimConfig()))
    return Memory(
        weights=weights,
        gradients=max(0, FP32 * params - room),
        optimizer=moments,
        activations=activations,
        head=head,
        exchange=max(0, FP32 * params - 2 * min(weights + moments, FILE_BYTES)) if layout.dp > 1 else 0,
        checkpoint=checkpoint_bytes(weights, moments, async_write=async_write),
        process=process,
    )
