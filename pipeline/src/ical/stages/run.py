"""The stages as a run performs them: on a cluster, measured, from the store and back to it."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import asdict
from functools import reduce
from typing import Any

import numpy as np

from arl.calibration.gains import gain_table
from arl.io.h5parm import write_h5parm
from arl.io.measurement_set import Contents
from arl.io.zarr import write_dataset
from arl.restoration import Beam
from ical import traffic
from ical.cluster import Cluster
from ical.context import RunContext
from ical.forecast import sizes_of_measurement_set, sizes_of_simulation
from ical.imager import BandImages, Imager, fit_beams
from ical.metrics import StageMeter
from ical.partitions import Plan
from ical.stages import anew, files, image, ingest, model, selfcal, start, truth
from ical.stages.foresee import foresee, foresee_again
from ical.stages.loopfile import LoopKeeper
from ical.stages.loopstate import Solutions
from ical.stages.model import IDEAL, Setup
from ical.stages.observed import Observed
from ical.stages.remake import survives_hosts
from ical.store import write_json

#: An image holds no less noise than this share of what is expected; gains take up a part of it.
LEAST_OF_EXPECTED = 0.5


@survives_hosts
def run_model(context: RunContext) -> None:
    """Simulate or read the observation; every partition stays on the host that owns it."""
    found = None if context.parameters.simulated else ingest.set_up(context.parameters)
    with files.cluster_of(context) as cluster:
        foresee(context, cluster, sizes_of_measurement_set(context.parameters, *found) if found
                else sizes_of_simulation(context.parameters, model.set_up(context.parameters)))
        anew.clear(context)
        meter = StageMeter(cluster.client).start()
        plan, sizes = _ingest(context, cluster, *found) if found else _simulate(context, cluster)
        record = meter.stop()
    per_host = {h: sum(sizes[p.name] for p in plan.partitions if p.host == h)
                for h in {p.host for p in plan.partitions}}
    context.finish(record | {"partition_bytes": per_host})


def _simulate(context: RunContext, cluster: Cluster) -> tuple[Plan, dict[str, int]]:
    """The plan of a simulated observation, and the bytes of its partitions."""
    setup = model.set_up(context.parameters)
    plan = files.new_plan(context, setup, cluster)
    start.look(context.parameters, setup, plan)
    context.progress.update(0.1, f"simulating {len(plan.partitions)} partitions")
    with cluster.watching({p.host for p in plan.partitions}):
        return plan, model.simulate(
            cluster, context.parameters, setup, plan, files.paths_of(context, plan))


def _ingest(
    context: RunContext, cluster: Cluster, contents: Contents, setup: Observed
) -> tuple[Plan, dict[str, int]]:
    """The plan of a Measurement Set's partitions without those all flagged, and their bytes."""
    files.keep_setup(context, setup)
    plan = files.new_plan(context, setup, cluster)
    start.look(context.parameters, setup, plan)
    n = len(plan.partitions)
    context.progress.update(0.1, f"reading {n} partitions")
    with cluster.watching({p.host for p in plan.partitions}):
        done = ingest.ingest(cluster, contents, plan, files.paths_of(context, plan),
                             context.parameters.receptors, lambda number: (
            context.progress.update(0.1 + 0.9 * number / n, "partitions sent", number, n)))
    empty = ingest.empty_bands(plan, done)
    if empty:
        context.progress.warning(
            f"{len(empty)} of {len(plan.bands)} bands hold nothing but flags and are left out")
        plan = plan.without(empty)
        files.keep_plan(context, plan)
    return plan, {name: read.nbytes for name, read in done.items()}


@survives_hosts
def run_image(context: RunContext) -> None:
    """Continuum imaging of the data: simulated ones without gain errors, others as they are."""
    with files.cluster_of(context) as cluster, files.data_of(context, cluster) as (setup, plan):
        foresee_again(context, cluster)
        anew.clear(context)
        meter = StageMeter(cluster.client).start()
        column = IDEAL if context.parameters.simulated else "VISIBILITY"
        imager, edges = files.imager_of(context, setup, cluster, plan, column)
        cycles = context.parameters.imaging.clean.major_cycles
        context.progress.update(0.05, "dirty images and point spread functions")
        sky = start.start_image(context.parameters.imaging.start_model, setup, edges)
        result = image.image(imager, context.parameters, edges, lambda number: (
            context.progress.update(0.9 * number / cycles, "major cycle", number, cycles)), sky)
        written = files.ImageFiles(context, "image", setup, edges, cluster.threads)
        restored = written.write_all(
            result.dirty, result.psf, result.model, result.residual, result.beams)
        record = meter.stop() | {"moved_bytes": traffic.total(cluster.moved(meter.began))}
    quality = _quality(context, imager, setup, restored, result.residual, result.beams)
    context.finish(record | {"quality": quality, "rms_jy": list(result.rms)})


