import threading

import pytest

from fasttrain.train.prefetch import Prefetch
from train import made_run
from train.test_loop import assert_same


@pytest.mark.parametrize("depth", [0, 1, 3])
def test_what_comes_out_is_what_make_gives_whatever_was_made_ahead(depth):
    made = []

    def make(index):
        made.append((index, threading.current_thread().name))
        return index * index

    with Prefetch(make, depth=depth) as feed:
        walk = [0, 1, 2, 7, 8, 3, 4, 5, 5]  # a return to a checkpoint and a jump over skipped batches
        assert [feed.get(i, [i + 1, i + 2, i + 3]) for i in walk] == [i * i for i in walk]
    ahead = {index for index, thread in made if thread.startswith("prefetch")}
    assert (len(ahead) > 0) is (depth > 0)
    assert not [t for t in threading.enumerate() if t.name.startswith("prefetch")], "the thread ends with the block"


def test_the_next_one_is_made_while_this_one_is_used():
    started, go = threading.Event(), threading.Event()

    def make(index):
        if index == 1:
            started.set()
            assert go.wait(30)
        return index

    with Prefetch(make, depth=1) as feed:
        assert feed.get(0, [1]) == 0
        assert started.wait(30), "begun before it is asked for"
        go.set()
        assert feed.get(1) == 1


def test_an_error_is_raised_where_the_batch_is_asked_for():
    def make(index):
        if index == 2:
            raise OSError("the disk is gone")
        return index

    with Prefetch(make, depth=2) as feed:
        assert feed.get(0, [1, 2]) == 0
        assert feed.get(1, [2, 3]) == 1
        with pytest.raises(OSError, match="the disk is gone"):
            feed.get(2, [3, 4])


def test_a_run_without_it_has_the_same_bits(tmp_path):
    ahead, plain = made_run.make(tmp_path / "ahead"), made_run.make(tmp_path / "plain")
    made_run.run(ahead, guard__policy="rollback")
    made_run.run(plain, guard__policy="rollback", train__prefetch=0)
    assert_same(ahead, plain)
