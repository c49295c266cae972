import pytest


@pytest.mark.parametrize("num_ranks", [2, 3])
def test_ranks_cut_what_one_process_cuts(run_job, tmp_path, num_ranks):
    run_job(num_ranks, "passages_stage", tmp_path)
