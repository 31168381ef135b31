"""The tasks of the workers: each a pure function of one partition, or a sum over partitions.

Dask may run any of them twice. Images that leave a partition are un-normalised weighted sums with
their sum of weights; `add_images` adds them in float64 and in the order of the plan.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace

import numpy as np

from arl import cost, gridding, simulation, sky, weighting
from arl.calibration import apply, chain, conditioning, intervals
from arl.calibration.robust import reweigh
from arl.calibration.solver import Solution
from arl.conventions import C, lm_axis, lmn
from arl.telescope import in_uv_range
from ical.cluster import library_threads
from ical.data import PartitionData, load
from ical.traffic import size_by_fields

#: A residual image is made to this many times the accuracy asked for: relative to the data, of
#: which it is what is left, its error is smaller still.
RESIDUAL_ACCURACY = 10
LEAST_ACCURACY = 1e-2


@dataclass(frozen=True)
class Source:
    """Where a partition's visibilities are: the path of its Zarr store and the data column."""

    path: str
    column: str


@dataclass(frozen=True)
class Grid:
    """How visibilities become images: size (pixels), cell (rad), weights and accuracy.

    `inner`: pixels without the border, whose field sets the uv-cells of the density; None: npixel.
    `min_baseline` and `max_baseline` (m, None: no limit) select what is imaged, not what is
    calibrated. `taper`: FWHM of a Gaussian on the sky, rad; None: there is none.
    """

    npixel: int
    cell: float
    epsilon: float
    scheme: str
    robust: float
    min_baseline: float | None
    max_baseline: float | None
    taper: float | None = None
    inner: int | None = None

    @property
    def natural(self) -> bool:
        """Whether the weights are those of the data, so that the noise of an image is known."""
        return self.scheme == "natural" and self.taper is None


@dataclass(frozen=True)
class PartialImage:
    """One partition's share of an image [l, m]: weighted sum and sum of weights.

    And of a point spread function the variance of such a sum of noise, in units of that of a
    sample of weight 1: the sum of (imaging weight)^2 / (weight of the data).
    """

    image: np.ndarray
    weight: float
    variance: float = 0.0


def _selected(
    data: PartitionData, weight: np.ndarray, shortest: float | None, longest: float | None
) -> np.ndarray:
    """Weights with the baselines outside the chosen range (m) set to zero."""
    if shortest is None and longest is None:
        return weight
    return weight * in_uv_range(data.uvw, shortest, longest)[..., None]


def _imaging_weight(
    data: PartitionData, weight: np.ndarray, grid: Grid, density: np.ndarray | None
) -> np.ndarray:
    selected = _selected(data, weight, grid.min_baseline, grid.max_baseline)
    if density is not None:
        selected = weighting.reweight(
            data.uvw, data.frequency, selected, density, scheme=grid.scheme, robust=grid.robust,
            cell=grid.cell,
        )
    if grid.taper is None:
        return selected
    return weighting.taper(data.uvw, data.frequency, selected, fwhm=grid.taper)


def _invert(
    data: PartitionData, vis: np.ndarray, weight: np.ndarray, grid: Grid, epsilon: float
) -> PartialImage:
    image = gridding.invert(
        data.uvw, data.frequency, vis, weight, npixel=grid.npixel, cell=grid.cell,
        epsilon=epsilon, threads=library_threads(),
    )
    return PartialImage(image, float(weight.sum(dtype=np.float64)))


def _invert_residual(
    data: PartitionData, vis: np.ndarray, weight: np.ndarray, grid: Grid
) -> PartialImage:
    return _invert(data, vis, weight, grid, min(LEAST_ACCURACY, RESIDUAL_ACCURACY * grid.epsilon))


def _predict(data: PartitionData, model: np.ndarray, grid: Grid) -> np.ndarray:
    """Visibilities of a model image; pixel by pixel where that is faster."""
    pixels = np.argwhere(model)
    if _is_faster_direct(data, len(pixels), grid):
        axis = lm_axis(len(model), grid.cell)
        flux = np.repeat(model[tuple(pixels.T)][:, None], data.frequency.size, axis=1)
        return simulation.predict_components(
            data.uvw, data.frequency, lmn(*axis[pixels.T]), flux).astype(np.complex64)
    return gridding.predict(
        data.uvw, data.frequency, model, cell=grid.cell, epsilon=grid.epsilon,
        threads=library_threads(),
    )


