import pytest


@pytest.mark.parametrize("num_ranks", [2, 4])
def test_collectives(run_job, num_ranks):
    run_job(num_ranks, "collectives")


def test_a_rank_that_dies_ends_the_job_with_its_number_and_error(run_job):
    done = run_job(4, "dies", status=1, timeout=60)
    assert "[rank 2/4] RuntimeError: the tensor was not finite" in done.stderr


def test_a_job_that_fails_shows_the_ranks_output(run_job):
    with pytest.raises(pytest.fail.Exception, match=r"(?s)dies on 4 ranks: status 1, not 0.*\[rank 2/4\] RuntimeError"):
        run_job(4, "dies")


def test_a_job_that_hangs_is_ended(run_job):
    with pytest.raises(pytest.fail.Exception, match=r"(?s)hangs on 2 ranks: not finished after 6 s.*rank 0 waits"):
        run_job(2, "hangs", timeout=6)
