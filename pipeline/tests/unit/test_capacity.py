"""What does not fit is refused before it starts, in a sentence that says what to change."""

from __future__ import annotations

import json
from dataclasses import replace

import pytest

from arl.errors import InputError
from ical import cli
from ical.capacity import Capacity, WorkerRoom, free_bytes, require_disk, require_memory, survey
from ical.cluster import connect
from ical.forecast import Forecast, Stage
from ical.parameters import load

GB = 10**9
PREDICTED = Forecast(
    workers=4, threads=1, visibilities=10**8, partitions=5, bands=4, npixel=1024,
    memory_per_worker=2 * GB, memory_driver=GB, memory_total=9 * GB, disk=11 * GB,
    disk_visibilities=10 * GB, tasks=100, seconds=60.0, stages={"model": Stage(5, 60.0)})
#: Two hosts of two workers each, the driver on the first.
ROOM = Capacity(tuple(WorkerRoom(h, 1, 3 * GB, 6 * GB, 8 * GB) for h in ("a", "a", "b", "b")),
                "a", 2 * GB, 2 * GB)


def roomy(**changes) -> Capacity:
    """The cluster with other workers."""
    return replace(ROOM, workers=tuple(replace(w, **changes) for w in ROOM.workers))


def test_what_fits_is_let_through():
    require_memory(PREDICTED, ROOM)
    require_disk(PREDICTED, ROOM)


@pytest.mark.parametrize(("capacity", "words"), [
    (roomy(memory=int(1.9 * GB)), ["needs 2 GB of memory in a worker on a", "are 1.9 GB",
                                   "imaging.npixel (1024)", "resources.memory_limit"]),
    (replace(ROOM, driver_memory=GB - 1), ["1 GB of memory in the process that leads",
                                           "dask_scheduler_memory"]),
    # two workers and the driver on a: 5 GB
    (roomy(machine=int(4.9 * GB)), ["5 GB of memory on a", "fewer than its 2 workers"]),
])
def test_memory_that_is_short_is_refused(capacity, words):
    with pytest.raises(InputError) as refused:
        require_memory(PREDICTED, capacity)
    assert all(w in str(refused.value) for w in words)
    assert str(refused.value).count(". ") == 0


def test_the_driver_counts_on_its_own_host_only():
    require_memory(PREDICTED, replace(roomy(machine=int(4.9 * GB)), driver_host="c"))


def test_disk_that_is_short_is_refused():
    """One host owns 3 of 5 partitions: 6 GB; the driver's has 1 GB of images besides."""
    require_disk(PREDICTED, roomy(disk=7 * GB))
    with pytest.raises(InputError, match=r"7 GB of disk on a, and there are 6.9 GB.*--data"):
        require_disk(PREDICTED, roomy(disk=int(6.9 * GB)))
    with pytest.raises(InputError, match=r"on a, .*imaging\.npixel"):  # its images are there, too
        require_disk(PREDICTED, roomy(disk=int(6.9 * GB)))
    with pytest.raises(InputError, match=r"disk on b, .*more hosts that share them\.$"):
        require_disk(PREDICTED, replace(ROOM, workers=tuple(
            replace(w, disk=5 * GB) if w.host == "b" else w for w in ROOM.workers)))
    with pytest.raises(InputError, match=r"1 GB of disk for its results.*make room.*--results"):
        require_disk(PREDICTED, replace(ROOM, driver_disk=GB - 1))


def test_free_space_of_a_folder_that_is_not_there_yet(tmp_path):
    there = free_bytes(str(tmp_path))
    assert free_bytes(str(tmp_path / "a" / "b")) == pytest.approx(there, rel=0.01)


def test_a_run_tells_its_forecast_and_is_refused_where_it_does_not_fit(tmp_path, capsys):
    """With 200 MB a worker does not even hold its libraries."""
    run = tmp_path / "run.yml"
    data = load("tiny").to_dict()
    data["resources"] = {"workers": 1, "threads": 1, "memory_limit": "200 MB"}
    run.write_text(json.dumps(data))
    assert cli._run_cli(["model", str(run), "--name", "x", "--results", str(tmp_path)]) == 2
    shown = capsys.readouterr()
    told = [json.loads(line) for line in shown.out.splitlines()]
    assert [e["event"] for e in told] == ["stage_start", "forecast", "stage_end", "error"]
    assert told[1]["forecast"]["visibilities"] == 2040
    assert "MB of memory in a worker" in shown.err
    assert not (tmp_path / "x" / "visibilities").exists()
    kept = json.loads((tmp_path / "x" / "forecast.json").read_text())
    assert kept["forecast"] == told[1]["forecast"]


def test_the_cluster_is_asked_for_its_room(tmp_path):
    with connect(None, workers=1, threads=1, memory_limit="1 GB") as cluster:
        found = survey(cluster, tmp_path, tmp_path)
    (worker,) = found.workers
    assert 0.5 * GB < worker.memory < GB < worker.machine
    assert worker.host == found.driver_host
    assert found.resources.workers == 1
