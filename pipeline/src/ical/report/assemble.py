"""Read a run's folder, finished or not, and put report.json together.

Read are parameters.json, progress.jsonl, plan.json, <stage>/stage.json, selfcal/history.json,
the residual and restored images and the gain tables. All of them may be missing.
"""

from __future__ import annotations

import json
import os
import platform
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from datetime import UTC, datetime
from importlib import metadata
from pathlib import Path
from typing import Any

import numpy as np

from arl.conventions import MAD_TO_SIGMA
from arl.quality import robust_rms
from ical.report.products import Gains, find_image, read_gains, read_image
from ical.report.schema import (
    SCHEMA_VERSION,
    Band,
    Cycle,
    File,
    Forecast,
    GainTerm,
    HostWork,
    Outcome,
    Quality,
    Report,
    Stage,
    StageForecast,
    Superseded,
)
from ical.report.verdict import Facts, judge
from ical.store import UPSTREAM, changed_inputs

STAGES = ("model", "image", "selfcal")
IMAGING_STAGES = ("image", "selfcal")
PACKAGES = ("dask", "distributed", "numpy", "scipy", "numba", "ducc0", "radler", "sep", "xarray",
            "zarr", "xradio", "astropy", "python-casacore", "pydantic", "matplotlib")
KINDS = {
    "dirty": "image of the data, not deconvolved, Jy/beam", "psf": "point spread function",
    "model": "what was deconvolved, Jy/pixel", "residual": "what the model leaves, Jy/beam",
    "restored": "model convolved with the beam, plus residual, Jy/beam",
    "pbcorrected": "restored over the primary beam, Jy/beam; NaN where that is below a tenth",
    "pbweight": "weight of the corrected image, relative to the beam's centre",
    "spectralindex": "exponent of the flux over frequency; NaN below 5 sigma in any band",
    "spectralindexerror": "standard error of the spectral index",
}
NAMES = {
    "parameters.json": "the resolved run file", "plan.json": "the plan of partitions",
    "progress.jsonl": "what the run told while it worked",
    "observation.json": "what was found in the Measurement Set",
    "forecast.json": "what the run was predicted to cost, and the sizes that follows from",
    "truth.csv": "components of the simulated sky", "true_gains.zarr": "the injected gains",
    "history.json": "the cycles of self-calibration", "stage.json": "cost and quality of the stage",
    "visibilities": "visibilities of every partition (MSv4 Zarr), calibrated ones included",
}


@dataclass(frozen=True)
class Run:
    """A run's folder as read; records by stage, gain tables by term."""

    folder: Path
    parameters: dict[str, Any]
    records: dict[str, dict[str, Any]]
    forecast: dict[str, Any]
    history: list[dict[str, Any]]
    gains: dict[str, tuple[Gains, ...]]


def read_run(folder: Path) -> Run:
    """Read a run's folder; what is not there is left empty."""
    records = {stage: _json(folder / stage / "stage.json") for stage in STAGES}
    history = _json(folder / "selfcal" / "history.json")
    if isinstance(history, Mapping):
        history = history.get("cycles", [])
    tables = sorted((folder / "selfcal").glob("gains_*.zarr"))
    order = str((_json(folder / "parameters.json") or {}).get("selfcal", {}).get("terms", ""))
    gains = {g[0].term: g for g in map(read_gains, tables)}
    ordered = sorted(gains, key=lambda t: (order.find(t) if t in order else 99, t))
    return Run(folder, _json(folder / "parameters.json") or {},
               {s: r for s, r in records.items() if r},
               (_json(folder / "forecast.json") or {}).get("forecast", {}), history or [],
               {t: gains[t] for t in ordered})


def _json(path: Path) -> Any:
    try:
        return json.loads(path.read_text(encoding="utf-8"))
    except FileNotFoundError:
        return None


def assemble(run: Run, now: datetime | None = None) -> Report:
    """Everything that report.json says about a run."""
    stages = {name: stage_of(record, run.forecast.get("stages", {}).get(name))
              for name, record in run.records.items()}
    quality = {name: quality_of(run.folder / name, run.records.get(name, {}))
               for name in IMAGING_STAGES
               if name in stages or find_image(run.folder / name, "residual")}
    gains = {term: summary(tables) for term, tables in run.gains.items()}
    outcome = outcome_of(run.records.get("selfcal", {}).get("outcome"))
    done = frozenset(n for n, s in stages.items() if s.status == "done")
    expected = expected_stages(run.parameters)
    facts = Facts(expected, done, outcome, quality, gains,
                  last_errors(run.folder / "progress.jsonl", done),
                  run.parameters.get("gains") is not None,
                  "input" in run.parameters and "selfcal" in expected,
                  "input" not in run.parameters
                  and not any((run.parameters.get("noise") or {}).values()))
    return Report(
        schema_version=SCHEMA_VERSION, run=run.folder.name,
        name=str(run.parameters.get("name", run.folder.name)),
        created=(now or datetime.now(UTC)).isoformat(timespec="seconds"),
        verdict=judge(facts), outcome=outcome, forecast=forecast_of(run.forecast),
        stages=stages, quality=quality,
        history=[cycle_of(c, n) for n, c in enumerate(run.history, 1)], gains=gains,
        hosts=hosts_of(stages.values()),
        warnings=[*outdated(run.records),
                  *(f"{name}: {text}" for name, s in stages.items() for text in s.warnings)],
        versions=versions(), parameters=run.parameters,
        superseded=[Superseded(**entry) for entry in run.parameters.get("superseded", [])],
        files=files_of(run.folder))


