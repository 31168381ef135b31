"""Data larger than memory: what 1e8 visibilities take, next to 1e7.

The run `reference-noise` with more times and channels, imaged and self-calibrated by two workers.
The bars: 4 GB over all processes, 1.3 times the predicted memory, and a cost per visibility within
1.2 times that of the first. The visibilities are removed after each run.
"""

from __future__ import annotations

import math
import os
import shutil
from collections.abc import Sequence
from pathlib import Path
from typing import Any

from benchmarks.runs import do_run, varied
from ical.parameters import Parameters, load

VISIBILITIES = (1e7, 1e8)
NPIXEL, BANDS, CHANNELS_PER_TIME = 1024, 4, 0.4
BASELINES = 4371
MOST_MEMORY_MB, MOST_OVER_FORECAST, MOST_PER_VISIBILITY = 4000, 1.3, 1.2
PROCESSING = ("image", "selfcal")


def large(visibilities: float) -> Parameters:
    """The run of about so many visibilities, of the bright sources alone."""
    times = max(2, round(math.sqrt(visibilities / BASELINES / CHANNELS_PER_TIME)))
    channels = max(BANDS, BANDS * round(visibilities / BASELINES / times / BANDS))
    run = varied(load("reference-noise"), name=f"large-{int(visibilities)}", channels=channels,
                 samples=times, npixel=NPIXEL)
    data = run.to_dict()
    data["imaging"]["bands"], data["sky"]["flux_limit"] = BANDS, 5.0
    return Parameters.model_validate(data)


def measure(visibilities: float, folder: Path, seed: int) -> dict[str, Any]:
    """Do the run; its peak of memory, that over the forecast, and its cost per visibility."""
    run = large(visibilities).model_copy(update={"seed": seed})
    report = do_run(run, folder, run.name, workers=2)
    shutil.rmtree(folder / run.name / "visibilities")
    stages, predicted = report["stages"], report["forecast"]
    peak = max(s["peak_rss_mb"] for s in stages.values())
    cpu = sum(stages[s]["cpu_s"] for s in PROCESSING)
    return {"visibilities": predicted["visibilities"], "peak_mb": peak,
            "predicted_mb": predicted["memory_mb"], "over_forecast": peak / predicted["memory_mb"],
            "cpu_s": cpu, "wall_s": sum(stages[s]["wall_s"] for s in PROCESSING),
            "cpu_us_per_visibility": cpu / predicted["visibilities"] * 1e6}


def missed(found: dict[str, Any], first: dict[str, Any]) -> list[str]:
    """The bars that a run missed, in words."""
    ratio = found["cpu_us_per_visibility"] / first["cpu_us_per_visibility"]
    checks = (("memory, MB", found["peak_mb"], MOST_MEMORY_MB),
              ("memory over forecast", found["over_forecast"], MOST_OVER_FORECAST),
              ("cost per visibility over that of the first", ratio, MOST_PER_VISIBILITY))
    return [f"{what}: {value:.3g} > {most:g}" for what, value, most in checks if value > most]


def data_larger_than_memory(
    folder: Path, seed: int, sizes: Sequence[float] = VISIBILITIES
) -> list[dict[str, Any]]:
    """Do the runs, the smallest first, and judge each; prints each when it is done."""
    runs: list[dict[str, Any]] = []
    for visibilities in sizes:
        before = os.getloadavg()
        found = measure(visibilities, folder, seed)
        texts = missed(found, runs[0] if runs else found)
        print(", ".join(f"{k} {v:.4g}" for k, v in found.items()), flush=True)
        for text in texts:
            print(f"  MISSED {text}", flush=True)
        runs.append(found | {"missed": texts, "load_average": {
            "before": before, "after": os.getloadavg()}})
    return runs
