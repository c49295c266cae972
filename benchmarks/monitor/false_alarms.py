"""How often the guard flags steps of clean runs: python false_alarms.py RUN_FOLDER...

It judges loss and gradient norm of each step in metrics.jsonl again, by the defaults; the runs must have been clean
(nothing injected, no divergence, policy log, so that nothing was left out). Folders that differ in a last `.number` are
one row. Zero alarms in n steps bound the rate by 3 / n (95 %). The rate at the threshold is also estimated from the
largest values that were seen, as if z fell exponentially above the 300th, 100th and 30th of them: where the manners
differ in their tails, the estimate from fewer values follows the heaviest.
"""

import re
import sys
from collections import defaultdict
from math import exp
from pathlib import Path
from statistics import mean, median

from fasttrain.monitor.guard import Guard, GuardConfig
from fasttrain.monitor.metrics import read_lines

Z = tuple[float, float, float]  # of the loss, of the norm, norm over the median of those before


def judge(folder: Path) -> list[Z]:
    """What the default guard says of each step of a run."""
    guard, norms, found = Guard(GuardConfig(policy="log")), list[float](), list[Z]()
    for line in read_lines(folder / "train" / "metrics.jsonl"):
        if "loss" in line and "event" not in line:
            decision = guard.check(line["loss"], line["grad_norm"])
            before = norms[-guard.config.window :]
            ratio = line["grad_norm"] / median(before) if len(before) >= guard.config.warmup_steps else 0.0
            found.append((decision.loss_z, decision.norm_z, ratio))
            norms.append(line["grad_norm"])
    return found


def row(name: str, runs: int, zs: list[Z]) -> str:
    """One line of the table."""
    threshold = GuardConfig().threshold
    loss, norm, ratio = (max(column) for column in zip(*zs))
    alarms = sum(max(z[:2]) > threshold for z in zs)
    return f"| {name} | {runs} | {len(zs):,} | {loss:.1f} | {norm:.1f} | {ratio:.1f} | {alarms} |"


def tail(name: str, values: list[float]) -> str:
    """Steps above each z, and the rate at the threshold by an exponential tail."""
    threshold, ordered = GuardConfig().threshold, sorted(values, reverse=True)
    counts = ", ".join(f"{sum(v > t for v in ordered)} above {t}" for t in range(3, 9))
    text = f"{name}: {counts}"
    for place in (30, 100, 300):
        if len(ordered) > place:
            edge = ordered[place]
            excess = mean(v - edge for v in ordered[:place])
            rate = place / len(ordered) * exp((edge - threshold) / excess)
            text += f"; from the {place} largest (above {edge:.2f}, mean excess {excess:.2f}): {rate:.1e} a step"
    return text


def main(folders: list[str]) -> None:
    """Print the table."""
    groups = defaultdict[str, list[list[Z]]](list)
    for folder in map(Path, folders):
        groups[re.sub(r"\.\d+$", "", folder.name)].append(judge(folder))
    print("| runs of | runs | steps | highest z of the loss | of the norm | norm over median | alarms |")
    print("|---|---|---|---|---|---|---|")
    every = [z for runs in groups.values() for zs in runs for z in zs]
    for name, runs in sorted(groups.items()):
        print(row(name, len(runs), [z for zs in runs for z in zs]))
    print(row("all", len(folders), every))
    for i, name in enumerate(("loss", "norm")):
        print(tail(name, [z[i] for z in every]))


if __name__ == "__main__":
    main(sys.argv[1:])
