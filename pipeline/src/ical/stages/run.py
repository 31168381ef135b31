"""The stages as a run performs them: on a cluster, measured, from the store and back to it."""

from __future__ import annotations

from dataclasses import asdict

import numpy as np

from arl.calibration.gains import gain_table
from arl.io.zarr import write_dataset
from ical.context import RunContext
from ical.imager import Imager, fit_beams
from ical.metrics import StageMeter
from ical.stages import files, image, model, selfcal
from ical.stages.model import IDEAL, Setup
from ical.store import write_json


def run_model(context: RunContext) -> None:
    """Simulate the observation; every partition stays on the host that owns it."""
    with files.cluster_of(context) as cluster:
        meter = StageMeter(cluster.client).start()
        setup = model.set_up(context.parameters)
        plan = files.new_plan(context, setup, cluster)
        context.progress.update(0.1, f"simulating {len(plan.partitions)} partitions")
        paths = {p.name: context.store.partition_path(p.name) for p in plan.partitions}
        sizes = model.simulate(cluster, context.parameters, setup, plan, paths)
        record = meter.stop()
    per_host = {h: sum(sizes[p.name] for p in plan.partitions if p.host == h)
                for h in {p.host for p in plan.partitions}}
    context.store.write_stage("model", record | {"partition_bytes": per_host})


def run_image(context: RunContext) -> None:
    """Continuum imaging of the data without gain errors."""
    with files.cluster_of(context) as cluster:
        meter = StageMeter(cluster.client).start()
        setup = model.set_up(context.parameters)
        imager, edges = files.imager_of(context, setup, cluster, IDEAL)
        context.progress.update(0.1, "imaging")
        result = image.image(imager, context.parameters, edges)
        files.ImageFiles(context, "image", setup, edges).write_all(
            result.dirty, result.psf, result.model, result.residual, result.beams)
        record = meter.stop()
    context.store.write_stage("image", record | {
        "quality": files.residual_quality(result.residual), "rms_jy": list(result.rms)})


def run_selfcal(context: RunContext) -> None:
    """ICAL of the observed data."""
    with files.cluster_of(context) as cluster:
        meter = StageMeter(cluster.client).start()
        setup = model.set_up(context.parameters)
        imager, edges = files.imager_of(context, setup, cluster, "VISIBILITY")
        context.progress.update(0.1, "self-calibrating")
        loop = selfcal.SelfCalibration(
            imager, context.parameters, setup.time, setup.frequency.size, edges)
        result = loop.run()
        _write_selfcal(context, imager, setup, edges, loop, result)
        record = meter.stop()
    history = [asdict(cycle) for cycle in result.history]
    folder = context.store.stage_folder("selfcal")
    write_json(folder / "history.json", history)
    context.store.write_stage("selfcal", record | {
        "quality": files.residual_quality(result.residual), "history": history,
        "outcome": {"status": result.outcome, "reason": result.reason}})


def _write_selfcal(
    context: RunContext, imager: Imager, setup: Setup, edges: np.ndarray,
    loop: selfcal.SelfCalibration, result: selfcal.SelfcalResult,
) -> None:
    """Images, gain tables and corrected visibilities of the loop's accepted state."""
    dirty, _ = imager.dirty_and_psf()
    gains = loop.gains(result.solutions, result.terms)
    psf = imager.corrected_psf(gains)
    beams = tuple(fit_beams(psf, imager.grid.cell))
    files.ImageFiles(context, "selfcal", setup, edges).write_all(
        dirty, psf, result.model, result.residual, beams)
    for k, term in enumerate(result.terms):
        cube = np.full((setup.time.size, len(setup.layout.names), setup.frequency.size), np.nan,
                       complex)
        for partition in imager.plan.partitions:
            cube[slice(*partition.times), :, slice(*partition.channels)] = (
                gains[partition.name][k])
        table = gain_table(term, setup.time, setup.layout.names, setup.frequency, cube)
        write_dataset(table, context.store.stage_folder("selfcal") / f"gains_{term}.zarr")
    imager.write_corrected(gains)
