"""Imaging weights: natural, uniform, Briggs from a grid that partitions share; Gaussian taper."""

from __future__ import annotations

import math

import numpy as np
from numba import njit

from arl.conventions import C
from arl.errors import InputError


@njit(nogil=True, cache=True)
def _cell(u, v, npixel):  # pragma: no cover - compiled
    """Row and column on the (npixel, npixel) uv grid, the row -1 outside of it.

    A visibility and its conjugate share a cell: v < 0 is turned to the other half.
    """
    if v < 0 or (v == 0 and u < 0):
        u, v = -u, -v
    i = math.floor(u + 0.5) + npixel // 2
    k = math.floor(v + 0.5) + npixel // 2
    if i < 0 or i >= npixel or k < 0 or k >= npixel:
        return -1, 0
    return i, k


@njit(nogil=True, cache=True)
def _add_weights(rows, scale, weight, total):  # pragma: no cover - compiled
    for r in range(weight.shape[0]):
        for c in range(weight.shape[1]):
            i, k = _cell(rows[r, 0] * scale[c], rows[r, 1] * scale[c], total.shape[0])
            if i >= 0:
                total[i, k] += weight[r, c]


@njit(nogil=True, cache=True)
def _scale_weights(rows, scale, weight, density, f2, out):  # pragma: no cover - compiled
    """`f2` of Briggs; 0: uniform."""
    for r in range(weight.shape[0]):
        for c in range(weight.shape[1]):
            i, k = _cell(rows[r, 0] * scale[c], rows[r, 1] * scale[c], density.shape[0])
            local = density[i, k] if i >= 0 else 0.0
            if f2 > 0 and i >= 0:
                out[r, c] = weight[r, c] / (1.0 + local * f2)
            elif local > 0:
                out[r, c] = weight[r, c] / local
            else:
                out[r, c] = 0.0


def _rows(
    uvw: np.ndarray, frequency: np.ndarray, weight: np.ndarray, npixel: int, cell: float
) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """Baselines (row, 3), cells per metre (chan,) and weights (row, chan), none of them copied."""
    scale = np.asarray(frequency, float) / C * npixel * cell
    return uvw.reshape(-1, 3), scale, weight.reshape(-1, weight.shape[-1])


def uv_density(
    uvw: np.ndarray, frequency: np.ndarray, weight: np.ndarray, *, npixel: int, cell: float
) -> np.ndarray:
    """The sum of weights in each uv cell, float64 (npixel, npixel); add those of all partitions."""
    total = np.zeros((npixel, npixel))
    _add_weights(*_rows(uvw, frequency, weight, npixel, cell), total)
    return total


def reweight(
    uvw: np.ndarray, frequency: np.ndarray, weight: np.ndarray, density: np.ndarray, *,
    scheme: str, robust: float, cell: float,
) -> np.ndarray:
    """Uniform or Briggs weights of the shape of `weight`; `density` is that of all the data.

    Uniform: w / W. Briggs: w / (1 + W f^2) with f^2 = (5 10^-robust)^2 / (sum W^2 / sum W)
    (Briggs 1995, PhD thesis, eq. 3.16). Samples outside the grid get weight 0.
    """
    f2 = 0.0
    if scheme != "uniform":
        f2 = (5 * 10.0 ** -robust) ** 2 / (np.vdot(density, density) / np.sum(density))
    out = np.empty(weight.shape, np.float32)
    rows, scale, weights = _rows(uvw, frequency, weight, density.shape[0], cell)
    _scale_weights(rows, scale, weights, density, f2, out.reshape(weights.shape))
    return out


def taper(
    uvw: np.ndarray, frequency: np.ndarray, weight: np.ndarray, *, fwhm: float
) -> np.ndarray:
    """Weights (time, baseline, chan) times a Gaussian in uv, float32.

    It is the transform of a Gaussian of width `fwhm` (rad) on the sky: exp(-(pi fwhm q)^2 /
    (4 ln 2)) at q wavelengths (Briggs 1995, PhD thesis, section 3.2). No more than a filter: the
    beam is the convolution of the untapered one with it.

    Raises
    ------
    InputError: the width is not positive.
    """
    if not fwhm > 0:
        raise InputError(f"A taper needs a positive width on the sky, not {fwhm} rad.")
    exponent = -(np.pi * fwhm) ** 2 / (4 * np.log(2)) * (uvw[..., 0] ** 2 + uvw[..., 1] ** 2)
    factor = (exponent[..., None] * (frequency / C) ** 2).astype(np.float32)
    np.exp(factor, out=factor)
    factor *= weight
    return factor
