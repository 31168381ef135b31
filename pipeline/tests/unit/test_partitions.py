"""The plan of partitions: every visibility in one of them, and none too large."""

from __future__ import annotations

import numpy as np
import pytest

from ical.partitions import MAX_PARTITION_VISIBILITIES, Plan, make_plan


@pytest.mark.parametrize(("times", "baselines", "channels", "bands"), [
    (11, 4371, 7, 7),           # small: a partition a band
    (288, 4371, 80, 4),         # in time
    (3, 130_816, 128, 4),       # 512 stations: a single time of a band is too much
    (2, 1_500_000, 10, 3),      # a channel each, of bands that are not alike
    (1, 3_000_000, 2, 2),       # nothing is left to split
])
def test_every_visibility_is_in_one_partition_of_its_band(times, baselines, channels, bands):
    plan = make_plan(times, baselines, channels, bands, ["a", "b"])
    seen = np.zeros((times, channels), int)
    for p in plan.partitions:
        seen[slice(*p.times), slice(*p.channels)] += 1
        start, stop = plan.bands[p.band]
        assert start <= p.channels[0] < p.channels[1] <= stop
        size = (p.times[1] - p.times[0]) * baselines * (p.channels[1] - p.channels[0])
        one = p.times[1] - p.times[0] == p.channels[1] - p.channels[0] == 1
        assert one or size <= 1.5 * MAX_PARTITION_VISIBILITIES
    assert (seen == 1).all()
    assert len({p.name for p in plan.partitions}) == len(plan.partitions)
    counts = [sum(p.host == h for p in plan.partitions) for h in "ab"]
    assert abs(counts[0] - counts[1]) <= 1
    assert Plan.from_dict(plan.to_dict()) == plan


@pytest.mark.parametrize("hosts", ["ab", "abc", "abcdefg"])
def test_few_bands_lie_on_more_hosts_than_one(hosts):
    plan = make_plan(288, 4371, 80, 4, list(hosts))
    places = {(p.band, p.host) for p in plan.partitions}
    assert len(places) <= len(plan.bands) + len(hosts) - 1
    counts = [sum(p.host == h for p in plan.partitions) for h in hosts]
    assert max(counts) - min(counts) <= 1


def test_bands_are_split_in_time_first():
    plan = make_plan(288, 4371, 80, 4, ["a"])
    assert {p.channels for p in plan.partitions} == set(plan.bands)
    assert len(plan.of_band(0)) > 1