def outdated(records: Mapping[str, Mapping[str, Any]]) -> list[str]:
    """A sentence for each stage that is of other inputs than one before it, which was made again.

    Of records that name their inputs: those of an earlier version do not.
    """
    pairs = [(stage, before) for stage in records for before in UPSTREAM[stage]
             if "inputs" in records[stage] and "inputs" in records.get(before, {})]
    changed = {pair: changed_inputs(records[pair[1]]["inputs"], records[pair[0]]["inputs"])
               for pair in pairs}
    return [f"{stage}: it is of other inputs than {before}, which was made again since "
            f"({', '.join(names)}): --resume makes it again, too"
            for (stage, before), names in changed.items() if names]


def expected_stages(parameters: Mapping[str, Any]) -> tuple[str, ...]:
    """The stages that a run of these parameters is to have."""
    wanted = parameters.get("selfcal", {}).get("enabled", True)
    return STAGES if wanted else STAGES[:2]


def forecast_of(told: Mapping[str, Any]) -> Forecast | None:
    """What forecast.json predicted."""
    if not told:
        return None
    same = {k: told[k] for k in ("workers", "threads", "visibilities", "partitions", "bands",
                                 "npixel", "tasks")}
    megabytes = {"worker_mb": "memory_per_worker", "driver_mb": "memory_driver",
                 "memory_mb": "memory_total", "disk_mb": "disk"}
    return Forecast(**same, **{k: round(told[v] / 1e6, 1) for k, v in megabytes.items()},
                    wall_s=told["seconds"])


def stage_of(record: Mapping[str, Any], predicted: Mapping[str, Any] | None) -> Stage:
    """A stage's cost from its stage.json, and what was predicted of it."""
    known = {k: record[k] for k in Stage.model_fields if record.get(k) is not None}
    tasks = {host: dict(work) for host, work in known.get("tasks", {}).items()}
    for host, held in (record.get("partition_bytes") or {}).items():
        tasks.setdefault(host, {})["bytes"] = held
    share = (StageForecast(tasks=predicted["tasks"], wall_s=predicted["seconds"])
             if predicted else None)
    return Stage(**{"status": "unknown", **known, "tasks": tasks, "forecast": share})


def outcome_of(raw: Mapping[str, Any] | None) -> Outcome | None:
    """The loop's outcome from stage.json: {state, reason, ...}."""
    if not raw:
        return None
    values = dict(raw)
    return Outcome(**{"status": values.pop("state", None), **values})


def cycle_of(raw: Mapping[str, Any], number: int) -> Cycle:
    """A cycle of history.json: {number, terms ("TG"), rms (Jy), decision, reason, ...}."""
    values = {**raw, "terms": list(raw.get("terms", []))}
    values.setdefault("cycle", values.pop("number", number))
    values.setdefault("rms_jy", values.pop("rms", None))
    if values.get("snr") is None and values["rms_jy"] and values.get("peak_jy"):
        values["snr"] = values["peak_jy"] / values["rms_jy"]
    return Cycle(**values)


def quality_of(folder: Path, record: Mapping[str, Any]) -> Quality:
    """A stage's own measures, completed by what its images say."""
    own = {k: v for k, v in (record.get("quality") or {}).items() if v is not None}
    paths = sorted(folder.glob("residual_band*.fits"))
    bands = [_band(path) for path in paths]
    measured: dict[str, Any] = {"bands": bands}
    combined = find_image(folder, "residual")
    if combined:
        lowest = bands[0] if bands else _band(combined)
        measured |= {"residual_rms_jy": lowest.residual_rms_jy,
                     "residual_peak_jy": lowest.residual_peak_jy}
    if combined and "residual_robust_rms_jy" not in own:
        # of the image that the peak is of: stages measure the combined one
        alike = combined if "residual_peak_jy" in own or not paths else paths[0]
        measured["residual_robust_rms_jy"] = _robust_rms(alike)
    restored = find_image(folder, "restored")
    if restored:
        measured["restored_peak_jy"] = float(np.nanmax(read_image(restored).data))
    return Quality(**(measured | own))


