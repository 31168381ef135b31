"""Gain tables at the end of self-calibration: what is in them, and what the driver holds."""

from __future__ import annotations

import gc
import weakref
from types import SimpleNamespace

import numpy as np
import pytest

from arl.io.zarr import read_dataset
from ical.partitions import Partition, Plan
from ical.stages import run

TIME, NAMES, FREQUENCY = np.arange(4.0), ("a", "b", "c"), 1e8 + 1e6 * np.arange(5)
#: Channel 2 has no data; the first band has two blocks of times.
PLAN = Plan(((0, 2), (3, 5)), (
    Partition("one", 0, (0, 2), (0, 3), "h"), Partition("two", 0, (0, 2), (3, 4), "h"),
    Partition("three", 1, (3, 5), (0, 4), "h")))
SETUP = SimpleNamespace(time=TIME, antenna_names=NAMES, frequency=FREQUENCY, products=(),
                        antenna_positions=np.zeros((3, 3)), phase_centre=(0.0, 0.0))


class Gains:
    """Those of a term are known by their number; what is handed out is followed."""

    def __init__(self, matrix: tuple[int, ...] = ()) -> None:
        self.matrix, self.alive = matrix, []

    def gains(self, solutions, terms):
        found = {p.name: [np.full((p.times[1] - p.times[0], 3, p.channels[1] - p.channels[0],
                                   *self.matrix), 10.0 * p.channels[0] + p.times[0] + 1j * k)
                          for k, _ in enumerate(terms)] for p in PLAN.partitions}
        self.alive += [weakref.ref(g) for own in found.values() for g in own]
        return found

    def without_data(self, solutions, term):
        return {name: [own[0].reshape(*own[0].shape[:3], -1)[..., 0].real > 20]
                for name, own in self.gains(solutions, term).items()}

    def intervals(self, name, channels):
        return [1, channels.size]

    @property
    def held(self):
        gc.collect()
        return sum(g() is not None for g in self.alive)


@pytest.mark.parametrize("matrix", [(), (2, 2)])
def test_partitions_are_put_together_on_the_channels_in_use(matrix):
    cube = run._whole_cube(PLAN, SETUP, Gains(matrix).gains(None, "T"))
    assert cube.shape == (4, 3, 4, *matrix)
    flat = cube.reshape(4, 3, 4, -1)[:, 1, :, -1].real
    np.testing.assert_array_equal(flat, [[0, 0, 30, 30]] * 3 + [[3, 3, 30, 30]])


def test_tables_are_written_term_by_term(tmp_path, monkeypatch):
    """While one is written no other term's gains are held, nor its own but in the table."""
    terms, cubes, held = Gains(), [], []
    whole_cube = run._whole_cube

    def followed(*arguments):
        cubes.append(weakref.ref(found := whole_cube(*arguments)))
        return found

    def look(*arguments):
        held.append((terms.held, sum(c() is not None for c in cubes)))

    monkeypatch.setattr(run, "_whole_cube", followed)
    monkeypatch.setattr(run, "write_h5parm", look)
    monkeypatch.setattr(run, "fit_beams", lambda *arguments: [])
    monkeypatch.setattr(run, "_quality", lambda *arguments: {})
    monkeypatch.setattr(run.files, "ImageFiles", lambda *arguments: SimpleNamespace(
        write_all=lambda *images: None))
    sent = []
    imager = SimpleNamespace(
        plan=PLAN, grid=SimpleNamespace(cell=1e-3), cluster=SimpleNamespace(threads=1),
        write_corrected=lambda gains: sent.append({n: len(g) for n, g in gains.items()}))
    result = SimpleNamespace(terms="TGB", solutions={}, **dict.fromkeys(
        ("dirty", "psf", "model", "residual")))
    context = SimpleNamespace(store=SimpleNamespace(stage_folder=lambda stage: tmp_path))
    run._write_selfcal(context, imager, SETUP, None, SimpleNamespace(terms=terms), result)
    assert held == [(0, 1)] * 3
    assert sent == [{"one": 3, "two": 3, "three": 3}]
    assert {p.name for p in tmp_path.iterdir()} == {f"gains_{t}.zarr" for t in "TGB"}


@pytest.mark.parametrize("matrix", [(), (2, 2)])
def test_a_table_tells_gains_without_data_from_others_that_are_flagged(
        tmp_path, monkeypatch, matrix):
    """All of the second band have none; of the first, one antenna is flagged for another reason,
    and the others' gains are good, as one that smoothing has filled is."""
    monkeypatch.setattr(run, "write_h5parm", lambda *arguments: None)
    terms = Gains(matrix)
    cube = np.ones((4, 3, 4, *matrix), complex)
    cube[:, 1, :2], cube[:, :, 2:], cube[0, 0, 2] = np.nan, np.nan, 1.0
    context = SimpleNamespace(store=SimpleNamespace(stage_folder=lambda stage: tmp_path))
    run._write_gains(context, PLAN, SETUP if not matrix else SimpleNamespace(
        **vars(SETUP) | {"products": ("XX", "XY", "YX", "YY")}),
        SimpleNamespace(terms=terms), {}, "G", cube)
    with read_dataset(tmp_path / "gains_G.zarr") as table:
        flag, no_data = table["FLAG"].values, table["NO_DATA"].values
    expected = np.zeros((4, 3, 4), bool)
    expected[:, :, 2:] = True
    expected[0, 0, 2] = False
    assert no_data.shape == flag.shape
    for receptor in range(flag.shape[-1]):
        np.testing.assert_array_equal(no_data[..., receptor], expected)
        np.testing.assert_array_equal((flag & ~no_data)[..., receptor].sum(), 4 * 2)
