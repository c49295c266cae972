"""Generation on a card: what a KV cache gives is what the whole sequence gives."""

import pytest
import torch

from eval.bytes_codec import Bytes, model
from fasttrain.eval.generate import generate
from made_card import CARD, ON_CARD

pytestmark = ON_CARD
FAMILIES = {
    "llama": {"family": "llama"},
    "qwen3": {"family": "qwen3", "tied_embeddings": True},
    "gpt2": {"family": "gpt2", "num_kv_heads": None},
}
EPS = torch.finfo(torch.float32).eps


@torch.no_grad()
@pytest.mark.parametrize("family", FAMILIES)
@pytest.mark.parametrize("first", [1, 5, 17])
def test_the_cache_changes_nothing(family, first):
    """Beside the order of sums: Megatron-LM's bound for so many layers, of the largest logit."""
    net = model(seed=3, dim=128, num_heads=2, **{"num_kv_heads": 1} | FAMILIES[family]).to(CARD)
    tokens = torch.randint(257, (2, 40), generator=torch.Generator().manual_seed(4)).to(CARD)
    whole, cache = net.logits(tokens), net.new_cache(40)
    bound = 4 * 1.03 ** (net.config.num_layers + 1) * EPS * whole.abs().max() * net.config.D**0.5
    for start, end in [(0, first), *((i, i + 1) for i in range(first, 40))]:
        assert (net.decode(tokens[:, start:end], cache) - whole[:, end - 1]).abs().max() <= bound


@pytest.mark.parametrize("family", FAMILIES)
def test_a_text_is_that_of_the_cpu(family):
    """Greedy, and drawn by the same seed: only a tie to the last bits could tell them apart."""
    nets = [model(seed=3, **{"num_kv_heads": 2} | FAMILIES[family]).to(device) for device in ("cpu", CARD)]
    for options in ({}, {"temperature": 0.8, "top_k": 50, "seed": 7}):
        texts = [generate(net, Bytes(), ["The quick", ""], max_new_tokens=20, **options) for net in nets]
        assert texts[0] == texts[1]
