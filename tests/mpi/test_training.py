def test_resume_stop_and_guard_on_two_ranks(run_job, tmp_path):
    run_job(2, "training", tmp_path, timeout=280)
