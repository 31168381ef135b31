"""measure.py RUN_FOLDER CATALOGUE FLUX_LIMIT : a self-calibrated image against the sky itself.

Knows nothing of our code: reads the FITS with astropy, takes the apparent flux of every catalogue
source above FLUX_LIMIT (Jy at 200 MHz) from its power law and the Airy pattern of a 35 m aperture,
[2 J1(x) / x]^2 with x = pi D sin(theta) / lambda, lays the image's own beam on each, and compares
the two images at the brightest source. Prints one JSON object.
"""

from __future__ import annotations

import csv
import json
import sys
import warnings
from pathlib import Path

import numpy as np
from astropy.coordinates import SkyCoord
from astropy.io import fits
from astropy.wcs import WCS
from scipy.special import j1

DIAMETER_M = 35.0
C = 299792458.0


def catalogue(path: Path, limit: float, frequency: float) -> tuple[SkyCoord, np.ndarray]:
    """Positions and flux densities (Jy at `frequency`, Hz) of the sources above a limit."""
    lines = [line for line in path.read_text().splitlines() if not line.startswith("#")]
    rows = [row for row in csv.DictReader(lines) if float(row["flux_200MHz_jy"]) >= limit]
    column = {name: np.array([float(row[name]) for row in rows]) for name in rows[0]}
    flux = column["flux_200MHz_jy"] * (frequency / 200e6) ** column["spectral_index"]
    return SkyCoord(column["ra_deg"], column["dec_deg"], unit="deg"), flux


def airy(theta: np.ndarray, frequency: float) -> np.ndarray:
    """Power response at an angle (rad) from the axis."""
    x = np.pi * DIAMETER_M * np.sin(theta) * frequency / C
    return np.where(x == 0, 1.0, (2 * j1(x) / np.where(x == 0, 1, x)) ** 2)


def expected(header: fits.Header, shape: tuple[int, int], sky: Path, limit: float) -> np.ndarray:
    """The sky through the primary beam, each source a Gaussian of the restoring beam (Jy/beam)."""
    frequency = header["CRVAL3"]
    positions, flux = catalogue(sky, limit, frequency)
    centre = SkyCoord(header["CRVAL1"], header["CRVAL2"], unit="deg")
    apparent = flux * airy(centre.separation(positions).rad, frequency)
    column, row = WCS(header).celestial.world_to_pixel(positions)
    y, x = np.mgrid[:shape[0], :shape[1]]
    angle = np.radians(header["BPA"])
    image = np.zeros(shape)
    for k in np.flatnonzero(np.isfinite(column)):
        east, north = (x - column[k]) * header["CDELT1"], (y - row[k]) * header["CDELT2"]
        along = (east * np.sin(angle) + north * np.cos(angle)) / header["BMAJ"]
        across = (east * np.cos(angle) - north * np.sin(angle)) / header["BMIN"]
        image += apparent[k] * np.exp(-4 * np.log(2) * (along**2 + across**2))
    return image


def fit_peak(image: np.ndarray, row: int, column: int) -> tuple[float, float, float]:
    """Peak (Jy/beam), row and column of a Gaussian through the 3 x 3 pixels around a pixel."""
    y, x = (axis.ravel() for axis in np.mgrid[-1:2, -1:2])
    terms = np.stack([np.ones(9), x, y, x * x, x * y, y * y], axis=1)
    values = np.log(image[row - 1:row + 2, column - 1:column + 2].ravel())
    c = np.linalg.lstsq(terms, values, rcond=None)[0]
    dx, dy = np.linalg.solve([[2 * c[3], c[4]], [c[4], 2 * c[5]]], [-c[1], -c[2]])
    return float(np.exp(c[0] + (c[1] * dx + c[2] * dy) / 2)), row + dy, column + dx


def measure(folder: Path, sky: Path, limit: float) -> dict:
    """Header of RUN_FOLDER's restored image, and how it compares with the sky."""
    with fits.open(folder / "selfcal/restored_combined.fits") as files:
        header, image = files[0].header, files[0].data.squeeze().astype(float)
    truth = expected(header, image.shape, sky, limit)
    pixel = tuple(int(index) for index in np.unravel_index(np.argmax(image), image.shape))
    peak, row, column = fit_peak(image, *pixel)
    true_peak, true_row, true_column = fit_peak(truth, *pixel)
    beam = np.sqrt(header["BMAJ"] * header["BMIN"]) / header["CDELT2"]
    return {
        "unit": header["BUNIT"], "shape": list(image.shape), "frequency_hz": header["CRVAL3"],
        "beam_deg": [header["BMAJ"], header["BMIN"]], "finite": bool(np.isfinite(image).all()),
        "peak_jy": peak, "true_peak_jy": true_peak, "flux_ratio": peak / true_peak,
        "offset_beams": float(np.hypot(row - true_row, column - true_column) / beam),
        "correlation": float(np.corrcoef(image.ravel(), truth.ravel())[0, 1]),
        "rms_jy": float(1.4826 * np.median(np.abs(image - np.median(image)))),
    }


if __name__ == "__main__":
    warnings.simplefilter("ignore")
    print(json.dumps(measure(Path(sys.argv[1]), Path(sys.argv[2]), float(sys.argv[3]))))
