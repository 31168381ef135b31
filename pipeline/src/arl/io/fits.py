"""Images as FITS, with all that a viewer and a catalogue finder need to know."""

from __future__ import annotations

import os
from dataclasses import dataclass
from datetime import UTC, datetime
from pathlib import Path

import numpy as np
from astropy.io import fits

from arl.conventions import from_fits_axes, to_fits_axes
from arl.restoration import Beam


@dataclass(frozen=True)
class ImageHeader:
    """What an image is of.

    Attributes
    ----------
    cell: rad. phase_centre: ICRS right ascension and declination, rad.
    frequency, bandwidth: Hz. unit: Jy/beam or Jy/pixel. beam: None where there is none.
    date_obs: ISO 8601 UTC start of the observation. object_name: the run. origin: who made it.
    """

    cell: float
    phase_centre: tuple[float, float]
    frequency: float
    bandwidth: float
    unit: str
    beam: Beam | None
    date_obs: str
    object_name: str
    origin: str


def write_image(path: str | Path, image: np.ndarray, header: ImageHeader) -> None:
    """Write an image [l, m] as float32 with axes RA, Dec, FREQ, STOKES, atomically."""
    path = Path(path)
    data = to_fits_axes(np.asarray(image, np.float32))[None, None]
    hdu = fits.PrimaryHDU(np.ascontiguousarray(data))
    hdu.header.update(_cards(header, image.shape[0]))
    temporary = path.with_name(f".{path.name}.{os.getpid()}.tmp")
    hdu.writeto(temporary, overwrite=True, output_verify="exception")
    os.replace(temporary, path)


def _cards(header: ImageHeader, n: int) -> dict[str, object]:
    """FITS cards (Greisen & Calabretta 2002, A&A 395, 1077; AIPS beam keywords in degrees)."""
    step = float(np.degrees(header.cell))
    ra, dec = np.degrees(header.phase_centre)
    cards: dict[str, object] = {
        "BUNIT": header.unit, "OBJECT": header.object_name, "ORIGIN": header.origin,
        "DATE-OBS": header.date_obs, "TIMESYS": "UTC",
        "DATE": datetime.now(UTC).strftime("%Y-%m-%dT%H:%M:%S"),
        "RADESYS": "ICRS", "SPECSYS": "TOPOCENT",
        "CTYPE1": "RA---SIN", "CRVAL1": float(ra), "CRPIX1": n / 2, "CDELT1": -step,
        "CUNIT1": "deg",
        "CTYPE2": "DEC--SIN", "CRVAL2": float(dec), "CRPIX2": n / 2 + 1, "CDELT2": step,
        "CUNIT2": "deg",
        "CTYPE3": "FREQ", "CRVAL3": header.frequency, "CRPIX3": 1.0, "CDELT3": header.bandwidth,
        "CUNIT3": "Hz", "RESTFRQ": header.frequency,
        "CTYPE4": "STOKES", "CRVAL4": 1.0, "CRPIX4": 1.0, "CDELT4": 1.0,
    }
    if header.beam is not None:
        cards |= {"BMAJ": float(np.degrees(header.beam.major)),
                  "BMIN": float(np.degrees(header.beam.minor)),
                  "BPA": float(np.degrees(header.beam.position_angle))}
    return cards


def read_image(path: str | Path) -> tuple[np.ndarray, fits.Header]:
    """The image [l, m] of a file of `write_image`, and its header."""
    with fits.open(path) as hdus:
        return from_fits_axes(np.array(hdus[0].data[0, 0])), hdus[0].header
