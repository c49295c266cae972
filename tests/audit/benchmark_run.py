"""A run whose decontam stage found an item of a benchmark in two of three documents; split drops the last one."""

import json

from decontam.stage_run import documents_stage
from fasttrain.comm.group import SoloGroup
from fasttrain.core.config import Settings
from fasttrain.decontam import stage as decontam
from fasttrain.decontam.benchmarks import DecontamConfig
from fasttrain.decontam.registry import BenchmarkConfig
from fasttrain.formats import ledger
from fasttrain.formats.document import iter_documents
from fasttrain.formats.run_folder import RunFolder
from fasttrain.formats.stage import run_stage

ITEM = "Which of the three brothers who crossed the frozen river that night came back with the lantern, and why?"
OTHER = "How many of the seven old bridges over the western canal were built before the great fire took the town?"
LONG = " The road went on and on between the hedges." * 9
TEXTS = [f"a{LONG} {ITEM}{LONG}", f"b{LONG}", f"c{LONG} {ITEM}{LONG}"]


class Nothing(Settings):
    """A stage without settings."""


def build(tmp_path, action):
    (tmp_path / "b.jsonl").write_text("".join(json.dumps({"q": q}) + "\n" for q in (ITEM, OTHER)))
    one = BenchmarkConfig(name="Bench", path="b.jsonl", fields={"q": "question"}, version="3")
    config = DecontamConfig(benchmarks=(one,), action=action)
    run = RunFolder(tmp_path / "run")
    run.claim({"name": "small", "seed": 7})
    documents_stage(run.stage("passages"), TEXTS)
    run_stage(
        "decontam", folder=run.stage("decontam"), config=config, inputs=[run.stage("passages")], world=SoloGroup(),
        body=lambda s: decontam.run(s, config, tmp_path),
    )  # fmt: skip

    def split(path, writer):
        for batch in iter_documents(path):
            gone = [o == "o2" for o in batch.column("origin").to_pylist()]
            decision = [ledger.DROPPED if g else ledger.KEPT for g in gone]
            writer.decide("split", batch, decision=decision, reason=["split:empty" if g else "" for g in gone])

    run_stage(
        "split", folder=run.stage("split"), config=Nothing(), inputs=[run.stage("decontam")], world=SoloGroup(),
        body=lambda s: s.map_parts("train", s.input_parts(), split) and None,
    )  # fmt: skip
    return run
