"""Rank 2 fails while the others wait for it."""

from fasttrain.comm.group import world

everyone = world()
everyone.barrier()
if everyone.rank == 2:
    raise RuntimeError("the tensor was not finite")
everyone.barrier()
