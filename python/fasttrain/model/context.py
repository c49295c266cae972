"""What every block of one micro-batch needs beside its input. Built once, by `Transformer.context`; each pipeline stage
builds its own from the segments."""

from dataclasses import dataclass, field

from torch import Tensor

from fasttrain.nn.dropout import DropoutKey


class Cache:
    """Keys and values of the tokens so far, for generation: room for `max_tokens`, filled by `Transformer.decode`."""

    def __init__(self, num_layers: int, max_tokens: int) -> None:
        self.max_tokens = max_tokens
        self.num_tokens = 0
        self._keys: list[Tensor | None] = [None] * num_layers
        self._values: list[Tensor | None] = [None] * num_layers

    def append(self, layer: int, k_BTHD: Tensor, v_BTHD: Tensor) -> tuple[Tensor, Tensor]:
        """Put a layer's new keys and values after `num_tokens` old ones; return all of them."""
        end = self.num_tokens + k_BTHD.shape[1]
        if end > self.max_tokens:
            raise ValueError(
                f"Cache: must hold at most {self.max_tokens} tokens, got {end}; make it with more max_tokens"
            )
        for store, new in ((self._keys, k_BTHD), (self._values, v_BTHD)):
            buffer = store[layer]
            if buffer is None:  # heads, dtype and device are those of the layer, which may hold a slice of the heads
                buffer = new.new_empty(new.shape[0], self.max_tokens, *new.shape[2:])
                store[layer] = buffer
            buffer[:, self.num_tokens : end] = new
        k, v = self._keys[layer], self._values[layer]
        assert k is not None
        assert v is not None
        return k[:, :end], v[:, :end]


@dataclass(frozen=True, kw_only=True)
class Context:
    """What every block of one micro-batch needs beside its input."""

    positions: Tensor = field(repr=False)
    """(B or 1, T) int64: place of each token in its document."""
    cos: Tensor | None = field(default=None, repr=False)
    """(B or 1, T, 1, D) fp32: RoPE's cosines; None with learned positions."""
    sin: Tensor | None = field(default=None, repr=False)
    """(B or 1, T, 1, D) fp32: RoPE's sines."""
    segments: Tensor | None = None
    """(B, T) int32 document ids; None: one document a row."""
    ranges: tuple[Tensor, Tensor] | None = field(default=None, repr=False)
    """(lo, hi), each (B, T) int32: the keys that each token sees in its document; None: attention asks the segments."""
    dropout: DropoutKey | None = None
    """What the dropout masks depend on; None: no dropout."""
    cache: Cache | None = None
    """Keys and values of earlier tokens; None outside generation."""
    recompute: int = 0
    """Every how many blocks one is computed again in backward (model/recompute.py); 0: none."""
    impl: str | None = None
    """Implementation of attention; None: the face chooses."""
