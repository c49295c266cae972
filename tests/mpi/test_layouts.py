import pytest


@pytest.mark.parametrize("models", [["grouped", "tied"], ["muon"], ["stochastic"], ["muon_stochastic"]])
def test_every_layout_equals_one_process(run_job, models):
    """Every product of 2 and of 4 ranks."""
    done = run_job(4, "layouts", *models, timeout=280)
    lines = [line for line in done.stdout.splitlines() if line.endswith("equals one process")]
    assert len(set(lines)) == len(models) * (3 + 6)


def test_overlap_changes_no_bit(run_job):
    run_job(2, "overlap")


def test_waiting_for_a_rank_is_told_from_moving_bytes(run_job):
    run_job(2, "waits")
