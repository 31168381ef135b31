"""What is lost with a host: its partitions, which are made again on those that are left.

The shipped run `tiny` on a cluster of two "hosts": worker processes that carry their names.
"""

from __future__ import annotations

import json
import os
import shutil
import time
from contextlib import contextmanager
from pathlib import Path

import numpy as np
import pytest
from distributed import Client, Nanny, Scheduler, SpecCluster

import ical.cluster
from arl.errors import InputError
from arl.io.fits import read_image
from ical.cluster import Cluster, HostLostError, data_resource
from ical.context import RunContext
from ical.mirror import bring_copy, keep_copies, snapshot, update
from ical.parameters import load
from ical.progress import Progress
from ical.stages import remake, run
from ical.store import Store

pytestmark = pytest.mark.integration

#: Of the peak of the dirty image.
TOLERANCE = 1e-5
#: s that the hosts of the tests may be without workers.
PATIENCE_S = 2


class Quiet:
    """A sink that keeps what it is told."""

    def emit(self, event):
        """Told to nobody."""

    def close(self):
        """Nothing is open."""


class Given:
    """A connector to a cluster that is there."""

    def __init__(self, cluster):
        self.cluster = cluster

    @contextmanager
    def connect(self):
        """The cluster."""
        yield self.cluster


def host(name):
    """The one worker of a host of that name."""
    return {"cls": Nanny, "options": {
        "nthreads": 1, "resources": {data_resource(name): 1000}, "env": {"ICAL_HOST": name}}}


@contextmanager
def cluster_of(*names):
    """Hosts of these names, and a client of theirs."""
    with SpecCluster(workers={name: host(name) for name in names}, silence_logs="ERROR",
                     scheduler={"cls": Scheduler, "options": {"dashboard_address": ":0", "port": 0}}
                     ) as made, Client(made) as client:
        client.wait_for_workers(len(names))
        yield made, client


@pytest.fixture(name="hosts")
def hosts_fixture(monkeypatch):
    """A cluster of two hosts, and what takes one of them away."""
    monkeypatch.setattr(ical.cluster, "LOST_AFTER_S", PATIENCE_S)
    monkeypatch.setattr(ical.cluster, "WATCH_S", 0.2)
    with cluster_of("one", "two") as (made, client):
        yield Cluster(client, 1), lambda name: made.sync(made.workers[name].close)


def stage(name, cluster, store, parameters):
    """Run a stage; returns its warnings."""
    progress = Progress(name, Quiet())
    with progress.running():
        getattr(run, f"run_{name}")(RunContext(parameters, store, progress, Given(cluster), True))
    return progress.warnings


def owners(store):
    """The host of each partition in the plan of a run."""
    plan = json.loads((store.folder / "plan.json").read_text())
    return {p["name"]: p["host"] for p in plan["partitions"]}


def test_partitions_of_a_lost_host_are_made_again_elsewhere(hosts, tmp_path):
    cluster, take_away = hosts
    parameters = load("tiny")
    store = Store.create(parameters, tmp_path, run_id="run")
    stage("model", cluster, store, parameters)
    before = owners(store)
    assert set(before.values()) == {"one", "two"}
    assert stage("image", cluster, store, parameters) == []
    whole = read_image(store.folder / "image" / "restored_combined.fits")[0]
    take_away("two")
    for name, owner in before.items():
        if owner == "two":
            shutil.rmtree(store.partition_path(name))
    number = sum(owner == "two" for owner in before.values())
    assert stage("image", cluster, store, parameters) == [
        f"{number} of {len(before)} partitions are made again, as two is lost"]
    assert set(owners(store).values()) == {"one"}
    again = read_image(store.folder / "image" / "restored_combined.fits")[0]
    assert np.abs(again - whole).max() <= TOLERANCE * np.abs(whole).max()


def test_a_partition_that_is_gone_from_its_host_is_made_there(hosts, tmp_path):
    cluster, _ = hosts
    parameters = load("tiny")
    store = Store.create(parameters, tmp_path, run_id="run")
    stage("model", cluster, store, parameters)
    before = owners(store)
    name = next(iter(before))
    shutil.rmtree(store.partition_path(name))
    warned = stage("image", cluster, store, parameters)
    assert warned == [f"1 of {len(before)} partitions are made again"]
    assert owners(store) == before


def test_a_run_whose_hosts_are_all_lost_says_so(hosts, tmp_path):
    cluster, take_away = hosts
    parameters = load("tiny")
    store = Store.create(parameters, tmp_path, run_id="run")
    stage("model", cluster, store, parameters)
    take_away("one")
    take_away("two")
    for name in ("image", "model"):
        with pytest.raises(InputError, match="no host has Dask workers any more"):
            stage(name, cluster, store, parameters)


def test_a_loss_that_recurs_ends_the_stage(tmp_path):
    begun = []

    def lose(context):
        begun.append(context)
        raise HostLostError("two had no workers")

    parameters = load("tiny")
    store = Store.create(parameters, tmp_path, run_id="run")
    progress = Progress("image", Quiet())
    with pytest.raises(InputError, match="lost 5 times"):
        remake.survives_hosts(lose)(RunContext(parameters, store, progress, None, False))
    assert progress.warnings == ["two had no workers"] * len(begun)
    assert [context.resume for context in begun] == [False] + [True] * 4


