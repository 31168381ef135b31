"""What the cost of a run depends on: visibilities, pixels, stations, workers."""

from __future__ import annotations

import os
import subprocess
import sys
import time
from pathlib import Path
from typing import Any

import numpy as np

from benchmarks.inprocess import InProcess, imager_in_process
from benchmarks.pairs import Ratio, alternate
from benchmarks.runs import do_run, million, varied
from ical.cluster import connect
from ical.imager import Imager
from ical.parameters import Parameters, load
from ical.prefork import thread_environment
from ical.stages.model import IDEAL, set_up
from ical.store import read_json

EFFICIENCY_BAR = 0.95
WORKERS = 2


def scaled_runs() -> dict[str, list[Parameters]]:
    """Runs along each axis, all else as in `reference-noise`; with more stations come fewer times,
    so that the number of visibilities hardly changes."""
    base = load("reference-noise")
    return {
        "visibilities": [varied(base, name=f"times-{n}", samples=n) for n in (6, 11, 22, 44)],
        "pixels": [varied(base, name=f"pixels-{n}", npixel=n) for n in (384, 512, 1024)],
        "stations": [varied(base, name=f"radius-{int(r)}", r_max=r, samples=n, npixel=640)
                     for r, n in ((200.0, 51), (300.0, 11), (500.0, 3))],
    }


def scaling(folder: Path, axes: dict[str, list[Parameters]]) -> dict[str, list[dict[str, Any]]]:
    """By axis, a row a run: its size, and each stage's wall, CPU and memory."""
    return {axis: [_row(run, do_run(run, folder, run.name, workers=WORKERS)) for run in runs]
            for axis, runs in axes.items()}


def _row(run: Parameters, report: dict[str, Any]) -> dict[str, Any]:
    setup = set_up(run)
    return {"run": run.name, "stations": len(setup.antenna_names), "npixel": setup.npixel,
            "visibilities": setup.time.size * setup.n_baseline * setup.frequency.size,
            "cycles": len(report["history"]),
            "stages": {name: {k: cost[k] for k in ("wall_s", "cpu_s", "peak_rss_mb")}
                       for name, cost in report["stages"].items()}}


def in_words(axis: str, rows: list[dict[str, Any]]) -> str:
    """A table of one axis."""
    lines = [f" with {axis}: {'visibilities':>12} {'pixels':>6} {'stations':>8}"
             f" {'image: CPU s':>13} {'selfcal: CPU s':>15} {'MB':>6}"]
    for row in rows:
        stages = row["stages"]
        memory = max(s["peak_rss_mb"] for s in stages.values())
        lines.append(f" {'':>{len(axis) + 6}} {row['visibilities']:>12} {row['npixel']:>6} "
                     f"{row['stations']:>8} {stages['image']['cpu_s']:>13.1f} "
                     f"{stages['selfcal']['cpu_s']:>15.1f} {memory:>6.0f}")
    return "\n".join(lines)


def efficiency(folder: Path, pairs: int, run: Parameters | None = None) -> dict[str, Any]:
    """How fast two workers do the stages of partitions, over how fast two processes do a half each.

    The stages are one round of dirty images, PSFs and residuals of a model of many pixels, after
    one round that is not counted. The run is `million` unless another is given.
    """
    run = run or million()
    do_run(run, folder, run.name, workers=WORKERS)
    place = folder / run.name
    half = [sys.executable, "-m", "benchmarks.scaling", str(place)]
    halves = [subprocess.Popen([*half, str(k)], stdin=subprocess.PIPE, stdout=subprocess.PIPE,
                               text=True, env=os.environ | thread_environment(1))
              for k in range(WORKERS)]
    try:
        with connect(None, workers=WORKERS, threads=1, memory_limit=None) as cluster:
            ready = imager_in_process(place, run, set_up(run), IDEAL, InProcess())
            dask = Imager(cluster, ready.plan, ready.sources, ready.grid, False)
            partition_round(dask)
            for process in halves:
                _told(process)
            found = list(alternate(pairs, lambda k: partition_round(dask),
                                   lambda k: _both(halves)))
    finally:
        for process in halves:
            process.communicate()
    ratio = Ratio.of([theirs for _, theirs in found], [ours for ours, _ in found])
    return {"pairs": [{"workers_s": ours, "processes_s": theirs} for ours, theirs in found],
            "rows": [ratio.row("2 workers over 2 processes, speed", EFFICIENCY_BAR, least=True)]}


def partition_round(imager: Imager) -> float:
    """Seconds of one round of the partition stages."""
    shape = (len(imager.plan.bands), imager.grid.npixel, imager.grid.npixel)
    model = np.zeros(shape, np.float32)
    model[:, ::16, ::16] = 1e-3
    imager.cluster.kept = None
    began = time.perf_counter()
    imager.dirty_and_psf()
    imager.residual(model, {})
    return time.perf_counter() - began


def _told(process: subprocess.Popen[str]) -> float:
    """What a half says next."""
    assert process.stdout is not None
    return float(process.stdout.readline())


def _both(halves: list[subprocess.Popen[str]]) -> float:
    """Seconds until both halves have done a round that they begin together."""
    began = time.perf_counter()
    for process in halves:
        assert process.stdin is not None
        process.stdin.write("go\n")
        process.stdin.flush()
    for process in halves:
        _told(process)
    return time.perf_counter() - began


def main(place: Path, number: int) -> None:
    """One of the independent processes: a round at once, and one whenever it is told to."""
    run = Parameters.model_validate(read_json(place / "parameters.json"))
    imager = imager_in_process(place, run, set_up(run), IDEAL, InProcess(),
                               (number, WORKERS))
    print(partition_round(imager), flush=True)
    for _ in sys.stdin:
        print(partition_round(imager), flush=True)


if __name__ == "__main__":
    main(Path(sys.argv[1]), int(sys.argv[2]))
