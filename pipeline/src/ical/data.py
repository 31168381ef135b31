"""The visibilities of a partition as a worker holds them: read once, kept while memory allows.

A task is a pure function of its partition; this cache only saves reading again what the same
process read in the cycle before, up to `CACHE_BYTES`.
"""

from __future__ import annotations

import os
import threading
from collections import OrderedDict
from dataclasses import dataclass

import numpy as np

CACHE_BYTES = 400_000_000


@dataclass(frozen=True)
class PartitionData:
    """Stokes I of one partition; conventions and axis order as in `arl.conventions`.

    Attributes
    ----------
    time: UTC seconds, shape (time,). frequency: Hz, shape (chan,).
    uvw: metres, shape (time, baseline, 3). antenna1, antenna2: shape (baseline,).
    vis: complex64, weight: float32, both (time, baseline, chan); weight 0 is flagged.
    correlations: of two receptors (time, baseline, chan, 2, 2), where they were kept. products: how
        many of them are in the store.
    """

    time: np.ndarray
    frequency: np.ndarray
    uvw: np.ndarray
    vis: np.ndarray
    weight: np.ndarray
    antenna1: np.ndarray
    antenna2: np.ndarray
    antenna_names: tuple[str, ...]
    phase_centre: tuple[float, float]
    correlations: np.ndarray | None = None
    products: int = 1

    @property
    def nbytes(self) -> int:
        """Bytes of the large arrays."""
        kept = self.correlations.nbytes if self.correlations is not None else 0
        return self.uvw.nbytes + self.vis.nbytes + self.weight.nbytes + kept


class ByteCache:
    """A least-recently-used cache bounded by bytes, safe between threads."""

    def __init__(self, limit: int) -> None:
        self._limit = limit
        self._items: OrderedDict[tuple, object] = OrderedDict()
        self._bytes: dict[tuple, int] = {}
        self._lock = threading.Lock()

    def get(self, key: tuple) -> object | None:
        """The item, now the most recently used one, or None."""
        with self._lock:
            if key in self._items:
                self._items.move_to_end(key)
            return self._items.get(key)

    def put(self, key: tuple, item: object, size: int) -> None:
        """Keep an item of `size` bytes, dropping the least recently used ones to make room."""
        with self._lock:
            self._items[key] = item
            self._bytes[key] = size
            while sum(self._bytes.values()) > self._limit and self._items:
                oldest, _ = self._items.popitem(last=False)
                del self._bytes[oldest]


_cache = ByteCache(CACHE_BYTES)


def load(path: str, column: str) -> PartitionData:
    """Read a partition's column as Stokes I, or take it from this process's cache."""
    key = (path, column, _written(path, column))
    cached = _cache.get(key)
    if isinstance(cached, PartitionData):
        return cached
    data = _read(path, column)
    _cache.put(key, data, data.nbytes)
    return data


def _written(path: str, column: str) -> tuple[int, int]:
    """What tells a column from another that takes its place: workers outlive runs and stages."""
    try:
        status = os.stat(os.path.join(path, column, "zarr.json"))
    except FileNotFoundError:  # whoever reads it will tell
        return 0, 0
    return status.st_ino, status.st_mtime_ns


def _read(path: str, column: str) -> PartitionData:
    from arl.io.zarr import read_dataset
    from arl.visibility import antennas, receptors, stokes_i

    dataset = read_dataset(path)
    vis, weight = stokes_i(dataset, column)
    antenna1, antenna2, names = antennas(dataset)
    return PartitionData(
        np.asarray(dataset["time"].values, float), np.asarray(dataset["frequency"].values, float),
        np.asarray(dataset["UVW"].values, float), vis, weight, antenna1, antenna2, tuple(names),
        tuple(dataset.attrs["phase_centre_rad"]), receptors(dataset, column),
        dataset.sizes["polarization"],
    )
