"""Continuum imaging: major cycles of residual images and joint minor loops over all bands."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass

import numpy as np

from arl.deconvolution import CleanOptions, CleanResult
from arl.restoration import Beam
from ical.imager import BandImages, Imager, fit_beams
from ical.parameters import MinorLoop, Parameters
from ical.partitions import Plan
from ical.stages.observed import Observed
from ical.tasks import Grid

DEFAULT_SPECTRAL_TERMS = 3
#: A major cycle that lowers the residual's rms, where components may be put, by less than this
#: share ends the imaging.
LEAST_GAIN = 0.0125


@dataclass(frozen=True)
class ImagingResult:
    """Images of all bands (band, l, m); `rms` is the combined residual's before the first
    cycle and after each, Jy."""

    dirty: BandImages
    psf: BandImages
    model: np.ndarray
    residual: BandImages
    beams: tuple[Beam, ...]
    rms: tuple[float, ...]


def grid_of(parameters: Parameters, setup: Observed) -> Grid:
    """How the run's visibilities become images."""
    imaging = parameters.imaging
    return Grid(setup.npixel, setup.cell, imaging.epsilon, imaging.weighting, imaging.robust,
                imaging.uv_range.min_m, imaging.uv_range.max_m, imaging.taper_rad, setup.inner)


def clean_options(loop: MinorLoop) -> CleanOptions:
    """The library's options for the run file's."""
    points = loop.algorithm == "generic"
    return CleanOptions(
        scales=(0,) if points else tuple(int(s) for s in loop.scales or ()),
        spectral_terms=loop.spectral_terms or DEFAULT_SPECTRAL_TERMS, gain=loop.gain,
        major_gain=loop.major_gain, threshold=loop.threshold or 0.0,
        threshold_sigma=loop.threshold_sigma,
        iterations=loop.minor_iterations, auto_mask_sigma=loop.auto_mask,
        mask_threshold=loop.mask_threshold)


def band_edges(plan: Plan, frequency: np.ndarray, channel_width: float) -> np.ndarray:
    """Lowest and highest frequency of each band, Hz (band, 2)."""
    half = channel_width / 2
    return np.array([[frequency[a] - half, frequency[b - 1] + half] for a, b in plan.bands])


@dataclass(frozen=True)
class Cleaner:
    """What every major cycle needs: the imager, PSFs, beam, band edges and options.

    `gains` correct the data, by partition name; empty where there is nothing to correct.
    """

    imager: Imager
    psf: BandImages
    beam: Beam
    edges: np.ndarray
    options: CleanOptions
    gains: dict[str, Sequence[np.ndarray]]

    def major_cycles(
        self, model: np.ndarray, residual: BandImages, count: int, tell: Callable[[int], None]
    ) -> tuple[np.ndarray, BandImages, list[float]]:
        """Clean, subtract and image again until nothing is left to be found, it no longer helps, or
        the cycles are used up.

        A cycle that makes the residual worse is not kept; worse is a higher rms where components
        may be put, which what a mask leaves outside must not drown. Returns the model, its
        residual, and the whole residual's rms (Jy) after each cycle that was kept.
        """
        rms: list[float] = []
        for number in range(1, count + 1):
            found = self.imager.clean(residual, self.psf, model, self.edges, self.beam,
                                      self.options)
            if found.iterations == 0:
                break
            new = self.imager.residual(found.model, self.gains)
            before, after = map(self.imager.rms_to_clean, (residual, new))
            if after < before:
                model, residual = found.model, new
                rms.append(new.rms)
            tell(number)
            if after > (1 - LEAST_GAIN) * before or (found.finished and not self._more(found, new)):
                break
        return model, residual, rms

    def _more(self, found: CleanResult, residual: BandImages) -> bool:
        """Whether another loop would find something new, seen in the residual that one left."""
        return found.finds_more(self.imager.levels(
            residual, self.psf, self.edges, self.beam, self.options))


def image(
    imager: Imager, parameters: Parameters, edges: np.ndarray, tell: Callable[[int], None],
    start: np.ndarray | None = None,
) -> ImagingResult:
    """Continuum imaging; `tell` is given the number of each major cycle that is done.

    `start` is the model to begin with, (band, l, m) Jy per pixel; None: a blank sky.
    """
    dirty, psf = imager.dirty_and_psf()
    beams = fit_beams(psf, imager.grid.cell)
    cleaner = Cleaner(imager, psf, beams[0], edges, clean_options(parameters.imaging.clean), {})
    model = np.zeros_like(dirty.image) if start is None else start
    first = dirty if start is None else imager.residual(start, {})
    model, residual, rms = cleaner.major_cycles(
        model, first, parameters.imaging.clean.major_cycles, tell)
    return ImagingResult(dirty, psf, model, residual, tuple(beams), (first.rms, *rms))
