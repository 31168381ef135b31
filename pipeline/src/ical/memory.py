"""The memory model: peak bytes of a worker and of the driver, from the sizes of a run.

The constants were measured on each kind of task alone (peak resident size of its process).
"""

from __future__ import annotations

import math
from typing import TYPE_CHECKING

from ical.data import CACHE_BYTES
from ical.partitions import ADDED_AT_ONCE

if TYPE_CHECKING:
    from ical.forecast import Sizes

#: A worker, and the driver with the scheduler, before they hold any data.
WORKER_BASE, DRIVER_BASE = 230e6, 260e6
#: A visibility while a task works on it (simulated, or predicted, corrected and gridded), besides
#: what the worker keeps of it; with two receptors, whose matrices are corrected, more.
VISIBILITY_BYTES, RECEPTOR_BYTES = 36, 250
#: A visibility while it is read from a Measurement Set: four correlations, flags and weights.
READ_VISIBILITY_BYTES = 130
#: What a worker keeps of a visibility that it has read, and of the correlations of receptors; and
#: of a baseline at a time.
KEPT_VISIBILITY_BYTES, KEPT_RECEPTOR_BYTES, UVW_BYTES = 12, 32, 24
#: A pair of stations in the normal matrices of one solution, and that of two receptors.
MATRIX_BYTES, RECEPTOR_MATRIX_BYTES = 16 + 8, 4 * 16 + 8
#: A gridder call, per pixel: padded complex grid, image and model.
GRID_PIXEL_BYTES = 40
#: A density grid of uniform and Briggs weights, per uv cell.
DENSITY_BYTES = 8
#: Images that tasks leave until they are added up, per pixel; a pass leaves two. The sums.
LEFT_PIXEL_BYTES, SUM_PIXEL_BYTES = 2 * 4, 2 * 8
#: The minor loop per pixel; per pixel and band; and per pixel, band and scale where there are
#: several.
CLEAN_PIXEL_BYTES, CLEAN_BAND_BYTES, CLEAN_SCALE_BYTES = 40, 46, 4
#: The driver, per pixel and band: dirty, psf, model, residual and restored images, those of two
#: trials, and what is on its way to a worker.
DRIVER_PIXEL_BYTES = 90
#: Gains of the driver, each one complex number: sent with tasks, which the scheduler holds too; as
#: one term's are written, those of partitions, put together, and as a table with flags; compared
#: with injected ones. A solution's signal-to-noise.
GAIN_BYTES, SENT_GAIN_BYTES, WRITTEN_GAIN_BYTES, COMPARED_GAIN_BYTES = 16, 2 * 16, 3 * 16 + 1, 122
SNR_BYTES = 8


def worker_memory(sizes: Sizes) -> int:
    """Peak bytes of a worker.

    Any worker of a host may be given any of its partitions, and keeps it while there is room.
    """
    most = max(_at_work(sizes), _reading(sizes))
    spanning = _spanning(sizes) * (1 + 2 / sizes.bands)  # of all bands; of one, and what is added
    left = max(_left(sizes), _grids_left(sizes))
    return round(WORKER_BASE + min(CACHE_BYTES, _kept(sizes)) + most + left + spanning
                 + sizes.grids * _grid_bytes(sizes))


def driver_memory(sizes: Sizes) -> int:
    """Peak bytes of the process that leads the run and cleans, with the scheduler in it."""
    return round(DRIVER_BASE + sizes.npixel**2 * sizes.bands * DRIVER_PIXEL_BYTES
                 + _cleaning(sizes) + _gains(sizes)
                 + _spanning(sizes) * (2 + (sizes.terms > 1)))  # of bands, of all, and corrected


def gain_numbers(sizes: Sizes) -> int:
    """Complex numbers in the gains of one term at every time and channel, at most: of two receptors
    each is a matrix."""
    if not sizes.selfcal:
        return 0
    return sizes.times * sizes.stations * sizes.channels * (4 if sizes.receptors else 1)


def _gains(sizes: Sizes) -> int:
    """Solutions of all terms at the finest interval, and what is made of them at the end."""
    most = max(sizes.terms * SENT_GAIN_BYTES, WRITTEN_GAIN_BYTES,
               COMPARED_GAIN_BYTES if sizes.components else 0)
    return gain_numbers(sizes) * (sizes.terms * (GAIN_BYTES + SNR_BYTES) + most)


def _kept(sizes: Sizes) -> int:
    """What the cache would hold of all partitions."""
    each = KEPT_VISIBILITY_BYTES + (KEPT_RECEPTOR_BYTES if sizes.receptors else 0)
    return (sizes.visibilities * each
            + sizes.times * sizes.baselines * sizes.bands * UVW_BYTES)


def _at_work(sizes: Sizes) -> int:
    each = RECEPTOR_BYTES if sizes.receptors else VISIBILITY_BYTES
    return (sizes.partition_visibilities * each + _matrices(sizes)
            + sizes.npixel**2 * GRID_PIXEL_BYTES)


def _left(sizes: Sizes) -> int:
    """Images that wait in a worker; a band's only one is sent away at once."""
    waiting = math.ceil(sizes.partitions / sizes.bands)
    if waiting == 1:
        return 0
    each = (min(waiting, ADDED_AT_ONCE) + 1) * LEFT_PIXEL_BYTES + SUM_PIXEL_BYTES
    return sizes.npixel**2 * each


def _grid_bytes(sizes: Sizes) -> int:
    """A density grid, of which a worker comes to hold those of all bands: it works on any."""
    return sizes.grid_npixel**2 * DENSITY_BYTES


def _grids_left(sizes: Sizes) -> int:
    """Density grids that wait to be added, and their sum so far: before there are any images."""
    waiting = math.ceil(sizes.partitions / sizes.grids) if sizes.grids else 1
    return 0 if waiting == 1 else (min(waiting, ADDED_AT_ONCE) + 1) * _grid_bytes(sizes)


def _matrices(sizes: Sizes) -> int:
    """Normal matrices of the largest partition; once more as corrected for the terms before."""
    return _matrix_bytes(sizes, sizes.solutions) * (1 + (sizes.terms > 1))


def _spanning(sizes: Sizes) -> int:
    """Normal matrices of the terms that are solved over several partitions."""
    return _matrix_bytes(sizes, sizes.spanning)


def _matrix_bytes(sizes: Sizes, solutions: int) -> int:
    if not sizes.selfcal:
        return 0
    return solutions * sizes.stations**2 * (
        RECEPTOR_MATRIX_BYTES if sizes.receptors else MATRIX_BYTES)


def _cleaning(sizes: Sizes) -> int:
    scales = sizes.scales * CLEAN_SCALE_BYTES if sizes.scales > 1 else 0
    return sizes.npixel**2 * (CLEAN_PIXEL_BYTES + sizes.bands * (CLEAN_BAND_BYTES + scales))


def _reading(sizes: Sizes) -> int:
    """Only of a Measurement Set: it has no components."""
    return 0 if sizes.components else sizes.partition_visibilities * READ_VISIBILITY_BYTES
