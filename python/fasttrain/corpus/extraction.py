"""Text of HTML pages, PDF files and wikitext, in a process of its own: what hangs or crashes costs that document only.

The worker is `extraction_worker.py`. A request is a JSON line and the document, an answer a JSON line and the text. The
libraries behind PDF and wikitext are extras; `missing` says at the planning of a source which one is to be installed.
"""

import importlib.util
import json
import os
import selectors
import subprocess
import sys
import time
from collections import Counter
from contextlib import suppress
from dataclasses import dataclass, field
from pathlib import Path
from types import TracebackType
from typing import Any

from fasttrain.core.errors import ConfigError

_WORKER = Path(__file__).with_name("extraction_worker.py")
_NEEDS = {
    "pdf": ("pypdfium2", "pdf"),
    "wikitext": ("mwparserfromhell", "wiki"),
}  # kind of file: (library, extra of pyproject.toml)


def missing(kind: str) -> str:
    """What must be installed before files of this kind can be read (`fasttrain[pdf]`); "" when nothing."""
    library, _ = _NEEDS.get(kind, ("", ""))
    return _extra(kind) if library and importlib.util.find_spec(library) is None else ""


def _extra(kind: str) -> str:
    return f"fasttrain[{_NEEDS[kind][1]}]" if kind in _NEEDS else "fasttrain"


@dataclass(frozen=True)
class Extracted:
    """What a document gave: its text, or a problem (extraction_timeout, extraction_crash, those of each format)."""

    text: bytes = b""
    problem: str = ""
    detail: str = ""
    replaced: int = 0  # characters that could not be decoded
    counts: dict[str, int] = field(default_factory=dict)  # what else is to be counted, by name
    meta: dict[str, Any] = field(default_factory=dict)  # what the document says of itself

    def count(self, counts: Counter[str]) -> None:
        """Add what happened on the way to a reader's counts."""
        counts["repaired_texts"] += bool(self.replaced)
        counts["replaced_characters"] += self.replaced
        counts.update(self.counts)


class Extractor:
    """Extracts one document after the other; the worker starts with the first and is started anew after a failure."""

    def __init__(self, timeout_s: float, max_invalid_fraction: float) -> None:
        self._timeout_s, self._max_invalid = timeout_s, max_invalid_fraction
        self._worker: subprocess.Popen[bytes] | None = None

    def __enter__(self) -> "Extractor":
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.close()

    def html(self, page: bytes, *, charset: str) -> Extracted:
        """Main text of an HTML page; `charset` is what its HTTP header says, "" when nothing."""
        return self._ask("html", page, charset=charset, max_invalid=self._max_invalid)

    def pdf(self, file: bytes, *, max_bytes: int) -> Extracted:
        """Text of a PDF's pages, no more than `max_bytes`; needs the extra `pdf`."""
        return self._ask("pdf", file, max_bytes=max_bytes, max_invalid=self._max_invalid)

    def wikitext(self, page: bytes, *, dropped: list[str]) -> Extracted:
        """Text of a wiki's page, without links into the namespaces of `dropped`; needs the extra `wiki`."""
        return self._ask("wikitext", page, dropped=dropped)

    def _ask(self, kind: str, document: bytes, **options: Any) -> Extracted:
        worker = self._worker or self._start()
        assert worker.stdin is not None
        request = {"kind": kind, "size": len(document), "options": options}
        try:
            worker.stdin.write(json.dumps(request).encode() + b"\n" + document)
            worker.stdin.flush()
            head = json.loads(self._read_line(worker))
            text = self._read(worker, head.pop("size"))
        except TimeoutError:
            self._kill()
            return Extracted(problem="extraction_timeout", detail=f"longer than {self._timeout_s} s")
        except (OSError, EOFError):
            status = self._kill()
            return Extracted(problem="extraction_crash", detail=f"the extractor ended with status {status}")
        if "missing" in head:  # planned by a rank that has the extra
            raise ConfigError(
                f"corpus: the library that reads {kind} must be there on every rank, got {head['missing']!r}; "
                f"pip install {_extra(kind)!r}"
            )
        return Extracted(text=text, **head)

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
        # -P: its folder, which holds files like mail.py, must not come before the standard library.
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
