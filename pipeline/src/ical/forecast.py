"""What a run will cost: memory, disk, tasks, partitions and time, before anything is done.

A pure function of sizes. The constants below and those of `arl.cost` are the cost model; they are
per thread of a present-day core and were taken from measurements of the kernels alone.
"""

from __future__ import annotations

import math
from collections.abc import Iterator
from dataclasses import asdict, dataclass
from typing import TYPE_CHECKING

from arl import cost
from ical.memory import UVW_BYTES, driver_memory, gain_numbers, worker_memory
from ical.parameters import Imaging, MinorLoop, Parameters, Resources, Selfcal
from ical.partitions import ADDED_AT_ONCE, Plan

if TYPE_CHECKING:
    from arl.io.measurement_set import Contents
    from ical.stages.model import Setup
    from ical.stages.observed import Observed

# --- time, seconds of one thread -------------------------------------------------------------
#: The direct sum with smearing costs this many times as much as without.
SMEARED = 50
#: One minor loop, per pixel, band and scale.
CLEAN_PIXEL_S = 1.5e-7
#: Reading, weighting and writing one visibility once.
TOUCH_VISIBILITY_S = 4e-8
#: Start of a stage: connection, imports, the plan.
STAGE_START_S = 4.0
#: Scheduling one task.
TASK_S = 2e-3

# --- disk, bytes per visibility and gain -----------------------------------------------------
#: Data, weight, flag: as observed, and as corrected.
DISK_VISIBILITY = 8 + 4 + 1
#: A further column, without gain errors: of simulated data only.
DISK_COLUMN = 8
#: A gain: with its two flags, and in an h5parm amplitude and phase, each with a weight.
DISK_GAIN = 16 + 2 + 2 * (8 + 4)
#: FITS images of a stage and band: dirty, psf, model, residual, restored, corrected for the beam.
IMAGES_PER_BAND = 6
#: Those of a stage as a whole: weight of the corrected image, spectral index and its error.
IMAGES_PER_STAGE = 3


@dataclass(frozen=True)
class Shape:
    """The observation and its images: numbers of each, cell in rad, longest w in wavelengths.

    `time_step`: mean spacing of the times, s. `inner`: pixels without the border. `products`:
    correlations that are kept of a visibility; 1: Stokes I.
    """

    times: int
    stations: int
    baselines: int
    channels: int
    npixel: int
    cell: float
    longest_w: float
    components: int
    time_step: float
    inner: int
    products: int = 1


@dataclass(frozen=True)
class Sizes:
    """All that the cost follows from.

    Attributes
    ----------
    planes: w-planes of the largest gridder call.
    components: of the simulated sky; 0 where nothing is simulated.
    partition_visibilities: of the largest partition.
    scales: of the deconvolution. major_cycles, cycles: at most. selfcal: whether the loop runs.
    smeared: whether simulated visibilities are means over integration and channel.
    terms: gain terms. solutions: of the finest term in the largest partition, at most.
    spanning: of the finest term that is solved over several partitions, in all of them, at most.
    receptors: whether the correlations of two receptors are kept. products: how many are stored.
    grids: density grids of the weights: none (natural), one of all bands (joint), one a band.
    grid_npixel: uv cells of such a grid on a side.
    """

    times: int
    stations: int
    baselines: int
    channels: int
    bands: int
    partitions: int
    partition_visibilities: int
    npixel: int
    planes: int
    components: int
    scales: int
    major_cycles: int
    cycles: int
    selfcal: bool
    terms: int
    solutions: int
    spanning: int = 0
    receptors: bool = False
    smeared: bool = False
    grids: int = 0
    grid_npixel: int = 0
    products: int = 1

    @property
    def visibilities(self) -> int:
        """All visibilities."""
        return self.times * self.baselines * self.channels


@dataclass(frozen=True)
class Stage:
    """A stage's number of tasks and its wall seconds."""

    tasks: int
    seconds: float


@dataclass(frozen=True)
class Forecast:
    """The prediction for a cluster; bytes and seconds.

    `disk_visibilities` is the share of `disk` that lies with the partitions' hosts.
    """

    workers: int
    threads: int
    visibilities: int
    partitions: int
    bands: int
    npixel: int
    memory_per_worker: int
    memory_driver: int
    memory_total: int
    disk: int
    disk_visibilities: int
    tasks: int
    seconds: float
    stages: dict[str, Stage]

    def to_dict(self) -> dict[str, object]:
        """JSON-ready."""
        return asdict(self)


def forecast(sizes: Sizes, resources: Resources) -> Forecast:
    """Predict a run's cost on a cluster of workers with threads each."""
    stages = dict(_stages(sizes, resources))
    worker, driver = worker_memory(sizes), driver_memory(sizes)
    return Forecast(
        resources.workers, resources.threads, sizes.visibilities, sizes.partitions, sizes.bands,
        sizes.npixel, worker, driver, worker * resources.workers + driver, disk_bytes(sizes),
        visibility_bytes(sizes), sum(s.tasks for s in stages.values()),
        sum(s.seconds for s in stages.values()), stages)


