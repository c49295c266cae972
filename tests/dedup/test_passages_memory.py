"""As test_memory, of what the passages stage holds while it ranks documents, and their passages."""

import tracemalloc

import pytest

from dedup.documents import finished
from dedup.stages import text
from dedup.test_memory import Inline, measuring, names_until_their_table_grows
from fasttrain.comm.group import SoloGroup
from fasttrain.dedup import fuzzy, passages
from fasttrain.dedup.passages_config import FuzzyPassages, PassagesConfig
from fasttrain.formats import behind
from fasttrain.formats.stage import run_stage

PHASES = {"documents": passages._Work, "passages": fuzzy.Search}
FEW, MANY, PART, RECORDS = 8192, 24576, 4096, 2048


def peaks(folder, count, monkeypatch):
    """What either ranking holds, in bytes, by name."""
    found, near = {}, FuzzyPassages(bands=2, rows=2)
    config = PassagesConfig(fuzzy=near, memory_records=RECORDS, priority={"s1": 1})
    rows = [(f"s{i % 3}", f"o{i}", f"one of them\n\n{text(i, 24)}\n\n{text(i + 1, 24)}") for i in range(count)]
    finished(folder / f"in{count}", rows, count // PART)

    def body(stage):
        work = passages._Work(stage, config)
        work.rank()
        search = fuzzy.Search(stage, config, near, work.documents, work.P)
        search.rank()
        assert search.parts.num_documents == 2 * count

    with monkeypatch.context() as patch:
        patch.setattr(behind, "ThreadPoolExecutor", Inline)
        for name, of in PHASES.items():
            patch.setattr(of, "rank", measuring(name, of.rank, found))
        tracemalloc.start()
        try:
            run_stage("passages", folder=folder / f"out{count}", config=config, inputs=[folder / f"in{count}"],
                      world=SoloGroup(), body=body)  # fmt: skip
        finally:
            tracemalloc.stop()
    return found


@pytest.fixture(scope="module")
def growth(tmp_path_factory):
    """Bytes a document, by what is ranked."""
    folder = tmp_path_factory.mktemp("memory")
    patch = pytest.MonkeyPatch()
    peaks(folder, PART, patch)  # what the interpreter imports on first use
    interned = names_until_their_table_grows()
    few, many = peaks(folder, FEW, patch), peaks(folder, MANY, patch)
    del interned
    return {name: (many[name] - few[name]) / (MANY - FEW) for name in PHASES}


@pytest.mark.parametrize("ranked", PHASES)
def test_a_document_costs_at_most_16_bytes(growth, ranked):
    assert growth[ranked] <= 16, growth
