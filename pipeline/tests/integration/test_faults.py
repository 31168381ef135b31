"""What is lost with a killed pipeline or a killed worker: time, and nothing else.

The shipped run `tiny`: 17 stations, 3 channels, 5 times, images of 128 x 128 pixels, T from cycle 1
and G from cycle 2. Both are killed by an event inside the loop, not by the clock.
"""

from __future__ import annotations

import json
import os
import shutil
import signal
import subprocess
import sys

import numpy as np
import pytest

from arl.io.fits import read_image
from ical.cluster import connect
from ical.imager import Imager
from ical.parameters import load
from ical.stages import image, model, selfcal
from ical.tasks import Source

pytestmark = pytest.mark.integration

#: Of the peak of the dirty image; identical runs differ by nothing at all.
TOLERANCE = 1e-5


def ical(results, *arguments):
    """The command as a process that leads a group of its own, its lines of JSON on stdout."""
    command = [sys.executable, "-m", "ical.cli", *arguments, "--results", str(results),
               "--workers", "1"]
    return subprocess.Popen(command, stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True,
                            start_new_session=True)


def events_of(process):
    """The events a process tells, as it tells them; its other lines are dropped."""
    for line in process.stdout:
        if line.startswith("{"):
            yield json.loads(line)


def finish(process):
    events = list(events_of(process))
    assert process.wait() == 0, events[-1:]
    return events


def cycles_told(events):
    return [e["cycle"] for e in events if e["event"] == "progress" and "cycle" in e]


def test_a_killed_pipeline_goes_on_from_its_last_cycle(tmp_path):
    finish(ical(tmp_path, "model", "tiny", "--name", "whole"))
    shutil.copytree(tmp_path / "whole", tmp_path / "killed")
    finish(ical(tmp_path, "selfcal", "tiny", "--name", "whole"))
    process = ical(tmp_path, "selfcal", "tiny", "--name", "killed")
    next(e for e in events_of(process) if e.get("cycle") == 2)
    os.killpg(process.pid, signal.SIGKILL)
    assert process.wait() == -signal.SIGKILL
    assert (tmp_path / "killed" / "selfcal" / "checkpoint" / "state.json").exists()
    assert not (tmp_path / "killed" / "selfcal" / "stage.json").exists()
    resumed = finish(ical(tmp_path, "selfcal", "tiny", "--name", "killed", "--resume"))
    assert min(cycles_told(resumed)) >= 2
    whole, killed = (json.loads((tmp_path / name / "selfcal" / "stage.json").read_text())
                     for name in ("whole", "killed"))
    # what cycles moved is only known of those of one process
    assert all(cycle.pop("moved_bytes", 0) != 0 for run in (whole, killed)
               for cycle in run["history"])
    assert killed["history"] == whole["history"]
    assert killed["outcome"] == whole["outcome"]
    peak = np.abs(read_image(tmp_path / "whole" / "selfcal" / "dirty_combined.fits")[0]).max()
    for kind in ("residual", "model", "restored"):
        one, other = (read_image(tmp_path / name / "selfcal" / f"{kind}_band00.fits")[0]
                      for name in ("whole", "killed"))
        assert np.abs(one - other).max() <= TOLERANCE * peak


class Silent:
    """A watcher that says and keeps nothing."""

    def told(self, cycle, cycles):
        """Nothing is told."""

    def keep(self, state):
        """Nothing is kept."""


class KillsAWorker(Imager):
    """Kills a worker once, when the tasks of the second cycle's calibration have been handed out.

    `lost` is its process, None before.
    """

    lost: int | None = None
    passes = 0

    def collect_passes(self, passes, light):
        """As the imager's, with one worker less."""
        self.passes += 1
        if self.passes == 2:
            self.lost = next(iter(self.cluster.client.run(os.getpid).values()))
            os.kill(self.lost, signal.SIGKILL)
        return super().collect_passes(passes, light)


def calibrated(kind, cluster, parameters, setup, plan, sources):
    """The loop's result and its imager of some kind."""
    grid = image.grid_of(parameters, setup)
    imager = kind(cluster, plan, sources, grid, False)
    edges = image.band_edges(plan, setup.frequency, setup.channel_width)
    loop = selfcal.SelfCalibration(imager, parameters, setup, edges, 0.0)
    return loop.run(Silent()), imager


def test_a_killed_worker_costs_nothing_but_time(tmp_path):
    parameters = load("tiny")
    setup = model.set_up(parameters)
    with connect(None, workers=2, threads=1, memory_limit=None) as cluster:
        plan = model.plan_run(parameters, setup, cluster.hosts())
        paths = {p.name: str(tmp_path / f"{p.name}.zarr") for p in plan.partitions}
        model.simulate(cluster, parameters, setup, plan, paths)
        sources = {name: Source(path, "VISIBILITY") for name, path in paths.items()}
        rest = (cluster, parameters, setup, plan, sources)
        whole, _ = calibrated(Imager, *rest)
        hurt, imager = calibrated(KillsAWorker, *rest)
        assert imager.lost is not None
        assert imager.lost not in cluster.client.run(os.getpid).values()
    assert hurt.history == whole.history
    assert (hurt.outcome, hurt.reason) == (whole.outcome, whole.reason)
    peak = np.abs(whole.dirty.image).max()
    assert np.abs(hurt.residual.image - whole.residual.image).max() <= TOLERANCE * peak
    assert np.abs(hurt.model - whole.model).max() <= TOLERANCE * peak
