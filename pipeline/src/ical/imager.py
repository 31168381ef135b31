"""The driver's side of imaging: what is asked of the workers for all partitions, band by band."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Any, Protocol, TypeVar

import numpy as np
from distributed import Future

from arl import deconvolution
from arl.calibration import chain
from arl.restoration import Beam, fit_beam
from ical import tasks
from ical.cluster import Cluster
from ical.partitions import ADDED_AT_ONCE, Partition, Plan

T = TypeVar("T", covariant=True)


class Add(Protocol[T]):
    """A task that adds parts to those before, and finishes with the last of them."""

    def __call__(self, so_far: Any, parts: Sequence[Any], last: bool) -> T:
        """The sum so far, in a form of its own until the last."""


@dataclass(frozen=True)
class BandImages:
    """Images of all bands, shape (band, l, m), and the sum of weights of each band.

    `variance` is that of `tasks.PartialImage`, of each band; of point spread functions alone.
    """

    image: np.ndarray
    weight: np.ndarray
    variance: np.ndarray | None = None

    @property
    def rms(self) -> float:
        """The rms of the combined image, Jy."""
        return self.rms_inside(None)

    def rms_inside(self, mask: np.ndarray | None) -> float:
        """The same of the pixels of a mask, bool (l, m); None: of all."""
        combined = combine(self.image, self.weight)
        return float(np.sqrt(np.mean(np.square(combined if mask is None else combined[mask]))))


@dataclass(frozen=True)
class Passes:
    """One way to calibrate, over all partitions: local solutions by partition and term.

    And the residual image; or, where terms that span partitions are left, their summed matrices.
    """

    solutions: dict[str, dict[str, chain.TermSolution]]
    residual: BandImages | None
    matrices: chain.CellMatrices | None


class Imager:
    """Images of one data column of one run.

    Parameters
    ----------
    cluster, plan: where the partitions are.
    sources: partition name to its store and column.
    grid: how visibilities become images.
    joint_density: one density grid for all bands (True) or one per band.
    mask: bool (l, m), the only pixels where components may be put; None: everywhere.
    """

    def __init__(
        self, cluster: Cluster, plan: Plan, sources: dict[str, tasks.Source], grid: tasks.Grid,
        joint_density: bool, mask: np.ndarray | None = None,
    ) -> None:
        self.cluster, self.plan, self.sources, self.grid = cluster, plan, sources, grid
        self._mask = mask
        self._density = self._make_density(joint_density)
        paths = tuple(sources[p.name].path for p in plan.partitions)
        self._weighted = (plan, paths, grid, joint_density)

    def _make_density(self, joint: bool) -> list[Future | None]:
        bands = range(len(self.plan.bands))
        if self.grid.scheme == "natural":
            return [None for _ in bands]
        grids = {p.name: self._submit(p, tasks.density, self.grid) for p in self.plan.partitions}
        groups = ([list(self.plan.partitions)] if joint else [self.plan.of_band(b) for b in bands])
        sums: list[Future | None] = [
            self._sum_grids([grids.pop(p.name) for p in group]) for group in groups]
        return sums * len(bands) if joint else sums

    def _sum_grids(self, grids: list[Future]) -> Future:
        return grids[0] if len(grids) == 1 else self._fold(grids, tasks.add_grids)

    def _submit(self, partition: Partition, function, *arguments) -> Future:
        return self.cluster.submit(
            partition.host, function, self.sources[partition.name], *arguments
        )

    def density_of(self, partition: Partition) -> Future | None:
        """The density grid that weights a partition."""
        return self._density[partition.band]

    def embed(self, model: np.ndarray) -> list[np.ndarray | Future]:
        """The model band by band as float32, the form in which tasks take it.

        Where a band has many partitions it is sent once, to where the first of them is, and goes
        from worker to worker.
        """
        bands = [np.ascontiguousarray(band, np.float32) for band in model]
        parts = [self.plan.of_band(b) for b in range(len(bands))]
        return [band if len(own) == 1
                else self.cluster.submit(own[0].host, tasks.band_model, band)
                for own, band in zip(parts, bands, strict=True)]

    def submit_passes(
        self, function: Callable[..., Any], arguments: Callable[[Partition], tuple] = lambda p: ()
    ) -> dict[str, Future]:
        """One task of every partition, by its name, that needs the grid and the density.

        And what `arguments` gives for its partition.
        """
        held = self.cluster.hold()
        return {p.name: self.cluster.submit(
            p.host, function, self.sources[p.name], self.grid, self.density_of(p),
            *arguments(p), held=held) for p in self.plan.partitions}

    def _by_band(self, parts: dict[str, Future], add: Add[T], light: bool = True) -> list[T]:
        """What `add` makes of the parts of each band, in the order of the plan.

        On a worker, a few at a time, and `parts` is emptied, so that no worker ever holds many;
        but a single part which is `light` may as well travel.
        """
        bands = [self.plan.of_band(b) for b in range(len(self.plan.bands))]
        travels = [light and len(own) == 1 for own in bands]
        asked = [parts.pop(own[0].name) if alone
                 else self._fold([parts.pop(p.name) for p in own], add)
                 for own, alone in zip(bands, travels, strict=True)]
        found = self.cluster.client.gather(asked)
        return [add(None, [part], True) if alone else part
                for part, alone in zip(found, travels, strict=True)]

    def _fold(self, parts: list[Future], add: Add[T]) -> Future:
        so_far: Future | None = None
        for first in range(0, len(parts), ADDED_AT_ONCE):
            end = first + ADDED_AT_ONCE
            so_far = self.cluster.submit_anywhere(add, so_far, parts[first:end], end >= len(parts))
        assert so_far is not None
        return so_far

    def collect_passes(self, passes: dict[str, Future], light: bool) -> list[Passes]:
        """What all partitions found, of every way to calibrate; `passes` is emptied.

        It is not light where terms are left to solve.
        """
        bands = self._by_band(passes, tasks.add_passes, light)
        return [self._collect(way) for way in zip(*bands, strict=True)]

    def _collect(self, bands: Sequence[tasks.BandPass]) -> Passes:
        solutions = {p.name: s for b, own in enumerate(bands)
                     for p, s in zip(self.plan.of_band(b), own.solutions, strict=True)}
        images = [own.image for own in bands if own.image is not None]
        left = [own.matrices for own in bands if own.matrices is not None]
        return Passes(solutions, _stack(images) if images else None,
                      chain.merge(left) if left else None)

    def sample_snr(
        self, unit_noise: float | None, shortest: float | None, longest: float | None
    ) -> float:
        """The median station's predicted signal-to-noise from one time and channel.

        `unit_noise` is as in `arl.calibration.intervals`; None: taken from the data. Baselines
        from `shortest` to `longest` (m) count.
        """
        squares = self.cluster.client.gather([
            self._submit(p, tasks.station_information, unit_noise, shortest, longest)
            for p in self.plan.partitions])
        found = np.concatenate(squares)
        return float(np.sqrt(np.median(found[found > 0]))) if (found > 0).any() else 0.0

    def dirty_and_psf(self) -> tuple[BandImages, BandImages]:
        """Dirty images and point spread functions of the data as they are.

        The latter follow from the weights, which all columns share: those of the stage before
        serve.
        """
        if self.cluster.kept is not None and self.cluster.kept[0] == self._weighted:
            dirty = _stack(self._by_band(self.submit_passes(tasks.dirty), tasks.add_images))
            return dirty, self.cluster.kept[1]
        pairs = self._by_band(self.submit_passes(tasks.dirty_and_psf), tasks.add_pairs)
        psf = _stack([psf for _, psf in pairs])
        self.cluster.kept = self._weighted, psf
        return _stack([dirty for dirty, _ in pairs]), psf

    def residual(
        self, model: np.ndarray, gains: dict[str, Sequence[np.ndarray]]
    ) -> BandImages:
        """Images of corrected minus model visibilities; gains by partition name."""
        bands = self.embed(model)
        return _stack(self._by_band(self.submit_passes(
            tasks.residual, lambda p: (bands[p.band], gains.get(p.name, ()))), tasks.add_images))

    def corrected_psf(self, gains: dict[str, Sequence[np.ndarray]]) -> BandImages:
        """Point spread functions with the weights of corrected data."""
        return _stack(self._by_band(self.submit_passes(
            tasks.corrected_psf, lambda p: (gains.get(p.name, ()),)), tasks.add_images))

    def write_corrected(self, gains: dict[str, Sequence[np.ndarray]]) -> None:
        """Write the corrected visibilities of every partition beside the observed ones."""
        self.cluster.client.gather([
            self._submit(p, tasks.write_corrected, gains.get(p.name, ()))
            for p in self.plan.partitions])

    def rms_to_clean(self, residual: BandImages) -> float:
        """The rms of the combined image where components may be put, Jy."""
        return residual.rms_inside(self._mask)

    def clean(
        self, residual: BandImages, psf: BandImages, model: np.ndarray, edges: np.ndarray,
        beam: Beam, options: deconvolution.CleanOptions,
    ) -> deconvolution.CleanResult:
        """One minor loop over all bands (their edges in Hz, shape (band, 2)).

        Here: all workers wait for it, and this process has the images, which need not travel.
        """
        bands = self._bands(edges, psf, beam)
        return deconvolution.clean(residual.image, psf.image, model, bands, options,
                                   threads=self.cluster.threads, mask=self._mask)

    def levels(
        self, residual: BandImages, psf: BandImages, edges: np.ndarray, beam: Beam,
        options: deconvolution.CleanOptions,
    ) -> deconvolution.Levels:
        """Where `clean` would look and stop."""
        return deconvolution.levels_of(
            residual.image, self._bands(edges, psf, beam), options, self._mask)

    def _bands(self, edges: np.ndarray, psf: BandImages, beam: Beam) -> deconvolution.Bands:
        return deconvolution.Bands(edges, psf.weight, beam.major, self.grid.cell)


def _stack(images: Sequence[tasks.PartialImage]) -> BandImages:
    """The images of all bands."""
    return BandImages(*(np.stack(x) for x in zip(
        *((i.image, i.weight, i.variance) for i in images), strict=True)))


def combine(images: np.ndarray, weight: np.ndarray) -> np.ndarray:
    """The weighted mean over bands, float64 (l, m)."""
    mean = np.zeros(images.shape[1:])
    for image, share in zip(images, weight / weight.sum(), strict=True):
        mean += share * image
    return mean


def fit_beams(psf: BandImages, cell: float) -> list[Beam]:
    """The restoring beam of every band."""
    return [fit_beam(band, cell) for band in psf.image]
