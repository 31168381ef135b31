"""Matplotlib figures as inline SVG in the page's own colours, light or dark.

Figures are drawn in the fixed colours below, each of which stands for a variable of the page's
style sheet and is replaced by it. Text stays text, in the page's font; nothing refers to anything
outside the page.
"""

from __future__ import annotations

import base64
import io
import re
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from matplotlib.axes import Axes
    from matplotlib.colors import Colormap
    from matplotlib.figure import Figure

#: Levels of a colour map; with those for over, under and missing they fit in a palette.
LEVELS = 160

INK, MUTED, LINE, GOOD, BAD = "#0b0b01", "#0b0b02", "#0b0b03", "#0b0b04", "#0b0b05"
SERIES = tuple(f"#0b0b1{i}" for i in range(8))
_VARIABLES = {INK: "--ink", MUTED: "--muted", LINE: "--line", GOOD: "--good", BAD: "--bad",
              **{colour: f"--series-{i}" for i, colour in enumerate(SERIES)}}

_STYLE = {
    "svg.fonttype": "none", "font.size": 9.0, "axes.titlesize": 9.5, "axes.labelsize": 9.0,
    "xtick.labelsize": 8.0, "ytick.labelsize": 8.0, "legend.fontsize": 8.0,
    "text.color": INK, "axes.labelcolor": INK, "axes.edgecolor": MUTED, "axes.linewidth": 0.7,
    "xtick.color": MUTED, "ytick.color": MUTED, "xtick.labelcolor": INK, "ytick.labelcolor": INK,
    "grid.color": LINE, "grid.linewidth": 0.6, "axes.titlelocation": "left",
    "legend.frameon": False, "figure.facecolor": "none",
    "axes.facecolor": "none", "savefig.facecolor": "none", "lines.linewidth": 1.3,
    "svg.hashsalt": "ical", "svg.image_inline": True, "font.family": ["DejaVu Sans"],
    "axes.unicode_minus": True,
}


def new_figure(width: float, height: float) -> Figure:
    """An empty figure of a size in inches, in the page's style."""
    import matplotlib
    from cycler import cycler
    from matplotlib.figure import Figure

    style: Any = _STYLE | {"axes.prop_cycle": cycler(color=SERIES)}
    matplotlib.rcParams.update(style)
    return Figure(figsize=(width, height))


def grid_of(
    figure: Figure, rows: int, columns: int, *, left: float = 0.62, right: float = 0.1,
    bottom: float = 0.46, top: float = 0.1, between: float = 0.55,
) -> list[Axes]:
    """Axes in rows and columns with margins in inches: a layout engine would draw all twice."""
    width, height = figure.get_size_inches()
    inner = ((width - left - right - between * (columns - 1)) / columns,
             (height - bottom - top) / rows)
    grid = figure.subplots(rows, columns, squeeze=False, sharex=rows > 1, gridspec_kw={
        "left": left / width, "right": 1 - right / width, "bottom": bottom / height,
        "top": 1 - top / height, "wspace": between / inner[0], "hspace": 0.12})
    return list(grid.flat)


def colours(name: str) -> Colormap:
    """A colour map of few enough levels for a palette."""
    import matplotlib

    return matplotlib.colormaps[name].resampled(LEVELS)


def box(figure: Figure, left: float, bottom: float, width: float, height: float) -> Axes:
    """Axes at a place in inches."""
    across, up = figure.get_size_inches()
    return figure.add_axes((left / across, bottom / up, width / across, height / up))


def to_svg(figure: Figure, key: str, label: str) -> str:
    """The figure as an <svg> element.

    Parameters
    ----------
    key: prefix of its ids, unique on the page (letters, digits, dash).
    label: what the figure shows, read out by screen readers.
    """
    out = io.StringIO()
    figure.savefig(out, format="svg", metadata=dict.fromkeys(
        ("Creator", "Date", "Format", "Type")))
    text = out.getvalue()
    text = text[text.index("<svg"):]
    text = re.sub(r"<metadata>.*?</metadata>", "", text, flags=re.DOTALL)
    text = re.sub(r'\sxmlns(:\w+)?="[^"]*"', "", text)
    text = re.sub(r"<!--.*?-->\s*", "", text, flags=re.DOTALL)
    text = _own_ids(text, key).replace("xlink:href", "href")
    text = re.sub(r"font: ([^;\"]*?)'DejaVu Sans'", r"font: \1var(--sans)", text)
    text = re.sub(r"data:image/png;base64,([A-Za-z0-9+/=\s]+)", _palette_png, text)
    for colour, variable in _VARIABLES.items():
        text = text.replace(colour, f"var({variable})")
    return _labelled(text, label)


def _own_ids(text: str, key: str) -> str:
    """Drop the ids that nothing refers to and make the others this figure's own."""
    used = set(re.findall(r'(?:url\(|href=")#([^")]+)', text))

    def rename(match: re.Match[str]) -> str:
        return f' id="{key}-{match[1]}"' if match[1] in used else ""

    text = re.sub(r'\sid="([^"]*)"', rename, text)
    return re.sub(r'(url\(|href=")#', rf"\1#{key}-", text)


def _palette_png(match: re.Match[str]) -> str:
    """The same picture, pixel for pixel, as a palette where its colours are few enough."""
    import numpy as np
    from PIL import Image

    picture = Image.open(io.BytesIO(base64.b64decode(match[1]))).convert("RGBA")
    pixels = np.asarray(picture).view(np.uint32)[..., 0]
    colours, index = np.unique(pixels, return_inverse=True)
    if colours.size > 256:
        return match[0]
    table = colours.view(np.uint8).reshape(-1, 4)
    small = Image.fromarray(index.reshape(pixels.shape).astype(np.uint8), mode="P")
    small.putpalette(table[:, :3].tobytes())
    out = io.BytesIO()
    small.save(out, format="png", transparency=table[:, 3].tobytes())
    return "data:image/png;base64," + base64.b64encode(out.getvalue()).decode("ascii")


def _labelled(text: str, label: str) -> str:
    """Size by the page's width, and give the figure a name."""
    from html import escape

    opening = text[:text.index(">") + 1]
    box = re.search(r'viewBox="0 0 ([\d.]+) ([\d.]+)"', opening)
    if box is None:
        raise ValueError("matplotlib wrote an SVG without a viewBox")
    new = (f'<svg viewBox="0 0 {box[1]} {box[2]}" role="img" aria-label="{escape(label)}" '
           f'style="max-width:{float(box[1]) * 1.6:.0f}px">')
    return new + text[len(opening):]