def _is_faster_direct(data: PartitionData, components: int, grid: Grid) -> bool:
    longest = np.abs(data.uvw[..., 2]).max() * data.frequency.max() / C
    planes = cost.w_planes(longest, grid.npixel * grid.cell / np.sqrt(2))
    return (cost.direct_sum(data.vis.size, components)
            < cost.gridder_call(data.vis.size, planes, grid.npixel))


def density(source: Source, grid: Grid) -> np.ndarray:
    """The partition's share of the grid of weights that uniform and Briggs weighting need."""
    data = load(source.path, source.column)
    selected = _selected(data, data.weight, grid.min_baseline, grid.max_baseline)
    return weighting.uv_density(
        data.uvw, data.frequency, selected, npixel=grid.inner or grid.npixel, cell=grid.cell)


def dirty_and_psf(
    source: Source, grid: Grid, density: np.ndarray | None
) -> tuple[PartialImage, PartialImage]:
    """The partition's dirty image and point spread function."""
    data = load(source.path, source.column)
    weight = _imaging_weight(data, data.weight, grid, density)
    return (_invert(data, data.vis, weight, grid, grid.epsilon),
            _psf(data, data.weight, weight, grid))


def dirty(source: Source, grid: Grid, density: np.ndarray | None) -> PartialImage:
    """The partition's dirty image alone."""
    data = load(source.path, source.column)
    weight = _imaging_weight(data, data.weight, grid, density)
    return _invert(data, data.vis, weight, grid, grid.epsilon)


def _psf(
    data: PartitionData, own: np.ndarray, weight: np.ndarray, grid: Grid
) -> PartialImage:
    """By the imaging weights, made of the data's `own`."""
    image = gridding.psf(
        data.uvw, data.frequency, weight, npixel=grid.npixel, cell=grid.cell,
        epsilon=grid.epsilon, threads=library_threads(),
    )
    total = float(weight.sum(dtype=np.float64))
    return PartialImage(image, total, total if grid.natural else _variance(weight, own))


def _variance(weight: np.ndarray, own: np.ndarray) -> float:
    share = np.divide(weight, own, out=np.zeros_like(weight), where=own > 0)
    return float(np.einsum("tbc,tbc->", weight, share, dtype=np.float64))


def band_model(model: np.ndarray) -> np.ndarray:
    """A band's model image, for all the tasks that need it."""
    return model


def residual(
    source: Source,
    grid: Grid,
    density: np.ndarray | None,
    model: np.ndarray,
    gains: Sequence[np.ndarray],
) -> PartialImage:
    """The partition's image of corrected minus model visibilities."""
    data = load(source.path, source.column)
    vis, weight = correct(data, gains)
    weight = _imaging_weight(data, weight, grid, density)
    return _invert_residual(data, vis - _predict(data, model, grid), weight, grid)


def corrected_psf(
    source: Source, grid: Grid, density: np.ndarray | None, gains: Sequence[np.ndarray]
) -> PartialImage:
    """The point spread function of corrected data, whose weights the gains have changed."""
    data = load(source.path, source.column)
    _, weight = correct(data, gains)
    return _psf(data, weight, _imaging_weight(data, weight, grid, density), grid)


def correct(
    data: PartitionData, gains: Sequence[np.ndarray]
) -> tuple[np.ndarray, np.ndarray]:
    """Visibilities divided by the product of all terms' gains, and their weights."""
    if not gains:
        return data.vis, data.weight
    product = apply.combine_gains(gains)
    if data.correlations is None:
        return apply.correct(data.vis, data.weight, product, data.antenna1, data.antenna2)
    vis, weight = correct_receptors(data, data.correlations, gains)
    return (vis[..., 0, 0] + vis[..., 1, 1]) / 2, weight


def correct_receptors(
    data: PartitionData, correlations: np.ndarray, gains: Sequence[np.ndarray]
) -> tuple[np.ndarray, np.ndarray]:
    """Correlations (time, baseline, chan, 2, 2) corrected by Jones matrices; Stokes I's weight."""
    return apply.correct_jones(correlations, data.weight, apply.combine_gains(gains),
                               data.antenna1, data.antenna2)


@dataclass(frozen=True)
class Calibration:
    """What a partition's calibration needs besides its data.

    Attributes
    ----------
    terms: all active terms in order, with the solution interval of each of the partition's times
        and channels (global numbers).
    local: how many of the leading terms have all their intervals inside one partition.
    start: gains to start from by term, on the partition's intervals.
    conditioning: which solutions are flagged, and the reference antenna.
    start_model: components, or an image [l, m] in Jy per pixel, to calibrate against in place of
        the image model, or None.
    scale: see `solve_terms`.
    min_baseline, max_baseline: m, of what is calibrated on; None: no limit.
    """

    terms: tuple[chain.TermBlocks, ...]
    local: int
    start: dict[str, np.ndarray]
    conditioning: conditioning.Conditioning
    start_model: sky.Components | np.ndarray | None
    scale: dict[str, np.ndarray | float]
    min_baseline: float | None
    max_baseline: float | None


