"""Spherical k-means on the coarse grid of `embeddings`: its sums are exact, so its clusters are the same everywhere."""

import numpy as np
import numpy.typing as npt

from fasttrain.dedup.embeddings import Coarse, coarse

CELLS = 1 << 24  # of one block of products


def kmeans(vectors: Coarse, k: int, iterations: int) -> Coarse:
    """Return k centroids (k, D) of unit length on the coarse grid.

    Begins with the first k vectors; a centroid that no vector is nearest to stays where it is.

    Args:
        vectors: (n, D) on the coarse grid, n >= k, in an order that has nothing to do with their values.
    """
    centroids = vectors[:k].copy()
    for _ in range(iterations):
        cluster = nearest(vectors, centroids)
        sums = np.zeros((k, vectors.shape[1]))
        order = np.argsort(cluster, kind="stable")
        found, first = np.unique(cluster[order], return_index=True)
        for c, members in zip(found.tolist(), np.split(order, first[1:])):
            for begin in range(0, len(members), 4096):  # whole numbers below 2**53: no rounding
                sums[c] += vectors[members[begin : begin + 4096]].sum(axis=0, dtype=np.float64)
        norm = np.sqrt(np.add.accumulate(sums * sums, axis=1)[:, -1])
        moves = norm > 0
        moved = np.rint(sums[moves] / norm[moves, None] * coarse(vectors.shape[1])).astype(np.float32)
        if np.array_equal(centroids[moves], moved):
            break
        centroids[moves] = moved
    return centroids


def nearest(vectors: Coarse, centroids: Coarse) -> npt.NDArray[np.int64]:
    """(n,) the centroid of the largest product with each vector, the first among equals."""
    out = np.empty(len(vectors), np.int64)
    step = max(1, CELLS // len(centroids))
    for begin in range(0, len(vectors), step):
        out[begin : begin + step] = np.argmax(vectors[begin : begin + step] @ centroids.T, axis=1)
    return out
