"""Who does what of a round of tasks: Dask's own choice would leave most of it to one worker."""

from __future__ import annotations

import os
import time
from collections import Counter

import numpy as np
import pytest

from ical.cluster import connect
from ical.metrics import host_name

pytestmark = pytest.mark.integration


def test_all_workers_of_a_host_share_a_round_though_one_of_them_has_what_all_need():
    """Twice, as copies that nobody waits for are dropped between two rounds."""
    def task(grid):
        time.sleep(0.2)
        return os.getpid()

    with connect(None, workers=2, threads=1, memory_limit=None) as cluster:
        grid = cluster.submit(host_name(), np.ones, 1_000_000)
        for _ in range(2):
            held = cluster.hold_by_all()
            done = cluster.client.gather([
                cluster.submit(host_name(), task, grid, held=held) for _ in range(6)])
            assert sorted(Counter(done).values()) == [3, 3]
            time.sleep(2.5)
