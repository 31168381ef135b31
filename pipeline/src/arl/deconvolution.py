"""The minor loop: multi-scale, multi-frequency CLEAN by radler, WSClean's own deconvolution.

Offringa & Smirnov 2017, MNRAS 471, 301 (multi-scale, joined channels, spectral fitting).
"""

from __future__ import annotations

import ctypes
import math
import os
import sys
import threading
from collections.abc import Iterator
from contextlib import contextmanager, redirect_stdout
from dataclasses import dataclass, replace
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import TextIO

import numpy as np
import radler

from arl.errors import InputError
from arl.quality import robust_rms

#: A minor loop knows one PSF for the whole field; deeper than the error of that it never ends.
MAX_ITERATIONS = 50_000
#: Bands within this share of their frequency are cleaned as their mean.
GROUP_WIDTH = 0.07
#: The share of a peak that is cleaned before the best scale is looked for again. With radler's own
#: 0.2 residuals, fluxes and gains of the named runs are the same, and take half as long again.
SAME_SCALE = 0.35
#: Levels within this share of each other are the same: of two minor loops down to them the second
#: finds what the first has left on purpose.
SAME_LEVEL = 0.1
_STDOUT = threading.Lock()


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
    scales: sizes in pixels, 0 is a point; (0,) is a plain CLEAN; none: radler chooses them by the
        beam (Offringa & Smirnov 2017, section 2.2).
    spectral_terms: of the polynomial in frequency over the bands.
    gain: of one component. major_gain: of the peak, the share removed before the next major cycle.
    threshold: Jy per beam, never cleaned below. threshold_sigma: the same in units of the
    residual's robust noise; the higher of the two holds.
    iterations: at most, in one minor loop.
    auto_mask_sigma: look everywhere only above this many times the noise, then go on to the
    threshold where the model has something; None: look everywhere all the way.
    mask_threshold: the same as Jy per beam in the band where the residual is strongest; with both
    the higher level holds.
    """

    scales: tuple[int, ...] = (0, 3, 10)
    spectral_terms: int = 3
    gain: float = 0.1
    major_gain: float = 0.85
    threshold: float = 0.0
    threshold_sigma: float | None = 3.0
    iterations: int = MAX_ITERATIONS
    auto_mask_sigma: float | None = None
    mask_threshold: float | None = None

    @property
    def masks_itself(self) -> bool:
        """Whether there is an automatic mask."""
        return self.auto_mask_sigma is not None or self.mask_threshold is not None


@dataclass(frozen=True)
class Levels:
    """Where a minor loop looks and stops, Jy per beam, in the mean over bands, as radler does.

    Attributes
    ----------
    peak: the highest of what may be cleaned. search: what is looked for everywhere.
    stop: where the loop stops, at what is in the model already. final: where the last loop does.
    """

    peak: float
    search: float
    stop: float
    final: float


@dataclass(frozen=True)
class CleanResult:
    """The model after a minor loop (band, l, m), Jy per pixel, and the iterations it took.

    `finished`: the final threshold was reached. `levels`: None where there was nothing to clean.
    """

    model: np.ndarray
    iterations: int
    finished: bool
    levels: Levels | None

    def finds_more(self, now: Levels) -> bool:
        """Whether another loop, on the residual image of this model, would find something new.

        It would where this one stopped early; where what it took for noise were sidelobes, which
        are gone; or where a peak stands out again. What is left inside the mask between where this
        loop stopped and where it searched does not count.
        """
        if not self.finished:
            return True
        if self.levels is None:
            return False
        search = min(now.search, self.levels.search)
        return (now.final < (1 - SAME_LEVEL) * self.levels.final
                or now.peak > (1 + SAME_LEVEL) * search)


def clean(
    residual: np.ndarray, psf: np.ndarray, model: np.ndarray, bands: Bands,
    options: CleanOptions, *, threads: int, mask: np.ndarray | None = None,
) -> CleanResult:
    """Clean residual images with their PSFs, all (band, l, m), and add to the model.

    The PSFs peak at 1 in the middle. No input is changed. radler is built, run and dropped here:
    it can neither be pickled nor told to forget. Its chatter is dropped.

    Parameters
    ----------
    mask: bool (l, m), the only pixels on which components may be centred (those of a scale reach
    half of it beyond); None: everywhere.

    Raises
    ------
    InputError: the mask is not of the image's size.
    """
    if mask is not None and mask.shape != residual.shape[1:]:
        raise InputError(f"The mask has shape {mask.shape}, the image {residual.shape[1:]}.")
    if not (residual if mask is None else residual[:, mask]).any():
        return CleanResult(np.array(model, np.float32), 0, True, None)
    groups = Groups.of(bands, options.spectral_terms)
    work = _Work(groups.mean(psf), groups.mean(residual),
                 np.zeros((len(groups.share), *model.shape[1:]), np.float32))
    levels = levels_of(residual, bands, options, mask)
    if not options.masks_itself:
        count, more = _minor_loop(work, groups.bands, options, mask, threads)
        return CleanResult(groups.add(model, work.model), count,
                           not more and count < options.iterations, levels)
    fixed = replace(options, threshold_sigma=None, major_gain=1.0)
    count, _ = _minor_loop(work, groups.bands, replace(fixed, threshold=levels.search), mask,
                           threads)
    found = auto_mask(model, work.model)
    if levels.stop < levels.search and found.any() and count < options.iterations:
        found = found if mask is None else found & mask
        left = replace(fixed, threshold=levels.stop, iterations=options.iterations - count)
        count += _minor_loop(work, groups.bands, left, found, threads)[0]
    return CleanResult(groups.add(model, work.model), count,
                       levels.stop <= levels.final and count < options.iterations, levels)


@dataclass(frozen=True)
class Groups:
    """Neighbouring bands whose mean a minor loop works on, which takes as long as it has images.

    More of these than spectral terms and a few say nothing new of a smooth spectrum. What the mean
    PSF takes wrong from one of its bands, the next residual image shows. The lowest and the highest
    band stay alone: a spectrum is read off between groups, not beyond them.

    Attributes
    ----------
    bands: what a minor loop must know of the groups.
    share: of every band in the mean of each group (group, band).
    spectrum: fluxes at all bands from those of the groups (band, group), by the polynomial that
        the minor loop fits.
    """

    bands: Bands
    share: np.ndarray
    spectrum: np.ndarray

    @classmethod
    def of(cls, bands: Bands, spectral_terms: int) -> Groups:
        """The fewest groups that are narrow enough, and more of them than terms."""
        n_band, edges = len(bands.edges), np.asarray(bands.edges, float)
        narrow = math.ceil(np.ptp(edges[1:-1]) / (GROUP_WIDTH * edges.mean())) if n_band > 2 else 0
        inner = max(spectral_terms - 1, narrow)
        if inner + 2 >= n_band:
            return cls(bands, np.eye(n_band), np.eye(n_band))
        group = np.r_[0, 1 + np.arange(n_band - 2) * inner // (n_band - 2), inner + 1]
        member = group == np.arange(inner + 2)[:, None]
        weight = member * np.asarray(bands.weight, float)
        share = weight / weight.sum(axis=1, keepdims=True)
        x = edges.mean(axis=1) / edges.mean() - 1
        spectrum = (np.vander(x, spectral_terms)
                    @ np.linalg.pinv(np.vander(share @ x, spectral_terms)))
        joined = replace(bands, edges=share @ edges, weight=weight.sum(axis=1))
        return cls(joined, share, spectrum)

    def mean(self, images: np.ndarray) -> np.ndarray:
        """The mean of each group's images: (band, l, m) to (group, l, m), float32."""
        return np.tensordot(self.share.astype(np.float32), np.asarray(images, np.float32), axes=1)

    def add(self, model: np.ndarray, found: np.ndarray) -> np.ndarray:
        """A model (band, l, m) and what was found in the groups (group, l, m), float32."""
        total = np.array(model, np.float32)
        where = found.any(axis=0)
        total[:, where] += self.spectrum.astype(np.float32) @ found[:, where]
        return total


