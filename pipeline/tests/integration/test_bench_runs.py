"""The benchmarks at their smallest size: that they measure what they say."""

import pytest

from benchmarks.overhead import overhead
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
