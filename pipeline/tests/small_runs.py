"""Runs of seconds, from a run file through the stages of `ical` to what they leave on disk."""

from __future__ import annotations

import copy
import io
from pathlib import Path
from typing import Any

import yaml

from ical.context import Connector, RunContext
from ical.parameters import load
from ical.progress import JsonLines, Progress
from ical.stages.run import run_image, run_model, run_selfcal
from ical.store import Store

STAGES = {"model": run_model, "image": run_image, "selfcal": run_selfcal}
#: 17 stations, 2 channels, 5 times, images of 128 x 128 pixels with sources on pixel centres.
SMALL: dict[str, Any] = {
    "seed": 7,
    "observation": {
        "r_max": 120.0, "phase_centre": {"ra": 30.0, "dec": -60.0},
        "frequency": {"start": 95e6, "end": 105e6, "channels": 2},
        "time": {"start_hour_angle": -30.0, "end_hour_angle": 30.0, "samples": 5},
    },
    "sky": {"flux_limit": 5.0, "positions": "pixel"},
    "gains": {"phase_error": 1.0},
    "imaging": {"npixel": 128, "cell_rad": 4.6e-3, "clean": {"scales": [0]}},
    "selfcal": {"terms": "T", "cycles": 4},
}


def changed(changes: dict[str, Any], base: dict[str, Any] | None = None) -> dict[str, Any]:
    """A run with dotted keys set to other values."""
    data = copy.deepcopy(SMALL if base is None else base)
    for key, value in changes.items():
        *parents, last = key.split(".")
        section = data
        for parent in parents:
            section = section.setdefault(parent, {})
        section[last] = value
    return data


def perform(
    folder: Path, run: dict[str, Any], cluster: Connector, name: str,
    stages: tuple[str, ...] = ("model", "selfcal"),
) -> Store:
    """Write a run file, read it, and do some of its stages."""
    path = folder / f"{name}.yml"
    path.write_text(yaml.safe_dump(run))
    parameters = load(path)
    store = Store.create(parameters, folder, run_id=name)
    for stage in stages:
        progress = Progress(stage, JsonLines(io.StringIO()))
        STAGES[stage](RunContext(parameters, store, progress, cluster, False))
    return store
