"""What is made of restored images: spectral indices, and fluxes freed of the primary beam."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass

import numpy as np

from arl.errors import InputError

#: Below this power no image is corrected: the noise would be ten times that of the centre.
LEAST_POWER = 0.1
#: A pixel has a spectral index where every band stands out of its noise by this much.
INDEX_SNR = 5.0


@dataclass(frozen=True)
class SpectralIndex:
    """The exponent of S ~ frequency^index and its standard error, (l, m); NaN where it is faint."""

    index: np.ndarray
    error: np.ndarray


def spectral_index(
    images: Iterable[np.ndarray], noise: Iterable[np.ndarray | float], frequency: np.ndarray
) -> SpectralIndex:
    """Fit a power law to each pixel of images [l, m] of the same beam, one a band.

    Weighted least squares of ln S on ln nu. A flux of S +- sigma is an ln S of +- sigma / S, so the
    weights are (S / sigma)^2 and the error of the slope is 1 / sqrt(sum of w (x - mean x)^2)
    (Bevington & Robinson 2003, eq. 6.12 and 6.21).

    Parameters
    ----------
    noise: standard deviation of each image, Jy, a number or (l, m). frequency: Hz (band,).

    Raises
    ------
    InputError: there are fewer than two bands.
    """
    if len(frequency) < 2:
        raise InputError("A spectral index needs at least two bands.")
    bright: np.ndarray | bool = True
    sums = [0.0] * 5
    x = np.log(frequency / np.mean(frequency))
    for k, (image, sigma) in enumerate(zip(images, noise, strict=True)):
        # False where there is NaN; an image without noise has none to weigh it by
        above = np.greater(image, INDEX_SNR * np.asarray(sigma)) & (np.asarray(sigma) > 0)
        bright = above & bright
        w = np.divide(image, sigma, out=np.zeros(np.shape(image)), where=above) ** 2
        y = np.log(np.where(above, image, 1.0))
        sums = [s + t for s, t in zip(
            sums, (w, w * x[k], w * x[k] ** 2, w * y, w * x[k] * y), strict=True)]
    s, sx, sxx, sy, sxy = sums
    with np.errstate(invalid="ignore", divide="ignore"):
        spread = sxx - sx**2 / s
        slope, error = (sxy - sx * sy / s) / spread, 1 / np.sqrt(spread)
    return SpectralIndex(np.where(bright, slope, np.nan), np.where(bright, error, np.nan))


def correct_beam(image: np.ndarray, power: np.ndarray) -> np.ndarray:
    """An image divided by the primary beam's power, NaN where that is below LEAST_POWER."""
    seen = power >= LEAST_POWER
    return np.where(seen, image / np.where(seen, power, 1.0), np.nan)


@dataclass(frozen=True)
class BeamCorrected:
    """The mean over bands of corrected images, and its weight relative to that where the power is 1
    in all bands, both (l, m); its noise is that of the uncorrected mean over sqrt(weight)."""

    image: np.ndarray
    weight: np.ndarray


def combine_corrected(
    images: Iterable[np.ndarray], powers: Iterable[np.ndarray], weight: np.ndarray
) -> BeamCorrected:
    """The mean of S_b = image_b / power_b, each weighted by its inverse variance w_b power_b^2.

    `images` and `powers` are [l, m], one a band; `weight` (band,) is the sum of weights of each.
    NaN where the weight is below LEAST_POWER^2.
    """
    flux: np.ndarray | float = 0.0
    total: np.ndarray | float = 0.0
    for image, power, share in zip(images, powers, weight / np.sum(weight), strict=True):
        flux = flux + share * power * image
        total = total + share * power**2
    seen = np.asarray(total) >= LEAST_POWER**2
    return BeamCorrected(
        np.where(seen, flux / np.where(seen, total, 1.0), np.nan), np.asarray(total))
