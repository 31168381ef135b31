"""What a cycle of ICAL moves between hosts: images and gains, however many partitions there are.

The shipped run `tiny` on a cluster of three "hosts": worker processes that carry their names.
"""

from __future__ import annotations

import json

import dask
import pytest
from test_lost_hosts import cluster_of, stage

import ical.partitions
from ical.cluster import Cluster
from ical.parameters import load
from ical.stages import report
from ical.store import Store

pytestmark = pytest.mark.integration

NAMES = ("one", "two", "three")
BASELINES, TIMES, BANDS = 136, 5, 3


@pytest.fixture(name="cluster")
def cluster_fixture():
    with (dask.config.set({"distributed.client.direct-to-workers": True}),
          cluster_of(*NAMES) as (_, client)):
        yield Cluster(client, 1)


@pytest.mark.parametrize("blocks", [1, TIMES])
def test_a_cycle_moves_images_and_gains_alone(blocks, cluster, tmp_path, monkeypatch):
    monkeypatch.setattr(ical.partitions, "MAX_PARTITION_VISIBILITIES", BASELINES * TIMES // blocks)
    parameters = load("tiny")
    store = Store.create(parameters, tmp_path, run_id="run")
    for name in ("model", "selfcal"):
        stage(name, cluster, store, parameters)
    plan = json.loads((store.folder / "plan.json").read_text())
    assert len(plan["partitions"]) == BANDS * blocks
    assert {p["host"] for p in plan["partitions"]} == set(NAMES)
    made = report.write(store.folder)
    pixels = parameters.imaging.npixel**2
    bound = 5 * (BANDS * pixels * 4 + 16 * sum(g.solutions for g in made.gains.values()))
    moved = [cycle.moved_bytes for cycle in made.history[1:]]
    assert len(moved) > 1
    assert min(moved) > 0
    assert max(moved) <= bound, [round(5 * m / bound, 2) for m in moved]
