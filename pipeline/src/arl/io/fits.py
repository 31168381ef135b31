"""Images as FITS, with all that a viewer and a catalogue finder need to know."""

from __future__ import annotations

import warnings
from dataclasses import dataclass
from datetime import UTC, datetime
from pathlib import Path

import numpy as np
from astropy.coordinates import FK5, ICRS, BaseCoordinateFrame, SkyCoord
from astropy.io import fits
from astropy.wcs import (
    WCS,
    WCSSUB_LATITUDE,
    WCSSUB_LONGITUDE,
    WCSSUB_STOKES,
    FITSFixedWarning,
)
from astropy.wcs.utils import wcs_to_celestial_frame

from arl.conventions import from_fits_axes, lm_axis, lmn_to_radec, radec_to_lmn, to_fits_axes
from arl.errors import InputError
from arl.io.files import replacing
from arl.restoration import Beam

#: Codes of an axis STOKES (Greisen and Calabretta 2002, A&A 395, 1061, table 7) that are not I.
NOT_STOKES_I = {2: "Q", 3: "U", 4: "V"}
#: SPECSYS (Greisen et al. 2006, A&A 446, 747, table 5) of the frames as xradio names them.
SPECSYS = {"REST": "SOURCE", "lsrk": "LSRK", "lsrd": "LSRD", "BARY": "BARYCENT",
           "gcrs": "GEOCENTR", "TOPO": "TOPOCENT", "GALACTO": "GALACTOC", "LGROUP": "LOCALGRP",
           "CMB": "CMBDIPOL"}

#: A model's pixel may lie this far beside one of ours, pixels.
MOST_OFF_GRID = 0.1


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
    data = to_fits_axes(np.asarray(image, np.float32))[None, None]
    hdu = fits.PrimaryHDU(np.ascontiguousarray(data))
    hdu.header.update(_cards(header, image.shape[0]))
    with replacing(path) as temporary:
        hdu.writeto(temporary, overwrite=True, output_verify="exception")


def _cards(header: ImageHeader, n: int) -> dict[str, object]:
    """FITS cards (Calabretta & Greisen 2002, A&A 395, 1077; AIPS beam keywords in degrees).

    LONPOLE is what it is by default anywhere but at declination +90, where it would be 0 and turn
    the image by 180 degrees; LATPOLE has no effect in a zenithal projection.
    """
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
        "CUNIT2": "deg", "LONPOLE": 180.0,
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


