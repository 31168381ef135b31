"""Figures of sky images: robust stretch, graticule of right ascension and declination, the beam."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING

import numpy as np

from arl.conventions import lmn_to_radec, radec_to_lmn
from ical.report.products import SkyImage
from ical.report.svg import INK, box, colours, new_figure, to_svg

if TYPE_CHECKING:
    from matplotlib.axes import Axes

#: Larger images are thinned to about this many pixels a side, keeping the extremes.
MAX_PIXELS = 480
DEGREE = np.pi / 180
#: Of each line of the graticule, over the range of the field and not of the sphere: of a small
#: field no two of those would lie inside.
LINE_POINTS = 200
PRIME = "\N{PRIME}"
#: Spacings of the graticule in seconds of time or of arc.
STEPS_S = (0.1, 0.2, 0.5, 1, 2, 5, 10, 20, 30, 60, 120, 300, 600, 1200, 1800, 3600, 7200, 10800,
           18000, 36000)


@dataclass(frozen=True)
class Stretch:
    """Colours of an image: limits in Jy, colour map; asinh beyond `knee` Jy where it is given."""

    low: float
    high: float
    colours: str
    knee: float | None = None


def noise_of(data: np.ndarray) -> float:
    """Robust noise: 1.4826 x the median absolute deviation, or the rms where that is zero."""
    finite = data[np.isfinite(data)]
    spread = 1.4826 * float(np.median(np.abs(finite - np.median(finite))))
    return spread or float(np.std(finite)) or 1.0


def stretch_of(kind: str, images: Sequence[np.ndarray]) -> Stretch:
    """One stretch for images of one kind, so that they can be compared."""
    if kind == "spectralindex":
        return Stretch(-2.0, 1.0, "viridis")
    noise = min(noise_of(d) for d in images)
    high = max(float(np.nanpercentile(d, 99.95)) for d in images)
    if kind == "residual":
        limit = 5 * max(noise_of(d) for d in images)
        return Stretch(-limit, limit, "RdBu_r")
    if kind in ("restored", "pbcorrected"):
        return Stretch(-5 * noise, max(high, 10 * noise), "inferno", knee=5 * noise)
    low = min(float(np.nanpercentile(d, 0.5)) for d in images)
    return Stretch(low, max(high, low + noise), "viridis")


def thin(data: np.ndarray, limit: int = MAX_PIXELS) -> np.ndarray:
    """At most about `limit` pixels a side: of each block the pixel furthest from zero."""
    step = -(-max(data.shape) // limit)
    if step == 1:
        return data
    height, width = (-(-n // step) * step for n in data.shape)
    padded = np.full((height, width), np.nan, data.dtype)
    padded[:data.shape[0], :data.shape[1]] = data
    blocks = padded.reshape(height // step, step, width // step, step).swapaxes(1, 2)
    flat = blocks.reshape(height // step, width // step, step * step)
    pick = np.where(np.isnan(flat), -1, np.abs(flat)).argmax(axis=-1)
    return np.take_along_axis(flat, pick[..., None], axis=-1)[..., 0]


def image_figure(image: SkyImage, stretch: Stretch, key: str, label: str) -> str:
    """One image with a colour bar, celestial axes and the beam, as SVG."""
    from matplotlib.colors import AsinhNorm, Normalize

    figure = new_figure(4.75, 3.75)
    axes = box(figure, 0.72, 0.1 if image.dec < 0 else 0.5, 3.2, 3.2)
    milli = max(abs(stretch.low), abs(stretch.high)) < 0.1
    factor = 1e3 if milli else 1.0
    low, high = stretch.low * factor, stretch.high * factor
    norm = (AsinhNorm(stretch.knee * factor, vmin=low, vmax=high) if stretch.knee
            else Normalize(low, high))
    shown = axes.imshow(thin(image.data) * factor, norm=norm, cmap=colours(stretch.colours),
                        origin="lower", extent=image.extent, interpolation="none")
    bar = figure.colorbar(shown, cax=box(figure, 4.0, 0.1 if image.dec < 0 else 0.5, 0.12, 3.2))
    bar.set_label(f"{'m' if milli else ''}{image.unit or 'index'}")
    bar.outline.set_visible(False)
    if stretch.knee:
        ticks = asinh_ticks(low, high, stretch.knee * factor)
        bar.set_ticks(ticks, labels=[f"{t:g}" for t in ticks])
        bar.minorticks_off()
    graticule(axes, image, "#444444" if stretch.colours == "RdBu_r" else "#ffffff")
    draw_beam(axes, image)
    return to_svg(figure, key, label)


def asinh_ticks(low: float, high: float, knee: float) -> list[float]:
    """Zero and the 1-2-5 decades from the knee outwards, thinned to at most eight."""
    sizes = [m * 10.0**e for e in range(-9, 7) for m in (1, 2, 5)]
    ticks = [s for s in sizes if knee <= s <= high]
    while len(ticks) > 6:
        ticks = ticks[::-1][::2][::-1]
    below = [-s for s in sizes if knee <= s <= -low][-1:]
    return [*below, 0.0, *ticks]


def graticule(axes: Axes, image: SkyImage, colour: str) -> None:
    """Lines of equal right ascension and declination, labelled at the edges.

    Right ascension is labelled at the edge that is further from the pole, where the lines are
    apart.
    """
    left, right, bottom, top = image.extent
    edge = top if image.dec < 0 else bottom
    across, up = np.linspace(left, right, 400), np.linspace(bottom, top, 400)
    ra = _on_sphere(across, np.full(400, edge), image)[0]
    dec = _on_sphere(np.full(400, left), up, image)[1]
    all_ra, all_dec = _on_sphere(*np.meshgrid(across[::19], up[::19]), image)  # to both edges
    ra_lines = round_values(ra / DEGREE * 240)
    dec_lines = round_values(all_dec / DEGREE * 3600)
    along_dec, along_ra = _along(all_dec, 0.0, np.pi / 2), _along(all_ra, image.ra, np.pi)
    for value in ra_lines[0]:
        _line(axes, image, np.full_like(along_dec, value / 240 * DEGREE), along_dec, colour)
    for value in dec_lines[0]:
        _line(axes, image, along_ra, np.full_like(along_ra, value / 3600 * DEGREE), colour)
    x_at = _crossings(across, ra / DEGREE * 240, ra_lines[0])
    y_at = _crossings(up, dec / DEGREE * 3600, dec_lines[0])
    axes.set_xticks([p for p, _ in x_at], [hours(v, ra_lines[1]) for _, v in x_at])
    axes.set_yticks([p for p, _ in y_at], [degrees(v, dec_lines[1]) for _, v in y_at])
    if edge == top:
        axes.xaxis.set(ticks_position="top", label_position="top")
    axes.set(xlim=(left, right), ylim=(bottom, top), xlabel="Right ascension",
             ylabel="Declination")


def _on_sphere(
    l: np.ndarray, m: np.ndarray, image: SkyImage
) -> tuple[np.ndarray, np.ndarray]:
    """Right ascension (without a jump) and declination, rad; NaN outside the sphere."""
    ra, dec = lmn_to_radec(l, m, image.ra, image.dec)
    outside = l**2 + m**2 >= 1
    ra = image.ra + np.angle(np.exp(1j * (ra - image.ra)))
    return np.where(outside, np.nan, ra), np.where(outside, np.nan, dec)


def _along(values: np.ndarray, middle: float, most: float) -> np.ndarray:
    """LINE_POINTS coordinates, rad, along which a field's lines are drawn.

    Over the range of `values`, the field's own (NaN: outside the sphere), and a tenth more on
    either side, as a field may reach farther between them; within `most` of `middle`.
    """
    low, high = np.nanmin(values), np.nanmax(values)
    spare = 0.1 * (high - low)
    return np.linspace(max(low - spare, middle - most), min(high + spare, middle + most),
                       LINE_POINTS)


def round_values(values: np.ndarray) -> tuple[list[float], float]:
    """About five round values (and their step) across the range, all in seconds."""
    if not np.isfinite(values).any():
        return [], 1.0
    low, high = float(np.nanmin(values)), float(np.nanmax(values))
    step = next((s for s in STEPS_S if (high - low) / s <= 6), STEPS_S[-1])
    first, last = int(np.ceil(low / step)), int(np.floor(high / step))
    return [k * float(step) for k in range(first, last + 1)], float(step)


def _crossings(
    axis: np.ndarray, values: np.ndarray, wanted: Sequence[float]
) -> list[tuple[float, float]]:
    """Where along an edge its coordinate takes the wanted values: (position, value)."""
    known = np.isfinite(values)
    axis, values = axis[known], values[known]
    found = []
    for value in wanted:
        k = np.flatnonzero((values[:-1] - value) * (values[1:] - value) <= 0)
        if k.size:
            a, b = values[k[0]], values[k[0] + 1]
            share = 0.0 if a == b else (value - a) / (b - a)
            found.append((float(axis[k[0]] + share * (axis[k[0] + 1] - axis[k[0]])), value))
    return found


def _line(
    axes: Axes, image: SkyImage, ra: np.ndarray, dec: np.ndarray, colour: str
) -> None:
    l, m, n = np.moveaxis(radec_to_lmn(ra, dec, image.ra, image.dec), -1, 0)
    left, right, bottom, top = image.extent
    margin = 0.05 * (left - right)
    inside = ((n > 0) & (l < left + margin) & (l > right - margin)
              & (m > bottom - margin) & (m < top + margin))
    axes.plot(np.where(inside, l, np.nan), np.where(inside, m, np.nan), color=colour,
              linewidth=0.5, alpha=0.4)


def hours(seconds: float, step: float) -> str:
    """Seconds of time as 1h30m12s, as far as the step needs."""
    return _parts(seconds % 86400, step, ("h", "m", "s"))


def degrees(seconds: float, step: float) -> str:
    """Seconds of arc as degrees, minutes and seconds, as far as the step needs."""
    sign = "\N{MINUS SIGN}" if seconds < 0 else "+"
    return sign + _parts(abs(seconds), step, ("°", PRIME, "\N{DOUBLE PRIME}"))


def _parts(seconds: float, step: float, units: tuple[str, str, str]) -> str:
    decimals = 1 if step < 1 else 0
    seconds = round(seconds, decimals)
    whole, rest = divmod(seconds, 3600)
    minutes, left = divmod(rest, 60)
    text = f"{whole:.0f}{units[0]}"
    if step % 3600:
        text += f"{minutes:02.0f}{units[1]}"
    if step % 60:
        text += f"{left:0{2 + 2 * decimals}.{decimals}f}{units[2]}"
    return text


def draw_beam(axes: Axes, image: SkyImage) -> None:
    """The beam at half maximum in the lower left corner, in a box so that it shows on anything."""
    from matplotlib.patches import Ellipse, Rectangle

    if image.beam is None:
        return
    left, right, bottom, _ = image.extent
    size = max(1.5 * image.beam[0], 0.035 * (left - right))
    corner = 0.015 * (left - right)
    centre = (left - corner - size / 2, bottom + corner + size / 2)
    axes.add_patch(Rectangle((centre[0] - size / 2, centre[1] - size / 2), size, size,
                             facecolor="#ffffff", edgecolor=INK, alpha=0.85, linewidth=0.5))
    # l grows to the left; the angle is from north (m) through east (l)
    angle = 90 - np.degrees(image.beam[2])
    axes.add_patch(Ellipse(centre, image.beam[0], image.beam[1], angle=angle, facecolor="#222222",
                           edgecolor="#222222", linewidth=0.4))
