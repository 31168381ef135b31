"""The minor loop: multi-scale, multi-frequency CLEAN by radler, WSClean's own deconvolution.

Offringa & Smirnov 2017, MNRAS 471, 301 (multi-scale, joined channels, spectral fitting).
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
import radler

MAX_ITERATIONS = 1_000_000


@dataclass(frozen=True)
class Bands:
    """What a minor loop must know of the images it joins.

    Attributes
    ----------
    edges: lowest and highest frequency of each band, Hz (band, 2).
    weight: sum of weights of each band (band,).
    beam_size: FWHM of the PSF, rad. cell: rad.
    """

    edges: np.ndarray
    weight: np.ndarray
    beam_size: float
    cell: float


@dataclass(frozen=True)
class CleanOptions:
    """How deep and with what a minor loop cleans.

    Attributes
    ----------
    scales: sizes in pixels, 0 is a point; one scale alone is a plain CLEAN.
    spectral_terms: of the polynomial in frequency over the bands.
    gain: of one component. major_gain: of the peak, the share removed before the next major cycle.
    threshold: Jy per beam, never cleaned below. threshold_sigma: the same in units of the
    residual's robust noise; the higher of the two holds.
    iterations: at most, in one minor loop.
    """

    scales: tuple[int, ...] = (0, 3, 10)
    spectral_terms: int = 3
    gain: float = 0.1
    major_gain: float = 0.85
    threshold: float = 0.0
    threshold_sigma: float | None = 3.0
    iterations: int = MAX_ITERATIONS


@dataclass(frozen=True)
class CleanResult:
    """The model after a minor loop (band, l, m), Jy per pixel, and the iterations it took."""

    model: np.ndarray
    iterations: int


def clean(
    residual: np.ndarray, psf: np.ndarray, model: np.ndarray, bands: Bands,
    options: CleanOptions, *, threads: int,
) -> CleanResult:
    """Clean residual images with their PSFs, all (band, l, m), and add to the model.

    The PSFs peak at 1 in the middle. No input is changed. radler is built, run and dropped here:
    it can neither be pickled nor told to forget.
    """
    work = [np.array(x, np.float32, order="C") for x in (psf, residual, model)]
    engine = radler.Radler(
        _settings(options, bands.cell, residual.shape[-1], len(residual), threads), *work,
        bands.beam_size, len(residual), np.asarray(bands.edges, float),
        np.asarray(bands.weight, float),
    )
    engine.perform(0)
    return CleanResult(work[2], int(engine.iteration_number))


def _settings(
    options: CleanOptions, cell: float, npixel: int, n_band: int, threads: int
) -> radler.Settings:
    settings = radler.Settings()
    settings.trimmed_image_width = settings.trimmed_image_height = npixel
    settings.pixel_scale.x = settings.pixel_scale.y = cell
    settings.channels_out = n_band
    settings.thread_count = threads
    settings.minor_iteration_count = options.iterations
    settings.minor_loop_gain = options.gain
    settings.major_loop_gain = options.major_gain
    settings.absolute_threshold = options.threshold
    settings.auto_threshold_sigma = options.threshold_sigma
    if len(options.scales) > 1:
        settings.algorithm_type = radler.AlgorithmType.multiscale
        settings.multiscale.scale_list = [float(s) for s in options.scales]
    else:
        settings.algorithm_type = radler.AlgorithmType.generic_clean
    if n_band > 1:
        settings.spectral_fitting.mode = radler.SpectralFittingMode.polynomial
        settings.spectral_fitting.terms = min(options.spectral_terms, n_band)
    return settings
