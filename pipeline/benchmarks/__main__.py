"""Run the named runs, judge them by their bars, and compare each stage with its kernels alone.

    python -m benchmarks                                    both runs, 2 workers
    python -m benchmarks compat-2018 --seed 4 --results /tmp/bench

Writes <results>/bench-<UTC>/bench.json beside the runs' own folders. Exit code 1: a bar was missed.
"""

from __future__ import annotations

import argparse
import json
import os
import subprocess
import sys
import time
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import yaml

from benchmarks.bars import BARS
from benchmarks.inprocess import kernels
from ical.parameters import load


def _arguments() -> argparse.Namespace:
    parser = argparse.ArgumentParser(prog="python -m benchmarks", description=__doc__,
                                     formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("runs", nargs="*", metavar="RUN", help=f"of {', '.join(BARS)}; all of them")
    parser.add_argument("--seed", type=int, default=int(time.time()),
                        help="of gain errors and noise; by default the time: none seen before")
    parser.add_argument("--workers", type=int, default=2)
    parser.add_argument("--results", type=Path, default=Path("results"))
    chosen = parser.parse_args()
    unknown = sorted(set(chosen.runs) - set(BARS))
    if unknown:
        parser.error(f"there are no bars for {', '.join(unknown)}")
    return chosen


def measure(name: str, folder: Path, seed: int, workers: int) -> dict[str, Any]:
    """Do one run with a seed in a process of its own, and judge it."""
    run_file = folder / f"{name}.yml"
    data = load(name).model_copy(update={"seed": seed}).to_dict()
    run_file.write_text(yaml.safe_dump(data))
    command = [sys.executable, "-m", "ical.cli", "run", str(run_file), "--name", name,
               "--results", str(folder), "--workers", str(workers), "--threads", "1"]
    with open(folder / f"{name}.log", "w", encoding="utf-8") as log:
        subprocess.run(command, stdout=log, stderr=subprocess.STDOUT, check=True)
    report = json.loads((folder / name / "report.json").read_text())
    alone = kernels(folder / name)
    stages = {stage: {**{k: cost[k] for k in ("wall_s", "cpu_s", "compile_s", "peak_rss_mb")},
                      **_overhead(cost, alone.get(stage))}
              for stage, cost in report["stages"].items()}
    return {"run": name, "seed": seed, "workers": workers, "outcome": report["outcome"],
            "stages": stages, "kernels": alone,
            "bars": [bar.judge(report) for bar in BARS.get(name, ())]}


def _overhead(cost: dict[str, Any], alone: dict[str, Any] | None) -> dict[str, float]:
    """CPU of a stage over that of its kernels alone."""
    if alone is None:
        return {}
    return {"kernels_cpu_s": round(alone["cpu_s"], 3),
            "overhead_ratio": round(cost["cpu_s"] / alone["cpu_s"], 3)}


def table(found: dict[str, Any]) -> str:
    """One run's figures in lines."""
    lines = [f"{found['run']}, seed {found['seed']}, {found['workers']} workers: "
             f"{found['outcome']['status']}",
             f"  {'stage':<8} {'wall s':>8} {'CPU s':>8} {'kernels':>8} {'ratio':>6} {'MB':>6}"]
    for stage, cost in found["stages"].items():
        alone = [f"{cost[k]:.{n}f}" if k in cost else ""
                 for k, n in (("kernels_cpu_s", 1), ("overhead_ratio", 2))]
        lines.append(f"  {stage:<8} {cost['wall_s']:>8.1f} {cost['cpu_s']:>8.1f} {alone[0]:>8} "
                     f"{alone[1]:>6} {cost['peak_rss_mb']:>6.0f}")
    for bar in found["bars"]:
        kind = "aim" if bar["aim"] else "bar"
        state = "met" if bar["met"] else "MISSED"
        lines.append(f"  {bar['bar']:<32} {bar['value']:>10.4g} <= {bar['limit']:g} "
                     f"{bar['unit']:<4} {kind} {state}")
    return "\n".join(lines)


def main() -> int:
    """Do the runs that were asked for; whether all bars were met, as an exit code."""
    chosen = _arguments()
    folder = chosen.results.absolute() / f"bench-{datetime.now(UTC):%Y%m%dT%H%M%SZ}"
    folder.mkdir(parents=True)
    everything = []
    for name in chosen.runs or BARS:
        found = measure(name, folder, chosen.seed, chosen.workers)
        everything.append(found | {"load_average": os.getloadavg()})
        print(table(found), flush=True)
    (folder / "bench.json").write_text(json.dumps(everything, indent=2) + "\n")
    print(f"All figures: {folder / 'bench.json'}")
    return int(any(not b["met"] and not b["aim"] for f in everything for b in f["bars"]))


if __name__ == "__main__":
    sys.exit(main())
