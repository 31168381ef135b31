"""Images as FITS, with all that a viewer and a catalogue finder need to know."""

from __future__ import annotations

import os
import warnings
from dataclasses import dataclass
from datetime import UTC, datetime
from pathlib import Path

import numpy as np
from astropy.io import fits
from astropy.wcs import WCS, FITSFixedWarning

from arl.conventions import from_fits_axes, lm_axis, lmn_to_radec, to_fits_axes
from arl.errors import InputError
from arl.restoration import Beam

#: SPECSYS (Greisen et al. 2006, A&A 446, 747, table 5) of the frames as xradio names them.
SPECSYS = {"REST": "SOURCE", "lsrk": "LSRK", "lsrd": "LSRD", "BARY": "BARYCENT",
           "gcrs": "GEOCENTR", "TOPO": "TOPOCENT", "GALACTO": "GALACTOC", "LGROUP": "LOCALGRP",
           "CMB": "CMBDIPOL"}


@dataclass(frozen=True)
class ImageHeader:
    """What an image is of.

    Attributes
    ----------
    cell: rad. phase_centre: ICRS right ascension and declination, rad.
    frequency, bandwidth: Hz. unit: Jy/beam or Jy/pixel. beam: None where there is none.
    date_obs: ISO 8601 UTC start of the observation. object_name: the run. origin: who made it.
    frequency_frame: one of SPECSYS.
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
    frequency_frame: str


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
        "RADESYS": "ICRS", "SPECSYS": SPECSYS[header.frequency_frame],
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


def read_sky_plane(path: str | Path) -> tuple[np.ndarray, WCS]:
    """The first plane (y, x) of any FITS image of the sky, and its celestial coordinates.

    Raises
    ------
    InputError: it can't be read, or has no celestial axes.
    """
    try:
        with fits.open(path) as hdus:
            data, header = np.array(hdus[0].data, float), hdus[0].header
        plane = data.reshape(-1, *data.shape[-2:])[0]
        with warnings.catch_warnings():  # of dates that astropy completes
            warnings.simplefilter("ignore", FITSFixedWarning)
            wcs = WCS(header).celestial
    except Exception as error:  # astropy raises many kinds for a file it can't read
        raise InputError(f"{path} can't be read as a FITS image: {error}.") from error
    if wcs.naxis != 2:
        raise InputError(f"{path} is an image without right ascension and declination.")
    return plane, wcs


def read_mask(
    path: str | Path, npixel: int, cell: float, phase_centre: tuple[float, float]
) -> np.ndarray:
    """Where a FITS image is neither 0 nor NaN, as bool [l, m] of an image of ours.

    The file may have any size, pixels and projection: each pixel of ours takes the value of the
    file's pixel in which its centre lies, 0 outside. Of further axes the first plane counts.

    Raises
    ------
    InputError: as for `read_sky_plane`, or it leaves no pixel.
    """
    plane, wcs = read_sky_plane(path)
    axis = lm_axis(npixel, cell)
    l, m = np.meshgrid(axis, axis, indexing="ij")
    ra, dec = lmn_to_radec(l, m, *phase_centre)
    x, y = (np.nan_to_num(v, nan=-1.0) for v in wcs.all_world2pix(
        np.degrees(ra), np.degrees(dec), 0))
    column, row = np.floor(x + 0.5).astype(int), np.floor(y + 0.5).astype(int)
    inside = (column >= 0) & (column < plane.shape[1]) & (row >= 0) & (row < plane.shape[0])
    values = np.nan_to_num(plane[np.where(inside, row, 0), np.where(inside, column, 0)])
    mask = inside & (values != 0)
    if not mask.any():
        raise InputError(f"Mask {path} leaves no pixel of the image where anything may be cleaned.")
    return mask