def disk_bytes(sizes: Sizes) -> int:
    """Bytes of partitions, images and gains, not compressed."""
    stages = 2 if sizes.selfcal else 1
    images = (stages * ((sizes.bands + 1) * IMAGES_PER_BAND + IMAGES_PER_STAGE)
              * sizes.npixel**2 * 4)
    return visibility_bytes(sizes) + images + gain_numbers(sizes) * sizes.terms * DISK_GAIN


def visibility_bytes(sizes: Sizes) -> int:
    """Bytes of all partitions on disk."""
    each = (DISK_VISIBILITY * (2 if sizes.selfcal else 1)
            + (DISK_COLUMN if sizes.components else 0))
    visibilities = sizes.visibilities * sizes.products * each
    return visibilities + sizes.times * sizes.baselines * sizes.bands * UVW_BYTES


def _call_seconds(sizes: Sizes) -> float:
    """All partitions gridded (or degridded) once, seconds of one thread."""
    mean = round(sizes.visibilities / sizes.partitions)
    return sizes.partitions * cost.gridder_call(mean, sizes.planes, sizes.npixel)


def _clean_seconds(sizes: Sizes) -> float:
    """One minor loop, seconds of one thread."""
    return sizes.npixel**2 * sizes.bands * sizes.scales * CLEAN_PIXEL_S


def _stages(sizes: Sizes, resources: Resources) -> Iterator[tuple[str, Stage]]:
    """Each stage in its order; partitions run side by side, minor loops while they wait."""
    side_by_side = min(resources.workers, sizes.partitions) * resources.threads
    touch = sizes.visibilities * TOUCH_VISIBILITY_S
    call, minor = _call_seconds(sizes), _clean_seconds(sizes)

    def stage(tasks: int, spread: float, alone: float) -> Stage:
        wall = spread / side_by_side + alone / resources.threads
        return Stage(tasks, round(STAGE_START_S + wall + tasks * TASK_S, 1))

    predict = (cost.direct_sum(sizes.visibilities, sizes.components)
               * (SMEARED if sizes.smeared else 1))
    yield "model", stage(sizes.partitions, predict + 3 * touch, 0.0)
    # the partitions, and the sums of each band that has several
    each = math.ceil(sizes.partitions / sizes.bands)
    sums = math.ceil(each / ADDED_AT_ONCE) if each > 1 else 0
    per_pass = sizes.partitions + sizes.bands * sums
    n = majors = sizes.major_cycles
    yield "image", stage(per_pass + n * per_pass, 2 * call + n * (2 * call + touch),
                         n * minor)
    if sizes.selfcal:
        n = sizes.cycles
        # a cycle grids the residuals with and without new terms; then imaging goes on
        yield "selfcal", stage(
            per_pass + (n + majors) * per_pass + per_pass + sizes.partitions,
            2 * call + n * (3 * call + (2 + sizes.terms) * touch) + 2 * (majors + 1) * call + touch,
            (n + 1 + majors) * minor)
    yield "report", Stage(0, STAGE_START_S)


def sizes_of(parameters: Parameters) -> Sizes:
    """The sizes of a run, from its parameters and the data they name.

    Raises
    ------
    InputError: a simulation that has no data or no sky, or a Measurement Set that can't be read.
    """
    from ical.stages import ingest, model

    if parameters.simulated:
        return sizes_of_simulation(parameters, model.set_up(parameters))
    return sizes_of_measurement_set(parameters, *ingest.set_up(parameters))


def sizes_of_simulation(parameters: Parameters, setup: Setup) -> Sizes:
    """The sizes of a simulated observation."""
    import numpy as np

    from arl.conventions import C
    from arl.telescope import baseline_uvw
    from ical.stages.model import plan_run

    uvw = baseline_uvw(setup.layout, setup.phase_centre[1], setup.hour_angle)
    longest = float(np.abs(uvw[..., 2]).max() * setup.frequency.max() / C)
    shape = Shape(setup.time.size, len(setup.layout.names), uvw.shape[1], setup.frequency.size,
                  setup.npixel, setup.cell, longest, len(setup.lmn), _step(setup), setup.inner)
    return _sizes(parameters, shape, plan_run(parameters, setup, ["here"]))


def sizes_of_measurement_set(
    parameters: Parameters, contents: Contents, setup: Observed
) -> Sizes:
    """The sizes of an observation that is read."""
    from arl.conventions import C
    from ical.stages.model import plan_run

    longest = float(contents.longest[2]) * float(setup.frequency.max()) / C
    shape = Shape(setup.time.size, len(setup.antenna_names), setup.n_baseline,
                  setup.frequency.size, setup.npixel, setup.cell, longest, 0, _step(setup),
                  setup.inner, max(1, len(setup.products)))
    return _sizes(parameters, shape, plan_run(parameters, setup, ["here"]))