def test_nobody_waits_for_the_tasks_of_a_lost_host(hosts):
    cluster, take_away = hosts

    def wait():
        with cluster.watching({"one", "two"}):
            task = cluster.submit("two", time.sleep, 60)
            take_away("two")
            cluster.client.gather([task])

    with pytest.raises(HostLostError, match="two had no workers"):
        wait()
    assert cluster.submit("one", abs, -1).result() == 1


def test_nobody_waits_for_what_is_submitted_once_a_host_is_lost(hosts):
    cluster, take_away = hosts

    def wait():
        with cluster.watching({"one", "two"}):
            take_away("two")
            time.sleep(2 * PATIENCE_S)  # busy with its own, as with a deconvolution
            cluster.client.gather([cluster.submit("two", abs, -1)])

    with pytest.raises(HostLostError, match="two had no workers"):
        wait()


def test_a_stage_that_is_done_is_not_done_again_for_its_copies(tmp_path, monkeypatch):
    done, copied = [], []
    parameters = load("tiny")
    store = Store.create(parameters, tmp_path, run_id="run")

    def copy(context):
        copied.append(context)
        if len(copied) == 1:
            raise HostLostError("two had no workers")

    monkeypatch.setattr(remake, "keep_copies", copy)
    progress = Progress("image", Quiet())
    remake.survives_hosts(done.append)(RunContext(parameters, store, progress, None, False))
    assert (len(done), len(copied)) == (1, 2)
    assert progress.warnings == ["two had no workers"]


def test_retired_workers_hand_over_what_they_hold(hosts):
    cluster, _ = hosts
    held = cluster.submit("two", abs, -7)
    held.result()
    address = cluster.client.scheduler.address
    assert len(ical.cluster.retire(address, ["two"])) == 1
    assert held.result() == 7
    assert cluster.hosts() == ["one"]


def test_a_folder_is_copied_to_another_host_as_it_changes(hosts, tmp_path):
    cluster, _ = hosts
    here, there = tmp_path / "here", tmp_path / "there"
    (here / "selfcal").mkdir(parents=True)
    (here / "plan.json").write_text("{}")
    (here / "selfcal" / "old.npz").write_text("first")
    (here / "selfcal" / "gains_G.zarr" / "GAIN").mkdir(parents=True)
    (here / "selfcal" / "gains_G.zarr" / "GAIN" / "zarr.json").write_text("{}")
    (here / ".lock").write_text("mine")
    update(cluster, "two", here, there)
    kept = (there / "plan.json").stat()
    assert kept.st_mtime_ns == (here / "plan.json").stat().st_mtime_ns
    (here / "selfcal" / "old.npz").unlink()
    shutil.rmtree(here / "selfcal" / "gains_G.zarr")
    (here / "selfcal" / "new.npz").write_text("second")
    update(cluster, "two", here, there)
    assert {str(p.relative_to(there)): p.read_text() for p in there.rglob("*") if p.is_file()} == {
        "plan.json": "{}", "selfcal/new.npz": "second"}
    assert os.listdir(there / "selfcal") == ["new.npz"]  # no empty store
    assert (there / "plan.json").stat().st_ino == kept.st_ino


def test_a_host_that_is_gone_gets_no_copy(hosts, tmp_path, monkeypatch):
    cluster, take_away = hosts
    parameters = load("tiny")
    store = Store.create(parameters, tmp_path, run_id="run")
    take_away("two")
    monkeypatch.setenv("ICAL_MIRROR", "two,three")
    keep_copies(RunContext(parameters, store, Progress("image", Quiet()), Given(cluster), True))
    assert os.listdir(tmp_path) == ["run"]


def test_a_host_without_a_copy_brings_the_newest(hosts, tmp_path, monkeypatch):
    """Each host has a working folder of its own; what lacks the run's parameters is no copy."""
    cluster, _ = hosts
    for changed, name in enumerate(("one", "two")):
        for file in ("whole/parameters.json", "whole/image/stage.json", "part/plan.json"):
            path = tmp_path / name / file
            path.parent.mkdir(parents=True, exist_ok=True)
            path.write_text(name)
            os.utime(path, (changed, changed))
    (tmp_path / "here").mkdir()
    monkeypatch.chdir(tmp_path / "here")
    for name in ("one", "two"):
        cluster.submit(name, os.chdir, str(tmp_path / name)).result()
    bring_copy(Given(cluster), Path("whole"))
    assert os.listdir() == []
    monkeypatch.setenv("ICAL_MIRROR", "one")
    for run_id in ("whole", "part", "none"):
        bring_copy(Given(cluster), Path(run_id))
    assert os.listdir() == ["whole"]
    assert snapshot(Path("whole")) == snapshot(tmp_path / "two" / "whole")
    assert Path("whole/image/stage.json").read_text() == "two"
