"""Tasks that choose between two ways: both give the same."""

import weakref
from collections import Counter
from dataclasses import replace

import numpy as np
import pytest

from arl import weighting
from arl.calibration import chain
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


@pytest.mark.parametrize(("scheme", "taper"), [
    ("natural", None), ("natural", 0.02), ("uniform", None), ("briggs", 0.02)])
def test_the_noise_of_an_image_is_known_with_all_weights(partition, scheme, taper, monkeypatch):
    """The mean square of images of noise alone, of visibilities of unlike weights."""
    generator = np.random.default_rng(4)
    own = generator.uniform(0.5, 4.0, partition.vis.shape).astype(np.float32)
    grid = tasks.Grid(128, 4e-3, 1e-4, scheme, 0.0, taper, None)
    density = None if scheme == "natural" else weighting.uv_density(
        partition.uvw, partition.frequency, own, npixel=128, cell=4e-3)
    square = []
    for _ in range(20):
        noise = generator.normal(size=(2, *own.shape)) * 0.3 / np.sqrt(own)
        data = replace(partition, vis=(noise[0] + 1j * noise[1]).astype(np.complex64), weight=own)
        monkeypatch.setattr(tasks, "load", lambda *_, data=data: data)
        image, psf = (tasks.add_images(None, [part], True) for part in tasks.dirty_and_psf(
            tasks.Source("", ""), grid, density))
        square.append(np.mean(np.square(image.image)))
    expected = 0.3 * np.sqrt(psf.variance) / psf.weight
    assert np.sqrt(np.mean(square)) == pytest.approx(expected, rel=0.03)


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


@pytest.mark.parametrize("count", [1, 3, 9])
def test_passes_added_a_few_at_a_time_have_the_matrices_of_all_times(uvw, pairs, count):
    """Those of a term that spans all partitions, against the same reduction of whole data."""
    generator = np.random.default_rng(count)
    n_time = uvw.shape[0]
    drawn = generator.normal(size=(2, count * n_time, uvw.shape[1], 2, 2))
    vis, model = drawn.view(complex)[..., 0].astype(np.complex64)
    weight = generator.uniform(1, 2, vis.shape).astype(np.float32)

    def reduced(times):
        term = chain.TermBlocks("G", "amplitude_phase", np.arange(count * n_time)[times] // 5,
                                np.arange(2))
        return chain.reduce_terms(vis[times], model[times], weight[times], *pairs, 17, [term])

    parts = [[tasks.PassResult({}, reduced(slice(k * n_time, (k + 1) * n_time)), None)]
             for k in range(count)]
    so_far = None
    for first in range(0, count, 4):
        so_far = tasks.add_passes(so_far, parts[first:first + 4], first + 4 >= count)
    found, whole = so_far[0].matrices, reduced(slice(None))
    np.testing.assert_allclose(found.a, whole.a, rtol=1e-5, atol=1e-4)
    np.testing.assert_allclose(found.b, whole.b, rtol=1e-5)
    assert so_far[0].image is None
    assert len(so_far[0].solutions) == count


def test_no_part_of_a_band_is_held_on_to_once_it_is_to_be_added(monkeypatch):
    """A future keeps its result in a worker: when the sum is waited for there must be none."""
    parts, alive_when_waiting = [], []

    class Watching(InProcess):
        def submit(self, host, function, *arguments, held=None):
            part = super().submit(host, function, *arguments)
            if function is tasks.residual:
                parts.append(weakref.ref(part))
            return part

        def gather(self, futures):
            alive_when_waiting.append(sum(part() is not None for part in parts))
            return super().gather(futures)

    monkeypatch.setattr(tasks, "residual", lambda source, *_: tasks.PartialImage(
        np.full((4, 4), float(source.path), np.float32), 1.0))
    plan = make_plan(40, 1, 2_000_000, 1, ["here"])
    sources = {p.name: tasks.Source(str(k), "IDEAL") for k, p in enumerate(plan.partitions)}
    grid = tasks.Grid(4, 4e-3, 1e-4, "natural", 0.0, None, None)
    found = Imager(Watching(), plan, sources, grid, False).residual(np.zeros((1, 4, 4)), {})
    np.testing.assert_allclose(found.image, np.mean(np.arange(40)))
    assert len(parts) == 40
    assert alive_when_waiting == [0]


