"""The page report.html: figures and tables of a report, in one file that needs nothing else."""

from __future__ import annotations

import json
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from importlib import resources
from typing import Any

import numpy as np

from ical.report import figures, sky_figures, verdict
from ical.report.assemble import IMAGING_STAGES, Run
from ical.report.products import Gains, SkyImage, find_image, read_image
from ical.report.schema import Quality, Report
from ical.report.verdict import jansky

IMAGE_KINDS = ("restored", "residual", "pbcorrected", "spectralindex", "dirty")
TITLES = {"model": "Visibilities", "image": "Continuum imaging", "selfcal": "Self-calibration",
          "restored": "Restored", "residual": "Residual", "dirty": "Dirty",
          "pbcorrected": "Corrected for the primary beam", "spectralindex": "Spectral index"}
MISSING = "\N{EN DASH}"


@dataclass(frozen=True)
class Picture:
    """A figure (an <svg> element made by us) and the words below it."""

    svg: str
    caption: str


@dataclass(frozen=True)
class Bar:
    """A row of the cost table; shares of the largest in percent."""

    title: str
    status: str
    cells: tuple[tuple[str, float], ...]


def render(report: Report, run: Run) -> str:
    """The whole page as HTML."""
    import jinja2

    environment = jinja2.Environment(autoescape=True, undefined=jinja2.StrictUndefined,
                                     trim_blocks=True, lstrip_blocks=True)
    source = (resources.files("ical.report") / "page.html").read_text(encoding="utf-8")
    template = environment.from_string(source)
    return template.render(
        report=report, titles=TITLES, cards=list(_cards(report)),
        images=list(_image_rows(run)), gains=list(_gains(report, run)),
        convergence=figures.convergence(report.history, "convergence") if report.history else "",
        accepted=figures.accepted, truth=list(_truth(report)), measures=_measures(report),
        reference=_reference(_compared(report)),
        costs=_costs(report), size=_size, duration=_duration, jansky=jansky,
        parameters=json.dumps(report.parameters, indent=2, ensure_ascii=False),
        example=_example(report))


def _cards(report: Report) -> Iterator[tuple[str, str, str]]:
    """The headline: (what, value, remark) of the last stage that made images."""
    stage = next((s for s in reversed(IMAGING_STAGES) if s in report.quality), None)
    if stage:
        yield from _image_cards(report.quality[stage], TITLES[stage].lower())
    if report.outcome:
        yield "Loop", report.outcome.status.replace("_", " ").lower(), (
            f"{len(report.history)} cycles" if report.history else report.outcome.reason)
    if report.stages:
        walls = [s.wall_s for s in report.stages.values() if s.wall_s is not None]
        cpu = [s.cpu_s for s in report.stages.values() if s.cpu_s is not None]
        yield "Time", _duration(sum(walls)), f"{_duration(sum(cpu))} of CPU"


def _image_cards(q: Quality, stage: str) -> Iterator[tuple[str, str, str]]:
    if q.residual_rms_jy is not None:
        peak = jansky(q.residual_peak_jy) if q.residual_peak_jy is not None else MISSING
        yield "Residual rms", jansky(q.residual_rms_jy), f"peak {peak}, {stage}"
    if q.restored_peak_jy and q.residual_rms_jy:
        yield "Dynamic range", f"{q.restored_peak_jy / q.residual_rms_jy:,.0f}", (
            f"peak {jansky(q.restored_peak_jy)} over residual rms")
    if q.flux_ratio_median is not None:
        counted = sum(s.isolated for s in q.sources)
        scatter = f"scatter {q.flux_ratio_scatter:.3f}" if q.flux_ratio_scatter is not None else ""
        yield f"Flux / {_reference(q)}", f"{q.flux_ratio_median:.3f}", ", ".join(
            filter(None, [scatter, f"{counted} sources" if counted else ""]))
    if q.position_offset_beam is not None:
        yield "Position offset", f"{q.position_offset_beam:.3g}", (
            f"beams from the {_reference(q)}, median")
    if q.gain_phase_rms_deg is not None:
        yield "Gain phase error", f"{q.gain_phase_rms_deg:.2g}°", "rms from the injected gains"


def _reference(q: Quality) -> str:
    """What true fluxes and positions are; runs of before they could be a catalogue's don't say."""
    return q.reference or "truth"


