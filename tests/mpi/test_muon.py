import pytest


@pytest.mark.parametrize("precision", ["fp32", "bf16", "bf16_stochastic"])
def test_shared_muon_has_the_bits_of_one_process(run_job, precision):
    done = run_job(4, "muon", precision, timeout=280)
    assert len({line for line in done.stdout.splitlines() if line.endswith("the bits of one process")}) == 7
