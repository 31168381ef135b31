"""What a stage costs beside what its kernels alone cost in one process without Dask.

The overhead ratio is the wall of a stage on one worker of one thread over the wall of the pure
gridder, solver and deconvolver calls of the same work, in pairs. The ratio of CPU seconds stands
beside it: it is hardly moved by what else the machine does.
"""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np

from benchmarks.inprocess import kernels
from benchmarks.pairs import Ratio, alternate
from benchmarks.runs import do_run
from ical.parameters import Parameters

STAGES = ("image", "selfcal")


def overhead(
    parameters: Parameters, folder: Path, pairs: int, limit: float | None
) -> tuple[list[dict[str, Any]], list[dict[str, Any]]]:
    """Rows of ratios (see `Ratio.row`) and the pairs that they come from.

    `limit` is the bar of the wall ratio of self-calibration. The kernels work on the visibilities
    of a first run, which is not counted. Each row names the kernels' own seconds: the floor.
    """
    first = f"{parameters.name}-kernels"
    do_run(parameters, folder, first, workers=1)
    found = [{"stages": report["stages"], "kernels": alone} for report, alone in alternate(
        pairs, lambda k: do_run(parameters, folder, f"{parameters.name}-one-{k}", workers=1),
        lambda k: kernels(folder / first))]
    rows = []
    for stage in STAGES:
        for cost, bar in (("wall_s", limit if stage == "selfcal" else None), ("cpu_s", None)):
            ratio = Ratio.of([f["stages"][stage][cost] for f in found],
                             [f["kernels"][stage][cost] for f in found])
            floor = float(np.median([f["kernels"][stage][cost] for f in found]))
            rows.append(ratio.row(f"{parameters.name} {stage} {cost[:-2]}, over "
                                  f"{floor:.1f} s of kernels", bar))
    return rows, found
