"""Floor 1: ranks, mesh, collectives. A group of one without MPI, so that one code path serves one rank and many."""
