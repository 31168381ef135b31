"""The same stages in one process without Dask: what the kernels alone cost, and a referee.

The stages are given a cluster that runs every task at once where it is asked for. Partitions are
read beforehand. The clock counts only what the gridder, the solver and the deconvolver take: the
floor below which no scheduling, weighting or summing gets.
"""

from __future__ import annotations

import os
import time
from collections import defaultdict
from collections.abc import Callable, Iterator
from contextlib import ExitStack, contextmanager
from pathlib import Path
from typing import Any
from unittest import mock

from arl import deconvolution, gridding, simulation
from arl.calibration import chain, normal
from ical.cluster import Cluster, Held
from ical.data import load
from ical.imager import Imager
from ical.parameters import Parameters
from ical.partitions import Plan
from ical.prefork import thread_environment
from ical.stages import image, model, selfcal
from ical.stages.loopstate import Cycle, LoopState
from ical.store import read_json
from ical.tasks import Source
from ical.warmup import warm_up

#: The pure kernels as their callers find them: module, name, and what they are counted as.
PURE: tuple[tuple[Any, str, str], ...] = (
    (gridding, "vis2dirty", "gridder"), (gridding, "dirty2vis", "gridder"),
    (simulation, "predict_components", "gridder"), (normal, "reduce", "solver"),
    (chain, "solve", "solver"), (deconvolution, "_minor_loop", "deconvolver"),
)


class KernelClock:
    """Wall and CPU seconds of the pure kernels, by kind, while it is on.

    Attributes
    ----------
    wall, cpu: seconds by kind, CPU of all threads of this process. calls: how many there were.
    """

    def __init__(self) -> None:
        self.wall: dict[str, float] = defaultdict(float)
        self.cpu: dict[str, float] = defaultdict(float)
        self.calls: dict[str, int] = defaultdict(int)

    @contextmanager
    def on(self) -> Iterator[None]:
        """Count what is called within the block."""
        with ExitStack() as stack:
            for module, name, kind in PURE:
                counted = self._counted(getattr(module, name), kind)
                stack.enter_context(mock.patch.object(module, name, counted))
            yield

    def _counted(self, kernel: Callable[..., Any], kind: str) -> Callable[..., Any]:
        def call(*arguments: Any, **options: Any) -> Any:
            wall, cpu = time.perf_counter(), time.process_time()
            try:
                return kernel(*arguments, **options)
            finally:
                self.wall[kind] += time.perf_counter() - wall
                self.cpu[kind] += time.process_time() - cpu
                self.calls[kind] += 1

        return call

    def summary(self) -> dict[str, Any]:
        """What the JSON keeps."""
        return {"wall_s": sum(self.wall.values()), "cpu_s": sum(self.cpu.values()),
                "wall_by_kind": dict(self.wall), "cpu_by_kind": dict(self.cpu),
                "calls": dict(self.calls)}


class Done:
    """A future that is there already."""

    def __init__(self, value: Any) -> None:
        self.value = value

    def result(self) -> Any:
        """The value."""
        return self.value


def _resolve(item: Any) -> Any:
    if isinstance(item, Done):
        return item.value
    if isinstance(item, list):
        return [_resolve(x) for x in item]
    if isinstance(item, dict):
        return {k: _resolve(x) for k, x in item.items()}
    return item


class InProcess(Cluster):
    """A cluster that is this process."""

    def __init__(self) -> None:
        super().__init__(self, threads=1)  # type: ignore[arg-type]  # a client that can gather is enough

    def gather(self, futures: Any) -> Any:
        """What the client of a real cluster does."""
        return _resolve(futures)

    def submit(
        self, host: str, function: Callable[..., Any], *arguments: Any, held: Held | None = None
    ) -> Any:
        """Run one task now."""
        return self.submit_anywhere(function, *arguments)

    def hold(self) -> Held:
        """There is nobody to share tasks among."""
        return {}

    def submit_anywhere(self, function: Callable[..., Any], *arguments: Any) -> Any:
        """Run one task now."""
        return Done(function(*[_resolve(a) for a in arguments]))


class _Silent:
    def told(self, cycle: Cycle, cycles: int) -> None:
        """Nothing is told."""

    def keep(self, state: LoopState) -> None:
        """Nothing is kept."""


def kernels(run: Path) -> dict[str, dict[str, Any]]:
    """The pure kernels of the stages image and selfcal of a finished run, see `KernelClock`.

    `process_cpu_s` is that of all of a stage's work in this process.
    """
    os.environ.update(thread_environment(1))
    warm_up()
    parameters = Parameters.model_validate(read_json(run / "parameters.json"))
    setup = model.set_up(parameters)
    found, cluster = {}, InProcess()
    for stage, column in (("image", model.IDEAL), ("selfcal", "VISIBILITY")):
        imager = imager_in_process(run, parameters, setup, column, cluster)
        clock, began = KernelClock(), time.process_time()
        with clock.on():
            _replay(stage, imager, parameters, setup)
        found[stage] = clock.summary() | {"process_cpu_s": time.process_time() - began}
    return found


def imager_in_process(
    run: Path, parameters: Parameters, setup: model.Setup, column: str, cluster: InProcess,
    share: tuple[int, int] = (0, 1),
) -> Imager:
    """The imager of a run's data column on a cluster, all partitions read.

    `share` (k, n): of every n-th band alone, from the k-th on.
    """
    plan = Plan.from_dict(read_json(run / "plan.json") or {})
    first, step = share
    plan = plan.without(set(range(len(plan.bands))) - set(range(first, len(plan.bands), step)))
    sources = {p.name: Source(str(run / "visibilities" / f"{p.name}.zarr"), column)
               for p in plan.partitions}
    for source in sources.values():
        load(source.path, source.column)
    grid = image.grid_of(parameters, setup)
    return Imager(cluster, plan, sources, grid, parameters.imaging.joint_density)


def _replay(stage: str, imager: Imager, parameters: Parameters, setup: model.Setup) -> None:
    """Do what a stage does, without writing anything."""
    edges = image.band_edges(imager.plan, setup.frequency, setup.channel_width)
    if stage == "image":
        image.image(imager, parameters, edges, lambda number: None)
        return
    loop = selfcal.SelfCalibration(imager, parameters, setup, edges, float(setup.sigma > 0))
    loop.run(_Silent())
