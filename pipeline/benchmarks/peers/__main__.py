"""Continuum imaging and self-calibration by `ical run`, beside WSClean and DP3, on the same cores.

    python -m benchmarks.peers                                       both, at full size
    python -m benchmarks.peers imaging --imaging 3:1024 --pairs 5
    python -m benchmarks.peers selfcal --selfcal 6:256 --r-max 300 --pairs 1

A size is TIMES:PIXELS; a time has 344,568 visibilities (294 stations, 8 channels) where --r-max is
2100. Both sides run one after the other on the same two threads and take turns in going first.
Installs WSClean from Debian (needs root) and DP3 from PyPI in the scratch folder. Writes
<results>/peers-<UTC>/peers.json, again after every part, and peers.png. Exit code 1: a bar was
missed.
"""

from __future__ import annotations

import argparse
import os
import shutil
import sys
import time
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

from benchmarks.pairs import in_words
from benchmarks.peers import imaging, install, selfcal
from benchmarks.peers.observation import R_MAX_M, Size
from benchmarks.peers.plot import draw
from ical.store import write_json

PARTS = ("imaging", "selfcal")


def arguments(given: list[str] | None = None) -> argparse.Namespace:
    """What was asked for."""
    parser = argparse.ArgumentParser(prog="python -m benchmarks.peers", description=__doc__,
                                     formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("parts", nargs="*", metavar="PART", help=f"of {', '.join(PARTS)}; both")
    parser.add_argument("--imaging", nargs="+", metavar="SIZE",
                        default=["3:1024", "20:1024", "20:2048"])
    parser.add_argument("--selfcal", nargs="+", metavar="SIZE", default=["20:1024"])
    parser.add_argument("--r-max", type=float, default=R_MAX_M, help="of the stations, m")
    parser.add_argument("--pairs", type=int, default=3, help="paired runs of every ratio")
    parser.add_argument("--seed", type=int, default=int(time.time()))
    parser.add_argument("--scratch", type=Path, default=Path("../.cache/peers"))
    parser.add_argument("--results", type=Path, default=Path("../results"))
    chosen = parser.parse_args(given)
    if set(chosen.parts) - set(PARTS):
        parser.error(f"the parts are {', '.join(PARTS)}")
    if chosen.pairs < 1:
        parser.error("--pairs must be at least 1")
    for part in PARTS:
        try:
            sizes = [Size.of(text, chosen.r_max) for text in getattr(chosen, part)]
        except ValueError as error:
            parser.error(f"--{part}: {error}")
        setattr(chosen, part, sizes)
    return chosen


def tables(part: str, found: dict[str, Any]) -> str:
    """One observation's figures in lines."""
    title = (f"{part}: {found['visibilities']:.3g} visibilities, {found['npixel']}² pixels, "
             f"{found['bands']} bands; ratios ours / peer, median (lowest to highest)")
    lines = [title]
    for side, quality in found["quality"].items():
        lines.append(f"  {side:<8} residual rms {quality['residual_rms_jy'] * 1e3:.3f} mJy, flux "
                     f"{quality['flux_ratio_median']:.4f} ± {quality['flux_ratio_scatter']:.4f} of "
                     f"{quality['sources']} sources")
    for name, rows in row_groups(found).items():
        lines += [f" {name}", *map(in_words, rows)]
    return "\n".join(lines)


def row_groups(found: dict[str, Any]) -> dict[str, list[dict[str, Any]]]:
    """The rows of an observation by their table."""
    if "rows" in found:
        return {"against WSClean": found["rows"]}
    return {f"{key.replace('_', ' ')}, against WSClean + DP3": found[key]["rows"]
            for key in ("equal_work", "equal_result")}


def main() -> int:
    """Do the parts; whether all bars hold, as an exit code."""
    chosen = arguments()
    stamp = f"{datetime.now(UTC):%Y%m%dT%H%M%SZ}"
    scratch = chosen.scratch.absolute()
    peers = install.ensure(scratch)
    results, work = chosen.results.absolute() / f"peers-{stamp}", scratch / f"work-{stamp}"
    results.mkdir(parents=True)
    everything: dict[str, Any] = {"versions": install.versions(peers), "seed": chosen.seed,
                                  "pairs": chosen.pairs, "found": []}
    for part in chosen.parts or PARTS:
        compare = {"imaging": imaging.compare, "selfcal": selfcal.compare}[part]
        for number, size in enumerate(getattr(chosen, part)):
            before = os.getloadavg()
            found = {"part": part} | compare(size, work / f"{part}-{number}", peers,
                                             chosen.pairs, chosen.seed) | {
                "load_average": {"before": before, "after": os.getloadavg()}}
            everything["found"].append(found)
            print(tables(part, found), flush=True)
            write_json(results / "peers.json", everything)
            draw(everything["found"], results / "peers.png")
    shutil.rmtree(work)  # of a failure it tells the story
    print(f"All figures: {results / 'peers.json'}, a plot of them: {results / 'peers.png'}")
    every = [r for f in everything["found"] for rows in row_groups(f).values() for r in rows]
    return int(any(r.get("state") == "MISSED" for r in every))


if __name__ == "__main__":
    sys.exit(main())
