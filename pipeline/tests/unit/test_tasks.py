"""Tasks that choose between two ways: both give the same."""

from dataclasses import replace

import numpy as np
import pytest

from arl import weighting
from arl.conventions import C
from benchmarks.inprocess import InProcess
from ical import tasks
from ical.data import PartitionData
from ical.imager import Imager
from ical.partitions import make_plan


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
    monkeypatch.setattr(tasks, "_is_faster_direct", lambda *_: True)
    direct = tasks._predict(partition, model, grid)
    monkeypatch.setattr(tasks, "_is_faster_direct", lambda *_: False)
    gridded = tasks._predict(partition, model, grid)
    assert direct.dtype == gridded.dtype == np.complex64
    assert direct.shape == gridded.shape == partition.vis.shape
    np.testing.assert_allclose(direct, gridded, atol=1e-5 * max(1.0, np.abs(model).sum()))


@pytest.mark.parametrize("scheme", ["natural", "uniform"])
def test_a_taper_acts_on_the_weights_of_the_scheme(partition, scheme):
    """With the taper: the weights of the same grid without it, times its Gaussian."""
    grid = tasks.Grid(128, 4e-3, 1e-4, scheme, 0.0, None, None)
    density = None if scheme == "natural" else weighting.uv_density(
        partition.uvw, partition.frequency, partition.weight, npixel=128, cell=4e-3)
    plain = tasks._imaging_weight(partition, partition.weight, grid, density)
    found = tasks._imaging_weight(partition, partition.weight, replace(grid, taper=0.02), density)
    q2 = (partition.uvw[..., :2] ** 2).sum(-1)[..., None] * (partition.frequency / C) ** 2
    np.testing.assert_allclose(found, plain * np.exp(-q2 * (np.pi * 0.02) ** 2 / np.log(16)),
                               rtol=1e-5)
    assert grid.natural == (scheme == "natural")
    assert not replace(grid, taper=0.02).natural


@pytest.mark.parametrize("count", [1, 2, 9])
def test_images_added_a_few_at_a_time_are_the_weighted_mean(count):
    """The same bits as all at once, in order; and the two of a pair are kept apart."""
    generator = np.random.default_rng(count)
    parts = [tasks.PartialImage(generator.normal(size=(4, 4)).astype(np.float32), float(w))
             for w in generator.uniform(1, 5, count)]
    so_far = None
    for first in range(0, count, 4):
        so_far = tasks.add_pairs(so_far, [(p, replace(p, weight=1.0))
                                          for p in parts[first:first + 4]], first + 4 >= count)
    mean = sum(p.image.astype(float) for p in parts) / sum(p.weight for p in parts)
    np.testing.assert_array_equal(so_far[0].image, mean.astype(np.float32))
    assert so_far[0].weight == pytest.approx(sum(p.weight for p in parts))
    assert so_far[1].weight == count
    at_once = tasks.add_images(None, parts, True)
    np.testing.assert_array_equal(so_far[0].image, at_once.image)


def test_one_point_spread_function_serves_all_columns_of_the_same_weights(monkeypatch):
    made, image = [], tasks.PartialImage(np.ones((4, 4), np.float32), 1.0)
    monkeypatch.setattr(tasks, "dirty_and_psf", lambda *_: made.append("both") or (image, image))
    monkeypatch.setattr(tasks, "dirty", lambda *_: made.append("dirty") or image)
    plan, cluster = make_plan(1, 1, 1, 1, ["here"]), InProcess()
    grid = tasks.Grid(4, 4e-3, 1e-4, "natural", 0.0, None, None)

    def psf(path, column, grid):
        sources = {p.name: tasks.Source(path, column) for p in plan.partitions}
        return Imager(cluster, plan, sources, grid, False).dirty_and_psf()[1]

    first = psf("run", "IDEAL", grid)
    assert psf("run", "VISIBILITY", grid) is first
    assert made == ["both", "dirty"]
    psf("another run", "VISIBILITY", grid)
    psf("another run", "VISIBILITY", replace(grid, min_baseline=50.0))
    assert made == ["both", "dirty", "both", "both"]
