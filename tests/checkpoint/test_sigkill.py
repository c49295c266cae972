"""SIGKILL at every moment of a save: a real one, of a real process."""

import os
import re
import subprocess
import sys
from pathlib import Path

import fasttrain


def test_sigkill_at_every_moment_of_a_save_leaves_a_whole_checkpoint(tmp_path):
    job = Path(__file__).with_name("killed_saves.py")
    env = {**os.environ, "PYTHONPATH": str(Path(fasttrain.__file__).parents[1]), "OMP_NUM_THREADS": "1"}
    done = subprocess.run([sys.executable, str(job), str(tmp_path)], env=env, capture_output=True, text=True)
    assert done.returncode == 0, done.stderr[-4000:]
    moments = [int(n) for n in re.findall(r"killed at (\d+) moments", done.stdout)]
    assert len(moments) == 4
    assert min(moments) > 12, "the disk was changed more often than that"
