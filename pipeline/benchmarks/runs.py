"""Runs of ical as a user makes them: in a process of their own, from a run file."""

from __future__ import annotations

import json
import subprocess
import sys
from pathlib import Path
from typing import Any

import yaml

from ical.parameters import Parameters, load


def command(run_file: Path, name: str, workers: int, threads: int) -> list[str]:
    """`ical run`, its results beside the run file."""
    return [sys.executable, "-m", "ical.cli", "run", str(run_file), "--name", name,
            "--results", str(run_file.parent), "--workers", str(workers),
            "--threads", str(threads)]


def write_run_file(parameters: Parameters, path: Path) -> Path:
    """Write the run file; returns its path."""
    path.write_text(yaml.safe_dump(parameters.to_dict()), encoding="utf-8")
    return path


def do_run(
    parameters: Parameters, folder: Path, name: str, *, workers: int, threads: int = 1
) -> dict[str, Any]:
    """Do a run in `folder`; returns its report.json.

    Raises
    ------
    CalledProcessError: the run failed; its log is beside it.
    """
    run_file = write_run_file(parameters, folder / f"{name}.yml")
    with open(folder / f"{name}.log", "w", encoding="utf-8") as log:
        subprocess.run(command(run_file, name, workers, threads), stdout=log,
                       stderr=subprocess.STDOUT, check=True)
    report: dict[str, Any] = json.loads((folder / name / "report.json").read_text())
    return report


def million() -> Parameters:
    """The run `reference-noise` with as many times and channels as make 1.05e6 visibilities."""
    return varied(load("reference-noise"), name="million", channels=8, samples=30)


def varied(
    run: Parameters, *, name: str, channels: int | None = None, samples: int | None = None,
    r_max: float | None = None, npixel: int | None = None,
) -> Parameters:
    """A simulated run with another size: stations within r_max (m), pixels over the same field."""
    data = run.to_dict() | {"name": name}
    observation, imaging = data["observation"], data["imaging"]
    observation["frequency"]["channels"] = channels or observation["frequency"]["channels"]
    observation["time"]["samples"] = samples or observation["time"]["samples"]
    observation["r_max"] = r_max or observation["r_max"]
    if npixel:
        imaging["cell_rad"] *= imaging["npixel"] / npixel
        imaging["npixel"] = npixel
    return Parameters.model_validate(data)
