"""The stable schema of report.json. docs/report.md holds its tables, kept equal by a test.

Fields are only added within one `schema_version`; renaming or removing one, or changing its unit or
meaning, raises it. A measure that does not exist (no truth, a stage not run) is null.
"""

from __future__ import annotations

import types
import typing
from typing import Any, Literal

from pydantic import BaseModel, ConfigDict, Field

SCHEMA_VERSION = 1

Status = Literal["PASS", "WARN", "FAIL"]


class Part(BaseModel):
    """Base of every part: immutable, closed to unknown keys, and finite in its numbers."""

    model_config = ConfigDict(frozen=True, extra="forbid", allow_inf_nan=False)


class OpenPart(Part):
    """A part that stages may add measures of their own to; those pass through unchanged."""

    model_config = ConfigDict(frozen=True, extra="allow", allow_inf_nan=False)


class Reason(Part):
    """One finding behind the verdict."""

    status: Status = Field(description="what this finding alone would make of the verdict")
    text: str = Field(description="the finding, with its number and the limit it passed")


class Verdict(Part):
    """What a scientist reads first."""

    status: Status = Field(description="the worst of the reasons; PASS when there are none")
    line: str = Field(description="one line: status, why, and the most telling measures")
    reasons: list[Reason] = Field(description="every rule that was broken, worst first")


class Outcome(OpenPart):
    """How the self-calibration loop ended."""

    status: Literal["CONVERGED", "MAX_CYCLES", "REVERTED", "FAILED"] = Field(
        description="CONVERGED, MAX_CYCLES, REVERTED or FAILED")
    reason: str = Field("", description="why it ended there")


class HostWork(OpenPart):
    """What one host did."""

    tasks: int = Field(0, description="Dask tasks that ran there, from Dask's task stream")
    seconds: float = Field(0.0, description="sum of the tasks' wall seconds")
    bytes: int = Field(0, description="bytes of the visibility partitions that the host holds")
    kinds: dict[str, int] = Field({}, description="tasks by kind")


class Forecast(Part):
    """What the run was predicted to cost before it began, on the cluster it had."""

    workers: int = Field(description="worker processes")
    threads: int = Field(description="library threads of each")
    visibilities: int = Field(description="visibilities in all")
    partitions: int = Field(description="partitions of them")
    bands: int = Field(description="sub-bands that are imaged apart")
    npixel: int = Field(description="pixels on a side")
    worker_mb: float = Field(description="peak memory of a worker, MB")
    driver_mb: float = Field(description="peak memory of pipeline and scheduler, MB")
    memory_mb: float = Field(description="the sum over all processes, MB")
    disk_mb: float = Field(description="all files of the run, MB")
    tasks: int = Field(description="Dask tasks, at most")
    wall_s: float = Field(description="wall-clock seconds, at most")


class StageForecast(Part):
    """The share of a stage in the forecast."""

    tasks: int = Field(description="Dask tasks, at most")
    wall_s: float = Field(description="wall-clock seconds, at most")


class Stage(Part):
    """What a stage cost."""

    status: str = Field(description="done, or the state in which the stage was left")
    wall_s: float | None = Field(None, description="wall-clock seconds")
    cpu_s: float | None = Field(
        None, description="CPU seconds of all processes: pipeline, scheduler and workers")
    compile_s: float | None = Field(
        None, description="wall seconds of just-in-time compilation within")
    peak_rss_mb: float | None = Field(
        None, description="peak memory in MB (1e6 bytes): PSS, shared pages counted once, summed "
        "over all processes at one time")
    worker_peak_mb: float | None = Field(
        None, description="the peak of the worker that took most, MB")
    driver_peak_mb: float | None = Field(
        None, description="the peak of pipeline and scheduler together, MB")
    forecast: StageForecast | None = Field(
        None, description="what was predicted; null: it was not recorded")
    tasks: dict[str, HostWork] = Field({}, description="work by host")
    moved_bytes: dict[str, int] = Field(
        {}, description="bytes between hosts and to the pipeline, from Dask's log of transfers, by "
        "the task whose result they are, and those that the pipeline sent with tasks (arguments); "
        "recorded for image and selfcal")
    warnings: list[str] = Field([], description="what the stage warned about")