def _band(path: Path) -> Band:
    image = read_image(path)
    data = image.data.astype(float)
    return Band(frequency_hz=image.frequency, residual_rms_jy=float(np.sqrt(np.nanmean(data**2))),
                residual_peak_jy=float(np.nanmax(np.abs(data))))


def _robust_rms(path: Path) -> float:
    data = read_image(path).data
    return robust_rms(data[np.isfinite(data)])


def summary(tables: Sequence[Gains]) -> GainTerm:
    """A gain table in brief, of all its receptors."""
    table, gain = tables[0], np.stack([t.gain for t in tables])
    flagged = ~np.isfinite(gain)
    share = flagged.mean(axis=(0, 1, 3))
    worst = sorted((i for i in range(share.size) if share[i] > 0), key=lambda i: -share[i])
    amplitude = np.abs(gain[~flagged])
    median = float(np.median(amplitude)) if amplitude.size else None
    times, channels = table.solved
    antennas = len(table.antennas)
    return GainTerm(
        solutions=times * antennas * channels * len(tables), times=times,
        channels=channels, antennas=antennas,
        flagged_fraction=float(flagged.mean()), **_with_data(tables, flagged),
        flagged_antennas={table.antennas[i]: round(float(share[i]), 4) for i in worst},
        amplitude_median=median,
        amplitude_scatter=None if median is None
        else float(MAD_TO_SIGMA * np.median(np.abs(amplitude - median))))


def _with_data(tables: Sequence[Gains], flagged: np.ndarray) -> dict[str, float | None]:
    """Shares of a term that tell what its solver flagged from what the data did not have."""
    empty = [t.no_data for t in tables if t.no_data is not None]
    if not empty:
        return {}
    seen = ~np.stack(empty)
    return {"no_data_fraction": float(1 - seen.mean()),
            "flagged_with_data_fraction": float(flagged[seen].mean()) if seen.any() else None}


def hosts_of(stages: Iterable[Stage]) -> dict[str, HostWork]:
    """Work by host over all stages; the bytes held are those of the largest stage, not a sum."""
    total: dict[str, HostWork] = {}
    for stage in stages:
        for host, work in stage.tasks.items():
            so_far = total.get(host, HostWork())
            kinds = {k: so_far.kinds.get(k, 0) + work.kinds.get(k, 0)
                     for k in sorted({*so_far.kinds, *work.kinds})}
            total[host] = HostWork(
                tasks=so_far.tasks + work.tasks, seconds=round(so_far.seconds + work.seconds, 3),
                bytes=max(so_far.bytes, work.bytes), kinds=kinds)
    return dict(sorted(total.items()))


def last_errors(path: Path, done: frozenset[str]) -> dict[str, str]:
    """The last error that progress.jsonl tells of each stage that is not done."""
    errors: dict[str, str] = {}
    if not path.is_file():
        return errors
    for line in path.read_text(encoding="utf-8", errors="replace").splitlines():
        try:
            event = json.loads(line)
        except json.JSONDecodeError:
            continue  # the last line of a process that was killed
        stage = event.get("stage", "") if isinstance(event, dict) else ""
        if stage in STAGES and stage not in done:
            if event.get("event") == "error":
                errors[stage] = str(event.get("message", "")).rstrip(".")
            elif event.get("event") == "stage_end" and event.get("status") == "failed":
                errors.setdefault(stage, "see progress.jsonl and logs/")
    return errors


def versions() -> dict[str, str]:
    """Versions of our own code, of Python and of the libraries that did the work."""
    import arl
    import ical

    found = {"ical": ical.__version__, "arl": arl.__version__, "python": platform.python_version()}
    if os.environ.get("ARL_DIGEST"):
        found["arl digest"] = os.environ["ARL_DIGEST"]
    for package in PACKAGES:
        try:
            found[package] = metadata.version(package)
        except metadata.PackageNotFoundError:
            continue
    return found


def files_of(folder: Path) -> list[File]:
    """The products of a run: files, and each Zarr store and the visibilities as one entry."""
    found = []
    for path in sorted([*folder.glob("*"), *(p for s in STAGES for p in folder.glob(f"{s}/*"))]):
        inner = path.suffix == ".zarr" or path.name == "visibilities"
        hidden = path.name.startswith((".", "report."))
        if hidden or (path.is_dir() and not inner):
            continue
        found.append(File(path=str(path.relative_to(folder)), bytes=_size(path),
                          description=_describe(path)))
    return found


def _size(path: Path) -> int:
    if path.is_file():
        return path.stat().st_size
    return sum(entry.stat().st_size for entry in path.rglob("*") if entry.is_file())


def _describe(path: Path) -> str:
    if path.name in NAMES:
        return NAMES[path.name]
    kind, _, which = path.stem.partition("_")
    if kind == "gains":
        return f"gain table of {which}"
    if kind not in KINDS:
        return ""
    return KINDS[kind] + (", all bands" if which == "combined" else f", {which}" if which else "")
