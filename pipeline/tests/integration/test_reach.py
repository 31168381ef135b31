"""Workers reach the scheduler by name and address, or say what hinders; some are retired."""

from __future__ import annotations

import asyncio
import errno
import os
import threading
from types import SimpleNamespace

import pytest
from distributed import Client, LocalCluster

from arl.errors import InputError
from ical import cluster
from ical.metrics import host_name

pytestmark = pytest.mark.integration


@pytest.fixture(name="client", scope="module")
def client_fixture():
    with LocalCluster(n_workers=1, threads_per_worker=1, processes=False, protocol="tcp",
                      host="127.0.0.1", dashboard_address=None) as local, Client(local) as client:
        yield client


def asked(client, scheduler, name):
    """What the one worker says."""
    (told,) = client.run(cluster.reach, scheduler, name).values()
    return told


def test_a_scheduler_with_the_address_of_its_name_is_within_reach(client):
    address = client.scheduler.address
    assert asked(client, address, address.replace("127.0.0.1", "localhost")) == ""


def test_a_name_that_means_another_address_is_told(client):
    told = asked(client, "tcp://127.0.0.2:9", "tcp://localhost:9")
    assert told == "there localhost is 127.0.0.1, not 127.0.0.2"


def test_a_name_that_nobody_knows_is_told(client):
    assert "not known" in asked(client, client.scheduler.address, "tcp://no.such.invalid:9")


def test_an_address_where_nobody_answers_is_told(client, monkeypatch):
    monkeypatch.setattr(cluster, "REACH_TIMEOUT_S", 0.5)
    assert asked(client, "tcp://127.0.0.1:9", "tcp://localhost:9") == "no answer within 0.5 s"


def test_the_probe_names_the_host_from_where_the_scheduler_is_out_of_reach(client, monkeypatch):
    monkeypatch.setattr(cluster, "_census", lambda warm_up: {"host": "node3"})
    with pytest.raises(cluster.InputError, match="From node3 the scheduler is not within reach"):
        cluster.probe(client.scheduler.address, 1, "digest", "tcp://no.such.invalid:9")


def test_only_the_workers_of_the_named_hosts_are_retired():
    with LocalCluster(n_workers=1, threads_per_worker=1, processes=False, protocol="tcp",
                      dashboard_address=None, resources={"data@node1": 1}) as local, \
            Client(local) as client:
        (address,) = client.scheduler_info(n_workers=-1)["workers"]
        assert cluster.retire(local.scheduler_address, ["node2"]) == []
        assert list(client.scheduler_info(n_workers=-1)["workers"]) == [address]
        assert cluster.retire(local.scheduler_address, ["node1", "node2"]) == [address]
        assert not client.scheduler_info(n_workers=-1)["workers"]


def test_a_worker_answers_while_it_compiles(monkeypatch):
    async def asked_meanwhile():
        loop, answered = asyncio.get_running_loop(), threading.Event()

        def compile_kernels():
            loop.call_soon_threadsafe(answered.set)
            assert answered.wait(5)

        monkeypatch.setattr("ical.warmup.warm_up", compile_kernels)
        worker = SimpleNamespace(memory_manager=SimpleNamespace(memory_limit=1))
        return await cluster._census(True, worker)

    assert asyncio.run(asked_meanwhile())["memory_limit"] == 1


@pytest.mark.parametrize(("kind", "file", "told"), [
    (errno.ENOSPC, "/data/some", f"No space left on device of {host_name()} (/data/some): make"),
    (errno.ENOSPC, None, f"No space left on device of {host_name()}: make room there"),
    (errno.EDQUOT, "/data/some", f" of {host_name()} (/data/some): make room there"),
    (errno.EACCES, "/data/some", "/data/some")])
def test_whose_disk_is_full_is_told(one_worker, kind, file, told):
    def write():
        raise OSError(kind, os.strerror(kind), file)

    error = PermissionError if kind == errno.EACCES else InputError
    with one_worker.connect() as connected, pytest.raises(error) as caught:
        connected.submit(host_name(), write).result()
    assert told in str(caught.value)
