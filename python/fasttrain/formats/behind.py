"""What runs behind the work: the end of one part (its last rows compressed, the disk waited for) beside the next."""

from collections.abc import Callable
from concurrent.futures import Future, ThreadPoolExecutor
from types import TracebackType


class Behind:
    """Runs one call at a time in a thread of its own, while the caller goes on."""

    def __init__(self) -> None:
        self._pool = ThreadPoolExecutor(1)
        self._running: Future[None] | None = None

    def __enter__(self) -> "Behind":
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self._pool.shutdown()

    def begin(self, call: Callable[[], None]) -> None:
        """Start a call when the one before has ended. Raises what that one raised."""
        self.wait()
        self._running = self._pool.submit(call)

    def wait(self) -> None:
        """Wait for the running call. Raises what it raised."""
        if self._running is not None:
            running, self._running = self._running, None
            running.result()
