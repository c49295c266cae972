import pytest

from fasttrain.estimate.tokenizers import tokenizer_cost
from fasttrain.model.config import ModelConfig
from fasttrain.model.cost import flops_per_token

MODEL = ModelConfig(vocab_size=7, num_layers=2, dim=8, num_heads=4, num_kv_heads=2, ffn_dim=16)


def test_worked_by_hand():
    found = tokenizer_cost(MODEL, 100, 4.0, 10)
    assert found.embedding_params == 2 * 100 * 8
    # A block: 8 * 2 * (2 * 4 + 2 * 2) + 3 * 8 * 16 = 576 matrix weights and 16 of norms; 8 of the last norm.
    assert found.embedding_share == 1600 / (1600 + 2 * (576 + 16) + 8)
    assert found.flops_per_token == 6 * (2 * 576 + 100 * 8) + 6 * 2 * 4 * 2 * 10
    assert found.flops_per_byte == found.flops_per_token / 4
    assert (
        found.kv_cache_per_kilobyte == 2 * 2 * 2 * 2 * 2 * 250
    )  # keys and values, layers, heads, width, bytes, tokens
    assert found.context_bytes == 40.0


def test_a_larger_vocabulary_makes_each_token_dearer():
    small, large = (tokenizer_cost(MODEL, size, 4.0, 10) for size in (100, 200))
    assert large.flops_per_token - small.flops_per_token == 6 * 100 * 8
    assert flops_per_token(MODEL, 10) < small.flops_per_token
    tied = tokenizer_cost(MODEL.model_copy(update={"tied_embeddings": True}), 100, 4.0, 10)
    assert tied.embedding_params == 800
    assert tied.kv_cache_per_kilobyte == pytest.approx(small.kv_cache_per_kilobyte)
