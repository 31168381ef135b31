"""Continuum imaging: major cycles of residual images and joint minor loops over all bands."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from arl.deconvolution import CleanOptions
from arl.restoration import Beam
from ical.imager import BandImages, Imager, fit_beams
from ical.parameters import MinorLoop, Parameters
from ical.partitions import Plan
from ical.tasks import Grid

DEFAULT_SPECTRAL_TERMS = 3
#: A major cycle that lowers the residual's rms by less than this share ends the imaging.
LEAST_GAIN = 0.0125


@dataclass(frozen=True)
class ImagingResult:
    """Images of all bands (band, l, m); `rms` is the combined residual's after each cycle, Jy."""

    dirty: BandImages
    psf: BandImages
    model: np.ndarray
    residual: BandImages
    beams: tuple[Beam, ...]
    rms: tuple[float, ...]


def grid_of(parameters: Parameters, npixel: int, cell: float) -> Grid:
    """How the run's visibilities become images."""
    imaging = parameters.imaging
    return Grid(npixel, cell, imaging.epsilon, imaging.weighting, imaging.robust,
                imaging.uv_range.min_m, imaging.uv_range.max_m)


def clean_options(loop: MinorLoop) -> CleanOptions:
    """The library's options for the run file's."""
    points = loop.algorithm == "generic"
    return CleanOptions(
        scales=(0,) if points else tuple(int(s) for s in loop.scales),
        spectral_terms=loop.spectral_terms or DEFAULT_SPECTRAL_TERMS, gain=loop.gain,
        major_gain=loop.major_gain, threshold=loop.threshold or 0.0,
        threshold_sigma=None if loop.threshold else loop.auto_threshold,
        iterations=loop.minor_iterations)


def band_edges(plan: Plan, frequency: np.ndarray, channel_width: float) -> np.ndarray:
    """Lowest and highest frequency of each band, Hz (band, 2)."""
    half = channel_width / 2
    return np.array([[frequency[a] - half, frequency[b - 1] + half] for a, b in plan.bands])


def image(imager: Imager, parameters: Parameters, edges: np.ndarray) -> ImagingResult:
    """Image, clean, subtract, and again, until it no longer helps or the cycles are used up."""
    dirty, psf = imager.dirty_and_psf()
    beams = fit_beams(psf, imager.grid.cell)
    options = clean_options(parameters.imaging.clean)
    model, residual = np.zeros_like(dirty.image), dirty
    rms = [residual.rms]
    for _ in range(parameters.imaging.clean.major_cycles):
        found = imager.clean(residual, psf, model, edges, beams[0], options)
        if found.iterations == 0:
            break
        model = found.model
        residual = imager.residual(model, {})
        rms.append(residual.rms)
        if rms[-1] > (1 - LEAST_GAIN) * rms[-2]:
            break
    return ImagingResult(dirty, psf, model, residual, tuple(beams), tuple(rms))
