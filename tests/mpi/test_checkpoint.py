def test_ranks_save_beside_their_collectives_and_hear_of_errors(run_job, tmp_path):
    run_job(2, "saves", tmp_path)