@dataclass(frozen=True)
class _Work:
    """The arrays that radler changes in place, float32 (group, l, m)."""

    psf: np.ndarray
    residual: np.ndarray
    model: np.ndarray


def levels_of(
    residual: np.ndarray, bands: Bands, options: CleanOptions, mask: np.ndarray | None
) -> Levels:
    """Where a minor loop on residual images (band, l, m) would look and stop.

    The noise is that of the whole image, of which a mask may leave nothing but a source; peaks are
    those that the mask allows.
    """
    joined = np.tensordot(bands.weight / np.sum(bands.weight), residual, axes=1)
    noise = robust_rms(joined)
    final = max(options.threshold, (options.threshold_sigma or 0.0) * noise)
    allowed = slice(None) if mask is None else mask
    peak = float(np.abs(joined[allowed]).max())
    stop = max(final, (1 - options.major_gain) * peak)
    # a source that stands out in one band stands out less in the mean
    strongest = max(float(np.abs(band[allowed]).max()) for band in residual)
    absolute = (options.mask_threshold or 0.0) * peak / (strongest or 1.0)
    search = max(stop, (options.auto_mask_sigma or 0.0) * noise, absolute)
    return Levels(peak, search, stop, final)


def auto_mask(*models: np.ndarray, dilation: int = 1) -> np.ndarray:
    """The pixels (l, m) where any band of models (band, l, m) has flux, grown by `dilation`.

    Components of extended scales have put their whole shape into the model, so one mask serves
    all scales.
    """
    from scipy.ndimage import binary_dilation

    found = np.any([np.any(model, axis=0) for model in models], axis=0)
    if dilation < 1:
        return found
    return binary_dilation(found, np.ones((3, 3), bool), iterations=dilation)


