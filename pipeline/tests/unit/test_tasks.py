"""Tasks that choose between two ways: both give the same."""

import numpy as np
import pytest

from ical import tasks
from ical.data import PartitionData


@pytest.fixture
def partition(uvw, pairs):
    shape = (*uvw.shape[:2], 2)
    return PartitionData(
        np.arange(uvw.shape[0], dtype=float), np.array([90e6, 100e6]), uvw,
        np.zeros(shape, np.complex64), np.ones(shape, np.float32), *pairs, ("a",) * 17, (0.0, 0.0))


@pytest.mark.parametrize("count", [0, 1, 40])
def test_few_pixels_are_predicted_as_many_are(partition, count, monkeypatch):
    generator = np.random.default_rng(count)
    model = np.zeros((128, 128), np.float32)
    model[tuple(generator.integers(0, 128, (2, count)))] = generator.uniform(0.1, 3.0, count)
    grid = tasks.Grid(128, 4e-3, 1e-5, "natural", 0.0, None, None)
    direct = tasks._predict(partition, model, grid)
    monkeypatch.setattr(tasks, "MOST_DIRECT", -1)
    gridded = tasks._predict(partition, model, grid)
    assert direct.dtype == gridded.dtype == np.complex64
    assert direct.shape == gridded.shape == partition.vis.shape
    np.testing.assert_allclose(direct, gridded, atol=1e-5 * max(1.0, np.abs(model).sum()))
