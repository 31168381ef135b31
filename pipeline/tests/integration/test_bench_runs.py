"""The benchmarks at their smallest size: that they measure what they say."""

import pytest

from benchmarks.overhead import overhead
from benchmarks.scaling import efficiency, in_words, scaling
from ical.parameters import load

pytestmark = pytest.mark.integration


def test_stages_cost_more_than_their_kernels_and_do_the_same_work(tmp_path):
    rows, pairs = overhead(load("tiny"), tmp_path, 1, None)
    assert len(rows) == 4
    for stage in ("image", "selfcal"):
        kernels = pairs[0]["kernels"][stage]
        assert 0 < kernels["cpu_s"] < pairs[0]["stages"][stage]["cpu_s"]
        assert kernels["calls"]["gridder"] > 0
    assert pairs[0]["kernels"]["selfcal"]["calls"]["solver"] > 0


def test_two_workers_are_held_against_two_processes_that_do_half_each(tmp_path):
    found = efficiency(tmp_path, 2, load("tiny"))
    (row,) = found["rows"]
    assert (row["limit"], row["least"], row["pairs"]) == (0.95, True, 2)
    assert all(0 < second < 60 for pair in found["pairs"] for second in pair.values())


def test_a_row_of_scaling_tells_size_and_cost(tmp_path):
    run = load("tiny")
    ((row,),) = scaling(tmp_path, {"pixels": [run]}).values()
    assert (row["npixel"], row["stations"]) == (128, 17)
    assert row["visibilities"] == 5 * 136 * 3
    assert row["stages"]["selfcal"]["cpu_s"] > 0
    assert "2040" in in_words("pixels", [row])