class Watching(InProcess):
    """Counts what is submitted, and keeps an eye on the parts, not a hand."""

    def __init__(self):
        super().__init__()
        self.submitted, self.parts = Counter(), []

    def submit_anywhere(self, function, *arguments):
        self.submitted[function.__name__] += 1
        done = super().submit_anywhere(function, *arguments)
        self.parts += [weakref.ref(done)] * (function.__name__ == "density")
        return done


def density_by_hand(data, npixel, cell):
    """The sum of weights in each uv cell, sample by sample; conjugates share a cell."""
    total = np.zeros((npixel, npixel))
    for c, frequency in enumerate(data.frequency):
        u, v = (data.uvw[..., :2] * frequency / C * npixel * cell).reshape(-1, 2).T
        turned = np.where((v < 0) | ((v == 0) & (u < 0)), -1, 1)
        i, k = (np.floor(x * turned + 0.5).astype(int) + npixel // 2 for x in (u, v))
        inside = (i >= 0) & (i < npixel) & (k >= 0) & (k < npixel)
        np.add.at(total, (i[inside], k[inside]), data.weight[..., c].ravel()[inside])
    return total


@pytest.mark.parametrize(("joint", "sums"), [(True, 5), (False, 2 * 3)])
def test_density_is_the_sum_over_partitions_made_once_and_a_few_at_a_time(
    partition, monkeypatch, joint, sums
):
    """Two bands of nine partitions each, of different weights and frequencies."""
    plan = make_plan(9, 1, 4_000_000, 2, ["here"])
    assert [len(plan.of_band(b)) for b in (0, 1)] == [9, 9]
    generator, data = np.random.default_rng(4), {}
    for p in plan.partitions:
        weight = generator.uniform(1, 2, partition.weight.shape).astype(np.float32)
        data[p.name] = replace(partition, weight=weight, frequency=np.array([90e6, 100e6])
                               + 2e7 * p.band)
    monkeypatch.setattr(tasks, "load", lambda path, column: data[path])
    grid = tasks.Grid(64, 4e-3, 1e-4, "uniform", 0.0, None, None)
    cluster = Watching()
    sources = {name: tasks.Source(name, "VISIBILITY") for name in data}
    imager = Imager(cluster, plan, sources, grid, joint)
    assert cluster.submitted == {"density": 18, "add_grids": sums}
    assert not any(part() for part in cluster.parts)
    by_hand = [sum(density_by_hand(data[p.name], 64, 4e-3) for p in plan.of_band(b))
               for b in (0, 1)]
    for p in plan.partitions:
        true = sum(by_hand) if joint else by_hand[p.band]
        np.testing.assert_allclose(imager.density_of(p).result(), true, rtol=1e-6)
    one, other = (imager.density_of(plan.of_band(b)[0]) for b in (0, 1))
    assert (one is other) == joint


@pytest.mark.parametrize("count", [1, 2, 9])
def test_grids_are_added_without_changing_any_of_them(count):
    """A task may be run again, on what it was given the first time."""
    parts = list(np.random.default_rng(count).normal(size=(count, 4, 4)))
    kept, so_far = [p.copy() for p in parts], None
    for first in range(0, count, 4):
        before = None if so_far is None else so_far.copy()
        found = tasks.add_grids(so_far, parts[first:first + 4], first + 4 >= count)
        assert before is None or np.array_equal(so_far, before)
        so_far = found
    np.testing.assert_allclose(so_far, sum(kept), rtol=1e-12)
    np.testing.assert_array_equal(parts, kept)


def test_a_band_of_one_partition_has_its_grid_as_it_is(partition, monkeypatch):
    plan, cluster = make_plan(1, 1, 1, 1, ["here"]), Watching()
    monkeypatch.setattr(tasks, "load", lambda path, column: partition)
    grid = tasks.Grid(64, 4e-3, 1e-4, "briggs", 0.0, None, None)
    Imager(cluster, plan, {p.name: tasks.Source("a", "B") for p in plan.partitions}, grid, False)
    assert cluster.submitted == {"density": 1}


def test_a_partition_without_weight_tells_nothing_of_its_stations(partition, monkeypatch):
    source = tasks.Source("p", "VISIBILITY")
    flagged = replace(partition, weight=np.zeros_like(partition.weight))
    monkeypatch.setattr(tasks, "load", lambda *_: flagged)
    np.testing.assert_array_equal(tasks.station_information(source, None, None, None), 0)
