import pytest


@pytest.mark.parametrize("num_ranks", [2, 3])
def test_ranks_remove_what_one_process_removes(run_job, tmp_path, num_ranks):
    run_job(num_ranks, "dedup_stage", tmp_path)
