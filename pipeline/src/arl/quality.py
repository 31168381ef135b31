"""How good an image is: statistics, fitted sources, and their comparison with the truth."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from dataclasses import dataclass
from typing import Any

import numpy as np

from arl.conventions import MAD_TO_SIGMA, lm_axis
from arl.errors import InputError
from arl.restoration import Beam, gaussian, log_slope

#: A fit sees this many beams around a source, and fits neighbours this close with it.
FIT_RADIUS, JOINT_RADIUS = 1.25, 2.0
#: Farther than this many beams from where a fit begins a source is negligible (3e-8, had it moved
#: by a beam, beyond which it has run away); from CROWD sources on that makes a fit sparse.
EXTENT, CROWD = 3.5, 30
#: A fit ends in some ten steps, but of sources that no beam tells apart, which exchange fluxes
#: for ever: then what this many steps led to is taken.
MOST_STEPS = 100
#: A peak of so many times the noise is a source; one of COMPLETE_SNR can't be missed by noise.
DETECTION_SNR, COMPLETE_SNR = 5.0, 10.0
#: Fluxes are judged of sources this many times the noise: it adds at most 2 % to their scatter.
MEASURED_SNR = 50.0
#: A source of which an image shows a smaller share of the flux than this is not in it. The highest
#: pixel has 0.86 of the flux at least, where a beam is 3 pixels wide.
PRESENT_SHARE = 0.5
#: A source wider than this share of the beam is resolved. Fitted with the beam's shape, a Gaussian
#: of a share x shows 1 / (1 + x^2 / 2) of its flux: half a percent less here, a third at x = 1.
RESOLVED = 0.1
#: What hangs together is taken apart at so many levels, evenly spaced in magnitude: sources of
#: similar flux come apart from a beam on, and one of a tenth of the other's at a beam and a half.
DEBLEND_LEVELS = 128
SPARE_PIXELS = 1024


def robust_rms(image: np.ndarray) -> float:
    """1.4826 x median absolute deviation: the standard deviation without the sources."""
    values = np.asarray(image)
    return MAD_TO_SIGMA * float(np.median(np.abs(values - np.median(values))))


@dataclass(frozen=True)
class ImageStatistics:
    """Of the pixels looked at: rms about 0, robust rms, largest |pixel|, extremes, skew and
    excess kurtosis (both 0 for a normal distribution)."""

    rms: float
    robust_rms: float
    peak: float
    maximum: float
    minimum: float
    skew: float
    kurtosis: float


def image_statistics(image: np.ndarray, mask: np.ndarray | None = None) -> ImageStatistics:
    """Statistics of an image (l, m), of the pixels where `mask` (bool) holds; None: of all.

    Raises
    ------
    InputError: no pixel is left.
    """
    values = np.asarray(image, float)[... if mask is None else mask].ravel()
    if values.size == 0:
        raise InputError("The mask leaves no pixel to make statistics of.")
    centred = values - values.mean()
    variance = np.mean(centred**2) or np.inf
    return ImageStatistics(
        float(np.sqrt(np.mean(values**2))), robust_rms(values), float(np.abs(values).max()),
        float(values.max()), float(values.min()), float(np.mean(centred**3) / variance**1.5),
        float(np.mean(centred**4) / variance**2 - 3) if np.isfinite(variance) else 0.0)


def off_source(
    npixel: int, cell: float, l: np.ndarray, m: np.ndarray, radius: float
) -> np.ndarray:
    """The pixels (npixel, npixel), bool, farther than `radius` (rad) from all of (l, m)."""
    away = np.ones((npixel, npixel), bool)
    reach = int(np.ceil(radius / cell))
    for x, y in zip(np.asarray(l) / cell, np.asarray(m) / cell, strict=True):
        box = _box(x, y, npixel, reach + 1)
        dx, dy = _offsets(box, npixel)
        away[box] &= np.hypot(dx - x, dy - y) * cell > radius
    return away


def isolated(
    l: np.ndarray, m: np.ndarray, flux: np.ndarray, beam: Beam, *, size: np.ndarray | float = 0.0,
    ratio: float = 0.1, n_beams: float = 2.0,
) -> np.ndarray:
    """Whether no other source within n_beams x the beam's major axis has `ratio` of its flux.

    l, m (rad) and apparent flux (Jy) of all sources, shape (source,); bool of that shape. `size`
    is their major axis (FWHM, rad), 0: points; one that is resolved reaches as much farther as
    it is wider in the image than the beam.
    """
    size = np.broadcast_to(size, len(l))
    result = np.ones(len(l), bool)
    for a, b in _pairs(l, m, n_beams * beam.major):
        result[a] &= flux[b] < ratio * flux[a]
        result[b] &= flux[a] < ratio * flux[b]
    for k in np.flatnonzero(resolved(size, beam)):
        near = np.hypot(l - l[k], m - m[k]) < n_beams * np.hypot(beam.major, size[k])
        near[k] = False
        result[near & (flux[k] >= ratio * flux)] = False
    return result


def resolved(size: np.ndarray | float, beam: Beam) -> np.ndarray:
    """Whether sources with these major axes (FWHM, rad) are too wide for a fit of the beam."""
    return np.asarray(size) > RESOLVED * beam.major


def _pairs(l: np.ndarray, m: np.ndarray, radius: float) -> np.ndarray:
    """Index pairs (pair, 2), each once, of points nearer than a radius."""
    from scipy.spatial import cKDTree

    return cKDTree(np.column_stack([l, m])).query_pairs(radius, output_type="ndarray")


@dataclass(frozen=True)
class FittedSources:
    """Fluxes (Jy) and positions (rad) of fitted sources, shape (source,).

    `converged` is false, and the numbers NaN, where a fit failed or ran away by over a beam.
    """

    l: np.ndarray
    m: np.ndarray
    flux: np.ndarray
    converged: np.ndarray


def fit_sources(
    restored: np.ndarray, l: np.ndarray, m: np.ndarray, flux: np.ndarray, beam: Beam, cell: float,
    *, wanted: np.ndarray | None = None,
) -> FittedSources:
    """Fit beam-shaped Gaussians to a restored image (l, m) by least squares.

    A point source in a restored image has the beam's shape, so flux and position are free and
    the shape is not. Sources within two beams of one another share their fit.

    Parameters
    ----------
    l, m: approximate positions, rad (source,). flux: first guess, Jy.
    wanted: bool (source,), the ones that must be fitted, None: all; the others are fitted only
    as neighbours of these and come back NaN.

    Raises
    ------
    InputError: the three arrays differ in length.
    """
    l, m, flux = (np.asarray(x, float) for x in (l, m, flux))
    if not len(l) == len(m) == len(flux):
        raise InputError("Positions and fluxes of the sources to fit differ in number.")
    asked = np.ones(len(l), bool) if wanted is None else np.asarray(wanted, bool)
    found = np.full((len(l), 3), np.nan)
    for group in _groups(l, m, flux, asked, JOINT_RADIUS * beam.major):
        start = np.column_stack([l[group], m[group], flux[group]])
        fitted = _fit_group(restored, start, beam, cell)
        moved = np.hypot(*(fitted - start)[:, :2].T)
        keep = asked[group] & (moved < beam.major)
        found[group[keep]] = fitted[keep]
    return FittedSources(found[:, 0], found[:, 1], found[:, 2], np.isfinite(found[:, 2]))


def _groups(
    l: np.ndarray, m: np.ndarray, flux: np.ndarray, asked: np.ndarray, radius: float
) -> Iterator[np.ndarray]:
    """Indices of sources to fit together: friends of friends, one of them asked for at least.

    Friendship needs one of the two to be asked for, so that a crowd of faint ones does not join
    the whole field; nor does a neighbour of under a thousandth of the flux matter.
    """
    from scipy.sparse import coo_matrix
    from scipy.sparse.csgraph import connected_components

    pairs = _pairs(l, m, radius)
    if len(pairs):
        bright = np.where(asked[pairs], flux[pairs], 0).max(axis=1)
        pairs = pairs[asked[pairs].any(axis=1) & (flux[pairs].min(axis=1) > 1e-3 * bright)]
    links = coo_matrix((np.ones(len(pairs)), (pairs[:, 0], pairs[:, 1])), (len(l), len(l)))
    _, label = connected_components(links, directed=False)
    for number in np.unique(label[asked]):
        yield np.flatnonzero(label == number)


def _fit_group(restored: np.ndarray, start: np.ndarray, beam: Beam, cell: float) -> np.ndarray:
    """Fit Gaussians together; start and result are (source, [l, m, flux]).

    A crowd may be hundreds that touch, so each is evaluated only where it is not negligible, and
    the derivatives are known, not differences of as many models as there are parameters.
    """
    from scipy.optimize import least_squares
    from scipy.sparse import csr_matrix

    lp, mp, values = _pixels_around(restored, start[:, 0], start[:, 1], beam, cell)
    scale = np.array([beam.minor, beam.minor, max(np.abs(start[:, 2]).max(), 1e-12)])
    pixel, source = _overlaps(lp, mp, start, EXTENT * beam.major)

    def offsets(p: np.ndarray) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
        l, m, s = (p.reshape(-1, 3) * scale)[source].T
        return lp[pixel] - l, mp[pixel] - m, s

    def misfit(p: np.ndarray) -> np.ndarray:
        dl, dm, s = offsets(p)
        model = np.bincount(pixel, s * gaussian(beam, dl, dm), values.size)
        return (model - values) / scale[2]

    def derivatives(p: np.ndarray) -> Any:
        dl, dm, s = offsets(p)
        shape = gaussian(beam, dl, dm)
        by_l, by_m = log_slope(beam, dl, dm)
        entries = np.column_stack([-s * shape * by_l, -s * shape * by_m, shape]) * scale / scale[2]
        sparse = csr_matrix((entries.ravel(), (np.repeat(pixel, 3),
                                               (3 * source[:, None] + np.arange(3)).ravel())),
                            (values.size, p.size))
        return sparse if len(start) > CROWD else sparse.toarray()

    fit = least_squares(misfit, (start / scale).ravel(), derivatives, method="trf", x_scale="jac",
                        max_nfev=MOST_STEPS)
    return fit.x.reshape(-1, 3) * scale


def _overlaps(
    lp: np.ndarray, mp: np.ndarray, start: np.ndarray, radius: float
) -> tuple[np.ndarray, np.ndarray]:
    """Numbers of the pixels and of the sources (source, [l, m, flux]) of all pairs this near."""
    from scipy.spatial import cKDTree

    near = cKDTree(np.column_stack([lp, mp])).query_ball_point(start[:, :2], radius)
    source = np.repeat(np.arange(len(start)), [len(n) for n in near])
    return np.concatenate(near).astype(int), source


def _pixels_around(
    image: np.ndarray, l: np.ndarray, m: np.ndarray, beam: Beam, cell: float
) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """Positions (rad) and values of the pixels near any of some sources."""
    npixel = image.shape[0]
    radius = FIT_RADIUS * beam.major
    near = ~off_source(npixel, cell, l, m, radius)
    i, j = np.nonzero(near)
    return (i - npixel // 2) * cell, (j - npixel // 2) * cell, np.asarray(image[near], float)


def _box(x: float, y: float, npixel: int, reach: int) -> tuple[slice, slice]:
    """The slices of a square around an offset in pixels, cut at the image's rim."""
    i, j = round(x) + npixel // 2, round(y) + npixel // 2
    return (slice(max(i - reach, 0), max(i + reach + 1, 0)),
            slice(max(j - reach, 0), max(j + reach + 1, 0)))


