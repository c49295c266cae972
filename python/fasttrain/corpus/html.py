"""HTML to text (resiliparse, main content), in a process of its own: a page that hangs or crashes costs that page only.

The worker is `html_worker.py`. A request is a JSON line and the page; an answer is a JSON line and the text.
"""

import json
import os
import selectors
import subprocess
import sys
import time
from contextlib import suppress
from dataclasses import dataclass
from pathlib import Path
from types import TracebackType
from typing import Any

_WORKER = Path(__file__).with_name("html_worker.py")


@dataclass(frozen=True)
class Page:
    """What a page gave: its text, or a problem (not_html, encoding, extraction_timeout, extraction_crash)."""

    text: bytes = b""
    problem: str = ""
    detail: str = ""
    replaced: int = 0  # characters that could not be decoded


class Extractor:
    """Extracts one page after the other; the worker starts with the first and is started anew after a failure."""

    def __init__(self, timeout_s: float, max_invalid_fraction: float) -> None:
        self._timeout_s, self._max_invalid = timeout_s, max_invalid_fraction
        self._worker: subprocess.Popen[bytes] | None = None

    def __enter__(self) -> "Extractor":
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.close()

    def extract(self, page: bytes, *, charset: str) -> Page:
        """Main text of an HTML page; `charset` is what its HTTP header says, "" when nothing."""
        worker = self._worker or self._start()
        assert worker.stdin is not None
        request = {"size": len(page), "charset": charset, "max_invalid": self._max_invalid}
        try:
            worker.stdin.write(json.dumps(request).encode() + b"\n" + page)
            worker.stdin.flush()
            head = json.loads(self._read_line(worker))
            text = self._read(worker, head.pop("size"))
        except TimeoutError:
            self._kill()
            return Page(problem="extraction_timeout", detail=f"longer than {self._timeout_s} s")
        except (OSError, EOFError):
            status = self._kill()
            return Page(problem="extraction_crash", detail=f"the extractor ended with status {status}")
        return Page(text=text, **head)

    def close(self) -> None:
        """End the worker."""
        if self._worker is not None:
            assert self._worker.stdin is not None
            assert self._worker.stdout is not None
            self._worker.stdin.close()
            self._worker.wait()
            self._worker.stdout.close()
            self._worker = None

    def _start(self) -> subprocess.Popen[bytes]:
        # -P: its folder, which holds html.py, must not come before the standard library.
        command = [sys.executable, "-P", str(_WORKER)]
        self._worker = subprocess.Popen(command, stdin=subprocess.PIPE, stdout=subprocess.PIPE)
        self._pending = b""
        return self._worker

    def _kill(self) -> int:
        worker, self._worker = self._worker, None
        assert worker is not None
        assert worker.stdin is not None
        assert worker.stdout is not None
        worker.kill()
        status = worker.wait()
        worker.stdout.close()
        with suppress(BrokenPipeError):  # of what was still in its buffer
            worker.stdin.close()
        return status

    def _fill(self, worker: subprocess.Popen[bytes], deadline: float) -> None:
        assert worker.stdout is not None
        with selectors.DefaultSelector() as selector:
            selector.register(worker.stdout, selectors.EVENT_READ)
            if not selector.select(max(0.0, deadline - time.monotonic())):
                raise TimeoutError
        piece = os.read(worker.stdout.fileno(), 1 << 20)
        if not piece:
            raise EOFError
        self._pending += piece

    def _read_line(self, worker: subprocess.Popen[bytes]) -> bytes:
        deadline = time.monotonic() + self._timeout_s
        while b"\n" not in self._pending:
            self._fill(worker, deadline)
        line, _, self._pending = self._pending.partition(b"\n")
        return line

    def _read(self, worker: subprocess.Popen[bytes], size: Any) -> bytes:
        deadline = time.monotonic() + self._timeout_s
        while len(self._pending) < size:
            self._fill(worker, deadline)
        text, self._pending = self._pending[:size], self._pending[size:]
        return text
