def test_every_layout_equals_one_process(run_job):
    done = run_job(4, "layouts", timeout=280)
    lines = [line for line in done.stdout.splitlines() if line.endswith("equals one process")]
    assert len(set(lines)) == 2 * (3 + 6), "two models, every product of 2 and of 4 ranks"


def test_overlap_changes_no_bit(run_job):
    run_job(2, "overlap")
