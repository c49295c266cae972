"""Who goes, decided in rounds over pairs on disk: what going through all from the best to the worst decides."""

import numpy as np
import pytest
from hypothesis import HealthCheck, example, given, settings
from hypothesis import strategies as st

from fasttrain.comm.group import SoloGroup
from fasttrain.dedup.clustering import removed
from fasttrain.formats.stage import Stage

PAIR = st.tuples(st.integers(0, 15), st.integers(0, 15)).filter(lambda pair: pair[0] > pair[1])


def brute(pairs, items):
    gone = set()
    for worse in range(items):
        if any(w == worse and better not in gone for w, better in pairs):
            gone.add(worse)
    return [item in gone for item in range(items)]


@pytest.mark.parametrize("partitions", [1, 3])
@settings(max_examples=150, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(pairs=st.sets(PAIR, max_size=60), limit=st.integers(1, 12))
@example(pairs={(1, 0), (2, 1), (3, 2), (5, 4), (6, 4)}, limit=4)  # 2 stays when 1 has gone, in the last round
def test_rounds_decide_as_one_pass(tmp_path_factory, partitions, pairs, limit):
    of = [np.array([p for p in sorted(pairs) if p[0] % partitions == t], np.uint64).reshape(-1, 2)
          for t in range(partitions)]  # fmt: skip
    stage = Stage("x", tmp_path_factory.mktemp("x"), [], SoloGroup())
    found = removed(stage, lambda t: [of[t]], partitions, len(pairs), 16, limit)
    assert found.tolist() == brute(pairs, 16)
