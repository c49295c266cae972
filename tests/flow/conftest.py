import time

import pytest

from flow import journey


@pytest.fixture(scope="session")
def unbroken(tmp_path_factory):
    folder = tmp_path_factory.mktemp("flow") / "unbroken"
    start = time.monotonic()
    done = journey.run(folder)
    assert done.returncode == 0, done.stderr[-4000:]
    return folder, done, time.monotonic() - start
