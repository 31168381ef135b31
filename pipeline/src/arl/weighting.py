"""Imaging weights: natural, uniform, Briggs from a grid that partitions share; Gaussian taper."""

from __future__ import annotations

import numpy as np

from arl.conventions import C
from arl.errors import InputError


def _cells(
    uvw: np.ndarray, frequency: np.ndarray, npixel: int, cell: float
) -> tuple[np.ndarray, np.ndarray]:
    """Flat cell number (time, baseline, chan) on the (npixel, npixel) uv grid, and who is on it.

    A visibility and its conjugate share a cell: v < 0 is turned to the other half.
    """
    scale = np.asarray(frequency, float) / C * npixel * cell
    u = uvw[..., 0, None] * scale
    v = uvw[..., 1, None] * scale
    sign = np.where((v < 0) | ((v == 0) & (u < 0)), -1.0, 1.0)
    i = np.floor(sign * u + 0.5).astype(np.int64) + npixel // 2
    k = np.floor(sign * v + 0.5).astype(np.int64) + npixel // 2
    inside = (i >= 0) & (i < npixel) & (k >= 0) & (k < npixel)
    return np.where(inside, i * npixel + k, 0), inside


def uv_density(
    uvw: np.ndarray, frequency: np.ndarray, weight: np.ndarray, *, npixel: int, cell: float
) -> np.ndarray:
    """The sum of weights in each uv cell, float64 (npixel, npixel); add those of all partitions."""
    number, inside = _cells(uvw, frequency, npixel, cell)
    total = np.bincount(number.ravel(), (weight * inside).ravel().astype(float), npixel**2)
    return total.reshape(npixel, npixel)


def reweight(
    uvw: np.ndarray, frequency: np.ndarray, weight: np.ndarray, density: np.ndarray, *,
    scheme: str, robust: float, cell: float,
) -> np.ndarray:
    """Uniform or Briggs weights of the shape of `weight`; `density` is that of all the data.

    Uniform: w / W. Briggs: w / (1 + W f^2) with f^2 = (5 10^-robust)^2 / (sum W^2 / sum W)
    (Briggs 1995, PhD thesis, eq. 3.16). Samples outside the grid get weight 0.
    """
    number, inside = _cells(uvw, frequency, density.shape[0], cell)
    local = density.ravel()[number]
    if scheme == "uniform":
        factor = np.divide(1.0, local, out=np.zeros_like(local), where=local > 0)
    else:
        f2 = (5 * 10.0 ** -robust) ** 2 / (np.sum(density**2) / np.sum(density))
        factor = 1.0 / (1.0 + local * f2)
    return (weight * factor * inside).astype(np.float32)


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
    square = (uvw[..., 0] ** 2 + uvw[..., 1] ** 2)[..., None] * (frequency / C) ** 2
    return (weight * np.exp(-(np.pi * fwhm) ** 2 / (4 * np.log(2)) * square)).astype(np.float32)
