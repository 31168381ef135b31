"""The same stages in one process without Dask: what the kernels alone cost, and a referee.

The stages are given a cluster that runs every task at once where it is asked for, and counts the
CPU seconds of each kind of task. Partitions are read beforehand.
"""

from __future__ import annotations

import os
import time
from collections import defaultdict
from collections.abc import Callable
from pathlib import Path
from typing import Any

from ical.cluster import THREAD_VARIABLES, Cluster
from ical.data import load
from ical.imager import Imager
from ical.parameters import Parameters
from ical.partitions import Plan
from ical.stages import image, model, selfcal
from ical.stages.loopstate import Cycle, LoopState
from ical.store import read_json
from ical.tasks import Source
from ical.warmup import warm_up


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
    """A cluster that is this process.

    Attributes
    ----------
    cpu: CPU seconds by kind of task. calls: how many there were.
    """

    def __init__(self) -> None:
        super().__init__(self)  # type: ignore[arg-type]  # a client that can gather is enough
        self.cpu: dict[str, float] = defaultdict(float)
        self.calls: dict[str, int] = defaultdict(int)

    def gather(self, futures: Any) -> Any:
        """What the client of a real cluster does."""
        return _resolve(futures)

    def submit(self, host: str, function: Callable[..., Any], *arguments: Any) -> Any:
        """Run one task now."""
        return self.submit_anywhere(function, *arguments)

    def submit_anywhere(self, function: Callable[..., Any], *arguments: Any) -> Any:
        """Run one task now."""
        began = time.process_time()
        value = function(*[_resolve(a) for a in arguments])
        self.cpu[function.__name__] += time.process_time() - began
        self.calls[function.__name__] += 1
        return Done(value)


class _Silent:
    def told(self, cycle: Cycle, cycles: int) -> None:
        """Nothing is told."""

    def keep(self, state: LoopState) -> None:
        """Nothing is kept."""


def kernels(run: Path) -> dict[str, dict[str, Any]]:
    """CPU seconds and calls by kind of task, of the stages image and selfcal of a finished run."""
    os.environ.update({name: "1" for name in THREAD_VARIABLES})
    warm_up()
    parameters = Parameters.model_validate(read_json(run / "parameters.json"))
    setup = model.set_up(parameters)
    plan = Plan.from_dict(read_json(run / "plan.json") or {})
    found = {}
    for stage, column in (("image", model.IDEAL), ("selfcal", "VISIBILITY")):
        cluster = InProcess()
        sources = {p.name: Source(str(run / "visibilities" / f"{p.name}.zarr"), column)
                   for p in plan.partitions}
        for source in sources.values():
            load(source.path, source.column)
        grid = image.grid_of(parameters, setup.npixel, setup.cell)
        imager = Imager(cluster, plan, sources, grid, parameters.imaging.joint_density)
        _replay(stage, imager, parameters, setup)
        found[stage] = {"cpu_s": sum(cluster.cpu.values()), "by_kind": dict(cluster.cpu),
                        "calls": dict(cluster.calls)}
    return found


def _replay(stage: str, imager: Imager, parameters: Parameters, setup: model.Setup) -> None:
    """Do what a stage does, without writing anything."""
    edges = image.band_edges(imager.plan, setup.frequency, setup.channel_width)
    if stage == "image":
        image.image(imager, parameters, edges, lambda number: None)
        return
    loop = selfcal.SelfCalibration(imager, parameters, setup, edges, float(setup.sigma > 0))
    loop.run(_Silent())