def _image_rows(run: Run) -> Iterator[tuple[str, list[Picture]]]:
    """Images by kind, the stages side by side with the same colours."""
    for kind in IMAGE_KINDS:
        found = {s: find_image(run.folder / s, kind) for s in IMAGING_STAGES}
        images = {s: read_image(path) for s, path in found.items() if path}
        if not images:
            continue
        stretch = sky_figures.stretch_of(kind, [i.data for i in images.values()])
        yield TITLES[kind], [
            Picture(sky_figures.image_figure(image, stretch, f"{stage}-{kind}",
                                             f"{kind} image of the stage {stage}"),
                    _image_caption(stage, image)) for stage, image in images.items()]


def _image_caption(stage: str, image: SkyImage) -> str:
    words = [f"{TITLES[stage]}: {image.path.parent.name}/{image.path.name}",
             f"{image.data.shape[1]} \N{MULTIPLICATION SIGN} {image.data.shape[0]} pixels"]
    if image.frequency:
        words.append(f"{image.frequency / 1e6:.5g} MHz")
    if image.beam:
        major, minor = (a / sky_figures.DEGREE * 60 for a in image.beam[:2])
        words.append(f"beam {_arc(major)} \N{MULTIPLICATION SIGN} {_arc(minor)}")
    return ", ".join(words)


def _arc(minutes: float) -> str:
    if minutes >= 1:
        return f"{minutes:.3g}{sky_figures.PRIME}"
    return f"{minutes * 60:.3g}\N{DOUBLE PRIME}"


def _gains(report: Report, run: Run) -> Iterator[tuple[str, str, list[str]]]:
    """Each term: name, summary, figures."""
    for term, tables in run.gains.items():
        yield term, _gain_words(report, tables), [
            drawing for table in tables for drawing in _gain_drawings(table)]


def _gain_drawings(table: Gains) -> Iterator[str]:
    """The figures of one receptor's gains, with its name in them where there are two."""
    name = table.title.replace(" ", "-")
    if table.gain.shape[1] > 1 and table.gain.shape[0] * table.gain.shape[2] > 1:
        yield figures.gain_waterfall(table, "phase", f"phase-{name}")
        if not table.phase_only:
            yield figures.gain_waterfall(table, "amplitude", f"amplitude-{name}")
    yield figures.gain_lines(table, f"lines-{name}")


def _gain_words(report: Report, tables: Sequence[Gains]) -> str:
    table = tables[0]
    brief = report.gains[table.term]
    words = [" \N{MULTIPLICATION SIGN} ".join((
        _count(brief.times, "time"), _count(brief.antennas, "antenna"),
        _count(brief.channels, "channel")))]
    if brief.times > 1:
        step = float(np.median(np.diff(np.sort(table.time)))) * table.time.size / brief.times
        words.append(f"one every {_duration(step)}")
    words.append(f"{brief.flagged_fraction:.1%} flagged" if brief.no_data_fraction is None
                 else f"{brief.flagged_with_data_fraction or 0:.1%} of those with data flagged, "
                      f"{brief.no_data_fraction:.1%} without data")
    if len(tables) > 1:
        words.append(f"of the receptors {' and '.join(t.receptor for t in tables)}")
    if all(t.phase_only for t in tables):
        words.append("phases only")
    elif brief.amplitude_median is not None:
        words.append(f"amplitudes {brief.amplitude_median:.3f} ± {brief.amplitude_scatter:.3f}")
    worst = list(brief.flagged_antennas.items())[:5]
    if worst:
        words.append("most flagged: " + ", ".join(f"{n} ({f:.0%})" for n, f in worst))
    return ", ".join(words)


def _count(n: int, noun: str) -> str:
    return f"{n} {noun}{'s' * (n != 1)}"


def _truth(report: Report) -> Iterator[tuple[str, list[str]]]:
    for stage, quality in report.quality.items():
        if quality.sources:
            yield TITLES.get(stage, stage), [
                figures.flux_figure(quality, f"flux-{stage}"),
                figures.offset_figure(quality, f"offset-{stage}")]


def _compared(report: Report) -> Quality:
    """The stage that tells what its sources were compared with: it is the same in all."""
    return next((q for q in report.quality.values() if q.reference), Quality())


