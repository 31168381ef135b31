"""The arithmetic of the benchmarks: paired ratios, the clock of the kernels, sizes of runs."""

import time

import numpy as np
import pytest

from arl import gridding
from benchmarks import inprocess
from benchmarks.bars import Bar
from benchmarks.inprocess import KernelClock
from benchmarks.kernels import in_words as kernel_in_words
from benchmarks.kernels import kernels_alone
from benchmarks.pairs import Ratio, alternate, in_words
from benchmarks.runs import million, varied
from benchmarks.scaling import scaled_runs
from ical.parameters import load
from ical.stages.model import set_up


def test_a_ratio_is_the_median_over_pairs_with_their_range():
    ratio = Ratio.of([1.0, 4.0, 9.0], [2.0, 4.0, 6.0])
    assert (ratio.median, ratio.low, ratio.high, ratio.pairs) == (1.0, 0.5, 1.5, 3)
    assert ratio.spread == 0.5


@pytest.mark.parametrize(("limit", "least", "state"), [
    (1.0, False, "met"), (0.8, False, "within spread"), (0.4, False, "MISSED"),
    (1.0, True, "met"), (1.4, True, "within spread"), (1.6, True, "MISSED")])
def test_a_bar_is_met_or_within_the_spread_or_missed(limit, least, state):
    row = Ratio(1.0, 0.5, 1.5, 3).row("it", limit, least=least)
    assert row["state"] == state
    assert state in in_words(row)


def test_pairs_take_turns_in_going_first():
    order = []
    pairs = list(alternate(3, lambda k: order.append(f"a{k}") or k,
                           lambda k: order.append(f"b{k}") or -k))
    assert order == ["a0", "b0", "b1", "a1", "a2", "b2"]
    assert pairs == [(0, 0), (1, -1), (2, -2)]


def test_the_clock_counts_the_kernels_and_nothing_else(monkeypatch):
    def kernel():
        time.sleep(0.02)
        return "done"

    monkeypatch.setattr(gridding, "vis2dirty", kernel)
    clock = KernelClock()
    with clock.on():
        assert gridding.vis2dirty() == "done"
        time.sleep(0.2)
    gridding.vis2dirty()
    assert clock.calls == {"gridder": 1}
    assert 0.02 <= clock.wall["gridder"] < 0.2
    assert clock.summary()["wall_s"] == clock.wall["gridder"]


def test_every_kernel_that_the_clock_knows_is_there():
    assert {kind for _, _, kind in inprocess.PURE} == {"gridder", "solver", "deconvolver"}
    assert all(callable(getattr(module, name)) for module, name, _ in inprocess.PURE)


def test_a_figure_that_a_report_has_not_got_misses_its_bar():
    judged = Bar("it", lambda report: np.nan, 1.0, "s").judge({})
    assert not judged["met"]
    assert judged["value"] is None


def test_the_run_million_has_a_million_visibilities():
    setup = set_up(million())
    assert setup.time.size * setup.n_baseline * setup.frequency.size > 1e6


@pytest.mark.parametrize("run", [run for runs in scaled_runs().values() for run in runs],
                         ids=lambda run: run.name)
def test_every_scaled_run_can_be_imaged(run):
    """No other grid or array makes an image that the data alias in."""
    assert set_up(run).npixel == run.imaging.npixel


def test_another_size_is_the_same_field():
    field = load("reference").imaging
    other = varied(load("reference"), name="x", npixel=256).imaging
    assert other.npixel * other.cell_rad == pytest.approx(field.npixel * field.cell_rad)


def test_every_kernel_is_timed_and_says_for_how_much():
    rows = kernels_alone(2, 128, 2)
    assert len(rows) == 10
    for row in rows:
        assert 0 < row["cpu_s"]["low"] <= row["cpu_s"]["median"] <= row["cpu_s"]["high"]
        assert row["cpu_ns_each"] == pytest.approx(row["cpu_s"]["median"] / row["size"] * 1e9)
        assert row["unit"] in kernel_in_words(row)


def test_the_axes_of_scaling_differ_in_one_thing():
    for axis, runs in scaled_runs().items():
        setups = [set_up(run) for run in runs]
        count = [s.time.size * s.n_baseline * s.frequency.size for s in setups]
        if axis == "visibilities":
            assert count == sorted(count)
            assert count[-1] > 7 * count[0]
        else:
            assert max(count) < 1.3 * min(count)
        assert len({s.npixel for s in setups}) == (len(runs) if axis == "pixels" else 1)