@dataclass(frozen=True)
class SkyGrid:
    """Where the pixels of a plane (y, x) are on the sky.

    Attributes
    ----------
    wcs: of longitude along x and latitude along y. frame: theirs; None: ICRS, or the equator and
        equinox of J2000, which are taken as one here as they are in Measurement Sets.
    """

    wcs: WCS
    frame: BaseCoordinateFrame | None

    def radec(self, x: np.ndarray, y: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
        """Right ascension and declination of pixels (from 0), rad; NaN off the sky."""
        longitude, latitude = np.radians(self.wcs.all_pix2world(x, y, 0))
        if self.frame is None:
            return longitude, latitude
        return _turned(longitude, latitude, self.frame, ICRS())

    def pixels(self, ra: np.ndarray, dec: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
        """Pixels (x, y), from 0, of a right ascension and declination in rad; NaN off the plane."""
        if self.frame is not None:
            ra, dec = _turned(ra, dec, ICRS(), self.frame)
        x, y = self.wcs.all_world2pix(np.degrees(ra), np.degrees(dec), 0)
        return x, y


def _turned(
    longitude: np.ndarray, latitude: np.ndarray, frame: BaseCoordinateFrame,
    wanted: BaseCoordinateFrame,
) -> tuple[np.ndarray, np.ndarray]:
    """Longitudes and latitudes in rad in another frame."""
    there = SkyCoord(longitude, latitude, unit="rad", frame=frame).transform_to(wanted)
    return there.spherical.lon.rad, there.spherical.lat.rad


def read_sky_plane(path: str | Path) -> tuple[np.ndarray, SkyGrid]:
    """The first plane (y, x) of any FITS image of the sky, and where its pixels are.

    Raises
    ------
    InputError: it can't be read, or has no celestial axes, or they are of an unknown frame.
    """
    planes, _, wcs, _ = _open_sky(path)
    return planes.reshape(-1, *planes.shape[-2:])[0], _sky_grid(path, wcs)


def is_image(path: str | Path) -> bool:
    """Whether a file is FITS and holds an image."""
    try:
        with fits.open(path) as hdus:
            return _first_image(hdus) is not None
    except OSError:
        return False


def _first_image(hdus: fits.HDUList) -> fits.PrimaryHDU | fits.ImageHDU | None:
    """The first part of a file that is an image; a compressed one comes after an empty part."""
    return next((hdu for hdu in hdus if hdu.is_image and hdu.header.get("NAXIS")), None)


def _open_sky(path: str | Path) -> tuple[np.ndarray, fits.Header, WCS, list[str]]:
    """Data, header and coordinates of the first image of a file, and the kinds of its other axes.

    Of the data these come first, in the order of the file, and (y, x) of the sky after them.

    Raises
    ------
    InputError: it can't be read, or has no celestial axes.
    """
    try:
        with fits.open(path) as hdus:
            hdu = _first_image(hdus) or hdus[0]
            data, header = np.array(hdu.data, float), hdu.header
        with warnings.catch_warnings():  # of dates that astropy completes
            warnings.simplefilter("ignore", FITSFixedWarning)
            wcs = WCS(header)
            celestial = wcs.celestial.naxis
    except Exception as error:  # astropy raises many kinds for a file it can't read
        raise InputError(f"{path} can't be read as a FITS image: {reason(error)}.") from error
    if celestial != 2 or data.ndim < 2:
        raise InputError(f"{path} is an image without right ascension and declination.")
    sky = [data.ndim - 1 - axis for axis in (wcs.wcs.lat, wcs.wcs.lng)]
    kinds = [str(header.get(f"CTYPE{data.ndim - k}", "")) for k in range(data.ndim)
             if k not in sky]
    return np.moveaxis(data, sky, (-2, -1)), header, wcs, kinds


def _sky_grid(path: str | Path, wcs: WCS) -> SkyGrid:
    """Where pixels are, whatever the order of the axes and the frame of the coordinates.

    Raises
    ------
    InputError: the frame is one that nobody knows.
    """
    sky = wcs.sub([WCSSUB_LONGITUDE, WCSSUB_LATITUDE])
    try:
        frame = wcs_to_celestial_frame(sky)
    except ValueError as error:
        raise InputError(f"{path} has coordinates {sky.wcs.ctype[0]} and {sky.wcs.ctype[1]} "
                         f"of a frame that is not known; give an image in right ascension and "
                         f"declination.") from error
    alike = isinstance(frame, ICRS) or frame == FK5(equinox="J2000")
    return SkyGrid(sky, None if alike else frame)


def reason(error: Exception) -> str:
    """Why astropy can't read a file, to whom it belongs: its advice is to those who program."""
    if isinstance(error, OSError) and error.errno is None:
        return "it is not a FITS file, or broken"
    return str(error).rstrip(".")


@dataclass(frozen=True)
class ModelImage:
    """A model of the sky in Jy per pixel.

    Attributes
    ----------
    path: of its file. planes: (plane, y, x), 0 where there is nothing. grid: of (y, x).
    frequency: Hz (plane,); None: the file does not say. width: of the step between planes, Hz.
    """

    path: str
    planes: np.ndarray
    grid: SkyGrid
    frequency: np.ndarray | None
    width: float


def read_model(path: str | Path) -> ModelImage:
    """Read a model image: one plane, or planes along an axis of frequency.

    Raises
    ------
    InputError: it can't be read, is not in Jy/pixel, has several planes along another axis, is of
    another Stokes parameter than I, or is empty.
    """
    data, header, wcs, kinds = _open_sky(path)
    unit = str(header.get("BUNIT", "")).replace(" ", "").lower()
    if unit not in ("jy/pixel", "jy/pix"):
        raise InputError(f"{path} is in {header.get('BUNIT') or 'no unit'}; a model image is in "
                         f"Jy/pixel, as deconvolution leaves it.")
    for kind, size in zip(kinds, data.shape, strict=False):
        if size > 1 and kind != "FREQ":
            raise InputError(f"{path} has {size} planes along {kind or 'an axis without a name'}; "
                             f"only those along FREQ can be used.")
    stokes = wcs.sub([WCSSUB_STOKES])
    if stokes.naxis and (code := round(stokes.all_pix2world([0], 0)[0][0])) in NOT_STOKES_I:
        raise InputError(f"{path} is of Stokes {NOT_STOKES_I[code]}; a model image is of Stokes I.")
    planes = np.nan_to_num(data.reshape(-1, *data.shape[-2:]), posinf=0.0, neginf=0.0)
    if not planes.any():
        raise InputError(f"{path} is 0 everywhere: there is nothing to start from.")
    grid = _sky_grid(path, wcs)
    if "FREQ" not in kinds:
        return ModelImage(str(path), planes, grid, None, 0.0)
    frequency = np.asarray(wcs.spectral.all_pix2world(np.arange(len(planes)), 0)[0], float)
    step = np.diff(wcs.spectral.all_pix2world([0, 1], 0)[0])
    return ModelImage(str(path), planes, grid, frequency, float(np.abs(step[0])))


def place_model(
    model: ModelImage, npixel: int, cell: float, phase_centre: tuple[float, float],
    edges: np.ndarray,
) -> np.ndarray:
    """A model's pixels on an image of ours, (band, l, m) float32, Jy per pixel.

    Nothing is interpolated on the sky: a pixel of a model is a point, and the centre of each that
    is not 0 must be that of a pixel of ours, to a tenth of it. One plane holds for all bands;
    several are interpolated to the middle of each band.

    Parameters
    ----------
    edges: lowest and highest frequency of each band, Hz (band, 2).

    Raises
    ------
    InputError: the grids differ, there is something outside the image, or the frequencies of the
    file are not those of the bands.
    """
    rows, columns = np.nonzero(model.planes.any(axis=0))
    l, m, n = radec_to_lmn(*model.grid.radec(columns, rows), *phase_centre).T
    i, j = (np.rint(x / cell) + npixel // 2 for x in (l, m))
    apart = max(np.abs(x / cell + npixel // 2 - k).max() for x, k in ((l, i), (m, j)))
    if not apart <= MOST_OFF_GRID:  # NaN where a pixel is not on the sky
        raise InputError(f"{model.path} has pixels that lie up to {apart:.2g} pixels beside those "
                         f"of the images, which are {np.degrees(cell) * 3600:.6g} arcsec wide "
                         f"about RA {np.degrees(phase_centre[0]):.6f}, Dec "
                         f"{np.degrees(phase_centre[1]):.6f} degrees; give a model on that grid.")
    if min(i.min(), j.min()) < 0 or max(i.max(), j.max()) >= npixel or n.min() <= 0:
        raise InputError(f"{model.path} has flux outside the {npixel} x {npixel} pixels of the "
                         f"images; make imaging.npixel larger, or cut the model.")
    values = _at_bands(model, model.planes[:, rows, columns], edges)
    image = np.zeros((len(edges), npixel, npixel), np.float32)
    for plane, value in zip(image, values, strict=True):
        np.add.at(plane, (i.astype(int), j.astype(int)), value)
    return image


def _at_bands(model: ModelImage, values: np.ndarray, edges: np.ndarray) -> np.ndarray:
    """Values (plane, pixel) at the middle of each band, (band, pixel)."""
    low, high = edges.min() / 1e6, edges.max() / 1e6
    if model.frequency is None:
        if len(values) > 1:
            raise InputError(f"{model.path} has several planes and no frequencies.")
        return np.repeat(values, len(edges), axis=0)
    order, middle = np.argsort(model.frequency), edges.mean(axis=1)
    frequency = model.frequency[order]
    reach = model.width / 2
    first, last = frequency[0] - reach, frequency[-1] + reach
    meets = (first <= edges.max() and last >= edges.min() if len(values) == 1
             else first <= middle.min() and last >= middle.max())
    if not meets:
        raise InputError(f"{model.path} is a model from {first / 1e6:.6g} to {last / 1e6:.6g} MHz, "
                         f"and the bands reach from {low:.6g} to {high:.6g} MHz; give a model of "
                         f"these frequencies.")
    return np.stack([np.interp(middle, frequency, v) for v in values[order].T], axis=1)


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
    plane, grid = read_sky_plane(path)
    axis = lm_axis(npixel, cell)
    l, m = np.meshgrid(axis, axis, indexing="ij")
    x, y = (np.nan_to_num(v, nan=-1.0)
            for v in grid.pixels(*lmn_to_radec(l, m, *phase_centre)))
    column, row = np.floor(x + 0.5).astype(int), np.floor(y + 0.5).astype(int)
    inside = (column >= 0) & (column < plane.shape[1]) & (row >= 0) & (row < plane.shape[0])
    values = np.nan_to_num(plane[np.where(inside, row, 0), np.where(inside, column, 0)])
    mask = inside & (values != 0)
    if not mask.any():
        raise InputError(f"Mask {path} leaves no pixel of the image where anything may be cleaned.")
    return mask
