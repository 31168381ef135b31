"""What the stages share of their files: partitions, images and gain tables of a run."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Sequence
from concurrent.futures import Future, ThreadPoolExecutor
from contextlib import contextmanager
from dataclasses import dataclass
from datetime import UTC, datetime
from itertools import repeat

import numpy as np

import ical
from arl.beam import beam_power
from arl.conventions import lm_axis
from arl.io.fits import ImageHeader, read_mask, write_image
from arl.products import combine_corrected, correct_beam, spectral_index
from arl.quality import robust_rms
from arl.restoration import Beam, fit_beam, restore
from ical.cluster import Cluster
from ical.context import RunContext
from ical.imager import BandImages, Imager, combine
from ical.partitions import Plan
from ical.stages import remake
from ical.stages.image import band_edges, grid_of
from ical.stages.model import plan_run, set_up
from ical.stages.observed import Observed
from ical.store import read_json, write_json
from ical.tasks import Source

OBSERVATION = "observation.json"


@contextmanager
def cluster_of(context: RunContext) -> Iterator[Cluster]:
    """The cluster that a stage works on."""
    with context.cluster.connect() as cluster:
        yield cluster


def new_plan(context: RunContext, setup: Observed, cluster: Cluster) -> Plan:
    """Plan the run on the hosts of the cluster and keep the plan with the run."""
    plan = plan_run(context.parameters, setup, cluster.hosts())
    keep_plan(context, plan)
    return plan


def keep_plan(context: RunContext, plan: Plan) -> None:
    """Write the plan that the other stages follow."""
    write_json(context.store.folder / "plan.json", plan.to_dict())


def keep_setup(context: RunContext, setup: Observed) -> None:
    """Write what was found in a Measurement Set, so that no other stage opens it."""
    write_json(context.store.folder / OBSERVATION, setup.to_dict())


def setup_of(context: RunContext) -> Observed:
    """The run's observation: simulated from the parameters, or as it was read."""
    if context.parameters.simulated:
        return set_up(context.parameters)
    return Observed.from_dict(read_json(context.store.folder / OBSERVATION) or {})


def paths_of(context: RunContext, plan: Plan) -> dict[str, str]:
    """Where the stores of a plan's partitions are, by name."""
    return {p.name: context.store.partition_path(p.name) for p in plan.partitions}


@contextmanager
def data_of(context: RunContext, cluster: Cluster) -> Iterator[tuple[Observed, Plan]]:
    """The observation and the plan that the model stage kept; all partitions are there.

    Raises
    ------
    HostLostError: meanwhile a host that owns some has no workers any more.
    """
    setup = setup_of(context)
    kept = Plan.from_dict(read_json(context.store.folder / "plan.json") or {})
    plan = remake.complete(context, cluster, setup, kept, paths_of(context, kept))
    if plan != kept:
        keep_plan(context, plan)
    with cluster.watching({p.host for p in plan.partitions}):
        yield setup, plan


def imager_of(
    context: RunContext, setup: Observed, cluster: Cluster, plan: Plan, column: str
) -> tuple[Imager, np.ndarray]:
    """The imager of a run's data column, and the edges of its bands, Hz (band, 2)."""
    sources = {name: Source(path, column) for name, path in paths_of(context, plan).items()}
    grid = grid_of(context.parameters, setup)
    imaging = context.parameters.imaging
    mask = (read_mask(imaging.mask, setup.npixel, setup.cell, setup.phase_centre)
            if imaging.mask else None)
    imager = Imager(cluster, plan, sources, grid, imaging.joint_density, mask)
    return imager, band_edges(plan, setup.frequency, setup.channel_width)


@dataclass(frozen=True)
class Beams:
    """The restoring beam of every band, and that of the mean of their point spread functions."""

    bands: tuple[Beam, ...]
    together: Beam


