"""The sky as components with power-law spectra, and catalogues to take them from."""

from __future__ import annotations

from dataclasses import dataclass, fields, replace
from importlib import resources
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np

from arl.conventions import lm_axis, lmn_to_radec, radec_to_lmn
from arl.errors import InputError
from arl.restoration import Beam, gaussian

if TYPE_CHECKING:
    from astropy.table import Column, Table

#: Kinds of files that catalogues come in, and astropy's names of them.
FORMS = {"CSV": "ascii.csv", "FITS": "fits", "VOTable": "votable"}
CATALOGUES = {"gleam": "gleam_2015_ra30_dec-60.csv"}
#: Columns that name the same thing: our own CSV first, then GLEAM EGC (VizieR VIII/100, and as
#: its authors published it). Of several fluxes the first that a component has is taken.
COLUMNS = {
    "ra": ("ra_deg", "RAJ2000", "RA", "ra"),
    "dec": ("dec_deg", "DEJ2000", "DEC", "dec"),
    "flux": ("flux_200MHz_jy", "flux_jy", "Fintfit200", "int_flux_fit_200", "Fintwide",
             "int_flux_wide", "Fpwide", "peak_flux_wide"),
    "index": ("spectral_index", "alpha"),
    "curvature": ("spectral_curvature",),
    "reference": ("reference_frequency_hz",),
    "major": ("major_arcsec",),
    "minor": ("minor_arcsec",),
    "angle": ("position_angle_deg",),
}
REQUIRED = ("ra", "dec", "flux")
GLEAM_FREQUENCY = 200e6
#: Gaussians are drawn to this many times their major axis from their centre.
REACH = 2.0


@dataclass(frozen=True)
class Components:
    """Components: points, or Gaussians where they have a size.

    Attributes
    ----------
    ra, dec: ICRS, rad. flux: Jy at `reference_frequency` (Hz).
    spectral_index, curvature: log10 S = log10 flux + index x + curvature x^2, with
        x = log10(nu / reference_frequency).
    shape: full widths at half maximum along the major and minor axis and position angle from
        north through east, rad, (component, 3); a point has a major axis of 0.
    The others have shape (component,).
    """

    ra: np.ndarray
    dec: np.ndarray
    flux: np.ndarray
    spectral_index: np.ndarray
    curvature: np.ndarray
    reference_frequency: np.ndarray
    shape: np.ndarray

    def __len__(self) -> int:
        return self.ra.size

    def select(self, keep: np.ndarray) -> Components:
        """Those where `keep` (bool or indices) holds."""
        return Components(*(getattr(self, f.name)[keep] for f in fields(self)))


def load_catalogue(name_or_path: str) -> Components:
    """Read a catalogue that ships with the library, or a FITS, VOTable or CSV file.

    Raises
    ------
    InputError: no such catalogue, or columns for position and flux are missing.
    """
    from astropy.table import Table

    if name_or_path in CATALOGUES:
        file = resources.files("arl") / "data" / "catalogues" / CATALOGUES[name_or_path]
        table = Table.read(file.read_text(), format="ascii.csv", comment="#")
        return _components(table, name_or_path)
    path = Path(name_or_path)
    if not path.is_file():
        raise InputError(f"There is no catalogue {name_or_path!r}: give gleam or a file's path.")
    form = form_of(path)
    if form is None:
        raise InputError(f"Catalogue {path} is none: it is neither CSV (a name in .csv) nor FITS "
                         f"(.fits) nor a VOTable.")
    comment = {"comment": "#"} if form == "CSV" else {}
    try:
        table = Table.read(path, format=FORMS[form], **comment)
    except Exception as error:  # astropy raises many kinds for a file it can't read
        from arl.io.fits import reason

        raise InputError(f"Catalogue {path} can't be read as {form}: {reason(error)}.") from error
    return _components(table, name_or_path)


def form_of(path: Path) -> str | None:
    """Which of FORMS a file is, CSV and FITS by its name; None: none of them."""
    from astropy.io.votable import is_votable

    name = path.name.lower().removesuffix(".gz")
    if name.endswith((".fits", ".fit")):
        return "FITS"
    if name.endswith(".csv"):
        return "CSV"
    return "VOTable" if is_votable(path) else None


