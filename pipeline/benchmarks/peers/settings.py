"""What both sides are asked to do: one set of settings, as our run file and WSClean's options."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np

from benchmarks.peers.observation import Size

THREADS = 2


@dataclass(frozen=True)
class Deconvolution:
    """How deep a set of images is cleaned; fields as in our run file."""

    scales: tuple[int, ...] = (0, 4, 8, 16)
    iterations: int = 50_000
    major_cycles: int = 10
    auto_mask: float = 5.0
    auto_threshold: float = 3.0


BANDS, TERMS, GAIN, MAJOR_GAIN, EPSILON, ROBUST = 4, 2, 0.1, 0.85, 1e-4, 0.0


def our_imaging(size: Size, clean: Deconvolution) -> dict[str, Any]:
    """The section `imaging` of our run file."""
    return {
        "npixel": size.npixel, "cell_rad": size.cell, "bands": BANDS, "weighting": "briggs",
        "robust": ROBUST, "joint_density": True, "epsilon": EPSILON,
        "clean": {"scales": list(clean.scales), "spectral_terms": TERMS, "gain": GAIN,
                  "minor_iterations": clean.iterations, "major_cycles": clean.major_cycles,
                  "major_gain": MAJOR_GAIN, "auto_mask": clean.auto_mask,
                  "auto_threshold": clean.auto_threshold},
    }


def wsclean_options(size: Size, clean: Deconvolution, name: Path) -> list[str]:
    """The same for WSClean.

    It pads images by a fifth unless told otherwise, which its gridder of that accuracy does not
    need; ours does not pad either.
    """
    kind = (["-multiscale", "-multiscale-scales", ",".join(map(str, clean.scales))]
            if len(clean.scales) > 1 else [])
    return [
        "-j", str(THREADS), "-use-wgridder", "-wgridder-accuracy", str(EPSILON), "-padding", "1.0",
        "-size", str(size.npixel), str(size.npixel), "-scale", f"{np.degrees(size.cell):.12f}deg",
        "-pol", "I", "-weight", "briggs", str(ROBUST), "-channels-out", str(BANDS),
        "-join-channels", "-fit-spectral-pol", str(TERMS), *kind, "-gain", str(GAIN),
        "-mgain", str(MAJOR_GAIN), "-niter", str(clean.iterations),
        "-nmiter", str(clean.major_cycles), "-auto-mask", str(clean.auto_mask),
        "-auto-threshold", str(clean.auto_threshold), "-name", str(name),
    ]