def _minor_loop(
    work: _Work, bands: Bands, options: CleanOptions, mask: np.ndarray | None, threads: int
) -> tuple[int, bool]:
    """Run radler on the arrays; the iterations, and whether it asks for another major cycle."""
    n_band, npixel = work.residual.shape[0], work.residual.shape[-1]
    settings = _settings(options, bands.cell, npixel, n_band, threads)
    with TemporaryDirectory(prefix="arl-mask-") as folder, _own_prints_dropped():
        if mask is not None:
            settings.fits_mask = _write_mask(Path(folder) / "mask.fits", mask, bands.cell)
        # of all that this process has, one unless told; nobody else's loop is running
        radler.Radler.worker_thread_count = threads
        engine = radler.Radler(
            settings, work.psf, work.residual, work.model, bands.beam_size, n_band,
            np.asarray(bands.edges, float), np.asarray(bands.weight, float))
        more = bool(engine.perform(0))
        count = int(engine.iteration_number)
        with _descriptor_dropped():
            del engine
    _drop_rounding(work.model)
    return count, more


def _drop_rounding(model: np.ndarray) -> None:
    """Set to 0, in place, what no single-precision sum tells from 0 beside a band's peak.

    Radler convolves its scales by Fourier transforms, whose rounding leaves some in every pixel.
    """
    for band in model:
        size = np.abs(band)
        band[size < np.finfo(np.float32).eps * size.max()] = 0


def _write_mask(path: Path, mask: np.ndarray, cell: float) -> str:
    """A mask as the file that radler reads: the array's own axes, and the cards it insists on."""
    from astropy.io import fits

    hdu = fits.PrimaryHDU(mask.astype(np.float32))
    step = float(np.degrees(cell))
    for axis, kind in enumerate(("RA---SIN", "DEC--SIN"), start=1):
        hdu.header.update({f"CTYPE{axis}": kind, f"CRPIX{axis}": 1.0, f"CRVAL{axis}": 0.0,
                           f"CDELT{axis}": step, f"CUNIT{axis}": "deg"})
    hdu.writeto(path)
    return str(path)


class _OthersOnly:
    """A stream that drops what one thread writes and hands on what all others do."""

    def __init__(self, stream: TextIO) -> None:
        self._stream, self._owner = stream, threading.get_ident()

    def write(self, text: str) -> int:
        """Write, unless it is the owner who asks."""
        return len(text) if threading.get_ident() == self._owner else self._stream.write(text)

    def __getattr__(self, name: str) -> object:
        return getattr(self._stream, name)


@contextmanager
def _own_prints_dropped() -> Iterator[None]:
    """Drop what radler logs: it has no switch, and its log goes through Python's sys.stdout.

    Other threads print on, because radler lets go of the interpreter while it works. One caller
    at a time, or they would restore each other's stream.
    """
    with _STDOUT, redirect_stdout(_OthersOnly(sys.stdout)):  # type: ignore[type-var]
        yield


@contextmanager
def _descriptor_dropped() -> Iterator[None]:
    """Drop what C++ writes to descriptor 1: multi-scale radler's summary when it goes away."""
    flush = ctypes.CDLL(None).fflush
    flush(None)
    kept, sink = os.dup(1), os.open(os.devnull, os.O_WRONLY)
    try:
        os.dup2(sink, 1)
        yield
    finally:
        flush(None)
        os.dup2(kept, 1)
        os.close(kept)
        os.close(sink)


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
    if options.scales != (0,):
        settings.algorithm_type = radler.AlgorithmType.multiscale
        settings.multiscale.scale_list = [float(s) for s in options.scales]
        settings.multiscale.sub_minor_loop_gain = SAME_SCALE
    else:
        settings.algorithm_type = radler.AlgorithmType.generic_clean
    if n_band > 1:
        settings.spectral_fitting.mode = radler.SpectralFittingMode.polynomial
        settings.spectral_fitting.terms = min(options.spectral_terms, n_band)
    return settings
