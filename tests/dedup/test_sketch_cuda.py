import numpy as np
import pytest
import torch

from dedup.test_sketch import sets_of
from fasttrain.dedup.sketch import sketch
from fasttrain.dedup.sketch_cuda import sketch_cuda
from made_card import ON_CARD

pytestmark = ON_CARD


@pytest.mark.parametrize("num_hashes", [1, 7, 112, 128, 129, 256])
@pytest.mark.parametrize("lengths", [[], [0], [1], [7, 0, 33], [1023, 1024, 1025, 5000], [3] * 70_000], ids=len)
def test_the_bits_of_the_cpu(lengths, num_hashes):
    shingles, offsets = sets_of(lengths)
    on_card = (torch.from_numpy(x.view(np.int64)).cuda() for x in (shingles, offsets))
    got = sketch_cuda(*on_card, num_hashes=num_hashes).cpu().numpy().view(np.uint32)
    np.testing.assert_array_equal(got, sketch(shingles, offsets, num_hashes=num_hashes))


def test_refuses():
    x = torch.zeros(3, dtype=torch.int64, device="cuda")
    with pytest.raises(TypeError, match="sketch: offsets must be int64 on one CUDA device, got torch.int32"):
        sketch_cuda(x, x.int())
