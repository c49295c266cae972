"""Settings of the training loop."""

from typing import Literal, Self

from pydantic import Field, model_validator

from fasttrain.batch.order import BatchConfig
from fasttrain.core.config import Settings
from fasttrain.model.recompute import Recompute


class TrainConfig(Settings):
    """How long to train, on what, and how often to look."""

    num_steps: int | None = Field(None, ge=1)
    """Optimizer steps; give either this or total_tokens."""
    total_tokens: int | None = Field(None, ge=1)
    """Tokens to train on, rounded up to whole steps of batch.global_batch * batch.seq_len tokens."""
    micro_batch: int = Field(0, ge=0)
    """Sequences that go through the model together, on each replica; 0: all of the replica's share at once."""
    precision: Literal["auto", "fp32", "bf16", "bf16_stochastic", "fp16"] = "fp32"
    """Type of matrix products; weights, gradients and optimizer state are fp32. fp16 scales the loss.
    bf16_stochastic: matrices are kept in bf16 alone and rounded stochastically at each step, for memory.
    auto: bf16 where every rank's device computes it, else fp32; decided when a run starts, and kept when it resumes."""
    device: Literal["auto", "cpu", "cuda"] = "auto"
    """Where to compute; auto: cuda where torch sees one, else cpu."""
    threads: int = Field(0, ge=0)
    """Threads of each rank; 0: OMP_NUM_THREADS when set, else this machine's cores shared among its ranks."""
    eval_every: int = Field(0, ge=0)
    """Steps between evaluations of the probe set; the last step is always evaluated. 0: only that one."""
    eval_tokens: int = Field(65536, ge=1)
    """Probe tokens of each source that an evaluation reads, whole documents from the first on, at least one."""
    ema_decay: float = Field(0.0, ge=0.0, lt=1.0)
    """Decay a step of an average of the weights that is saved, evaluated and exported beside them; 0: none."""
    deterministic: bool = True
    """Whether torch may only use kernels that give the same bits every time. On CPU that costs nothing measurable."""
    prefetch: int = Field(2, ge=0)
    """Batches that a thread makes ahead while a step computes; 0: each when it is needed. The same batches."""
    overlap: bool = True
    """Whether gradients are summed over replicas while backward still runs; the result has the same bits."""
    recompute: Recompute = "none"
    """Blocks that keep only their input and are computed again in backward, for less memory and one more forward of
    each: none, block (all of them), or k for every k-th. The result has the same bits."""
    cuda_graph: Literal["auto", "off"] = "auto"
    """auto: a single rank on a card, without dropout, records forward and backward of a micro-batch once for each shape
    and then starts all their kernels at once, so that a small model does not wait for Python. The same bits; gradients
    keep their memory, 4 bytes a parameter, in forward too. off, and in a profiled run, whose kernels shall have names:
    one by one."""
    peak_flops: float | None = Field(None, gt=0.0)
    """Peak FLOP/s of one rank's device for MFU; absent: known for the card, or measured."""
    init_from: str = ""
    """Begin from the weights of this checkpoint: a run folder (its newest), a step-* folder, or a Hugging Face folder
    of a Llama, Qwen3 or GPT-2, relative to the recipe. Optimizer, schedule and batches start afresh. Empty: random
    weights."""
    init_optimizer: bool = False
    """Take over the optimizer of init_from too, and go on behind its last batch where the data are the same: the decay
    branch of a wsd or constant schedule from any checkpoint. num_steps counts from there, and so does the schedule."""
    init_pieces: str = ""
    """old_pieces.json of `tokenizer extend`, when the checkpoint's vocabulary was extended since: each new row begins
    as the mean of its old pieces' rows."""
    tensorboard: bool = True
    """Whether to write TensorBoard files beside metrics.jsonl, where TensorBoard is installed."""

    @model_validator(mode="after")
    def _check(self) -> Self:
        if (self.num_steps is None) == (self.total_tokens is None):
            raise ValueError(
                f"give either num_steps or total_tokens, got num_steps = {self.num_steps} "
                f"and total_tokens = {self.total_tokens}"
            )
        if self.init_optimizer and (not self.init_from or self.init_pieces):
            raise ValueError("init_optimizer needs init_from, and a vocabulary that was not extended (no init_pieces)")
        if isinstance(self.recompute, int) and self.recompute < 1:
            raise ValueError(f"recompute must be 'none', 'block' or at least 1, got {self.recompute}")
        return self

    def resolve_steps(self, batch: BatchConfig) -> int:
        """Optimizer steps of the run."""
        if self.num_steps is not None:
            return self.num_steps
        assert self.total_tokens is not None
        return batch.num_batches(self.total_tokens)