class ImageFiles:
    """Writes the images of one stage: one file a band and one of all bands together.

    Bands and files are worked on side by side by `threads`: the workers wait meanwhile.
    """

    def __init__(
        self, context: RunContext, stage: str, setup: Observed, edges: np.ndarray, threads: int
    ) -> None:
        self._pool = ThreadPoolExecutor(threads)
        self._writing: list[Future[None]] = []
        self._folder = context.store.stage_folder(stage)
        self._name, self._setup, self._edges = context.store.run_id, setup, edges
        self._beam_kind = context.parameters.image_beam

    def write(
        self, kind: str, images: BandImages, beams: Beams | None, unit: str
    ) -> None:
        """Begin to write `<kind>_bandNN.fits` and `<kind>_combined.fits`, their weighted mean."""
        self._write_bands(kind, images.image, beams.bands if beams else None, unit)
        self._write_combined(kind, combine(images.image, images.weight),
                             beams.together if beams else None, unit, images.weight)

    def _write_bands(
        self, kind: str, images: Iterable[np.ndarray], beams: Sequence[Beam] | None, unit: str
    ) -> None:
        for band, (image, edges) in enumerate(zip(images, self._edges, strict=True)):
            self._write(f"{kind}_band{band:02d}", image, beams[band] if beams else None, unit,
                        edges.mean(), np.ptp(edges))

    def _write_combined(
        self, kind: str, image: np.ndarray, beam: Beam | None, unit: str, weight: np.ndarray
    ) -> None:
        """A weighted mean over bands: of the mean frequency, where a spectrum has that flux."""
        lowest, *_ = middle = self._edges.mean(axis=1)
        self._write(f"{kind}_combined", image, beam, unit,
                    lowest + np.average(middle - lowest, weights=weight), np.ptp(self._edges))

    def _write(
        self, name: str, image: np.ndarray, beam: Beam | None, unit: str, frequency: float,
        bandwidth: float,
    ) -> None:
        self._writing.append(self._pool.submit(
            self._write_now, name, image, beam, unit, float(frequency), float(bandwidth)))

    def _write_now(
        self, name: str, image: np.ndarray, beam: Beam | None, unit: str, frequency: float,
        bandwidth: float,
    ) -> None:
        start = datetime.fromtimestamp(float(self._setup.time[0]), UTC)
        inside = without_border(image, self._setup.inner)
        write_image(self._folder / f"{name}.fits", inside, ImageHeader(
            self._setup.cell, self._setup.phase_centre, frequency, bandwidth, unit, beam,
            start.strftime("%Y-%m-%dT%H:%M:%S"), self._name, f"ical {ical.__version__}",
            self._setup.frequency_frame))

    def write_all(
        self, dirty: BandImages, psf: BandImages, model: np.ndarray, residual: BandImages,
        beams: tuple[Beam, ...],
    ) -> np.ndarray:
        """All images of a stage; returns the restored ones (band, l, m), each with its beam.

        Those of all bands together are restored with one beam, which a mean of the bands' own
        images would not have: sources would be wider, and their fluxes by its area too large.
        """
        with self._pool:
            restored = self._restored(model, residual, beams)
            each = Beams(beams, fit_beam(combine(psf.image, psf.weight), self._setup.cell))
            self.write("dirty", dirty, each, "Jy/beam")
            self.write("psf", psf, each, "Jy/beam")
            self.write("model", BandImages(model, residual.weight), None, "Jy/pixel")
            self.write("residual", residual, each, "Jy/beam")
            self._write_bands("restored", restored, beams, "Jy/beam")
            whole = restore(combine(model, residual.weight),
                            combine(residual.image, residual.weight), each.together,
                            self._setup.cell)
            self._write_combined("restored", whole, each.together, "Jy/beam", residual.weight)
            powers = list(self._pool.map(self._power, range(len(beams))))
            if self._beam_kind != "none":
                self._write_bands("pbcorrected", map(correct_beam, restored, powers), beams,
                                  "Jy/beam")
                self._write_corrected(model, residual, powers, each.together)
            if len(beams) > 1:
                self._write_index(model, residual, powers, beams)
            for file in self._writing:
                file.result()
        return restored

    def _restored(
        self, model: np.ndarray, residual: BandImages, beams: Sequence[Beam]
    ) -> np.ndarray:
        """Every band restored with its own of the beams (band, l, m)."""
        return np.stack(list(self._pool.map(restore, model, residual.image, beams,
                                            repeat(self._setup.cell, len(beams)))))

    def _power(self, band: int) -> np.ndarray:
        """The primary beam [l, m] at the middle of a band; 1 where there is none."""
        if self._beam_kind == "none":
            return np.ones(1)
        axis = lm_axis(self._setup.npixel, self._setup.cell)
        l, m = np.meshgrid(axis, axis, indexing="ij")
        power = beam_power(self._beam_kind, l.ravel(), m.ravel(),
                           self._edges[band].mean(keepdims=True),
                           self._setup.station_diameter)
        return power.reshape(l.shape)

    def _write_corrected(
        self, model: np.ndarray, residual: BandImages, powers: list[np.ndarray], beam: Beam
    ) -> None:
        """The mean of restored images over the primary beam, and its weight."""
        alike = self._restored(model, residual, [beam] * len(powers))
        whole = combine_corrected(alike, powers, residual.weight)
        self._write_combined("pbcorrected", whole.image, beam, "Jy/beam", residual.weight)
        self._write_combined("pbweight", whole.weight, None, "", residual.weight)

    def _write_index(
        self, model: np.ndarray, residual: BandImages, powers: list[np.ndarray],
        beams: tuple[Beam, ...],
    ) -> None:
        """The spectral index of the sky, all bands at the widest of their beams, and its error.

        Without a primary beam it is that of the apparent flux.
        """
        widest = max(beams, key=lambda beam: beam.area)
        alike = self._restored(model, residual, [widest] * len(beams))
        images = (correct_beam(image, power) for image, power in zip(alike, powers, strict=True))
        noise = (correct_beam(np.asarray(robust_rms(r)), power)
                 for r, power in zip(residual.image, powers, strict=True))
        found = spectral_index(images, noise, self._edges.mean(axis=1))
        for kind, image in (("spectralindex", found.index), ("spectralindexerror", found.error)):
            self._write_combined(kind, image, widest, "", residual.weight)


def residual_quality(residual: BandImages, setup: Observed) -> dict[str, float]:
    """The combined residual's rms, robust rms and largest absolute value, Jy/beam, without the
    border."""
    inside = without_border(combine(residual.image, residual.weight), setup.inner)
    return {"residual_rms_jy": float(np.sqrt(np.mean(np.square(inside, dtype=float)))),
            "residual_robust_rms_jy": robust_rms(inside),
            "residual_peak_jy": float(np.abs(inside).max())}


def without_border(image: np.ndarray, inner: int) -> np.ndarray:
    """The inner pixels of an image (l, m) about the same centre; views, not copies."""
    first = image.shape[0] // 2 - inner // 2
    return image[first:first + inner, first:first + inner]
