"""Ranks as threads of this process, for what only needs barriers and small objects."""

import threading
from concurrent.futures import ThreadPoolExecutor

from fasttrain.comm.group import SoloGroup


class ThreadRank(SoloGroup):
    def __init__(self, rank, size, barrier, board):
        self.rank, self.size, self._barrier, self._board = rank, size, barrier, board

    def barrier(self):
        self._barrier.wait(30)

    def allgather(self, obj):
        self._board[self.rank] = obj
        self._barrier.wait(30)
        out = list(self._board)
        self._barrier.wait(30)
        return out

    def bcast(self, obj, root=0):
        return self.allgather(obj)[root]


def on_ranks(size, work):
    """Run work(group) on `size` ranks; return the results, or the exceptions, in rank order."""
    barrier, board = threading.Barrier(size), [None] * size

    def one(rank):
        try:
            return work(ThreadRank(rank, size, barrier, board))
        except Exception as error:
            return error

    with ThreadPoolExecutor(size) as pool:
        return list(pool.map(one, range(size)))
