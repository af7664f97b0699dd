"""How many images of a size fit into memory, from a short profile at start-up; pure of torch.

A call of n images takes `fixed + n * per_image` bytes above what the model itself holds. `per_image` grows with the
pixels to a power between 1 and 2, measured between two sizes: convolutions grow linearly, plain attention does not.
"""

import ctypes
import math
from collections.abc import Callable
from contextlib import suppress
from dataclasses import dataclass
from pathlib import Path
from typing import Protocol

from serve_app.batching import BatchKey, Caps

SHARE = 0.9  # of what is free: the rest is for fragments and for what others take meanwhile
LEAST_PER_PIXEL = 64  # bytes; below it a measurement is noise


class Memory(Protocol):
    """The memory that pipeline calls take from."""

    def free(self) -> int:
        """Bytes that calls may take now."""

    def peak(self, call: Callable[[], object]) -> int:
        """The most bytes that a call held at one time, above what was held before."""


@dataclass(frozen=True)
class Fit:
    """What fits: bytes, with `per_image` measured at `pixels`."""

    budget: int
    fixed: int
    per_image: int
    pixels: int
    exponent: float = 1.0

    def images(self, pixels: int) -> int:
        """How many images of so many pixels one call may have; 0: not even one fits."""
        # Smaller images are taken to shrink only linearly: the measured growth is used where it is the careful side.
        power = self.exponent if pixels > self.pixels else 1.0
        return max(0, int((self.budget - self.fixed) / (self.per_image * (pixels / self.pixels) ** power)))

    def most_pixels(self) -> int:
        """The largest single image that fits."""
        room = max(0.0, (self.budget - self.fixed) / self.per_image)
        return int(self.pixels * room ** (1 / self.exponent if room > 1 else 1.0))


def fit(budget: int, one: int, two: int, other: tuple[int, int] | None, pixels: int) -> Fit:
    """The fit from the peaks of one and of two images of `pixels`, and of one of another size (pixels, peak)."""
    per_image = max(two - one, LEAST_PER_PIXEL * pixels)
    fixed = max(0, one - per_image)
    exponent = 1.0
    if other is not None and other[0] != pixels and other[1] > fixed:
        growth = math.log(per_image / (other[1] - fixed)) / math.log(pixels / other[0])
        exponent = min(2.0, max(1.0, growth))
    return Fit(budget, fixed, per_image, pixels, exponent)


class MeasuredCaps(Caps):
    """The configured caps, lowered where memory holds fewer images."""

    def __init__(self, configured: int, default_pixels: int, measured: Fit) -> None:
        super().__init__(configured, default_pixels)
        self._fit = measured

    def of(self, key: BatchKey) -> int:
        """How many images of this size one call may have; at least 1."""
        return max(1, min(super().of(key), self._fit.images(key.width * key.height)))


class HostMemory:
    """This process's memory within its container's limit and the machine's; Linux only."""

    def __init__(self, limit: int | None = None, proc: Path = Path("/proc"), cgroup: Path = Path("/sys/fs/cgroup")):
        self._limit = limit
        self._proc = proc
        self._cgroup = cgroup

    def free(self) -> int:
        """What the machine has available, what the container's limit leaves, and what a configured limit leaves."""
        found = [_field(self._proc / "meminfo", "MemAvailable:") * 1024]
        for limit, used in (("memory.max", "memory.current"), (V1_LIMIT, V1_USED)):
            with suppress(OSError, ValueError):  # no such file, or "max": not limited there
                most = int((self._cgroup / limit).read_text(encoding="ascii"))
                taken = int((self._cgroup / used).read_text(encoding="ascii"))
                found.append(most - taken + self._reclaimable((self._cgroup / limit).parent))
        if self._limit is not None:
            found.append(self._limit - self._status("VmRSS:"))
        return max(0, min(found))

    def peak(self, call: Callable[[], object]) -> int:
        """By the kernel's high-water mark of this process, which is set back before; raises OSError without it."""
        with suppress(OSError, AttributeError):  # other C libraries have no such function
            ctypes.CDLL(None).malloc_trim(0)  # else the call would reuse pages that earlier ones left behind
        (self._proc / "self" / "clear_refs").write_text("5", encoding="ascii")
        before = self._status("VmRSS:")
        call()
        return max(0, self._status("VmHWM:") - before)

    def _status(self, name: str) -> int:
        return _field(self._proc / "self" / "status", name) * 1024

    def _reclaimable(self, folder: Path) -> int:
        """Page cache that the kernel gives back before it refuses memory."""
        with suppress(OSError):
            return _field(folder / "memory.stat", "inactive_file")
        return 0


V1_LIMIT = "memory/memory.limit_in_bytes"
V1_USED = "memory/memory.usage_in_bytes"


def _field(path: Path, name: str) -> int:
    """The number after a name in one of the kernel's tables; raises OSError when it is not there."""
    for line in path.read_text(encoding="ascii").splitlines():
        words = line.split()
        if words and words[0] == name:
            return int(words[1])
    raise OSError(f"{path} has no {name}")
