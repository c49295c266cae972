"""Rank 0 waits for a message that no one sends."""

import numpy as np

from fasttrain.comm.group import world

everyone = world()
if everyone.rank == 0:
    print("rank 0 waits", flush=True)
    everyone.recv_(np.empty(1), 1)
everyone.barrier()
