"""The command line in this process, for what needs none of its own: Python and torch take seconds to start."""

import contextlib
import io
import subprocess
import sys

from fasttrain.cli.app import main


def fasttrain(*arguments):
    """`fasttrain ARGUMENTS` to its end, as `subprocess.run` gives it."""
    out, err, before = io.StringIO(), io.StringIO(), sys.argv
    sys.argv = ["fasttrain", *map(str, arguments)]
    try:
        with contextlib.redirect_stdout(out), contextlib.redirect_stderr(err):
            main()
    except SystemExit as stop:
        return subprocess.CompletedProcess(sys.argv, stop.code, out.getvalue(), err.getvalue())
    finally:
        sys.argv = before
