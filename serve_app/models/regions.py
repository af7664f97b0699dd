"""Connected regions of a mask."""

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

Mask = NDArray[np.bool_]


@dataclass(frozen=True)
class Region:
    """The pixels of one connected region, as a mask of the whole picture."""

    pixels: Mask

    @property
    def area(self) -> int:
        return int(self.pixels.sum())

    def bounds(self) -> tuple[int, int, int, int]:
        """Left, top, right, bottom in pixels; right and bottom are just outside."""
        rows, columns = np.flatnonzero(self.pixels.any(1)), np.flatnonzero(self.pixels.any(0))
        return int(columns[0]), int(rows[0]), int(columns[-1]) + 1, int(rows[-1]) + 1

    def box(self) -> Mask:
        """The region cut out by its bounds."""
        left, top, right, bottom = self.bounds()
        return self.pixels[top:bottom, left:right]

    def inner(self) -> Mask:
        """The region without its rim, whose colours are mixed; the whole region where it is all rim."""
        padded = np.pad(self.pixels, 1)
        kept = padded[:-2, 1:-1] & padded[2:, 1:-1] & padded[1:-1, :-2] & padded[1:-1, 2:] & self.pixels
        return kept if kept.any() else self.pixels


def largest_regions(mask: Mask, min_area: int, count: int) -> list[Region]:
    """The largest 4-connected regions of at least `min_area` pixels, largest first."""
    labels = _labels(mask)
    areas = np.bincount(labels[mask]) if mask.any() else np.zeros(1, int)
    order = [int(label) for label in np.argsort(-areas, kind="stable") if areas[label] >= max(min_area, 1)]
    return [Region(mask & (labels == label)) for label in order[:count]]


def _labels(mask: Mask) -> NDArray[np.intp]:
    """A label for every pixel, equal within a region: the smallest index spreads along runs of rows and columns."""
    labels = np.arange(mask.size).reshape(mask.shape)
    while True:
        spread = labels
        for turned in (False, True):
            spread = _spread_rows(spread.T, mask.T).T if turned else _spread_rows(spread, mask)
        if np.array_equal(spread, labels):
            return labels
        labels = spread


def _spread_rows(labels: NDArray[np.intp], mask: Mask) -> NDArray[np.intp]:
    """Give every horizontal run of the mask the smallest label in it."""
    starts = np.ones_like(mask)
    starts[:, 1:] = mask[:, 1:] != mask[:, :-1]
    run = np.cumsum(starts.ravel()) - 1
    smallest = np.minimum.reduceat(labels.ravel(), np.flatnonzero(starts.ravel()))
    return np.where(mask, smallest[run].reshape(mask.shape), labels)
