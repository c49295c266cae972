"""How often the guard would have flagged a step of clean runs, by threshold: python false_alarms.py RUN_FOLDER...

It reads loss and gradient norm of each step from metrics.jsonl; the runs must have been clean (nothing injected, no
divergence). Zero alarms in n steps bound the rate by 3 / n (95 %).
"""

import sys
from pathlib import Path

from fasttrain.monitor.guard import Guard, GuardConfig
from fasttrain.monitor.metrics import read_lines


def main(folders: list[str]) -> None:
    """Print a table."""
    runs = []
    for folder in folders:
        lines = read_lines(Path(folder) / "train" / "metrics.jsonl")
        runs.append([(line["loss"], line["grad_norm"]) for line in lines if "loss" in line and "event" not in line])
    total = sum(map(len, runs))
    print(f"{len(runs)} runs, {total:,} steps")
    for threshold in (4.0, 5.0, 6.0, 8.0, 10.0):
        flagged, highest = 0, 0.0
        for steps in runs:
            guard = Guard(GuardConfig(policy="skip", threshold=threshold))
            for loss, norm in steps:
                decision = guard.check(loss, norm)
                flagged += decision.action != "ok"
                highest = max(highest, decision.loss_z, decision.norm_z)
        print(f"threshold {threshold:>4}: {flagged} flagged, {flagged / total:.3%}; highest z {highest:.1f}")


if __name__ == "__main__":
    main(sys.argv[1:])
