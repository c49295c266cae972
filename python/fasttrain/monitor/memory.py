"""The most memory that a rank has held since a moment, also between two looks at it."""

from pathlib import Path

import torch

from fasttrain.monitor.throughput import memory_bytes

_CLEAR, _STATUS = Path("/proc/self/clear_refs"), Path("/proc/self/status")
_RESET_PEAK = "5"  # proc(5): the peak of the resident set begins again at what is resident now


class PeakMemory:
    """Since it was made: what the card's allocator gave at most, or what was resident of the process at most.

    Linux keeps the latter ("VmHWM"), and begins anew when it is told to; where it cannot be told so, in a container
    that forbids it or on another system, only what is resident at each look counts.
    """

    def __init__(self, device: torch.device) -> None:
        self._device, self._most = device, 0
        self._is_kept = device.type == "cpu" and _reset()

    def look(self) -> int:
        """Bytes."""
        kept = _high_water() if self._is_kept else 0
        self._most = max(self._most, memory_bytes(self._device), kept)
        return self._most


def _reset() -> bool:
    try:
        _CLEAR.write_text(_RESET_PEAK)
    except OSError:
        return False
    return True


def _high_water() -> int:
    line = next((line for line in _STATUS.read_text().splitlines() if line.startswith("VmHWM:")), "VmHWM: 0 kB")
    return int(line.split()[1]) << 10