@dataclass(frozen=True)
class PassResult:
    """One pass over a partition: solutions of its local terms and what is left to do.

    `matrices` are those of the terms that span partitions, None when there are none; then
    `image` is the residual with the new gains.
    """

    solutions: dict[str, chain.TermSolution]
    matrices: chain.CellMatrices | None
    image: PartialImage | None


def calibrate(
    source: Source, grid: Grid, density: np.ndarray | None, model: np.ndarray,
    works: Sequence[Calibration],
) -> list[PassResult]:
    """Predict once; for each way to calibrate, solve the local terms and image the residual.

    Without the image where terms are left that span partitions.
    """
    data = load(source.path, source.column)
    predicted = _predict(data, model, grid)
    return [_calibrate(data, grid, density, predicted, work) for work in works]


def _calibrate(
    data: PartitionData, grid: Grid, density: np.ndarray | None, predicted: np.ndarray,
    work: Calibration,
) -> PassResult:
    against = predicted
    if isinstance(work.start_model, np.ndarray):
        against = _predict(data, work.start_model, grid)
    elif work.start_model is not None:
        against = _predict_components(data, work.start_model)
    used = _selected(data, data.weight, work.min_baseline, work.max_baseline)
    matrices = reduce_against(data, used, against, work.terms, work.start)
    solved, left = solve_terms(
        matrices, work.terms[: work.local], work.start, work.conditioning, work.scale, {})
    if left is not None:
        return PassResult(solved, chain.keep_terms(left, work.local), None)
    gains = [chain.expand(solved[t.name], t) for t in work.terms]
    vis, weight = correct(data, gains)
    weight = _imaging_weight(data, weight, grid, density)
    return PassResult(solved, None, _invert_residual(data, vis - predicted, weight, grid))


def station_information(
    source: Source, unit_noise: float | None, shortest: float | None, longest: float | None
) -> np.ndarray:
    """The squared signal-to-noise of every station's gain from one sample of a partition, (ant,).

    Of the baselines (m) that gains are solved from. Infinite where the noise is neither given nor
    to be seen in the data.
    """
    data = load(source.path, source.column)
    weight = _selected(data, data.weight, shortest, longest)
    if not weight.any():  # of which there is no noise to be seen, either
        return np.zeros(len(data.antenna_names))
    noise = unit_noise or intervals.unit_noise(data.vis, data.weight)
    if not noise:
        return np.full(len(data.antenna_names), np.inf)
    return intervals.station_information(
        data.vis, weight, data.antenna1, data.antenna2, len(data.antenna_names), noise)


def solve_terms(
    matrices: chain.CellMatrices,
    terms: Sequence[chain.TermBlocks],
    start: dict[str, np.ndarray],
    how: conditioning.Conditioning,
    scale: Mapping[str, np.ndarray | float],
    smoothing: Mapping[str, conditioning.Smoothing],
) -> tuple[dict[str, chain.TermSolution], chain.CellMatrices | None]:
    """Solve terms in order and flag, reference and scale each before the next.

    `scale` is the mean amplitude that a term's gains are brought to, for each of its intervals or
    all; those of a term without one stay as they were solved. `smoothing` is that of the terms
    that are smoothed.
    """

    def finish(term: chain.TermBlocks, solution: Solution) -> np.ndarray:
        scaled = term.name in scale
        gain = conditioning.condition(
            solution, how, normalise=scaled, smoothing=smoothing.get(term.name))
        return conditioning.scale_amplitudes(gain, scale[term.name]) if scaled else gain

    return chain.solve_chain(matrices, terms, start, finish, chain.SolverOptions())


def _predict_components(data: PartitionData, components: sky.Components) -> np.ndarray:
    flux = sky.spectrum(components, data.frequency)
    directions = sky.lmn_of(components, *data.phase_centre)
    return simulation.predict_components(
        data.uvw, data.frequency, directions, flux, components.shape).astype(np.complex64)


