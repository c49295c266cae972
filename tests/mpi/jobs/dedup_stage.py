"""The dedup stage on these ranks writes what one process writes. Argument: an empty folder."""

import random
import sys
from pathlib import Path

sys.path.insert(0, str(Path(__file__).parents[2]))

from dedup.documents import finished
from fasttrain.comm.group import SoloGroup, world
from fasttrain.dedup import stage
from fasttrain.dedup.config import DedupConfig
from fasttrain.formats.stage import run_stage

folder, group, config = Path(sys.argv[1]), world(), DedupConfig(priority={"s2": 1})
rng = random.Random(3)
words = ["".join(rng.choices("abcdefgh", k=5)) for _ in range(2000)]
rows = []
for i in range(90):
    text = rng.choices(words, k=120)
    rows.append((f"s{i % 3}", f"o{i}", " ".join(text)))
    if i % 3 == 0:
        rows.append(("s1", f"x{i}", " ".join(text)))
    if i % 4 == 0:
        rows.append(("s2", f"n{i}", " ".join(["new", *text])))
if group.is_root:
    finished(folder / "in", rows, parts=5)
group.barrier()


def dedup(name, ranks):
    return run_stage(
        "dedup",
        folder=folder / name,
        config=config,
        inputs=[folder / "in"],
        world=ranks,
        body=lambda s: stage.run(s, config),
    )


together = dedup("together", group)
assert (together.report.kept, together.report.dropped) == (90, {"exact": 30, "near": 23}), together.report
if group.is_root:
    alone = dedup("alone", SoloGroup())
    assert alone.content_fingerprint == together.content_fingerprint
    assert alone.extra == together.extra
group.barrier()
