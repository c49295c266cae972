"""The passages stage on these ranks writes what one process writes. Argument: an empty folder."""

import random
import sys
from pathlib import Path

sys.path.insert(0, str(Path(__file__).parents[2]))

from dedup.documents import finished
from fasttrain.comm.group import SoloGroup, world
from fasttrain.dedup import passages
from fasttrain.dedup.passages_config import FuzzyPassages, PassagesConfig
from fasttrain.formats.stage import run_stage

folder, group = Path(sys.argv[1]), world()
config = PassagesConfig(
    lines=True,
    paragraphs=True,
    substring=True,
    line_documents=3,
    min_bytes=60,
    fuzzy=FuzzyPassages(),
    scope="global",
    priority={"s1": 1},
)
rng = random.Random(3)
words = ["".join(rng.choices("abcdefgh", k=5)) for _ in range(2000)]
shared = [" ".join(rng.choices(words, k=40)) for _ in range(4)]
rows = []
for i in range(80):
    own = [" ".join(rng.choices(words, k=60)) for _ in range(2)]
    rows.append(
        (
            f"s{i % 3}",
            f"https://h{i % 5}.example/{i}",
            f"Menu of this site\n\n{own[0]} {shared[i % 4]} {own[1]}\n\n{shared[i % 3]} {i}",
        )
    )
if group.is_root:
    finished(folder / "in", rows, parts=5)
group.barrier()


def cut(name, ranks):
    return run_stage(
        "passages",
        folder=folder / name,
        config=config,
        inputs=[folder / "in"],
        world=ranks,
        body=lambda s: passages.run(s, config),
    )


together = cut("together", group)
assert together.report.kept == 80, together.report
assert together.report.counts["edited"] >= 76, together.report
assert together.extra["fuzzy"]["cuts"] == 77, together.extra["fuzzy"]
if group.is_root:
    alone = cut("alone", SoloGroup())
    assert alone.content_fingerprint == together.content_fingerprint
    assert alone.extra == together.extra
group.barrier()
