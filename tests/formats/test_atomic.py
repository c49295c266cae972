import errno
import os

import pytest

from fasttrain.core.errors import FormatError
from fasttrain.formats import atomic


def test_a_failed_write_leaves_the_old_file_and_no_rubbish(tmp_path):
    path = tmp_path / "a.json"
    atomic.write_json(path, {"x": 1})
    with pytest.raises(RuntimeError, match="stop"), atomic.replacing(path) as temporary:
        temporary.write_text("half")
        raise RuntimeError("stop")
    assert atomic.read_json(path) == {"x": 1}
    assert os.listdir(tmp_path) == ["a.json"]


@pytest.mark.parametrize("code", [errno.ENOSPC, errno.EDQUOT, errno.EFBIG])
def test_a_full_disk_is_named_and_nothing_is_taken_as_finished(tmp_path, code):
    path = tmp_path / "a.bin"
    with pytest.raises(FormatError, match=r"a.bin: cannot be written: .*; free space and start again"):
        with atomic.replacing(path) as temporary:
            temporary.write_bytes(b"half")
            raise OSError(code, os.strerror(code))
    assert os.listdir(tmp_path) == []


def test_a_real_file_size_limit_is_a_full_disk(tmp_path):
    """The kernel itself refuses the bytes (RLIMIT_FSIZE), as a full disk would."""
    import subprocess
    import sys

    code = f"""
import resource, signal
from pathlib import Path
from fasttrain.formats import atomic
signal.signal(signal.SIGXFSZ, signal.SIG_IGN)
resource.setrlimit(resource.RLIMIT_FSIZE, (4096, 4096))
try:
    atomic.write_bytes(Path({str(tmp_path)!r}) / "big.bin", bytes(1 << 20))
except Exception as error:
    print(type(error).__name__, error)
"""
    out = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True).stdout
    assert out.startswith("FormatError")
    assert "free space and start again" in out
    assert os.listdir(tmp_path) == []


def test_json_errors_name_the_file(tmp_path):
    with pytest.raises(FormatError, match="no such file"):
        atomic.read_json(tmp_path / "none.json")
    (tmp_path / "bad.json").write_text("{")
    with pytest.raises(FormatError, match=r"bad.json: not valid JSON .*; remove it"):
        atomic.read_json(tmp_path / "bad.json")
