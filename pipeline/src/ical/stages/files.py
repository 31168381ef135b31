"""What the stages share of their files: partitions, images and gain tables of a run."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from datetime import UTC, datetime

import numpy as np

import ical
from arl.io.fits import ImageHeader, read_mask, write_image
from arl.restoration import Beam, restore
from ical.cluster import Cluster
from ical.context import RunContext
from ical.imager import BandImages, Imager, combine
from ical.partitions import Plan
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


def stored_plan(context: RunContext, cluster: Cluster) -> Plan:
    """The plan that the model stage kept; its hosts must have workers."""
    plan = Plan.from_dict(read_json(context.store.folder / "plan.json") or {})
    cluster.check_hosts({p.host for p in plan.partitions})
    return plan


def imager_of(
    context: RunContext, setup: Observed, cluster: Cluster, column: str
) -> tuple[Imager, np.ndarray]:
    """The imager of a run's data column, and the edges of its bands, Hz (band, 2)."""
    plan = stored_plan(context, cluster)
    sources = {p.name: Source(context.store.partition_path(p.name), column)
               for p in plan.partitions}
    grid = grid_of(context.parameters, setup.npixel, setup.cell)
    imaging = context.parameters.imaging
    mask = (read_mask(imaging.mask, setup.npixel, setup.cell, setup.phase_centre)
            if imaging.mask else None)
    imager = Imager(cluster, plan, sources, grid, imaging.joint_density, mask)
    return imager, band_edges(plan, setup.frequency, setup.channel_width)


class ImageFiles:
    """Writes the images of one stage: one file a band and one of all bands together."""

    def __init__(self, context: RunContext, stage: str, setup: Observed, edges: np.ndarray) -> None:
        self._folder = context.store.stage_folder(stage)
        self._name, self._setup, self._edges = context.store.run_id, setup, edges

    def write(
        self, kind: str, images: BandImages, beams: tuple[Beam, ...] | None, unit: str
    ) -> None:
        """Write `<kind>_bandNN.fits` and `<kind>_combined.fits`."""
        for band, image in enumerate(images.image):
            self._write(f"{kind}_band{band:02d}", image, beams[band] if beams else None, unit,
                        self._edges[band])
        together = combine(images.image, images.weight)
        whole = np.array([self._edges.min(), self._edges.max()])
        middle = beams[len(beams) // 2] if beams else None
        self._write(f"{kind}_combined", together, middle, unit, whole)

    def _write(
        self, name: str, image: np.ndarray, beam: Beam | None, unit: str, edges: np.ndarray
    ) -> None:
        start = datetime.fromtimestamp(float(self._setup.time[0]), UTC)
        write_image(self._folder / f"{name}.fits", image, ImageHeader(
            self._setup.cell, self._setup.phase_centre, float(edges.mean()),
            float(np.ptp(edges)), unit, beam, start.strftime("%Y-%m-%dT%H:%M:%S"), self._name,
            f"ical {ical.__version__}", self._setup.frequency_frame))

    def write_all(
        self, dirty: BandImages, psf: BandImages, model: np.ndarray, residual: BandImages,
        beams: tuple[Beam, ...],
    ) -> np.ndarray:
        """All images of a stage; returns the restored ones (band, l, m), each with its beam."""
        restored = np.stack([restore(m, r, b, self._setup.cell)
                             for m, r, b in zip(model, residual.image, beams, strict=True)])
        self.write("dirty", dirty, beams, "Jy/beam")
        self.write("psf", psf, beams, "Jy/beam")
        self.write("model", BandImages(model, residual.weight), None, "Jy/pixel")
        self.write("residual", residual, beams, "Jy/beam")
        self.write("restored", BandImages(restored, residual.weight), beams, "Jy/beam")
        return restored


def residual_quality(residual: BandImages) -> dict[str, float]:
    """The combined residual's rms and largest absolute value, Jy/beam."""
    together = combine(residual.image, residual.weight)
    return {"residual_rms_jy": residual.rms, "residual_peak_jy": float(np.abs(together).max())}
