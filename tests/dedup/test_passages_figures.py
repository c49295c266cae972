"""The figures of passages: bounded, and the same however the lines were partitioned."""

from hypothesis import given
from hypothesis import strategies as st

from fasttrain.dedup import passages_figures
from fasttrain.dedup.passages_figures import most_frequent

LINE = st.tuples(st.integers(1, 9), st.integers(0, 5), st.integers(0, 99), st.integers(0, 9))
LINES = st.lists(LINE, unique_by=lambda line: line[2:])  # a place is of one scope


@given(LINES, st.integers(1, 4))
def test_most_frequent_of_partitions_is_that_of_all(lines, partitions):
    of_scope, all_lines = passages_figures.LINES_OF_SCOPE, passages_figures.LINES
    passages_figures.LINES_OF_SCOPE, passages_figures.LINES = 2, 5
    try:
        want = most_frequent(lines)
        found = most_frequent(line for p in range(partitions) for line in most_frequent(lines[p::partitions]))
    finally:
        passages_figures.LINES_OF_SCOPE, passages_figures.LINES = of_scope, all_lines
    assert found == want
    assert len(want) <= 5
    assert max((sum(x[1] == line[1] for x in want) for line in want), default=0) <= 2
