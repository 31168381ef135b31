"""Who does what of a round of tasks: Dask's own choice would leave most of it to one worker."""

from __future__ import annotations

import os
import signal
import time
from collections import Counter

import dask
import numpy as np
import pytest

from ical.cluster import connect
from ical.metrics import StageMeter, host_name

pytestmark = pytest.mark.integration


@pytest.mark.parametrize(("values", "rounds"), [(1_000_000, 2), (17_000_000, 1)])
def test_all_workers_of_a_host_share_a_round_though_one_of_them_has_what_all_need(values, rounds):
    """Of placement alone, without what Dask mends afterwards where it notices in time.

    A grid of 8 MB twice, as the second time it is known what a task takes; and one of 136 MB, as
    for 4096 x 4096 pixels, once, as then Dask rightly thinks it dearer to send than a task of 1 s.
    """
    def task(grid):
        time.sleep(1)
        return os.getpid()

    with (dask.config.set({"distributed.scheduler.work-stealing": False}),
          connect(None, workers=2, threads=1, memory_limit=None) as cluster):
        grid = cluster.submit(host_name(), np.ones, values)
        for _ in range(rounds):
            held = cluster.hold()
            done = cluster.client.gather([
                cluster.submit(host_name(), task, grid, held=held) for _ in range(4)])
            assert sorted(Counter(done).values()) == [2, 2]


def test_a_round_goes_on_where_a_worker_that_holds_something_is_lost():
    with connect(None, workers=2, threads=1, memory_limit=None) as cluster:
        held = cluster.hold()
        assert [len(each) for each in held.values()] == [2]
        os.kill(next(iter(cluster.client.run(os.getpid).values())), signal.SIGKILL)
        round_ = [cluster.submit(host_name(), abs, -n, held=held) for n in range(6)]
        assert cluster.client.gather(round_) == list(range(6))


def test_nothing_is_held_where_there_is_nobody_to_share_with(one_worker):
    with one_worker.connect() as cluster:
        assert cluster.hold() == {}


def test_what_is_held_counts_as_nobodys_work():
    with connect(None, workers=2, threads=1, memory_limit=None) as cluster:
        meter = StageMeter(cluster.client).start()
        held = cluster.hold()
        round_ = [cluster.submit(host_name(), abs, -n, held=held) for n in range(6)]
        cluster.client.gather(round_)
        tasks = meter.stop()["tasks"]
    assert {host: work["kinds"] for host, work in tasks.items()} == {host_name(): {"abs": 6}}
    assert tasks[host_name()]["tasks"] == 6
