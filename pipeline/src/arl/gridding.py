"""Visibilities to images and back, w-aware, by ducc0's wgridder (Arras et al. 2021, A&A 646, A58).

Images are [l, m]; an inverted image is the weighted sum, to be divided by the sum of weights.
"""

from __future__ import annotations

import math
from dataclasses import dataclass

import numpy as np
from ducc0.wgridder.experimental import dirty2vis, vis2dirty

from arl.conventions import GRIDDER, C
from arl.errors import InputError


def _rows(uvw: np.ndarray, *cubes: np.ndarray) -> tuple[np.ndarray, ...]:
    """uvw and cubes (time, baseline, chan) as the gridder's rows."""
    flat = [np.ascontiguousarray(uvw.reshape(-1, 3), float)]
    flat += [np.ascontiguousarray(c.reshape(-1, c.shape[-1])) for c in cubes]
    return tuple(flat)


def invert(
    uvw: np.ndarray, frequency: np.ndarray, vis: np.ndarray, weight: np.ndarray, *,
    npixel: int, cell: float, epsilon: float, threads: int,
) -> np.ndarray:
    """Sum of weight x visibility x exp(-2 pi i (ul + vm + w(n-1))) over all samples: [l, m].

    Parameters
    ----------
    uvw: metres (time, baseline, 3). frequency: Hz (chan,).
    vis: Jy (time, baseline, chan), complex64 or complex128, which sets the precision.
    weight: the same shape; samples of weight 0 cost nothing.
    epsilon: relative L2 accuracy; single precision reaches 1e-5.
    """
    real = np.float32 if vis.dtype == np.complex64 else np.float64
    rows, data, weights = _rows(uvw, vis, weight.astype(real, copy=False))
    return vis2dirty(
        uvw=rows, freq=np.asarray(frequency, float), vis=data, wgt=weights, npix_x=npixel,
        npix_y=npixel, pixsize_x=cell, pixsize_y=cell, epsilon=epsilon, nthreads=threads,
        **GRIDDER,
    )


def psf(
    uvw: np.ndarray, frequency: np.ndarray, weight: np.ndarray, *,
    npixel: int, cell: float, epsilon: float, threads: int,
) -> np.ndarray:
    """The un-normalised point spread function [l, m]: the image of 1 Jy at the phase centre."""
    unit = np.ones(weight.shape, np.complex64)
    return invert(uvw, frequency, unit, weight, npixel=npixel, cell=cell, epsilon=epsilon,
                  threads=threads)


def predict(
    uvw: np.ndarray, frequency: np.ndarray, image: np.ndarray, *,
    cell: float, epsilon: float, threads: int,
) -> np.ndarray:
    """Visibilities (time, baseline, chan) of a model image [l, m] in Jy per pixel.

    float32 images give complex64, float64 images complex128.
    """
    (rows,) = _rows(uvw)
    vis = dirty2vis(
        uvw=rows, freq=np.asarray(frequency, float), dirty=np.ascontiguousarray(image),
        pixsize_x=cell, pixsize_y=cell, epsilon=epsilon, nthreads=threads, **GRIDDER,
    )
    return vis.reshape(*uvw.shape[:-1], len(frequency))


def good_size(n: float) -> int:
    """The smallest even 2^a 3^b 5^c that is at least n: a fast length of a Fourier transform."""
    size = max(2, math.ceil(n))
    while True:
        rest = size
        for prime in (2, 3, 5):
            while rest % prime == 0:
                rest //= prime
        if rest == 1 and size % 2 == 0:
            return size
        size += 1


def power_of_two(n: float) -> int:
    """The smallest power of two that is at least n and 2."""
    return 1 << math.ceil(math.log2(max(2, n)))


@dataclass(frozen=True)
class Advice:
    """An image that samples the longest baseline: cell (rad), size (pixels), field (rad)."""

    cell: float
    npixel: int
    field_of_view: float


def advise(
    uvw: np.ndarray, frequency: np.ndarray, *, diameter: float, guard_band: float, rounding: str,
    cell: float | None = None,
) -> Advice:
    """Field = guard_band x longest wavelength / diameter; cell = 1 / (3 x largest |u|, |v|, |w|).

    `rounding` of the size: "fft" (a good transform length) or "power_of_two". `cell` (rad) where
    it is given beforehand.

    Raises
    ------
    InputError: the baselines have no length.
    """
    longest = float(np.abs(uvw).max()) * np.max(frequency) / C
    if longest == 0:
        raise InputError("All baselines have zero length: no cell size can be advised.")
    field = guard_band * C / np.min(frequency) / diameter
    cell = cell or 1 / (3 * longest)
    up = power_of_two if rounding == "power_of_two" else good_size
    return Advice(cell, up(field / cell), field)
