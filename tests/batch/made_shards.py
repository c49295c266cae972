"""Token shards in memory whose tokens all differ, so that a token says where it came from."""

import numpy as np

from fasttrain.formats.shards import Shard


def shard(lengths, source="s", first=1000, dtype=np.uint32):
    """A shard of documents of the given lengths; its tokens are first, first + 1, ..."""
    offsets = np.concatenate([[0], np.cumsum(lengths)]).astype(np.int64)
    return Shard(
        source=source,
        tokens=(first + np.arange(offsets[-1])).astype(dtype),
        offsets=offsets,
        doc_ids=np.array([[i % 256, i // 256] + [len(source)] * 14 for i in range(len(lengths))], np.uint8).reshape(
            -1, 16
        ),
        num_bytes=int(4 * offsets[-1]),
        fingerprint=f"{source}-{list(lengths)}",
    )