def _offsets(box: tuple[slice, slice], npixel: int) -> tuple[np.ndarray, np.ndarray]:
    """Offsets from the image's centre, pixels, along both axes of a box."""
    i, j = (np.arange(npixel)[part] - npixel // 2 for part in box)
    return i[:, None], j[None, :]


@dataclass(frozen=True)
class FluxQuality:
    """Fitted sources against the truth.

    Attributes
    ----------
    ratio_median: fitted / true flux of the isolated sources. ratio_scatter: its robust rms.
    ratio_std: its standard deviation, which outliers move.
    position_offset_beam: median distance from the true position, in beams (major axis).
    n: how many isolated sources there are. index: which sources of the truth were measured.
    true_flux, flux: Jy. offset_l_beam, offset_m_beam: fitted minus true. isolated: bool. All of
    shape (measured,).
    """

    ratio_median: float
    ratio_scatter: float
    ratio_std: float
    position_offset_beam: float
    n: int
    index: np.ndarray
    true_flux: np.ndarray
    flux: np.ndarray
    offset_l_beam: np.ndarray
    offset_m_beam: np.ndarray
    isolated: np.ndarray


def match_truth(
    restored: np.ndarray, l: np.ndarray, m: np.ndarray, flux: np.ndarray, beam: Beam, cell: float,
    *, flux_limit: float, size: np.ndarray | float = 0.0,
) -> FluxQuality:
    """Fit every source of the truth above `flux_limit` (apparent, Jy) and compare.

    l, m (rad) and apparent flux (Jy) are those of all components of the truth, the faint ones
    too, at the image's frequency; `size` is their major axis (FWHM, rad), 0: points. Those
    that are resolved are not compared, for the fit has the beam's shape, but are neighbours. The
    sums over no source are NaN.
    """
    l, m, flux = (np.asarray(x, float) for x in (l, m, flux))
    bright = (flux > flux_limit) & ~resolved(size, beam)
    found = fit_sources(restored, l, m, flux, beam, cell, wanted=bright)
    alone = isolated(l, m, flux, beam, size=size)
    index = np.flatnonzero(bright & found.converged)
    dl, dm = (found.l - l)[index] / beam.major, (found.m - m)[index] / beam.major
    chosen = alone[index]
    ratio = (found.flux[index] / flux[index])[chosen]
    offset = np.hypot(dl, dm)[chosen]
    return FluxQuality(
        _or_nan(np.median, ratio), _or_nan(robust_rms, ratio), _or_nan(np.std, ratio),
        _or_nan(np.median, offset), int(chosen.sum()), index, flux[index], found.flux[index], dl,
        dm, chosen)


def _or_nan(measure: Callable[[np.ndarray], float], values: np.ndarray) -> float:
    return float(measure(values)) if values.size else float("nan")


@dataclass(frozen=True)
class CrossMatch:
    """Pairs of the nearest sources of two lists: `index` of the second for each of the first
    (-1: none within the radius), their `distance` in rad (inf), both (first,)."""

    index: np.ndarray
    distance: np.ndarray

    @property
    def fraction(self) -> float:
        """Share of the first list that has a partner: completeness or reliability."""
        return float(np.mean(self.index >= 0)) if self.index.size else float("nan")


def cross_match(
    l: np.ndarray, m: np.ndarray, other_l: np.ndarray, other_m: np.ndarray, radius: float
) -> CrossMatch:
    """The nearest source of another list within a radius (rad), and a source serves only once.

    With the truth as the first list `fraction` is the completeness; with the found sources
    first it is the reliability.
    """
    from scipy.spatial import cKDTree

    if len(other_l) == 0 or len(l) == 0:
        return CrossMatch(np.full(len(l), -1), np.full(len(l), np.inf))
    tree = cKDTree(np.column_stack([other_l, other_m]))
    distance, index = tree.query(np.column_stack([l, m]), distance_upper_bound=radius)
    index = np.where(np.isfinite(distance), index, -1)
    for k in np.unique(index[index >= 0]):
        rivals = np.flatnonzero(index == k)
        losers = rivals[rivals != rivals[np.argmin(distance[rivals])]]
        index[losers], distance[losers] = -1, np.inf
    return CrossMatch(index, distance)


def find_peaks(
    restored: np.ndarray, threshold: float, cell: float
) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """Sources of a restored image (l, m): l, m (rad) and the pixel value (Jy) of their peaks.

    By Source Extractor: what hangs together above `threshold` (Jy/beam), and each part of it that
    a valley divides from the rest, however faint beside it. The background is not modelled and no
    filter is laid over the image: it is flat after cleaning, and noise and sources have the
    beam's scale already.
    """
    import sep

    image = np.ascontiguousarray(restored, np.float32)
    threshold = max(threshold, float(np.finfo(np.float32).tiny))
    # what it may hold at once: fixed sizes unless told, and too small for a full field
    bright = int(np.count_nonzero(image > threshold))
    sep.set_extract_pixstack(bright + SPARE_PIXELS)
    sep.set_sub_object_limit(bright + SPARE_PIXELS)
    found = sep.extract(image, threshold, filter_kernel=None, minarea=1, clean=False,
                        deblend_nthresh=DEBLEND_LEVELS, deblend_cont=0.0)
    i, j = _summits(image, found["ypeak"], found["xpeak"])
    axis = lm_axis(image.shape[0], cell)
    return axis[i], axis[j], np.asarray(restored[i, j], float)


def _summits(image: np.ndarray, i: np.ndarray, j: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """Those of the pixels that no neighbour exceeds: a part of a source's slope is no source."""
    around = np.pad(image, 1, constant_values=-np.inf)
    highest = np.max([around[i + a, j + b] for a in range(3) for b in range(3)], axis=0)
    keep = image[i, j] >= highest
    return i[keep], j[keep]


@dataclass(frozen=True)
class Detection:
    """How many sources were found, and what they are worth.

    Attributes
    ----------
    completeness: share of the isolated true sources above COMPLETE_SNR that were found; those
        that are resolved do not count, as their flux is not their peak.
    bright: how many of them are above MEASURED_SNR, and bright_completeness: which share of these
        was found with PRESENT_SHARE of the flux.
    reliability: share of the found sources that have a true one within a beam. NaN of none.
    """

    found: int
    completeness: float
    bright: int
    bright_completeness: float
    reliability: float


def detection(
    restored: np.ndarray, noise: float, l: np.ndarray, m: np.ndarray, flux: np.ndarray,
    beam: Beam, cell: float, *, size: np.ndarray | float = 0.0,
) -> Detection:
    """Find the sources of a restored image and cross-match them with the truth.

    Parameters
    ----------
    noise: of the image, Jy/beam. l, m (rad), flux (apparent, Jy): all of the truth. size: their
    major axis (FWHM, rad), 0: points.
    """
    l, m, flux = (np.asarray(x, float) for x in (l, m, flux))
    found_l, found_m, peak = find_peaks(restored, DETECTION_SNR * noise, cell)
    counted = isolated(l, m, flux, beam, size=size) & (flux > COMPLETE_SNR * noise)
    counted &= ~resolved(size, beam)
    known = cross_match(l[counted], m[counted], found_l, found_m, beam.major)
    true = cross_match(found_l, found_m, l, m, beam.major)
    seen = np.zeros(len(known.index))
    seen[known.index >= 0] = peak[known.index[known.index >= 0]]
    bright = flux[counted] > MEASURED_SNR * noise
    present = (seen >= PRESENT_SHARE * flux[counted])[bright]
    return Detection(len(found_l), known.fraction, int(bright.sum()), _or_nan(np.mean, present),
                     true.fraction)
