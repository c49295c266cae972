"""How `fasttrain prepare` scales: seconds, rate and the fullest rank's peak memory by size of the input and by ranks.

    python benchmarks/prepare/scale.py runs/lake/prepare/corpus --megabytes 100 2000 --ranks 1 2 --work scratch

`--file-megabytes 500` puts the text into few large files, which the ranks read in pieces.
The text is that of bench_prepare.py (workload.py), from the corpus stage of a run of recipe lake or demo. Each run is a
process of its own, one thread and one core a rank. Memory is the largest resident size of one of its processes, mapped
files too.
"""

import argparse
import json
import os
import shutil
import sys
import time
from pathlib import Path

sys.path.insert(0, str(Path(__file__).parents[1]))

from prepare.bench_prepare import RECIPE, planted, write_items

from fasttrain.comm import launch
from prepare import workload


def measure(recipe: Path, out: Path, ranks: int, *, verbose: bool = False) -> tuple[float, int]:
    """(wall seconds, bytes of the fullest process) of one prepare, from nothing, on as many cores as ranks."""
    shutil.rmtree(out, ignore_errors=True)
    command = [sys.executable, "-m", "fasttrain", "prepare", str(recipe), "--out", str(out)]
    command += ["--verbose"] if verbose else []
    environment = {**os.environ, "OMP_NUM_THREADS": "1"}
    if ranks > 1:
        prefix, environment = launch.mpirun(ranks, cores=ranks)
        command = [*prefix, *command]
    cores = sorted(os.sched_getaffinity(0))
    os.sched_setaffinity(0, cores[-ranks:])  # the child's too: Arrow and the kernel would help one rank with the others
    start = time.perf_counter()
    child = os.posix_spawnp(command[0], command, environment)
    os.sched_setaffinity(0, cores)
    _, status, usage = os.wait4(child, 0)  # of this child and of what it has waited for, not of earlier ones
    if status:
        raise SystemExit(f"{' '.join(command)}: status {os.waitstatus_to_exitcode(status)}")
    return time.perf_counter() - start, usage.ru_maxrss * 1024


def stages(out: Path) -> dict[str, float]:
    """Seconds of each stage, its slowest rank."""
    paths = sorted((out / "prepare").glob("*/manifest.json"))
    return {path.parent.name: json.loads(path.read_text())["report"]["seconds"] for path in paths}


def main() -> None:
    """Print a row for each size and number of ranks."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("corpus", type=Path, help="The corpus stage of a run.")
    parser.add_argument("--megabytes", type=int, nargs="+", default=[100, 2000])
    parser.add_argument("--file-megabytes", type=int, default=8, help="Text in one file of the input.")
    parser.add_argument("--ranks", type=int, nargs="+", default=[1, 2])
    parser.add_argument("--verbose", action="store_true", help="Log what each rank did in each phase.")
    parser.add_argument("--rounds", type=int, default=1, help="Runs of each, a row for every one.")
    parser.add_argument("--work", type=Path, default=Path("scale"), help="A folder for the text and the runs.")
    args = parser.parse_args()
    texts = workload.english(args.corpus)
    args.work.mkdir(parents=True, exist_ok=True)
    items = write_items(args.work, planted(texts)[3]).resolve()
    print("megabytes  ranks  seconds   MB/s  peak of a process, MB  stages, s")
    for megabytes in args.megabytes:
        name = f"{megabytes}mb-of-{args.file_megabytes}"
        source = args.work / name
        if not source.is_dir():
            workload.write(source, workload.copies(texts), megabytes * 1_000_000, args.file_megabytes * 1_000_000)
        recipe = args.work / f"{name}.toml"
        recipe.write_text(RECIPE.format(source=source.resolve(), items=items))
        for _ in range(args.rounds):
            for ranks in args.ranks:
                out = args.work / "run"
                seconds, peak = measure(recipe, out, ranks, verbose=args.verbose)
                parts = " ".join(f"{name} {took:.1f}" for name, took in stages(out).items())
                rate = megabytes / seconds
                row = f"{megabytes:9}  {ranks:5}  {seconds:7.1f}  {rate:5.1f}  {peak / 1e6:21,.0f}  {parts}"
                print(row, flush=True)


if __name__ == "__main__":
    main()
