from fasttrain.formats import manifest
from tokenizer.split_stage import make


def test_two_ranks_write_the_bytes_of_one(run_job, tmp_path):
    split = make(tmp_path / "split")
    for num_ranks in (1, 2):
        run_job(num_ranks, "tokenizer_stages", split, tmp_path / str(num_ranks))
    for stage in ("tokenizer", "shards"):
        one, two = manifest.read(tmp_path / "1" / stage), manifest.read(tmp_path / "2" / stage)
        assert one.content_fingerprint == two.content_fingerprint
        assert one.files
        manifest.verify(tmp_path / "2" / stage, two)