def _components(table: Table, name: str) -> Components:
    for what in REQUIRED:
        if not set(COLUMNS[what]) & set(table.colnames):
            raise InputError(f"Catalogue {name} has no column for {what}: name one of them "
                             f"{' or '.join(COLUMNS[what])}.")
    column = {what: _first_of(table, names, name) for what, names in COLUMNS.items()}
    minor = np.where(np.isfinite(column["minor"]), column["minor"], column["major"])
    size = np.radians(np.stack([column["major"] / 3600, minor / 3600, column["angle"]], axis=1))
    reference = column["reference"]
    found = Components(
        np.radians(column["ra"]), np.radians(column["dec"]), column["flux"],
        np.nan_to_num(column["index"]), np.nan_to_num(column["curvature"]),
        np.where(np.isfinite(reference), reference, GLEAM_FREQUENCY), np.nan_to_num(size))
    if np.any(found.shape[:, :2] < 0) or np.any(found.reference_frequency <= 0):
        raise InputError(f"Catalogue {name} has a size below 0 or a reference frequency that is "
                         f"not above 0.")
    good = np.isfinite(found.ra) & np.isfinite(found.dec) & np.isfinite(found.flux)
    if not good.any():
        raise InputError(f"Catalogue {name} has no row with a position and a flux.")
    return found.select(good)


def _first_of(table: Table, names: tuple[str, ...], catalogue: str) -> np.ndarray:
    """The first of some columns that has a number, row by row; NaN where none has one."""
    values = np.full(len(table), np.nan)
    for name in names:
        if name in table.colnames:
            try:
                numbers = _numbers(table[name])
            except (TypeError, ValueError) as error:
                raise InputError(f"Column {name} of catalogue {catalogue} holds something that is "
                                 f"not a number.") from error
            values = np.where(np.isfinite(values), values, numbers)
    return values


def _numbers(column: Column) -> np.ndarray:
    """A table's column as plain floats, NaN where it is masked."""
    return np.asarray(np.ma.filled(np.ma.MaskedArray(column, dtype=float), np.nan))


def lmn_of(components: Components, ra0: float, dec0: float) -> np.ndarray:
    """Direction cosines (component, 3) at a phase centre (rad)."""
    return radec_to_lmn(components.ra, components.dec, ra0, dec0)


def in_field(
    components: Components, ra0: float, dec0: float, npixel: int, cell: float
) -> Components:
    """Those inside the square that an image covers."""
    l, m, n = lmn_of(components, ra0, dec0).T
    low, high = lm_axis(npixel, cell)[[0, -1]]
    return components.select((n > 0) & (l >= low) & (l <= high) & (m >= low) & (m <= high))


def snap_to_pixels(
    components: Components, ra0: float, dec0: float, cell: float
) -> Components:
    """Move every component to the centre of its nearest pixel, as the 2018 pipeline did."""
    l, m, _ = lmn_of(components, ra0, dec0).T
    ra, dec = lmn_to_radec(np.round(l / cell) * cell, np.round(m / cell) * cell, ra0, dec0)
    return replace(components, ra=ra, dec=dec)


def spectrum(components: Components, frequency: np.ndarray) -> np.ndarray:
    """Fluxes in Jy at frequencies (Hz), shape (component, chan)."""
    x = np.log10(np.asarray(frequency, float) / components.reference_frequency[:, None])
    slope = components.spectral_index[:, None] + components.curvature[:, None] * x
    return components.flux[:, None] * 10 ** (slope * x)


def pixel_model(
    components: Components, ra0: float, dec0: float, npixel: int, cell: float,
    frequency: np.ndarray,
) -> np.ndarray:
    """Components as an image, (frequency, l, m) float32, Jy per pixel.

    A point is all in its nearest pixel; a Gaussian is sampled about its own centre and keeps its
    flux (one narrower than a pixel is drawn as wide as that). Those outside are left out.

    Raises
    ------
    InputError: none is inside.
    """
    inside = in_field(components, ra0, dec0, npixel, cell)
    if not len(inside):
        raise InputError("has no component inside the images; choose others, or make the images "
                         "larger.")
    image = np.zeros((len(frequency), npixel, npixel), np.float32)
    l, m, _ = lmn_of(inside, ra0, dec0).T
    for k, flux in enumerate(spectrum(inside, frequency)):
        box, share = _footprint(l[k], m[k], inside.shape[k], npixel, cell)
        image[:, *box] += flux[:, None, None] * share
    return image


def _footprint(
    l: float, m: float, shape: np.ndarray, npixel: int, cell: float
) -> tuple[tuple[slice, slice], np.ndarray]:
    """The pixels that a component has a share in, and the shares, which add to 1."""
    major, minor, angle = shape
    reach = int(np.ceil(REACH * major / cell))
    i, j = (round(x / cell) + npixel // 2 for x in (l, m))
    box = (slice(max(i - reach, 0), i + reach + 1), slice(max(j - reach, 0), j + reach + 1))
    if major == 0:
        return box, np.ones((1, 1))
    x, y = (lm_axis(npixel, cell)[part] for part in box)
    drawn = Beam(max(major, cell), max(minor, cell), angle)
    values = gaussian(drawn, x[:, None] - l, y[None, :] - m)
    return box, values / values.sum()
