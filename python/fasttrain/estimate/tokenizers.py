"""What a tokenizer costs a model: what its vocabulary adds and what its compression saves."""

from dataclasses import asdict, dataclass
from typing import Any

from fasttrain.estimate.estimate import kv_cache
from fasttrain.model.config import ModelConfig
from fasttrain.model.cost import flops_per_token, num_params


@dataclass(frozen=True, kw_only=True)
class TokenizerCost:
    """The consequences of one tokenizer for one model, in units of text, not of tokens."""

    embedding_params: int
    """V C parameters, twice when the output matrix is its own."""
    embedding_share: float
    """Their share of the model's parameters."""
    flops_per_token: int
    """Training FLOPs of a token: the output matrix is in it, so a larger vocabulary makes each token dearer."""
    flops_per_byte: float
    """Training FLOPs of a byte of text: flops_per_token / bytes per token. What a corpus costs to read."""
    kv_cache_per_kilobyte: float
    """Bytes of KV cache that 1,000 bytes of text hold while the model writes."""
    context_bytes: float
    """Bytes of text that fit into a context of seq_len tokens."""

    def to_dict(self) -> dict[str, Any]:
        """Plain data."""
        return asdict(self)


def tokenizer_cost(model: ModelConfig, vocab_size: int, bytes_per_token: float, seq_len: int) -> TokenizerCost:
    """The cost of `model` with a vocabulary of another size, on text that the tokenizer packs so densely."""
    model = model.model_copy(update={"vocab_size": vocab_size})
    params = num_params(model)
    flops = flops_per_token(model, seq_len)
    return TokenizerCost(
        embedding_params=params.embedding,
        embedding_share=params.embedding / params.total,
        flops_per_token=flops,
        flops_per_byte=flops / bytes_per_token,
        kv_cache_per_kilobyte=kv_cache(model)["this model"] * 1000 / bytes_per_token,
        context_bytes=seq_len * bytes_per_token,
    )
