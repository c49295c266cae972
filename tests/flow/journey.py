"""Run the journey in processes of its own, whole or killed at a moment, and read what it left."""

import hashlib
import os
import random
import signal
import subprocess
import sys
import time
from pathlib import Path

import psutil

from fasttrain.comm.launch import mpirun
from fasttrain.formats import atomic

RECIPE = Path(__file__).parent / "tiny.toml"


def command(ranks, *arguments):
    argv = [sys.executable, "-m", "fasttrain", *arguments]
    if ranks == 1:
        return argv, {**os.environ, "OMP_NUM_THREADS": "1"}
    prefix, env = mpirun(ranks)
    return [*prefix, *argv], env


def run(folder, *, ranks=2, options=(), timeout=240):
    """The journey to its end; returns the finished process, whose status the caller judges."""
    return fasttrain("run", str(RECIPE), "--out", str(folder), *options, ranks=ranks, timeout=timeout)


def fasttrain(*arguments, ranks=2, timeout=240):
    """A command on so many ranks, to its end."""
    argv, env = command(ranks, *arguments)
    return subprocess.run(argv, env=env, capture_output=True, text=True, timeout=timeout)


def run_and_kill(folder, moment, *, ranks=2, options=()):
    """Start the journey and SIGKILL every process of it once `moment(folder)` is true. Returns whether it was alive."""
    argv, env = command(ranks, "run", str(RECIPE), "--out", str(folder), *options)
    process = subprocess.Popen(argv, env=env, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL)
    try:
        while process.poll() is None and not moment(folder):
            time.sleep(0.005)
        alive = process.poll() is None
        if alive:
            victims = [psutil.Process(process.pid), *psutil.Process(process.pid).children(recursive=True)]
            random.shuffle(victims)
            for victim in victims:
                try:
                    victim.send_signal(signal.SIGKILL)
                except psutil.NoSuchProcess:
                    continue
        return alive
    finally:
        process.wait()


def shard_bytes(folder):
    """sha256 of every token shard file, by path."""
    files = sorted((folder / "prepare/shards").rglob("*.bin"))
    return {f.relative_to(folder).as_posix(): hashlib.sha256(f.read_bytes()).hexdigest() for f in files}


def final_weights(folder):
    """sha256 of the newest checkpoint's tensor files, by name."""
    newest = sorted((folder / "train/checkpoints").glob("step-*/manifest.json"))[-1].parent
    return newest.name, {f.name: atomic.sha256(f) for f in sorted(newest.glob("*.safetensors"))}