def _measures(report: Report) -> list[tuple[str, str, list[str]]]:
    """The table of quality: (measure, limit, a cell for each stage)."""
    compared = _compared(report)
    true = _reference(compared)
    error, scatter, offset, missing, bright_missing = (
        verdict.limits(compared, of)[0] for of in (
            verdict.FLUX_RATIO_ERROR, verdict.FLUX_RATIO_SCATTER, verdict.POSITION_OFFSET_BEAM,
            verdict.MISSING, verdict.BRIGHT_MISSING))
    rows = (
        ("Residual rms", "", lambda q: q.residual_rms_jy, jansky),
        ("Residual rms, robust", "", lambda q: q.residual_robust_rms_jy, jansky),
        ("Residual peak", "", lambda q: q.residual_peak_jy, jansky),
        ("Restored peak", "", lambda q: q.restored_peak_jy, jansky),
        (f"Flux / {true}, median", f"1 ± {error:g}",
         lambda q: q.flux_ratio_median, "{:.4f}".format),
        (f"Flux / {true}, scatter", f"≤ {scatter:g}",
         lambda q: q.flux_ratio_scatter, "{:.4f}".format),
        ("Position offset (beams)", f"≤ {offset:g}",
         lambda q: q.position_offset_beam, "{:.4f}".format),
        ("Sources found", "", lambda q: q.found_sources, "{:d}".format),
        ("Completeness", f"≥ {1 - missing:.0%}", lambda q: q.completeness, "{:.1%}".format),
        ("Bright isolated sources", "", lambda q: q.bright_sources, "{:d}".format),
        ("Completeness of these", f"≥ {1 - bright_missing:.0%}",
         lambda q: q.bright_completeness, "{:.1%}".format),
        ("Reliability", "", lambda q: q.reliability, "{:.1%}".format),
        ("Gain phase error, aligned", f"≤ {verdict.GAIN_PHASE_RMS_DEG[0]:g}°",
         lambda q: q.gain_phase_rms_deg, "{:.3f}°".format),
        ("Gain phase error, raw", "", lambda q: q.gain_phase_rms_raw_deg, "{:.3f}°".format),
    )
    table = []
    for name, limit, pick, form in rows:
        values = [pick(q) for q in report.quality.values()]
        if any(v is not None for v in values):
            table.append((name, limit, [MISSING if v is None else form(v) for v in values]))
    return table


def _costs(report: Report) -> list[Bar]:
    fields = (("wall_s", _duration), ("cpu_s", _duration), ("compile_s", _duration),
              ("peak_rss_mb", lambda mb: _size(mb * 1e6)))
    largest = {f: max([getattr(s, f) or 0 for s in report.stages.values()], default=0)
               for f, _ in fields}
    return [
        Bar(TITLES.get(name, name), stage.status, tuple(
            (MISSING, 0.0) if getattr(stage, f) is None
            else (form(getattr(stage, f)), 100 * getattr(stage, f) / (largest[f] or 1))
            for f, form in fields))
        for name, stage in report.stages.items()]


def _example(report: Report) -> dict[str, Any]:
    """Products to name in the words on how to open the files."""
    paths = [f.path for f in report.files]
    return {
        "image": next((p for p in reversed(paths) if p.endswith("restored_combined.fits")),
                      next((p for p in reversed(paths) if "/restored_" in p), None)),
        "gains": next((p for p in paths if "/gains_" in p), None),
    }


def _size(n_bytes: float) -> str:
    for unit, factor in (("GB", 1e9), ("MB", 1e6), ("kB", 1e3)):
        if n_bytes >= factor:
            return f"{n_bytes / factor:.3g} {unit}" if n_bytes < 999 * factor else (
                f"{n_bytes / factor:,.0f} {unit}")
    return f"{n_bytes:.0f} B"


def _duration(seconds: float) -> str:
    if seconds < 1:
        return f"{seconds:.2g} s"
    if seconds < 100:
        return f"{seconds:.3g} s"
    minutes, rest = divmod(round(seconds), 60)
    if minutes >= 60:
        return f"{minutes // 60} h {minutes % 60} min"
    return f"{minutes} min {rest} s" if rest else f"{minutes} min"
