"""Text from a model: each prompt continued token by token with a KV cache, the same text for the same seed."""

from collections.abc import Sequence
from dataclasses import asdict, dataclass
from typing import Any, Protocol

import numpy as np
import numpy.typing as npt
import torch

from fasttrain.model.transformer import Transformer


class Codec(Protocol):
    """What generation needs of a tokenizer."""

    @property
    def eot_id(self) -> int:
        """The end-of-text token."""

    @property
    def vocab_size(self) -> int:
        """Tokens in all: a model may have more rows, which stand for no text and are never drawn."""

    def encode_batch(self, texts: Sequence[str]) -> tuple[npt.NDArray[np.uint32], npt.NDArray[np.int64]]:
        """Flat ids and offsets."""

    def decode(self, ids: Sequence[int]) -> str:
        """The text of token ids."""


@dataclass(frozen=True, kw_only=True)
class Generation:
    """One prompt and what followed."""

    prompt: str
    text: str  # what was generated, without the prompt and without the end-of-text token
    tokens: int  # generated, the end-of-text token included
    ended: bool  # whether the model ended the text itself

    def to_dict(self) -> dict[str, Any]:
        """Plain data."""
        return asdict(self)


@torch.no_grad()
def generate(
    model: Transformer,
    tokenizer: Codec,
    prompts: Sequence[str],
    *,
    max_new_tokens: int = 64,
    temperature: float = 0.0,
    top_k: int = 0,
    seed: int = 0,
    document_mask: bool = False,
) -> list[Generation]:
    """Continue each prompt until the end-of-text token, `max_new_tokens` or the model's context.

    Args:
        prompts: read after one end-of-text token, as documents are in training. A prompt longer than the context leaves
            loses its beginning.
        temperature: divides the logits; 0 takes the likeliest token (the lowest id among equals).
        top_k: sample among this many likeliest tokens; 0 among all.
        document_mask: whether documents were kept apart in training: then no token is read before the prompt.
        seed: with the prompt's number, of the stream it draws from: no prompt moves another's text.
    Raises: ValueError: max_new_tokens that leaves no place for a prompt in the model's context.
    Cost: one forward pass of the prompt and one of a single token for each new token; cache of
        2 L Hkv D (prompt + new) values.
    """
    limit = model.config.max_seq_len
    if not 0 <= max_new_tokens < limit:
        raise ValueError(
            f"generate: max_new_tokens must leave room for the prompt in the model's context of {limit} tokens, "
            f"got {max_new_tokens}"
        )
    return [
        _one(
            model,
            tokenizer,
            _start(model, tokenizer, prompt, max_new_tokens, document_mask),
            prompt,
            max_new_tokens,
            temperature,
            top_k,
            np.random.default_rng([seed, index]),
        )
        for index, prompt in enumerate(prompts)
    ]


def _start(model: Transformer, tokenizer: Codec, prompt: str, max_new_tokens: int, document_mask: bool) -> list[int]:
    known, _ = tokenizer.encode_batch([prompt])
    ids = [tokenizer.eot_id, *known.tolist()]
    if document_mask and len(ids) > 1:
        del ids[0]
    return ids[-(model.config.max_seq_len - max_new_tokens) :]


def _one(
    model: Transformer,
    tokenizer: Codec,
    start: list[int],
    prompt: str,
    max_new_tokens: int,
    temperature: float,
    top_k: int,
    rng: np.random.Generator,
) -> Generation:
    device = next(model.parameters()).device
    cache = model.new_cache(len(start) + max_new_tokens)
    ids: list[int] = []
    fed = start
    while len(ids) < max_new_tokens:
        logits = (
            model.decode(torch.tensor([fed], device=device), cache)[0].double().cpu().numpy()[: tokenizer.vocab_size]
        )
        ids.append(pick(logits, temperature, top_k, rng))
        if ids[-1] == tokenizer.eot_id:
            break
        fed = ids[-1:]
    ended = bool(ids) and ids[-1] == tokenizer.eot_id
    return Generation(prompt=prompt, text=tokenizer.decode(ids[:-1] if ended else ids), tokens=len(ids), ended=ended)


def pick(logits_V: npt.NDArray[np.float64], temperature: float, top_k: int, rng: np.random.Generator) -> int:
    """Draw a token from softmax(logits / temperature) over the `top_k` likeliest; temperature 0: the likeliest."""
    if temperature == 0.0:
        return int(logits_V.argmax())
    scaled = logits_V / temperature
    if 0 < top_k < len(scaled):
        scaled = np.where(scaled >= np.partition(scaled, -top_k)[-top_k], scaled, -np.inf)
    p = np.exp(scaled - scaled.max())
    return int(np.searchsorted(np.cumsum(p), rng.random() * p.sum(), side="right"))