@survives_hosts
def run_selfcal(context: RunContext) -> None:
    """ICAL of the observed data."""
    with files.cluster_of(context) as cluster, files.data_of(context, cluster) as (setup, plan):
        foresee_again(context, cluster)
        anew.clear(context)
        anew.clear_corrected(context, cluster, plan)
        meter = StageMeter(cluster.client).start()
        imager, edges = files.imager_of(context, setup, cluster, plan, "VISIBILITY")
        context.progress.update(0.02, "dirty images and point spread functions")
        loop = selfcal.SelfCalibration(
            imager, context.parameters, setup, edges,
            float(setup.sigma > 0) if isinstance(setup, Setup) else None)
        for doubt in loop.terms.doubts:
            context.progress.warning(doubt)
        keeper = LoopKeeper(context)
        result = loop.run(keeper, keeper.read())
        context.progress.update(0.95, "writing images, gains and corrected visibilities")
        quality = _write_selfcal(context, imager, setup, edges, loop, result)
        if result.outcome == "CONVERGED":
            _doubt_noise(context, quality["residual_rms_jy"])
        moved = cluster.moved(meter.began)
        record = meter.stop() | {"moved_bytes": traffic.total(moved)}
    by_cycle = traffic.by_cycle(moved, meter.began, keeper.ends)
    history = [asdict(cycle) | {"moved_bytes": by_cycle.get(cycle.number)}
               for cycle in result.history]
    write_json(context.store.stage_folder("selfcal") / "history.json", history)
    context.finish(record | {
        "quality": quality, "history": history,
        "outcome": {"status": result.outcome, "reason": result.reason}})
    context.store.clear_checkpoint("selfcal")


def _quality(
    context: RunContext, imager: Imager, setup: Observed, restored: np.ndarray,
    residual: BandImages, beams: tuple[Beam, ...],
) -> dict[str, Any]:
    """What the residual shows, and the lowest band's sources, where something is known of them."""
    known = truth.known_sky(context.parameters, setup, imager.plan.bands[0])
    return files.residual_quality(residual, setup) | truth.flux_quality(
        restored[0], residual.image[0], beams[0], setup.cell, known)


def _doubt_noise(context: RunContext, rms: float) -> None:
    """Warn where the residual has far less than the rms (Jy/beam) that noise alone should have."""
    expected = context.parameters.selfcal.expected_rms
    if expected is not None and rms < LEAST_OF_EXPECTED * expected:
        context.progress.warning(
            f"the residual's rms of {rms:.3g} Jy/beam is far below selfcal.expected_rms, "
            f"{expected:.3g}, which is to be that of noise alone: the loop may have ended early; "
            f"give the noise in Jy/beam, or null, and it goes on while it helps")


def _write_selfcal(
    context: RunContext, imager: Imager, setup: Observed, edges: np.ndarray,
    loop: selfcal.SelfCalibration, result: selfcal.SelfcalResult,
) -> dict[str, Any]:
    """Images, gain tables and corrected visibilities of the accepted state; their quality."""
    beams = tuple(fit_beams(result.psf, imager.grid.cell))
    restored = files.ImageFiles(
        context, "selfcal", setup, edges, imager.cluster.threads).write_all(
        result.dirty, result.psf, result.model, result.residual, beams)
    quality = _quality(context, imager, setup, restored, result.residual, beams)
    if not result.terms:
        return quality

    def cube(term: str) -> np.ndarray:
        return _whole_cube(imager.plan, setup, loop.terms.gains(result.solutions, term))

    for term in result.terms:
        _write_gains(context, imager.plan, setup, loop, result.solutions, term, cube(term))
    imager.write_corrected(loop.terms.gains(result.solutions, result.terms))
    if not isinstance(setup, Setup):
        return quality
    product = reduce(np.multiply, map(cube, result.terms))
    injected = model.injected_gains(context.parameters, setup)
    return quality | truth.phase_quality(product, injected, setup)


def _write_gains(
    context: RunContext, plan: Plan, setup: Observed, loop: selfcal.SelfCalibration,
    solutions: Solutions, term: str, cube: np.ndarray,
) -> None:
    """One term's gains as a table, in both forms; of all terms at once they would fill memory."""
    used = _used(plan)
    table = gain_table(term, setup.time, setup.antenna_names, setup.frequency[used], cube,
                       setup.products,
                       _whole_cube(plan, setup, loop.terms.without_data(solutions, term), False))
    table.attrs["solution_intervals"] = loop.terms.intervals(term, used)
    folder = context.store.stage_folder("selfcal")
    write_dataset(table, folder / f"gains_{term}.zarr")
    write_h5parm(table, folder / f"gains_{term}.h5", setup.antenna_positions, setup.phase_centre)


def _used(plan: Plan) -> np.ndarray:
    """The channels of the bands that there are data of, (chan,)."""
    return np.concatenate([np.arange(*band) for band in plan.bands])


def _whole_cube(
    plan: Plan, setup: Observed, gains: dict[str, Sequence[np.ndarray]],
    missing: complex | bool = np.nan,
) -> np.ndarray:
    """One term's gains of all partitions put together, (time, ant, chan), or (..., 2, 2).

    Of the channels in use; `gains`, or what else there is of each, are of that term alone.
    """
    used, first = _used(plan), next(iter(gains.values()))[0]
    shape = (setup.time.size, len(setup.antenna_names), used.size, *first.shape[3:])
    cube = np.full(shape, missing, first.dtype)
    for partition in plan.partitions:
        first, last = np.searchsorted(used, partition.channels)
        cube[slice(*partition.times), :, first:last] = gains[partition.name][0]
    return cube