def reduce_against(
    data: PartitionData, weight: np.ndarray, predicted: np.ndarray,
    terms: Sequence[chain.TermBlocks], start: Mapping[str, np.ndarray],
) -> chain.CellMatrices:
    """Normal matrices of the data, with given weights, against predicted visibilities.

    Those of robust terms have Student's weights besides, found from the gains of `start` on.
    """
    observed = data.vis if data.correlations is None else data.correlations
    stations = data.antenna1, data.antenna2, len(data.antenna_names)
    solved = [t.robust for t in terms if t.mode != chain.FIXED]
    if not any(solved):
        return chain.reduce_terms(observed, predicted, weight, *stations, terms)
    robust = chain.reduce_terms(
        observed, predicted, reweigh(observed, predicted, weight, *stations, terms, start),
        *stations, terms)
    if all(solved):
        return robust
    plain = chain.reduce_terms(observed, predicted, weight, *stations, terms)
    return replace(plain, robust=(robust.a, robust.b))


@dataclass(frozen=True)
class BandPass:
    """A pass over a band: solutions of each of its partitions, matrices and image as in PassResult.
    """

    solutions: list[dict[str, chain.TermSolution]]
    matrices: chain.CellMatrices | None
    image: PartialImage | None


def add_passes(
    so_far: list[BandPass] | None, parts: Sequence[list[PassResult]], last: bool
) -> list[BandPass]:
    """Further partitions of a band, in their order, for each way to calibrate; as `add_images`."""
    return [_add_pass(so_far[way] if so_far else None, results, last)
            for way, results in enumerate(zip(*parts, strict=True))]


def _add_pass(
    before: BandPass | None, results: Sequence[PassResult], last: bool
) -> BandPass:
    known = [before.matrices] if before else []
    matrices = [m for m in [*known, *(r.matrices for r in results)] if m is not None]
    images = [r.image for r in results if r.image is not None]
    return BandPass(
        (before.solutions if before else []) + [r.solutions for r in results],
        chain.merge(matrices) if matrices else None,
        add_images(before.image if before else None, images, last) if images else None)


Pair = tuple[PartialImage, PartialImage]


def add_pairs(so_far: Pair | None, parts: Sequence[Pair], last: bool) -> Pair:
    """`add_images` of the two images of `dirty_and_psf`."""
    first, second = (add_images(so_far[k] if so_far else None, [p[k] for p in parts], last)
                     for k in (0, 1))
    return first, second


def add_images(
    so_far: PartialImage | None, parts: Sequence[PartialImage], last: bool
) -> PartialImage:
    """Add shares of one image in their order, float64.

    With the `last` of them the sum is divided by the sum of weights, and is float32.
    """
    total = np.zeros(parts[0].image.shape, np.float64)
    weight = variance = 0.0
    for part in [*([so_far] if so_far else []), *parts]:
        total += part.image
        weight += part.weight
        variance += part.variance
    if not last:
        return PartialImage(total, weight, variance)
    if weight > 0:
        total /= weight
    return PartialImage(total.astype(np.float32), weight, variance)


def add_grids(
    so_far: np.ndarray | None, parts: Sequence[np.ndarray], last: bool
) -> np.ndarray:
    """Add density grids in their order; the sum has the same form, the `last` time too."""
    first, *others = parts if so_far is None else [so_far, *parts]
    total = first.copy()
    for grid in others:
        total += grid
    return total


def write_corrected(source: Source, gains: Sequence[np.ndarray]) -> int:
    """Write the corrected visibilities, with weights and flags, beside the observed ones.

    Flagged gains flag them. Returns the bytes written.
    """
    from arl.io.zarr import write_corrected as write

    data = load(source.path, source.column)
    if data.correlations is None:
        vis, weight = (x[..., None] for x in correct(data, gains))
    else:
        vis, weight = _corrected_correlations(source, data, data.correlations, gains)
    flag = weight == 0
    write(source.path, vis, weight, flag)
    return int(vis.nbytes + weight.nbytes + flag.nbytes)


def _corrected_correlations(
    source: Source, data: PartitionData, correlations: np.ndarray, gains: Sequence[np.ndarray]
) -> tuple[np.ndarray, np.ndarray]:
    """Those that are in the store and the weight of each, (time, baseline, chan, pol)."""
    from arl.io.zarr import read_dataset
    from arl.visibility import as_matrices

    vis, _ = correct_receptors(data, correlations, gains)
    observed = as_matrices(read_dataset(source.path)["WEIGHT"].values)
    weight = apply.correct_weights(observed, apply.combine_gains(gains), data.antenna1,
                                   data.antenna2)
    kept = slice(None) if data.products == 4 else [0, 3]
    flat = [x.reshape(*x.shape[:3], 4)[..., kept] for x in (vis, weight)]
    return flat[0], flat[1]


size_by_fields(
    PartialImage, Calibration, PassResult, BandPass, chain.TermSolution, chain.CellMatrices)