class Source(Part):
    """One source of the truth, or of the catalogue, as measured in the restored image."""

    name: str = Field("", description="the component's name, if it has one")
    true_flux_jy: float = Field(description="apparent flux of the truth, Jy")
    flux_jy: float = Field(description="fitted flux, Jy")
    offset_l_beam: float = Field(
        description="fitted minus true position towards east, in beams")
    offset_m_beam: float = Field(
        description="fitted minus true position towards north, in beams")
    isolated: bool = Field(
        True, description="false: a neighbour within two beams has a tenth of its flux or more; "
        "such sources do not count in the measures")


class Band(Part):
    """The residual image of one band."""

    frequency_hz: float = Field(description="centre of the band, Hz")
    residual_rms_jy: float = Field(description="rms of all pixels, Jy/beam")
    residual_peak_jy: float = Field(description="largest absolute pixel, Jy/beam")


class Quality(OpenPart):
    """How good a stage's images and gains are; null where there is no truth to judge by."""

    residual_rms_jy: float | None = Field(
        None, description="rms of the residual image, Jy/beam: as the stage measured it, or else "
        "of the lowest band")
    residual_peak_jy: float | None = Field(
        None, description="largest absolute pixel of the same image, Jy/beam")
    residual_robust_rms_jy: float | None = Field(
        None, description="1.4826 x the median absolute deviation of the same image, Jy/beam: its "
        "noise, which no source moves")
    restored_peak_jy: float | None = Field(
        None, description="peak of the restored image, Jy/beam (combined, or else the lowest band)")
    reference: Literal["truth", "catalogue"] | None = Field(
        None, description="what true fluxes and positions are: truth (of the simulation) or "
        "catalogue (quality.catalogue); null: neither is known")
    flux_ratio_median: float | None = Field(
        None, description="median of fitted / true flux over isolated sources above 50 times the "
        "noise, of which a Gaussian's major axis is at most a tenth of the beam's")
    flux_ratio_scatter: float | None = Field(
        None, description="robust scatter of that ratio")
    position_offset_beam: float | None = Field(
        None, description="median distance from the true position, in beams")
    found_sources: int | None = Field(
        None, description="sources that Source Extractor (sep) finds in the lowest band's "
        "restored image above 5 times the robust noise of its residual")
    completeness: float | None = Field(
        None, description="share of the isolated true sources above 10 times that noise, "
        "Gaussians as above left out, that have a found one within a beam")
    bright_sources: int | None = Field(
        None, description="how many of these true sources are above 50 times that noise, as those "
        "that fluxes are compared of; null: the run is of before they were counted")
    bright_completeness: float | None = Field(
        None, description="share of the bright ones that have a found one within a beam whose peak "
        "is half their flux or more")
    reliability: float | None = Field(
        None, description="share of the found sources that have a true one within a beam")
    gain_phase_rms_deg: float | None = Field(
        None, description="rms phase error of the gains, degrees, after removing the mean phase "
        "per time and channel and one position gradient")
    gain_phase_rms_raw_deg: float | None = Field(
        None, description="the same with only the mean phase per time and channel removed")
    bands: list[Band] = Field([], description="residual image of each band, by frequency")
    sources: list[Source] = Field([], description="the sources behind the flux and position")


class Cycle(OpenPart):
    """One cycle of the self-calibration loop."""

    cycle: int = Field(description="counted from 1; 0 is the start")
    decision: str = Field(
        description="accept, drop (the new terms), revert (to the last accepted cycle) or "
        "converged (accepted, and the last)")
    reason: str = Field("", description="why")
    terms: list[str] = Field([], description="gain terms that were solved")
    rms_jy: float | None = Field(None, description="rms of the residual, Jy/beam")
    peak_jy: float | None = Field(
        None, description="peak of the restored image, Jy/beam")
    min_jy: float | None = Field(None, description="its most negative pixel, Jy/beam")
    snr: float | None = Field(None, description="peak / rms")
    flagged_fraction: float | None = Field(
        None, description="share of flagged solutions of the term that has most, those without "
        "data included")
    moved_bytes: int | None = Field(
        None, description="the sum of the stage's moved_bytes within the cycle; that of the first "
        "has the first images besides; null: the cycle was done before the pipeline was resumed")


