"""The restoring beam and the restored image."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from arl.errors import InputError

FWHM = np.sqrt(8 * np.log(2))


@dataclass(frozen=True)
class Beam:
    """An elliptical Gaussian: FWHM `major` and `minor` in rad, `position_angle` in rad from north
    (m) through east (l)."""

    major: float
    minor: float
    position_angle: float

    @property
    def area(self) -> float:
        """Solid angle, rad^2: the integral of the Gaussian of unit peak."""
        return np.pi * self.major * self.minor / (4 * np.log(2))


def _quadratic_form(beam: Beam) -> np.ndarray:
    """The matrix Q (l, m) of the exponent: exp(-x Q x / 2)."""
    sin, cos = np.sin(beam.position_angle), np.cos(beam.position_angle)
    along, across = np.array([sin, cos]), np.array([cos, -sin])
    a, b = FWHM / beam.major, FWHM / beam.minor
    return a**2 * np.outer(along, along) + b**2 * np.outer(across, across)


def gaussian(beam: Beam, l: np.ndarray, m: np.ndarray) -> np.ndarray:
    """The beam of unit peak at offsets (l, m) in rad."""
    q = _quadratic_form(beam)
    return np.exp(-0.5 * (q[0, 0] * l**2 + 2 * q[0, 1] * l * m + q[1, 1] * m**2))


def log_slope(beam: Beam, l: np.ndarray, m: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """The derivatives of the beam's logarithm along l and m at offsets (l, m) in rad, 1/rad."""
    q = _quadratic_form(beam)
    return -(q[0, 0] * l + q[0, 1] * m), -(q[0, 1] * l + q[1, 1] * m)


def _beam_of(q: np.ndarray) -> Beam:
    values, vectors = np.linalg.eigh(q)
    major, minor = FWHM / np.sqrt(values[0]), FWHM / np.sqrt(values[1])
    l, m = vectors[:, 0]
    return Beam(float(major), float(minor), float(np.arctan2(l, m) % np.pi))


def fit_beam(psf: np.ndarray, cell: float) -> Beam:
    """Fit a Gaussian of unit peak to the main lobe of a PSF [l, m] that peaks at its centre.

    The lobe is what hangs together with the peak above a quarter of it, at least 3 x 3 pixels.

    Raises
    ------
    InputError: the PSF has no peak at its centre (no data were imaged).
    """
    from scipy.ndimage import label
    from scipy.optimize import least_squares

    n = psf.shape[0]
    half = min(n // 2, 40)
    box = slice(n // 2 - half, n // 2 + half)
    lobe = np.asarray(psf[box, box], float)
    peak = lobe[half, half]
    if not peak > 0:
        raise InputError("The point spread function is empty: no visibilities were imaged, as all "
                         "are flagged, without weight, or of baselines outside uv_range.")
    parts, _ = label(lobe > 0.25 * peak)
    keep = parts == parts[half, half]
    keep[half - 1:half + 2, half - 1:half + 2] = True
    l, m = ((np.argwhere(keep) - half) * cell).T
    values = lobe[keep] / peak

    def misfit(p: np.ndarray) -> np.ndarray:
        form = (p[0] ** 2 + p[1] ** 2) * l**2 + 2 * p[1] * p[2] * l * m + p[2] ** 2 * m**2
        return np.exp(-0.5 * form) - values

    start = FWHM / (np.sqrt(keep.sum() / np.pi) * 2 * cell)
    p = least_squares(misfit, [start, 0.0, start], x_scale=start).x
    root = np.array([[p[0], 0.0], [p[1], p[2]]])
    return _beam_of(root.T @ root)


def restore(model: np.ndarray, residual: np.ndarray, beam: Beam, cell: float) -> np.ndarray:
    """Model (Jy per pixel) convolved with the beam, plus residual: Jy per beam, [l, m].

    The image is padded so that nothing wraps around: by the beam, or by its own width where a beam
    reaches farther, as no two of its pixels are farther apart.
    """
    from scipy import fft

    n = model.shape[0]
    reach = int(np.ceil(3 * beam.major / cell))
    size = fft.next_fast_len(min(n + 2 * reach, 2 * n), real=True)
    axis = fft.fftfreq(size, 1 / size) * cell
    kernel = fft.rfft2(gaussian(beam, axis[:, None], axis[None, :]))
    padded = np.zeros((size, size))
    padded[:n, :n] = model
    smooth = fft.irfft2(fft.rfft2(padded) * kernel, s=(size, size))[:n, :n]
    return smooth + residual
