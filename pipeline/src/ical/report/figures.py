"""Figures of gains, convergence, and flux and position against truth."""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING

import numpy as np

from ical.report import verdict
from ical.report.products import Gains
from ical.report.schema import Cycle, Quality
from ical.report.svg import (
    BAD,
    GOOD,
    INK,
    LINE,
    MUTED,
    SERIES,
    box,
    colours,
    grid_of,
    new_figure,
    to_svg,
)

if TYPE_CHECKING:
    from matplotlib.axes import Axes

#: Waterfalls larger than this are thinned by taking every n-th antenna or interval.
MAX_ROWS, MAX_COLUMNS = 256, 600
LINE_ANTENNAS = 6


def gain_waterfall(table: Gains, quantity: str, key: str) -> str:
    """Phase or amplitude of all antennas (rows) over time, channel after channel (columns)."""
    figure = new_figure(6.4, 3.2)
    axes = box(figure, 0.55, 0.45, 5.0, 2.65)
    times, antennas, channels = table.gain.shape
    rows = slice(None, None, -(-antennas // MAX_ROWS))
    columns = slice(None, None, -(-times * channels // MAX_COLUMNS))
    flat = table.gain.transpose(1, 2, 0).reshape(antennas, channels * times)[rows, columns]
    pick = _phase_colours if quantity == "phase" else _amplitude_colours
    name, low, high = pick(flat)
    values = np.degrees(np.angle(flat)) if quantity == "phase" else np.abs(flat)
    values = np.where(np.isfinite(flat), values, np.nan)
    shown = axes.imshow(values, aspect="auto", interpolation="none", cmap=colours(name), vmin=low,
                        vmax=high, extent=(0, channels * times, antennas - 0.5, -0.5))
    axes.patch.set(hatch="//////", edgecolor=MUTED, linewidth=0)  # shows where flagged
    for edge in range(times, channels * times, times):
        axes.axvline(edge, color="#ffffff", linewidth=0.8, alpha=0.8 if channels < 60 else 0.2)
    _channel_ticks(axes, table)
    axes.set_ylabel("antenna (index)")
    unit = "phase (deg)" if quantity == "phase" else "amplitude"
    bar = figure.colorbar(shown, cax=box(figure, 5.63, 0.45, 0.12, 2.65), label=unit)
    bar.outline.set_visible(False)
    return to_svg(figure, key, f"{quantity} of the {table.title} gains of every antenna")


def _phase_colours(gain: np.ndarray) -> tuple[str, float, float]:
    """A cyclic map of the whole circle, or a finer one where all phases are small."""
    known = np.abs(np.degrees(np.angle(gain[np.isfinite(gain)])))
    limit = float(np.percentile(known, 99)) if known.size else 180.0
    if limit > 60:
        return "twilight_shifted", -180.0, 180.0
    return "RdBu_r", -max(limit, 0.1), max(limit, 0.1)


def _amplitude_colours(gain: np.ndarray) -> tuple[str, float, float]:
    """The range of all but the outermost amplitudes."""
    known = np.abs(gain[np.isfinite(gain)])
    if not known.size:
        return "viridis", 0.0, 2.0
    low, high = np.percentile(known, (1, 99))
    spread = max(high - low, 1e-3)
    return "viridis", float(low - 0.05 * spread), float(high + 0.05 * spread)


def _channel_ticks(axes: Axes, table: Gains) -> None:
    """Label each channel's block of columns with its frequency, as many as there is room for."""
    times, _, channels = table.gain.shape
    shown = range(0, channels, -(-channels // 8))
    axes.set_xticks([(c + 0.5) * times for c in shown],
                    [f"{table.frequency[c] / 1e6:.4g}" for c in shown])
    inside = f"; {times} times in each" if times > 1 else ""
    axes.set_xlabel(f"channel (MHz{inside})")
    axes.tick_params(axis="x", length=0)


def gain_lines(table: Gains, key: str) -> str:
    """Phase and amplitude of a few antennas over time, or over frequency where all times have one
    solution; a table has a gain at each of them all the same."""
    _, antennas, channels = table.gain.shape
    over_time = table.solved[0] > 1
    panels = ("phase",) if table.phase_only else ("phase", "amplitude")
    figure = new_figure(6.4, 3.2)
    grid = grid_of(figure, len(panels), 1, top=0.32)
    chosen = sorted({int(a) for a in np.linspace(0, antennas - 1, LINE_ANTENNAS)})
    x = (table.time - table.time[0]) / 3600 if over_time else table.frequency / 1e6
    step = slice(None, None, -(-x.size // MAX_COLUMNS))
    for colour, antenna in enumerate(chosen):
        gain = table.gain[:, antenna, channels // 2] if over_time else table.gain[0, antenna]
        for axes, panel in zip(grid, panels, strict=True):
            y = np.degrees(np.angle(gain)) if panel == "phase" else np.abs(gain)
            y = np.where(np.isfinite(gain), y, np.nan)
            axes.plot(x[step], y[step], marker="o", markersize=2.5, linewidth=0.8,
                      color=SERIES[colour], label=table.antennas[antenna])
    for axes, panel in zip(grid, panels, strict=True):
        axes.set_ylabel("phase (deg)" if panel == "phase" else "amplitude")
        axes.grid(True)
    grid[0].legend(ncols=LINE_ANTENNAS, loc="lower left", bbox_to_anchor=(0, 1.0),
                   borderaxespad=0.2, handlelength=1.2, columnspacing=1.2)
    at = f" at {table.frequency[channels // 2] / 1e6:.4g} MHz" if over_time else ""
    grid[-1].set_xlabel(f"hours since the first interval{at}" if over_time else "frequency (MHz)")
    return to_svg(figure, key, f"{table.title} gains of {len(chosen)} antennas")


def convergence(history: Sequence[Cycle], key: str) -> str:
    """Residual rms, peak and signal-to-noise of each cycle; crosses mark what was not kept."""
    rows = [("residual rms", [c.rms_jy for c in history]), ("peak", [c.peak_jy for c in history]),
            ("signal to noise", [c.snr for c in history])]
    rows = [(name, values) for name, values in rows if any(v is not None for v in values)]
    if not rows:
        return ""
    figure = new_figure(3.1 * len(rows), 2.3)
    grid = grid_of(figure, 1, len(rows), top=0.3)
    number = [c.cycle for c in history]
    kept = np.array([accepted(c) for c in history])
    for axes, (name, values), colour in zip(grid, rows, SERIES, strict=False):
        y = np.array([np.nan if v is None else v for v in values], float)
        factor, unit = _scale(y) if name != "signal to noise" else (1.0, "")
        y = y * factor
        axes.plot(np.array(number)[kept], y[kept], color=colour, zorder=1)
        axes.scatter(np.array(number)[kept], y[kept], color=GOOD, s=26, zorder=2)
        axes.scatter(np.array(number)[~kept], y[~kept], color=BAD, marker="x", s=34, zorder=3)
        axes.set_title(f"{name}{f' ({unit})' if unit else ''}")
        axes.set_xticks(number)
        axes.set_xlim(min(number) - 0.4, max(number) + 0.4)
        axes.set_xlabel("cycle")
        axes.set_ylim(0, 1.1 * np.nanmax(y))
        axes.grid(True)
    return to_svg(figure, key, "residual rms, peak and signal-to-noise of each cycle")


def accepted(cycle: Cycle) -> bool:
    """Whether what the cycle did was kept."""
    return cycle.decision.startswith(("accept", "converged"))


def _scale(values: np.ndarray) -> tuple[float, str]:
    largest = np.nanmax(np.abs(values))
    return (1.0, "Jy/beam") if largest >= 0.5 else (1e3, "mJy/beam")


def flux_figure(quality: Quality, key: str) -> str:
    """Fitted over true flux against true flux; the band is the limit of the verdict."""
    figure = new_figure(4.9, 3.2)
    axes = grid_of(figure, 1, 1)[0]
    sources = quality.sources
    limit, _ = verdict.limits(quality, verdict.FLUX_RATIO_SCATTER)
    axes.axhspan(1 - limit, 1 + limit, color=GOOD, alpha=0.12, linewidth=0)
    axes.axhline(1, color=MUTED, linewidth=0.8)
    for isolated in (False, True):
        chosen = [s for s in sources if s.isolated == isolated]
        _sources(axes, [s.true_flux_jy for s in chosen],
                 [s.flux_jy / s.true_flux_jy for s in chosen], isolated)
    axes.set_xscale("log")
    axes.set(xlabel="true apparent flux (Jy)", ylabel="fitted / true flux")
    _plain_log_ticks(axes, [s.true_flux_jy for s in sources])
    axes.margins(y=0.12)
    axes.grid(True)
    axes.legend(loc="best")
    return to_svg(figure, key, "fitted over true flux of every source")


def offset_figure(quality: Quality, key: str) -> str:
    """Offsets from the true positions in beams; the circle is the limit of the verdict."""
    from matplotlib.patches import Circle

    figure = new_figure(4.9, 3.2)
    axes = grid_of(figure, 1, 1)[0]
    sources = quality.sources
    limit, _ = verdict.limits(quality, verdict.POSITION_OFFSET_BEAM)
    axes.add_patch(Circle((0, 0), limit, facecolor=GOOD, alpha=0.12, edgecolor="none"))
    axes.axhline(0, color=LINE, linewidth=0.8)
    axes.axvline(0, color=LINE, linewidth=0.8)
    for isolated in (False, True):
        chosen = [s for s in sources if s.isolated == isolated]
        _sources(axes, [s.offset_l_beam for s in chosen], [s.offset_m_beam for s in chosen],
                 isolated)
    reach = max([1.3 * limit, *(1.1 * max(abs(s.offset_l_beam), abs(s.offset_m_beam))
                                for s in sources if s.isolated)])
    axes.set(xlim=(reach, -reach), ylim=(-reach, reach), aspect="equal",
             xlabel="offset east (beams)", ylabel="offset north (beams)")
    axes.grid(True)
    return to_svg(figure, key, "offsets of every source from its true position, in beams")


def _sources(axes: Axes, x: Sequence[float], y: Sequence[float], isolated: bool) -> None:
    if not x:
        return
    if isolated:
        axes.scatter(x, y, s=16, color=SERIES[0], edgecolor=INK, linewidth=0.3, zorder=3,
                     label="isolated")
    else:
        axes.scatter(x, y, s=16, facecolor="none", edgecolor=MUTED, linewidth=0.7, zorder=2,
                     label="with a neighbour (not counted)")


def _plain_log_ticks(axes: Axes, values: Sequence[float]) -> None:
    """Ticks 1, 2, 5 a decade in plain numbers."""
    low, high = min(values) / 1.3, max(values) * 1.3
    ticks = [m * 10.0**e for e in range(-6, 6) for m in (1, 2, 5) if low <= m * 10.0**e <= high]
    axes.set_xlim(low, high)
    axes.set_xticks(ticks, [f"{t:g}" for t in ticks])
    axes.minorticks_off()
