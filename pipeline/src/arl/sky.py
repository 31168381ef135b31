"""The sky as point components with power-law spectra, and catalogues to take them from."""

from __future__ import annotations

from dataclasses import dataclass
from importlib import resources
from pathlib import Path

import numpy as np
from astropy.table import Column, Table

from arl.conventions import lm_axis, lmn_to_radec, radec_to_lmn
from arl.errors import InputError

CATALOGUES = {"gleam": "gleam_2015_ra30_dec-60.csv"}
#: Columns that name the same thing: our own CSV first, then GLEAM EGC (VizieR VIII/100).
COLUMNS = {
    "ra": ("ra_deg", "RAJ2000", "RA", "ra"),
    "dec": ("dec_deg", "DEJ2000", "DEC", "dec"),
    "flux": ("flux_200MHz_jy", "flux_jy", "Fintfit200", "int_flux_fit_200", "Fintwide",
             "int_flux_wide"),
    "index": ("spectral_index", "alpha"),
}
GLEAM_FREQUENCY = 200e6


@dataclass(frozen=True)
class Components:
    """Point components.

    Attributes
    ----------
    ra, dec: ICRS, rad. flux: Jy at `reference_frequency` (Hz). spectral_index: S ~ nu^index.
    All arrays have shape (component,).
    """

    ra: np.ndarray
    dec: np.ndarray
    flux: np.ndarray
    spectral_index: np.ndarray
    reference_frequency: float

    def __len__(self) -> int:
        return self.ra.size

    def select(self, keep: np.ndarray) -> Components:
        """Those where `keep` (bool or indices) holds."""
        return Components(self.ra[keep], self.dec[keep], self.flux[keep],
                          self.spectral_index[keep], self.reference_frequency)


def load_catalogue(name_or_path: str) -> Components:
    """Read a catalogue that ships with the library, or a FITS, VOTable or CSV file.

    Raises
    ------
    InputError: no such catalogue, or columns for position and flux are missing.
    """
    if name_or_path in CATALOGUES:
        file = resources.files("arl") / "data" / "catalogues" / CATALOGUES[name_or_path]
        table = Table.read(file.read_text(), format="ascii.csv", comment="#")
        return _components(table, name_or_path)
    path = Path(name_or_path)
    if not path.is_file():
        raise InputError(f"There is no catalogue {name_or_path!r}: give gleam or a file's path.")
    form = {".fits": "fits", ".fit": "fits", ".csv": "ascii.csv"}.get(path.suffix, "votable")
    try:
        table = Table.read(path, format=form)
    except Exception as error:  # astropy raises many kinds for a file it can't read
        raise InputError(f"Catalogue {path} can't be read as {form}: {error}.") from error
    return _components(table, name_or_path)


def _components(table: Table, name: str) -> Components:
    found = {what: next((c for c in names if c in table.colnames), None)
             for what, names in COLUMNS.items()}
    for what in ("ra", "dec", "flux"):
        if found[what] is None:
            raise InputError(f"Catalogue {name} has no column for {what}: name one of them "
                             f"{' or '.join(COLUMNS[what])}.")
    column = {what: _numbers(table[c]) for what, c in found.items() if c}
    index = np.nan_to_num(column.get("index", np.zeros(len(table))))
    good = np.isfinite(column["ra"]) & np.isfinite(column["dec"]) & np.isfinite(column["flux"])
    return Components(np.radians(column["ra"]), np.radians(column["dec"]), column["flux"], index,
                      GLEAM_FREQUENCY).select(good)


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
    return Components(ra, dec, components.flux, components.spectral_index,
                      components.reference_frequency)


def spectrum(components: Components, frequency: np.ndarray) -> np.ndarray:
    """Fluxes in Jy at frequencies (Hz), shape (component, chan)."""
    ratio = np.asarray(frequency, float)[None, :] / components.reference_frequency
    return components.flux[:, None] * ratio ** components.spectral_index[:, None]
