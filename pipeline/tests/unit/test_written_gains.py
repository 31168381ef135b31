"""Gain tables at the end of self-calibration: what is in them, and what the driver holds."""

from __future__ import annotations

import gc
import weakref
from types import SimpleNamespace

import numpy as np
import pytest

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
