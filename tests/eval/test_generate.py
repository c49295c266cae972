import numpy as np
import pytest
import torch

from eval.bytes_codec import Bytes, model
from fasttrain.eval.generate import generate, pick


@torch.no_grad()
def by_forward(net, prompt, count):
    ids = [256, *prompt.encode()]
    new = []
    while len(new) < count and 256 not in new:
        new.append(int(net.logits(torch.tensor([ids + new]))[0, -1].argmax()))
    return new


@pytest.mark.parametrize("prompt", ["", "The quick", "κόσμε"])
def test_the_cache_changes_nothing(prompt):
    net = model(seed=3)
    wanted = by_forward(net, prompt, 20)
    (got,) = generate(net, Bytes(), [prompt], max_new_tokens=20)
    assert got.text == Bytes().decode(wanted)
    assert got.tokens == len(wanted)
    assert got.ended == (wanted[-1] == 256)


def test_documents_kept_apart_see_no_token_before():
    net = model(seed=3)
    ids = [*b"The quick"]
    (got,) = generate(net, Bytes(), ["The quick"], max_new_tokens=1, document_mask=True)
    with torch.no_grad():
        assert got.text == Bytes().decode([int(net.logits(torch.tensor([ids]))[0, -1].argmax())])
    assert generate(net, Bytes(), [""], max_new_tokens=3, document_mask=True) == generate(
        net, Bytes(), [""], max_new_tokens=3
    )


def test_a_seed_is_a_text_and_prompts_are_independent():
    net = model()
    options = {"max_new_tokens": 12, "temperature": 1.0}
    two = generate(net, Bytes(), ["one", "two"], seed=5, **options)
    assert generate(net, Bytes(), ["one", "two"], seed=5, **options) == two
    assert generate(net, Bytes(), ["another", "two"], seed=5, **options)[1] == two[1]
    assert generate(net, Bytes(), ["one", "two"], seed=6, **options) != two


def test_the_end_token_ends():
    net = model(tied_embeddings=False)
    with torch.no_grad():
        net.head.weight.zero_()
        net.head.weight[256] = net.hidden(torch.tensor([[256, 65]]), net.context(2))[0, -1]
    (got,) = generate(net, Bytes(), ["A"], max_new_tokens=9)
    assert (got.text, got.tokens, got.ended) == ("", 1, True)


def test_a_long_prompt_loses_its_beginning():
    net = model(max_seq_len=16)
    (cut,) = generate(net, Bytes(), ["0123456789" * 9], max_new_tokens=8)
    ids = [*("0123456789" * 9).encode()][-8:]
    new = []
    with torch.no_grad():
        while len(new) < 8 and 256 not in new:
            new.append(int(net.logits(torch.tensor([ids + new]))[0, -1].argmax()))
    assert cut.text == Bytes().decode(new)


def test_refuses_more_than_the_context():
    with pytest.raises(ValueError, match="model's context of 48 tokens, got 48"):
        generate(model(), Bytes(), ["x"], max_new_tokens=48)


def test_no_new_tokens():
    (got,) = generate(model(), Bytes(), ["x"], max_new_tokens=0)
    assert (got.text, got.tokens, got.ended) == ("", 0, False)


def test_pick_draws_from_the_softmax():
    seed = int(np.random.default_rng().integers(2**32))
    rng = np.random.default_rng(seed)
    logits, n = np.array([1.0, 0.0, 2.0, -1.0]), 4000
    p = np.exp(logits / 0.7)
    p[[1, 3]] = 0
    p /= p.sum()
    drawn = np.bincount([pick(logits, 0.7, 2, rng) for _ in range(n)], minlength=4)
    assert (np.abs(drawn - n * p) <= 4 * np.sqrt(n * p * (1 - p))).all(), f"seed {seed}"
    assert pick(logits, 0.0, 0, rng) == 2
    assert pick(logits, 1.0, 1, rng) == 2
