"""docs/quality.md: from a test report to a table, and no row may be missing."""

import json

import pytest

from benchmarks.quality import ROWS, measurements, page


def written(path, rows, failed=()):
    cases = "".join(
        '<testcase classname="tests.validation.test_x" name="t"><properties><property '
        f"name=\"quality\" value='{json.dumps([row, 'it', '0.5', '1'])}'/></properties>"
        f"{'<failure/>' if row in failed else ''}</testcase>" for row in rows)
    path.write_text(f"<testsuites><testsuite>{cases}</testsuite></testsuites>".replace(
        "S/N > 50", "S/N &gt; 50"))
    return measurements(path)


def test_rows_come_in_the_designs_order_and_a_missed_bar_shows(tmp_path):
    found = page(written(tmp_path / "a.xml", ROWS[::-1], failed=ROWS[2:3]), "2026-01-01")
    table = [line for line in found.splitlines() if line.startswith("|")][2:]
    assert [line.split(" | ")[0].removeprefix("| ") for line in table] == list(ROWS)
    assert [k for k, line in enumerate(table) if "**no**" in line] == [2]


def test_a_row_that_was_not_measured_is_refused(tmp_path):
    with pytest.raises(SystemExit, match="position"):
        page(written(tmp_path / "a.xml", [r for r in ROWS if r != "position"]), "2026-01-01")
