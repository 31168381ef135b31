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
    """Images of all bands, shape (band, l, m), and the sum of weights of each band."""

    image: np.ndarray
    weight: np.ndarray

    @property
    def rms(self) -> float:
        """The rms of the combined image, Jy."""
        return float(np.sqrt(np.mean(np.square(combine(self.image, self.weight)))))


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
        groups = [[p for p in self.plan.partitions if joint or p.band == b] for b in bands]
        return [self.cluster.submit_anywhere(tasks.sum_grids, [grids[p.name] for p in group])
                for group in groups]

    def _submit(self, partition: Partition, function, *arguments) -> Future:
        return self.cluster.submit(
            partition.host, function, self.sources[partition.name], *arguments
        )

    def density_of(self, partition: Partition) -> Future | None:
        """The density grid that weights a partition."""
        return self._density[partition.band]

    def embed(self, model: np.ndarray) -> list[np.ndarray]:
        """The model band by band as float32, the form in which tasks take it."""
        return [np.ascontiguousarray(band, np.float32) for band in model]

    def submit_pass(
        self, partition: Partition, function, *arguments
    ) -> Future:
        """One task of a partition that needs the grid and the density."""
        return self._submit(
            partition, function, self.grid, self.density_of(partition), *arguments
        )

    def _by_band(self, parts: dict[str, Future], add: Add[T], light: bool = True) -> list[T]:
        """What `add` makes of the parts of each band, in the order of the plan.

        On a worker, a few at a time so that no worker ever holds many; but a single part which is
        `light` may as well travel.
        """
        bands = [[parts[p.name] for p in self.plan.of_band(b)]
                 for b in range(len(self.plan.bands))]
        travels = [light and len(own) == 1 for own in bands]
        asked = [own[0] if alone else self._fold(own, add)
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

    def collect_passes(
        self, passes: dict[str, Future], light: bool
    ) -> list[tuple[dict[str, dict[str, chain.TermSolution]], BandImages | None]]:
        """Of every way to calibrate, the local solutions by partition and term, and the image.

        There is none where terms are left to solve; then matrices are in it, and it is not light.
        """
        bands = self._by_band(passes, tasks.add_passes, light)
        found = []
        for way in zip(*bands, strict=True):
            solutions = {p.name: s for b, own in enumerate(way)
                         for p, s in zip(self.plan.of_band(b), own.solutions, strict=True)}
            images = [own.image for own in way if own.image is not None]
            found.append((solutions, _stack(images) if images else None))
        return found

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

    def merged_matrices(self, passes: dict[str, Future], way: int) -> chain.CellMatrices:
        """The summed matrices of the terms that span partitions, of one way to calibrate."""
        ordered = [passes[p.name] for p in self.plan.partitions]
        return self.cluster.submit_anywhere(tasks.merge_matrices, ordered, way).result()

    def dirty_and_psf(self) -> tuple[BandImages, BandImages]:
        """Dirty images and point spread functions of the data as they are.

        The latter follow from the weights, which all columns share: those of the stage before
        serve.
        """
        if self.cluster.kept is not None and self.cluster.kept[0] == self._weighted:
            dirty = _stack(self._by_band(self._passes(tasks.dirty), tasks.add_images))
            return dirty, self.cluster.kept[1]
        pairs = self._by_band(self._passes(tasks.dirty_and_psf), tasks.add_pairs)
        psf = _stack([psf for _, psf in pairs])
        self.cluster.kept = self._weighted, psf
        return _stack([dirty for dirty, _ in pairs]), psf

    def _passes(self, function: Callable[..., Any]) -> dict[str, Future]:
        """One task of every partition, by its name."""
        return {p.name: self.submit_pass(p, function) for p in self.plan.partitions}

    def residual(
        self, model: np.ndarray, gains: dict[str, Sequence[np.ndarray]]
    ) -> BandImages:
        """Images of corrected minus model visibilities; gains by partition name."""
        bands = self.embed(model)
        return _stack(self._by_band({
            p.name: self.submit_pass(p, tasks.residual, bands[p.band], gains.get(p.name, ()))
            for p in self.plan.partitions
        }, tasks.add_images))

    def corrected_psf(self, gains: dict[str, Sequence[np.ndarray]]) -> BandImages:
        """Point spread functions with the weights of corrected data."""
        return _stack(self._by_band({
            p.name: self.submit_pass(p, tasks.corrected_psf, gains.get(p.name, ()))
            for p in self.plan.partitions
        }, tasks.add_images))

    def write_corrected(self, gains: dict[str, Sequence[np.ndarray]]) -> None:
        """Write the corrected visibilities of every partition beside the observed ones."""
        self.cluster.client.gather([
            self._submit(p, tasks.write_corrected, gains.get(p.name, ()))
            for p in self.plan.partitions])

    def clean(
        self, residual: BandImages, psf: BandImages, model: np.ndarray, edges: np.ndarray,
        beam: Beam, options: deconvolution.CleanOptions,
    ) -> deconvolution.CleanResult:
        """One minor loop over all bands (their edges in Hz, shape (band, 2)).

        Here: all workers wait for it, and this process has the images, which need not travel.
        """
        bands = deconvolution.Bands(edges, psf.weight, beam.major, self.grid.cell)
        return deconvolution.clean(residual.image, psf.image, model, bands, options,
                                   threads=self.cluster.threads, mask=self._mask)


def _stack(images: Sequence[tasks.PartialImage]) -> BandImages:
    """The images of all bands."""
    return BandImages(np.stack([i.image for i in images]), np.array([i.weight for i in images]))


def combine(images: np.ndarray, weight: np.ndarray) -> np.ndarray:
    """The weighted mean over bands, float64 (l, m)."""
    mean = np.zeros(images.shape[1:])
    for image, share in zip(images, weight / weight.sum(), strict=True):
        mean += share * image
    return mean


def fit_beams(psf: BandImages, cell: float) -> list[Beam]:
    """The restoring beam of every band."""
    return [fit_beam(band, cell) for band in psf.image]
