"""Which keys a query sees, against masks written pair by pair."""

import torch
from hypothesis import given
from hypothesis import strategies as st

from fasttrain.core import backend
from fasttrain.nn import attention_ref
from fasttrain.nn.attention import attention
from fasttrain.nn.segments import key_ranges

OP = "attention"


def sees(i, j, offset, causal, window, document):
    place = i + offset
    if causal and j > place:
        return False
    if window is not None and abs(place - j) >= window:
        return False
    return document is None or (document[place] is not None and document[place] == document[j])


def expected_mask(num_queries, num_keys, causal, window, documents, rows):
    offset = num_keys - num_queries
    return torch.tensor(
        [
            [
                [sees(i, j, offset, causal, window, documents and documents[b]) for j in range(num_keys)]
                for i in range(num_queries)
            ]
            for b in range(rows)
        ]
    ).view(rows, num_queries, num_keys)


@given(st.integers(0, 9), st.integers(0, 9), st.booleans(), st.none() | st.integers(1, 12))
def test_causal_and_window(num_queries, more, causal, window):
    num_keys = num_queries + more
    lo, hi = key_ranges(num_queries, num_keys, causal=causal, window=window)
    assert lo.dtype == hi.dtype == torch.int32
    expected = expected_mask(num_queries, num_keys, causal, window, None, 1)
    assert torch.equal(attention_ref.mask(lo, hi, num_keys), expected)


@given(
    st.integers(1, 3),
    st.integers(0, 7),
    st.lists(st.integers(0, 6), max_size=8),
    st.booleans(),
    st.none() | st.integers(1, 9),
)
def test_cu_seqlens(rows, num_tokens, lengths, causal, window):
    """Documents go on through the rows and are cut where a row ends; what is behind the last one sees nothing."""
    cu_seqlens = torch.tensor([0, *lengths]).cumsum(0).int()
    tokens = [number for number, length in enumerate(lengths) for _ in range(length)]
    tokens = (tokens + rows * num_tokens * [None])[: rows * num_tokens]
    documents = [tokens[b * num_tokens : (b + 1) * num_tokens] for b in range(rows)]
    lo, hi = key_ranges(num_tokens, num_tokens, causal=causal, window=window, cu_seqlens=cu_seqlens, rows=rows)
    assert lo.dtype == hi.dtype == torch.int32
    assert lo.shape == hi.shape == (rows, num_tokens)
    expected = expected_mask(num_tokens, num_tokens, causal, window, documents, rows)
    assert torch.equal(attention_ref.mask(lo, hi, num_tokens), expected)


@given(st.lists(st.integers(-1, 2), min_size=1, max_size=12), st.booleans(), st.none() | st.integers(1, 9))
def test_segments_and_window(ids, causal, window):
    runs, document = -1, []
    for i, x in enumerate(ids):
        runs += i == 0 or x != ids[i - 1]
        document.append(runs if x >= 0 else None)
    lo, hi = key_ranges(len(ids), len(ids), causal=causal, window=window, segments=torch.tensor([ids]).int())
    expected = expected_mask(len(ids), len(ids), causal, window, [document], 1)
    assert torch.equal(attention_ref.mask(lo, hi, len(ids)), expected)


@given(st.data())
def test_any_ranges(data):
    """Ranges that no mask above has: empty ones, outside of the keys, backwards, in every order."""
    num_queries, num_keys = data.draw(st.integers(0, 60)), data.draw(st.integers(0, 140))
    bounds = st.lists(st.integers(-5, num_keys + 5), min_size=num_queries, max_size=num_queries)
    lo, hi = (torch.tensor([data.draw(bounds)], dtype=torch.int32).view(1, num_queries) for _ in "lh")
    g = torch.Generator().manual_seed(data.draw(st.integers(0, 99)))
    q, dout = (torch.randn(1, num_queries, 2, 16, generator=g) for _ in range(2))
    k, v = (torch.randn(1, num_keys, 1, 16, generator=g) for _ in range(2))
    results = []
    for how in [backend.implementations(OP)[0], "reference"]:
        leaves = [x.clone().requires_grad_() for x in (q, k, v)]
        out = attention(*leaves, causal=False, ranges=(lo, hi), impl=how)
        results.append((out, *torch.autograd.grad(out, leaves, dout)))
    for ours, expected in zip(*results, strict=True):
        torch.testing.assert_close(ours, expected, rtol=1e-4, atol=1e-5)
