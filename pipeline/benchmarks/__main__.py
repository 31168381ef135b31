"""Speed and quality of the named runs against their bars, and what our speed depends on.

    python -m benchmarks                                    every part, 2 workers
    python -m benchmarks compat-2018 --seed 4 --results /tmp/bench
    python -m benchmarks overhead scaling workers --pairs 5

Parts: the named runs; kernels (each kernel alone); overhead (stages against their kernels);
scaling (with visibilities, pixels, stations); workers (two against two independent processes);
large (memory and cost of 1e8 visibilities next to 1e7).
Writes <results>/bench-<UTC>/bench.json, again after every part. Exit code 1: a bar was missed.
"""

from __future__ import annotations

import argparse
import os
import sys
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

from benchmarks import kernels, large, scaling
from benchmarks.bars import BARS
from benchmarks.overhead import overhead
from benchmarks.pairs import in_words
from benchmarks.runs import do_run, million
from ical.parameters import load
from ical.store import new_run_id, write_json

#: Each kernel is timed on 539,000 visibilities.
KERNEL_SAMPLES, KERNEL_NPIXEL = 30, 1024
#: The most that the stage selfcal's wall may be over that of its kernels, by run; None: no bar.
OVERHEAD_BARS = {"reference": 1.6, "million": 1.3, "compat-2018": None}


def _arguments(parts: list[str]) -> argparse.Namespace:
    parser = argparse.ArgumentParser(prog="python -m benchmarks", description=__doc__,
                                     formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("parts", nargs="*", metavar="PART", help=f"of {', '.join(parts)}; all")
    parser.add_argument("--seed", type=int, default=int(time.time()),
                        help="of gain errors and noise; by default the time: none seen before")
    parser.add_argument("--workers", type=int, default=2, help="of the named runs")
    parser.add_argument("--pairs", type=int, default=3, help="paired runs of every ratio")
    parser.add_argument("--results", type=Path, default=Path("results"))
    chosen = parser.parse_args()
    unknown = sorted(set(chosen.parts) - set(parts))
    if unknown:
        parser.error(f"there is no part {', '.join(unknown)}")
    if chosen.pairs < 1 or chosen.workers < 1:
        parser.error("--pairs and --workers must be at least 1")
    return chosen


def measure(name: str, folder: Path, seed: int, workers: int) -> dict[str, Any]:
    """Do one run with a seed in a process of its own, and judge it."""
    parameters = load(name).model_copy(update={"seed": seed})
    report = do_run(parameters, folder, name, workers=workers)
    stages = {stage: {k: cost[k] for k in ("wall_s", "cpu_s", "compile_s", "peak_rss_mb")}
              for stage, cost in report["stages"].items()}
    return {"run": name, "seed": seed, "workers": workers, "outcome": report["outcome"],
            "stages": stages, "bars": [bar.judge(report) for bar in BARS.get(name, ())]}


def run_table(found: dict[str, Any]) -> str:
    """One named run's figures in lines."""
    lines = [f"{found['run']}, seed {found['seed']}, {found['workers']} workers: "
             f"{found['outcome']['status']}",
             f"  {'stage':<8} {'wall s':>8} {'CPU s':>8} {'MB':>6}"]
    lines += [f"  {stage:<8} {cost['wall_s']:>8.1f} {cost['cpu_s']:>8.1f} "
              f"{cost['peak_rss_mb']:>6.0f}" for stage, cost in found["stages"].items()]
    for bar in found["bars"]:
        kind = "aim" if bar["aim"] else "bar"
        value = "none" if bar["value"] is None else f"{bar['value']:.4g}"
        lines.append(f"  {bar['bar']:<32} {value:>10} <= {bar['limit']:g} "
                     f"{bar['unit']:<4} {kind} {'met' if bar['met'] else 'MISSED'}")
    return "\n".join(lines)


def _named(name: str, chosen: argparse.Namespace, folder: Path) -> dict[str, Any]:
    found = measure(name, folder, chosen.seed, chosen.workers)
    print(run_table(found), flush=True)
    return found | {"missed": any(not b["met"] and not b["aim"] for b in found["bars"])}


def _overhead(chosen: argparse.Namespace, folder: Path) -> dict[str, Any]:
    rows, pairs = [], {}
    for name, limit in OVERHEAD_BARS.items():
        parameters = million() if name == "million" else load(name)
        seeded = parameters.model_copy(update={"seed": chosen.seed})
        own, pairs[name] = overhead(seeded, folder, chosen.pairs, limit)
        rows += own
    return _ratios("overhead: stages on one worker over their pure kernels", rows,
                   {"pairs": pairs})


def _kernels(chosen: argparse.Namespace, folder: Path) -> dict[str, Any]:
    rows = kernels.kernels_alone(KERNEL_SAMPLES, KERNEL_NPIXEL, chosen.pairs)
    print("\n".join(["kernels alone, one thread, CPU", *map(kernels.in_words, rows)]), flush=True)
    return {"rows": rows, "missed": False}


def _scaling(chosen: argparse.Namespace, folder: Path) -> dict[str, Any]:
    found = scaling.scaling(folder, scaling.scaled_runs())
    print("\n".join(["scaling", *(scaling.in_words(*axis) for axis in found.items())]), flush=True)
    return {"axes": found, "missed": False}


def _workers(chosen: argparse.Namespace, folder: Path) -> dict[str, Any]:
    found = scaling.efficiency(folder, chosen.pairs)
    return _ratios("workers: the partition stages", found.pop("rows"), found)


def _large(chosen: argparse.Namespace, folder: Path) -> dict[str, Any]:
    print("data larger than memory", flush=True)
    runs = large.data_larger_than_memory(folder, chosen.seed)
    return {"runs": runs, "missed": any(run["missed"] for run in runs)}


def _ratios(title: str, rows: list[dict[str, Any]], details: dict[str, Any]) -> dict[str, Any]:
    """Print rows of ratios; the part of the JSON that they make."""
    print("\n".join([title, *map(in_words, rows)]), flush=True)
    return {"rows": rows, "missed": any(r.get("state") == "MISSED" for r in rows), **details}


def main() -> int:
    """Do the parts that were asked for; whether all bars were met, as an exit code."""
    parts: dict[str, Callable[[argparse.Namespace, Path], dict[str, Any]]] = {
        **{name: (lambda chosen, folder, name=name: _named(name, chosen, folder))
           for name in BARS},
        "kernels": _kernels, "overhead": _overhead, "scaling": _scaling, "workers": _workers,
        "large": _large,
    }
    chosen = _arguments([*parts])
    folder = chosen.results.absolute() / new_run_id("bench")
    folder.mkdir(parents=True)
    everything: dict[str, Any] = {}
    for part in chosen.parts or parts:
        before = os.getloadavg()
        everything[part] = parts[part](chosen, folder) | {
            "load_average": {"before": before, "after": os.getloadavg()}}
        write_json(folder / "bench.json", everything)
    print(f"All figures: {folder / 'bench.json'}")
    return int(any(part["missed"] for part in everything.values()))


if __name__ == "__main__":
    sys.exit(main())