class GainTerm(Part):
    """One gain table in brief."""

    solutions: int = Field(
        description="time intervals x antennas x frequency intervals x receptors")
    times: int = Field(description="solution intervals in time")
    channels: int = Field(description="solution intervals in frequency")
    antennas: int = Field(description="antennas")
    flagged_fraction: float = Field(
        description="share of flagged solutions, those without data included")
    no_data_fraction: float | None = Field(
        None, description="share of solutions without data: all visibilities that they could be "
        "made from are flagged in the input, outside selfcal.uv_range, or of gains that an earlier "
        "term flagged; of gains that were given flags are none of these; null: the run is of "
        "before they were told apart")
    flagged_with_data_fraction: float | None = Field(
        None, description="share of the flagged among the solutions that have data, which the "
        "verdict judges; null: as above, or none has any")
    flagged_antennas: dict[str, float] = Field(
        description="flagged share of each antenna that has any, worst first, those without data "
        "included")
    amplitude_median: float | None = Field(description="median amplitude of what is not flagged")
    amplitude_scatter: float | None = Field(
        description="its robust scatter (1.4826 x median absolute deviation)")


class Superseded(Part):
    """A parameter of the run file that does not act."""

    key: str = Field(description="the parameter as the run file names it")
    reason: str = Field(description="what does its work now, or why nothing has to")


class File(Part):
    """One product of the run."""

    path: str = Field(description="relative to the run's folder; a Zarr store is one entry")
    bytes: int = Field(description="size; of a store, of all its files")
    description: str = Field(description="what it is")


class Report(Part):
    """The whole of report.json."""

    schema_version: Literal[1] = Field(description="1; see above")
    run: str = Field(description="the run's folder name")
    name: str = Field(description="the name in the run file")
    created: str = Field(description="when the report was made, UTC, ISO 8601")
    verdict: Verdict = Field(description="PASS, WARN or FAIL, and why")
    outcome: Outcome | None = Field(
        description="of the self-calibration loop; null: it never ended")
    forecast: Forecast | None = Field(
        None, description="what the run was predicted to cost; null: it was not recorded")
    stages: dict[str, Stage] = Field(description="cost by stage: model, image, selfcal")
    quality: dict[str, Quality] = Field(description="quality by stage: image, selfcal")
    history: list[Cycle] = Field(description="the cycles of the self-calibration loop, in order")
    gains: dict[str, GainTerm] = Field(description="gain tables by term: T, G, B")
    hosts: dict[str, HostWork] = Field(
        description="work by host: tasks summed over the stages, bytes of the partitions held")
    warnings: list[str] = Field(description="what stages warned about, as `stage: text`")
    versions: dict[str, str] = Field(description="software by name, and the digest of arl if known")
    parameters: dict[str, Any] = Field(
        description="the resolved run file: it can be run again; of a swarm see above")
    superseded: list[Superseded] = Field(description="parameters of a 2018 file that do not act")
    files: list[File] = Field(description="the products of the run")


def fields_markdown() -> str:
    """The tables of docs/report.md: every part with its fields, types and descriptions."""
    known = Part.__subclasses__() + OpenPart.__subclasses__()
    parts: list[type[Part]] = [Report, *(p for p in known if p not in (Report, OpenPart))]
    return "\n".join(_table(part) for part in parts)


def _table(part: type[Part]) -> str:
    rows = [f"| `{name}` | {type_name(info.annotation)} | {info.description} |"
            for name, info in part.model_fields.items()]
    more = " Stages may add keys." if issubclass(part, OpenPart) else ""
    text = (part.__doc__ or "").strip()
    return f"### {part.__name__}\n{text}{more}\n\n| field | type | meaning |\n|---|---|---|\n" + (
        "\n".join(rows) + "\n")


def type_name(annotation: Any) -> str:
    """A JSON reader's name of a field's type."""
    origin, arguments = typing.get_origin(annotation), typing.get_args(annotation)
    if origin in (types.UnionType, typing.Union):  # the second with a Literal in it
        return " or ".join(type_name(a) for a in arguments)
    if origin is Literal:
        return "integer" if isinstance(arguments[0], int) else "string"
    if origin is list:
        return f"list of {type_name(arguments[0])}"
    if origin is dict:
        return f"object of {type_name(arguments[1])}"
    if isinstance(annotation, type) and issubclass(annotation, Part):
        return annotation.__name__
    return {str: "string", int: "integer", float: "number", bool: "true/false", Any: "any",
            type(None): "null"}[annotation]