def _step(setup: Observed) -> float:
    """The mean spacing of the times, s."""
    return float(setup.time[-1] - setup.time[0]) / max(setup.time.size - 1, 1)


def _solutions(loop: Selfcal, times: int, channels: int, step: float) -> int:
    """Solutions of the finest term in a partition: where nothing is asked for, one each sample."""
    asked = [getattr(loop.solution_interval, t) for t in loop.terms]
    if None in asked or step == 0:
        return times * channels
    return min(times, math.ceil(times * step / min(asked)) + 1) * channels


def _spanning(loop: Selfcal, shape: Shape, plan: Plan) -> int:
    """Solutions, of all times and channels, of the terms from the first that spans partitions on.

    Intervals that are chosen for a term end where partitions do; B has one.
    """
    if len(plan.partitions) == len(plan.bands):
        return 0
    counts: list[int] = []
    for term in loop.in_order:
        asked, fixed = getattr(loop.solution_interval, term), term in loop.fixed_terms
        if not counts and (fixed or not (asked or term == "B" or _takes_neighbours(loop, term))):
            continue
        if asked and shape.time_step:
            span = shape.times * shape.time_step
            counts.append(min(shape.times, math.ceil(span / asked) + 1))
        else:
            counts.append(1 if term == "B" else shape.times)
    return max(counts, default=0) * shape.channels


def _takes_neighbours(loop: Selfcal, term: str) -> bool:
    return bool(getattr(loop.smoothing_time, term) or getattr(loop.smoothing_frequency, term)
                or getattr(loop.interpolation, term) == "linear")


def _sizes(parameters: Parameters, shape: Shape, plan: Plan) -> Sizes:
    times, channels = max(
        ((p.times[1] - p.times[0], p.channels[1] - p.channels[0]) for p in plan.partitions),
        key=math.prod)
    clean, loop = parameters.imaging.clean, parameters.selfcal
    return Sizes(
        shape.times, shape.stations, shape.baselines, shape.channels, len(plan.bands),
        len(plan.partitions), times * channels * shape.baselines, shape.npixel,
        cost.w_planes(shape.longest_w, shape.npixel * shape.cell / math.sqrt(2)), shape.components,
        _scales(clean, shape.npixel), clean.major_cycles, loop.cycles, loop.enabled,
        len(loop.terms), _solutions(loop, times, channels, shape.time_step),
        _spanning(loop, shape, plan), parameters.receptors,
        bool(parameters.observation and parameters.observation.smearing),
        _grids(parameters.imaging, len(plan.bands)), shape.inner, shape.products)


def _grids(imaging: Imaging, bands: int) -> int:
    """How many density grids the weights need."""
    if imaging.weighting == "natural":
        return 0
    return 1 if imaging.joint_density else bands


def _scales(clean: MinorLoop, npixel: int) -> int:
    """How many scales there are; automatic ones double from four beams of three pixels on."""
    if clean.algorithm == "generic":
        return 1
    return len(clean.scales) if clean.scales else 1 + max(0, math.floor(math.log2(npixel / 12)))


def rows(predicted: Forecast) -> list[tuple[str, str]]:
    """The forecast as (label, value) for people."""
    workers = f"{predicted.workers} workers of {predicted.threads} threads"
    table = [
        ("visibilities", f"{predicted.visibilities:,}"),
        ("partitions", f"{predicted.partitions} in {predicted.bands} bands"),
        ("images", f"{predicted.npixel} x {predicted.npixel} pixels"),
        ("memory of a worker", human_bytes(predicted.memory_per_worker)),
        ("memory of the driver", human_bytes(predicted.memory_driver)),
        ("memory in all", f"{human_bytes(predicted.memory_total)} ({workers})"),
        ("disk", human_bytes(predicted.disk)),
        ("tasks", f"{predicted.tasks:,}"),
        ("time", f"about {_seconds(predicted.seconds)} at most"),
    ]
    return table + [(f"  {name}", f"{s.tasks:,} tasks, {_seconds(s.seconds)}")
                    for name, s in predicted.stages.items()]


def sentence(predicted: Forecast) -> str:
    """The forecast in one line."""
    return (f"{human_bytes(predicted.memory_total)} of memory ({predicted.workers} workers of "
            f"{human_bytes(predicted.memory_per_worker)}, and "
            f"{human_bytes(predicted.memory_driver)}), {human_bytes(predicted.disk)} of disk, "
            f"{predicted.tasks:,} tasks, about {_seconds(predicted.seconds)} at most")


def human_bytes(size: float) -> str:
    """A size with its unit, for people."""
    for unit, scale in (("GB", 1e9), ("MB", 1e6)):
        if size >= scale:
            return f"{size / scale:.3g} {unit}"
    return f"{size / 1e3:.0f} kB"


def _seconds(seconds: float) -> str:
    if seconds < 120:
        return f"{seconds:.0f} s"
    return f"{seconds / 60:.0f} min" if seconds < 7200 else f"{seconds / 3600:.1f} h"
