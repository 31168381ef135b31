"""The scheduler dies inside a cycle of ICAL and starts elsewhere: the same image comes out."""

from __future__ import annotations

import json
import socket
import subprocess
import sys
from contextlib import ExitStack, contextmanager

import numpy as np
import pytest

from arl.io.fits import read_image
from ical.cluster import data_resource
from ical.metrics import host_name

pytestmark = pytest.mark.integration

TOLERANCE = 1e-5


def free_port():
    """A port that nobody listens on."""
    with socket.socket() as found:
        found.bind(("127.0.0.1", 0))
        return found.getsockname()[1]


@contextmanager
def process(*command):
    """A process that is killed at the end, if it is still there."""
    with subprocess.Popen([sys.executable, "-m", *command], stdout=subprocess.PIPE,
                          stderr=subprocess.DEVNULL, text=True) as started:
        try:
            yield started
        finally:
            started.kill()


@contextmanager
def scheduler_and_worker(port):
    """A scheduler at a port, and a worker of it that has this host's data."""
    resource = f"{data_resource(host_name())}=1000"
    with process("dask", "scheduler", "--host", "127.0.0.1", "--port", str(port),
                 "--no-dashboard") as scheduler, process(
            "dask", "worker", f"tcp://127.0.0.1:{port}", "--no-nanny", "--nthreads", "1",
            "--no-dashboard", "--resources", resource, "--death-timeout", "60"):
        yield scheduler


def ical(folder, *options):
    """The run `tiny`, started."""
    return process("ical.cli", "run", "tiny", "--results", str(folder), "--name", "run", *options)


def image_of(folder):
    """Its restored image."""
    return read_image(folder / "run" / "selfcal" / "restored_combined.fits")[0]


def test_a_scheduler_that_moves_is_found_again(tmp_path):
    with ical(tmp_path / "undisturbed", "--workers", "1") as run:
        assert run.wait() == 0
    ports = free_port(), free_port()
    with ExitStack() as stack:
        scheduler = stack.enter_context(scheduler_and_worker(ports[0]))
        run = stack.enter_context(ical(
            tmp_path / "moved", "--scheduler", f"tcp://127.0.0.1:{ports[0]}",
            "--by-name", f"tcp://127.0.0.1:{ports[1]}"))
        events = map(json.loads, run.stdout)
        assert any(e.get("stage") == "selfcal" and e.get("cycle") == 1 for e in events)
        scheduler.kill()
        stack.enter_context(scheduler_and_worker(ports[1]))
        told = [e.get("message", "") for e in events if e["event"] == "warning"]
        assert run.wait() == 0
    assert "the Dask scheduler was lost, and found where it moved to" in told
    whole, again = image_of(tmp_path / "undisturbed"), image_of(tmp_path / "moved")
    assert np.abs(again - whole).max() <= TOLERANCE * np.abs(whole).max()
