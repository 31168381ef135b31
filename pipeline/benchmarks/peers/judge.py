"""How good either side's images are, by the same measures."""

from __future__ import annotations

from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

import numpy as np
from astropy.io import fits

from arl.conventions import from_fits_axes
from arl.quality import match_truth
from arl.restoration import Beam
from ical.stages.model import Setup

#: Sources above so many times the image's noise are compared with the truth.
BRIGHT_SNR = 50.0


@dataclass(frozen=True)
class Images:
    """The files of one side's images of all bands together."""

    dirty: Path
    residual: Path
    restored: Path

    @classmethod
    def of_ical(cls, folder: Path) -> Images:
        """Those of a stage's folder."""
        kinds = ("dirty", "residual", "restored")
        return cls(*(folder / f"{kind}_combined.fits" for kind in kinds))

    @classmethod
    def of_wsclean(cls, name: Path) -> Images:
        """Those of WSClean's `-name`."""
        return cls(*(Path(f"{name}-MFS-{kind}.fits") for kind in ("dirty", "residual", "image")))


@dataclass(frozen=True)
class Quality:
    """Residual rms (Jy/beam), fitted over true flux (median, standard deviation) of n sources."""

    residual_rms_jy: float
    flux_ratio_median: float
    flux_ratio_scatter: float
    sources: int

    @property
    def scaled_rms_jy(self) -> float:
        """The residual rms where fluxes are as the truth has them: a loop that lets the amplitudes
        of its gains grow makes fluxes and noise smaller alike."""
        return self.residual_rms_jy / self.flux_ratio_median

    def to_dict(self) -> dict[str, Any]:
        """For the JSON."""
        return asdict(self) | {"scaled_rms_jy": self.scaled_rms_jy}


def read(path: Path, npixel: int) -> tuple[np.ndarray, fits.Header]:
    """An image [l, m] with the phase centre at npixel / 2, whatever pixel the file has it in."""
    with fits.open(path) as hdus:
        header, image = hdus[0].header, from_fits_axes(np.array(hdus[0].data[0, 0]))
    reference = header["NAXIS1"] - header["CRPIX1"]  # of axis l, which FITS counts backwards
    return np.roll(image, npixel // 2 - round(reference), axis=0), header


def judge(images: Images, setup: Setup) -> Quality:
    """Judge one side's images by the truth of the simulation."""
    residual, _ = read(images.residual, setup.npixel)
    restored, header = read(images.restored, setup.npixel)
    beam = Beam(*(float(np.radians(header[key])) for key in ("BMAJ", "BMIN", "BPA")))
    rms = float(np.sqrt(np.mean(np.square(residual, dtype=float))))
    found = match_truth(restored, setup.lmn[:, 0], setup.lmn[:, 1], setup.flux.mean(axis=1), beam,
                        setup.cell, flux_limit=BRIGHT_SNR * rms)
    return Quality(rms, found.ratio_median, found.ratio_std, found.n)


def dirty_difference(one: Images, other: Images, npixel: int) -> float:
    """The largest difference of the dirty images over their peak: both image the same data.

    The outermost pixels are left out, where the files' grids may be a pixel apart.
    """
    a, b = (read(images.dirty, npixel)[0][1:-1, 1:-1] for images in (one, other))
    return float(np.abs(a - b).max() / np.abs(a).max())
