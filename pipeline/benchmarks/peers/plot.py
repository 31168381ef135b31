"""The ratios of a comparison as a picture."""

from __future__ import annotations

from pathlib import Path
from typing import Any

from matplotlib.figure import Figure


def draw(found: list[dict[str, Any]], path: Path) -> None:
    """Every ratio with its range, and a mark where its bar is; left of the line ours is better."""
    rows = [(label(f, table), row) for f in found
            for table in ("rows", "equal_work", "equal_result") if table in f
            for row in (f[table] if table == "rows" else f[table]["rows"])]
    figure = Figure(figsize=(9, 1.2 + 0.28 * len(rows)), layout="constrained")
    axes = figure.subplots()
    for height, (_, row) in enumerate(rows):
        axes.plot([row["low"], row["high"]], [height, height], color="tab:blue", lw=3, alpha=0.4)
        axes.plot(row["median"], height, "o", color="tab:blue")
        if "limit" in row:
            axes.plot(row["limit"], height, "|", color="tab:red", ms=14, mew=2)
    axes.axvline(1.0, color="black", lw=0.8)
    axes.set_yticks(range(len(rows)), [f"{name}: {row['bar']}" for name, row in rows], fontsize=7)
    axes.invert_yaxis()
    axes.set_xlabel("ours / peer: median of pairs and their range; red: the bar")
    figure.savefig(path, dpi=120)


def label(found: dict[str, Any], table: str) -> str:
    """Which comparison a row is of."""
    kind = found["part"] if table == "rows" else f"{found['part']}, {table.replace('_', ' ')}"
    return f"{kind}, {found['visibilities']:.2g} vis, {found['npixel']}²"
