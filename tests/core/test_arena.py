import gc
import resource
from itertools import pairwise

import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st
from torch._subclasses.fake_tensor import FakeTensorMode

from fasttrain.core import backend, pages
from nn.made_error import poisoned_memory

ARENA, MAPPED = pages.ARENA_BYTES, pages.MAPPED_BYTES
GRANULE = 4096


@pytest.fixture(autouse=True)
def _on(monkeypatch):
    monkeypatch.setattr(pages, "_is_on", True)


def resident():
    with open("/proc/self/statm") as file:
        return int(file.read().split()[1]) * resource.getpagesize()


def block(num_bytes):
    return pages.empty((num_bytes,), torch.uint8)


@given(st.lists(st.tuples(st.integers(ARENA, 5 * ARENA), st.integers(0, 30)), min_size=1, max_size=60))
def test_blocks_never_overlap_and_all_come_back(plan):
    """(size, which of the blocks there are is freed first; beyond them: none), against the bytes written into each."""
    before = backend.native("arena_bytes")()[0]
    blocks = []
    for i, (size, victim) in enumerate(plan):
        if victim < len(blocks):
            tensor, value = blocks.pop(victim)
            assert bool((tensor == value).all())
            del tensor
        blocks.append((block(size).fill_(i), i))
    assert all(tensor.data_ptr() % GRANULE == 0 for tensor, _ in blocks)
    assert all(bool((tensor == value).all()) for tensor, value in blocks)
    used = before + sum(-(-len(tensor) // GRANULE) * GRANULE for tensor, _ in blocks)
    assert backend.native("arena_bytes")()[0] == used
    blocks.clear()
    gc.collect()
    assert backend.native("arena_bytes")()[0] == before


def test_a_hole_is_filled_by_the_next_block_of_its_size():
    size = 3 * ARENA
    kept = [block(size) for _ in range(20)]
    held = backend.native("arena_bytes")()[1]
    for _ in range(50):
        del kept[::2]
        kept += [block(size) for _ in kept]
    assert backend.native("arena_bytes")()[1] == held


def test_neighbours_are_joined():
    parts = [block(5 * ARENA) for _ in range(6)]
    parts.sort(key=torch.Tensor.data_ptr)
    fence, begin = block(ARENA), parts[1].data_ptr()
    if any(b.data_ptr() - a.data_ptr() != 5 * ARENA for a, b in pairwise(parts)):
        pytest.fail("the arena of a quiet process puts equal blocks side by side")
    for i in (1, 3, 2):
        parts[i] = fence
    assert block(15 * ARENA).data_ptr() == begin


@pytest.mark.once
@pytest.mark.skipif(not pages._has_huge_pages(), reason="the system has no huge pages")
def test_what_is_mapped_is_given_back():
    before = resident()
    tensor = pages.empty((MAPPED // 4 * 4,), torch.float32).fill_(1)
    assert resident() - before > 3 * MAPPED
    assert backend.native("arena_bytes")()[0] < MAPPED
    del tensor
    assert resident() - before < MAPPED


@pytest.mark.once
@pytest.mark.skipif(not pages._has_huge_pages(), reason="the system has no huge pages")
def test_for_a_mapping_the_arena_gives_up_what_it_has_free():
    blocks = [block(MAPPED // 2).fill_(1) for _ in range(4)]
    kept = blocks.pop()
    blocks.clear()
    before = resident()
    tensor = pages.empty((MAPPED // 4,), torch.float32).fill_(1)
    assert resident() - before < MAPPED // 4
    assert bool((kept == 1).all())
    again = block(MAPPED // 2)
    assert not again.fill_(2).eq(1).any()
    del tensor


@pytest.mark.once
@pytest.mark.skipif(not pages._has_huge_pages(), reason="the system has no huge pages")
def test_mapped_zeros_are_not_written():
    before = resident()
    tensor = pages.zeros((MAPPED,), torch.float32)
    assert resident() - before < MAPPED
    assert not tensor.any()
    del tensor
    assert pages.mapped_zeros((MAPPED - 1,), torch.uint8) is None


@pytest.mark.parametrize("num_bytes", [ARENA // 2, ARENA, MAPPED])
@pytest.mark.parametrize("dtype", [torch.float32, torch.bfloat16, torch.int64])
def test_it_is_what_torch_makes(num_bytes, dtype):
    shape = (2, num_bytes // dtype.itemsize // 2)
    tensor, expected = pages.zeros(shape, dtype), torch.zeros(shape, dtype=dtype)
    assert torch.equal(tensor, expected)
    assert (tensor.dtype, tensor.stride()) == (dtype, expected.stride())
    with poisoned_memory():
        tensor = pages.empty(shape, dtype)
        expected = torch.empty(shape, dtype=dtype)
        assert torch.equal(tensor.nan_to_num(7.0), expected.nan_to_num(7.0))


def test_views_keep_the_memory():
    tensor = pages.zeros((ARENA,), torch.float32)
    view = tensor[5:7]
    del tensor
    others = [block(4 * ARENA).fill_(255) for _ in range(4)]
    assert view.tolist() == [0.0, 0.0]
    assert len({other.data_ptr() for other in others}) == 4


def test_of_a_fake_tensor_it_is_fake():
    with FakeTensorMode():
        x = torch.empty(ARENA)
        y = pages.new_empty(x, (ARENA, 2), torch.bfloat16)
        assert type(y) is type(x)
    assert pages.new_empty(torch.empty(1, device="meta"), (ARENA,)).device.type == "meta"


def test_without_room_it_is_torchs(monkeypatch):
    monkeypatch.setattr(backend, "native", lambda name: lambda num_bytes: None)
    assert pages.zeros((ARENA,), torch.float32).sum() == 0
