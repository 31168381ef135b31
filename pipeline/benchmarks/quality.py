"""docs/quality.md from what tests/validation measured: `make quality`.

    python -m benchmarks.quality docs/quality.md small.xml [full.xml]

The files are pytest's JUnit reports. It fails where a row of the design's table has no value.
"""

from __future__ import annotations

import json
import sys
from datetime import UTC, datetime
from pathlib import Path
from xml.etree import ElementTree

#: The rows of the table, in its order.
ROWS = (
    "predict / invert against the direct Fourier sum", "noise-only image, natural weighting",
    "gains, noiseless data, exact model", "gains, noisy, exact model",
    "gains after ICAL from a blank start", "after ICAL, off-source rms",
    "component flux, S/N > 50", "position", "residual off-source",
    "noise-only data through ICAL", "the same plan on one worker or many",
)
HEAD = """# Quality against truth

Made by `make quality`, {date} UTC: every quality that the project promises, measured by the
tests of `pipeline/tests/validation`, which fail where a bar is not met. Each test names its data
set. Full size is that of the run `reference-noise` (94 stations, 336,567 visibilities, 512²
pixels), in `test_full_size` with a seed of the moment; the others are small enough for every
`make test`.

| quantity | of what | measured | bar | met | test |
|---|---|---|---|---|---|
"""


def measurements(report: Path) -> list[tuple[str, str, str, str, bool, str]]:
    """(row, what, value, bar, met, test) of a JUnit report."""
    found = []
    for case in ElementTree.parse(report).getroot().iter("testcase"):
        met = case.find("failure") is None and case.find("error") is None
        test = case.get("classname", "").rsplit(".", 1)[-1]
        for entry in case.iter("property"):
            if entry.get("name") == "quality":
                row, what, value, bar = json.loads(entry.get("value", ""))
                found.append((row, what, value, bar, met, test))
    return found


def page(found: list[tuple[str, str, str, str, bool, str]], date: str) -> str:
    """The page, rows in the design's order.

    Raises
    ------
    SystemExit: a row was not measured, or one is unknown.
    """
    odd = {f[0] for f in found} ^ set(ROWS)
    if odd:
        raise SystemExit(f"not measured, or not in the design's table: {', '.join(sorted(odd))}")
    lines = [f"| {row} | {what} | {value} | {bar} | {'yes' if met else '**no**'} | `{test}` |\n"
             for row, what, value, bar, met, test in sorted(found, key=lambda f: ROWS.index(f[0]))]
    return HEAD.format(date=date) + "".join(lines)


if __name__ == "__main__":
    target, *reports = map(Path, sys.argv[1:])
    everything = [m for report in reports for m in measurements(report)]
    target.write_text(page(everything, f"{datetime.now(UTC):%Y-%m-%d}"), encoding="utf-8")
