"""Continuum imaging: `ical run` against WSClean on one Measurement Set."""

from __future__ import annotations

import json
import shutil
from dataclasses import asdict
from pathlib import Path
from typing import Any

from benchmarks.pairs import Ratio, alternate
from benchmarks.peers.install import Peers
from benchmarks.peers.judge import Images, Quality, dirty_difference, judge
from benchmarks.peers.observation import Size, parameters, simulate
from benchmarks.peers.process import Cost, run
from benchmarks.peers.settings import (
    BANDS,
    THREADS,
    Deconvolution,
    our_imaging,
    wsclean_options,
)
from benchmarks.runs import command, write_run_file
from ical.parameters import Parameters

#: The most that our wall may be of WSClean's, by the pixels on a side.
WALL_BARS = {1024: 0.9, 2048: 1.0}
QUALITY_BAR = 1.01
CLEAN = Deconvolution()


def our_run(
    ours: Parameters, folder: Path, name: str
) -> tuple[Cost, Cost]:
    """What `ical run` costs as a user makes it, and its stages alone, without start-up and report.

    Two workers of one thread each; memory is that of the whole run in both.
    """
    run_file = write_run_file(ours, folder / f"{name}.yml")
    whole = run(command(run_file, name, THREADS, 1), folder / f"{name}.log")
    stages = json.loads((folder / name / "report.json").read_text())["stages"].values()
    return whole, Cost(sum(s["wall_s"] for s in stages), sum(s["cpu_s"] for s in stages),
                       whole.peak_mb)


def compare(
    size: Size, folder: Path, peers: Peers, pairs: int, seed: int
) -> dict[str, Any]:
    """Paired runs on one observation: costs, quality of the images, and ratios with their bars."""
    folder.mkdir(parents=True)
    path = folder / "simulated.ms"
    setup = simulate(parameters(size, seed, None), path)
    ours = Parameters.model_validate({
        "name": "ours", "input": {"measurement_set": str(path), "station_diameter": 35.0},
        "imaging": our_imaging(size, CLEAN), "selfcal": {"enabled": False}})

    def theirs(number: int) -> Cost:
        name = folder / f"wsclean-{number}"
        options = wsclean_options(size, CLEAN, name)
        return run([peers.wsclean, *options, "-no-update-model-required", str(path)],
                   folder / f"{name.name}.log", peers.environment)

    measured = list(alternate(pairs, lambda k: our_run(ours, folder, f"ours-{k}"), theirs))
    images = {"ours": Images.of_ical(folder / "ours-0" / "image"),
              "peer": Images.of_wsclean(folder / "wsclean-0")}
    quality = {side: judge(found, setup) for side, found in images.items()}
    size_told = {"visibilities": setup.time.size * setup.n_baseline * setup.frequency.size,
                 "npixel": size.npixel, "bands": BANDS}
    shutil.rmtree(path)
    return {
        **size_told, "costs": [{"ours": asdict(whole), "stages": asdict(stages),
                                "peer": asdict(peer)} for (whole, stages), peer in measured],
        "quality": {side: found.to_dict() for side, found in quality.items()},
        "dirty_difference": dirty_difference(images["ours"], images["peer"], size.npixel),
        "rows": ratios(measured, WALL_BARS.get(size.npixel))
        + quality_ratios(quality["ours"], quality["peer"]),
    }


def ratios(
    measured: list[tuple[tuple[Cost, Cost], Cost]], wall_bar: float | None
) -> list[dict[str, Any]]:
    """Ratios of our costs (a whole run, its stages) over the peer's; the bar is the wall's."""
    peer = [m[1] for m in measured]

    def ratio(text: str, which: int, key: str, bar: float | None = None) -> dict[str, Any]:
        return Ratio.of([getattr(m[0][which], key) for m in measured],
                        [getattr(c, key) for c in peer]).row(text, bar)

    return [ratio("wall", 0, "wall_s", wall_bar),
            ratio("wall without start-up and report", 1, "wall_s"), ratio("CPU", 0, "cpu_s"),
            ratio("CPU without start-up and report", 1, "cpu_s"), ratio("memory", 0, "peak_mb")]


def quality_ratios(ours: Quality, peer: Quality) -> list[dict[str, Any]]:
    """Ratios of our images' quality over the peer's, with their bars."""
    return [Ratio.of([getattr(ours, key)], [getattr(peer, key)]).row(text, QUALITY_BAR)
            for key, text in (("residual_rms_jy", "residual rms"),
                              ("flux_ratio_scatter", "flux scatter"))]
