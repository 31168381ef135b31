"""What the report reads of a run's products: FITS images and gain tables, without heavy imports."""

from __future__ import annotations

import warnings
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np


@dataclass(frozen=True)
class SkyImage:
    """One FITS image plane as stored: rows to the north, right ascension to the left.

    Attributes
    ----------
    data: (y, x) in `unit`. ra, dec: of the reference pixel, rad; `reference` is that pixel (x, y),
        counted from 0. cell: (x, y) pixel size in rad, x negative.
    beam: (major, minor, position angle) FWHM in rad, None where the header has none.
    frequency: Hz, 0 where unknown.
    """

    path: Path
    data: np.ndarray
    ra: float
    dec: float
    reference: tuple[float, float]
    cell: tuple[float, float]
    beam: tuple[float, float, float] | None
    unit: str
    frequency: float

    @property
    def extent(self) -> tuple[float, float, float, float]:
        """(left, right, bottom, top) edges of the image in direction cosines."""
        height, width = self.data.shape
        x, y = self.reference
        return (-(x + 0.5) * self.cell[0], (width - 0.5 - x) * self.cell[0],
                -(y + 0.5) * self.cell[1], (height - 0.5 - y) * self.cell[1])


def read_image(path: Path) -> SkyImage:
    """Read the first plane of a FITS image (SIN projection)."""
    from astropy.io import fits

    with fits.open(path, memmap=False) as file:
        header = file[0].header
        data = np.asarray(file[0].data, np.float32)
    data = data.reshape(-1, *data.shape[-2:])[0]
    axis = next((n for n in (3, 4) if header.get(f"CTYPE{n}") == "FREQ"), None)
    frequency = header.get(f"CRVAL{axis}") if axis else header.get("RESTFRQ", 0.0)

    def angle(key: str) -> float:
        return float(np.radians(header.get(key, 0.0)))

    beam = (angle("BMAJ"), angle("BMIN"), angle("BPA")) if header.get("BMAJ") else None
    return SkyImage(
        path, data, angle("CRVAL1"), angle("CRVAL2"),
        (header["CRPIX1"] - 1.0, header["CRPIX2"] - 1.0), (angle("CDELT1"), angle("CDELT2")),
        beam, str(header.get("BUNIT", "")), float(frequency or 0.0))


def find_image(folder: Path, kind: str) -> Path | None:
    """The combined image of a kind, or that of the lowest band; None where there is neither."""
    combined = folder / f"{kind}_combined.fits"
    if combined.is_file():
        return combined
    return next(iter(sorted(folder.glob(f"{kind}_band*.fits"))), None)


@dataclass(frozen=True)
class Gains:
    """One receptor: gain (time, antenna, chan), NaN where flagged; time UTC s; frequency Hz.

    `receptor` is I where both have the same gain, else such as XX. `intervals`: how many solution
    intervals in time and frequency the samples came from. `no_data`: bool, which of the flagged had
    nothing to be solved from; None: the table is of before that was written.
    """

    term: str
    receptor: str
    gain: np.ndarray
    time: np.ndarray
    frequency: np.ndarray
    antennas: tuple[str, ...]
    intervals: tuple[int, int] | None = None
    no_data: np.ndarray | None = None

    @property
    def solved(self) -> tuple[int, int]:
        """How many solutions there are in time and in frequency; unless the table says so, one for
        each sample."""
        return self.intervals or (self.time.size, self.frequency.size)

    @property
    def title(self) -> str:
        """The term, and the receptor where there are two."""
        return self.term if self.receptor == "I" else f"{self.term} {self.receptor}"

    @property
    def phase_only(self) -> bool:
        """Whether all amplitudes are 1."""
        known = np.abs(self.gain[np.isfinite(self.gain)])
        return bool(np.all(np.abs(known - 1) < 1e-6))


def read_gains(path: Path) -> tuple[Gains, ...]:
    """Read a gain table (dims time, antenna_name, frequency, receptor), receptor by receptor.

    Of Jones matrices those are the elements of the diagonal.
    """
    import zarr

    with warnings.catch_warnings():
        # fixed-length strings have no Zarr v3 specification yet, which zarr says at every reading
        warnings.simplefilter("ignore")
        store = zarr.open_group(str(path), mode="r")

        def read(name: str) -> np.ndarray:
            array: Any = store[name]
            return np.asarray(array[:])

        gain = read("GAIN").astype(np.complex128)
        if "FLAG" in store:
            gain[read("FLAG").astype(bool)] = np.nan
        no_data = read("NO_DATA").astype(bool) if "NO_DATA" in store else None
        receptors = [str(r) for r in read("receptor")]
        names = tuple(str(n) for n in read("antenna_name"))
        solved: Any = store.attrs.get("solution_intervals")
        time, frequency = read("time").astype(float), read("frequency").astype(float)
    gain[gain == 0] = np.nan
    term = path.stem.removeprefix("gains_")
    return tuple(Gains(term, receptors[k], gain[..., k], time, frequency, names,
                       (int(solved[0]), int(solved[1])) if solved else None,
                       None if no_data is None else no_data[..., k])
                 for k in ((0, -1) if len(receptors) > 1 else (0,)))
