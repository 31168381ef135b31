"""What travels between hosts, as Dask's log tells it and as it is told by cycle."""

import numpy as np
import pytest
from dask.sizeof import sizeof

from ical import tasks, traffic


class Client:
    """Answers as the workers of two hosts would."""

    def __init__(self, logs):
        self.logs = logs

    def run(self, function, since):
        return self.logs


def test_what_stays_on_a_host_is_not_counted():
    client = Client({
        "tls://1": ("north", [(5.0, "tls://2", {"add-1": 10}), (6.0, "tls://3", {"add-2": 100})]),
        "tls://2": ("north", []),
        "tls://3": ("south", [(7.0, "tls://scheduler", {"clean-1": 1000})]),
    })
    assert traffic.total(traffic.between_hosts(client, 0.0)) == {"clean": 1000, "add": 100}


def test_each_cycle_has_what_travelled_within_it():
    sizes = {1: 1, 4: 20, 5: 300, 9: 4000}
    moved = [traffic.Transfer(t, "add", size) for t, size in sizes.items()]
    assert traffic.by_cycle(moved, 0.0, {3: 4.0, 4: 6.0}) == {3: 1, 4: 320}


def test_the_size_of_what_tasks_return_is_that_of_its_arrays():
    image = tasks.PartialImage(np.zeros((64, 64), np.float32), 1.0)
    result = tasks.PassResult({}, None, image)
    for item in (image, result, [result, result]):
        count = len(item) if isinstance(item, list) else 1
        assert sizeof(item) == pytest.approx(count * image.image.nbytes, rel=0.1)


def test_what_goes_with_a_task_is_counted():
    model = np.zeros((64, 64), np.float32)
    sent = traffic.sent_with([model, tasks.PartialImage(model, 1.0)])
    assert sent.kind == traffic.ARGUMENTS
    assert sent.size == pytest.approx(2 * model.nbytes, rel=0.1)
