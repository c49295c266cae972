"""The section on benchmarks says what was removed, cut and flagged, and where the clean and dirty rows are."""

from types import SimpleNamespace

import pytest

from audit.benchmark_run import build
from fasttrain.audit.ledger import Ledger
from fasttrain.formats import manifest
from fasttrain.report.dedup_sections import benchmarks


@pytest.mark.parametrize(
    ("action", "words"),
    [
        ("drop", "2 documents removed because they hold benchmark items."),
        ("cut", "0 documents removed because they hold benchmark items. 2 lost the words they share."),
        ("flag", "0 documents removed because they hold benchmark items. 2 were kept and flagged."),
    ],
)
def test_benchmarks(tmp_path, action, words):
    run = build(tmp_path, action)
    with Ledger(run) as ledger:
        data = SimpleNamespace(
            manifests={"decontam": manifest.read(run.stage("decontam"))},
            rows=lambda sql, parameters=(): ledger.query(sql, parameters).to_dicts(),
        )
        html = str(benchmarks(data, None))
    assert words in html
    assert "subsets/Bench.clean.jsonl, subsets/Bench.dirty.jsonl" in html
    assert "which of the three brothers" in html
