"""Gains that a term starts from: from a table's axes to the term's intervals, and in the solver."""

from __future__ import annotations

from types import SimpleNamespace

import numpy as np
import pytest

from arl.calibration import chain
from arl.calibration.gains import LINEAR, gain_table, nearest_sample, table_gains
from arl.calibration.normal import reduce
from arl.calibration.solver import solve
from arl.errors import InputError
from arl.io.zarr import write_dataset
from arl.simulation import corrupt, random_gains
from arl.telescope import baselines
from ical.stages.start import known_gains

TIME, FREQUENCY = 10.0 * np.arange(6), 1e8 + 1e6 * np.arange(4)
NAMES = ("a", "b", "c")


def gains(n_time, n_channel, phase=1.0):
    return random_gains(3, np.arange(n_time), np.arange(n_channel), len(NAMES), phase, 0.0)


def test_antennas_are_found_by_name_and_receptors_become_matrices():
    gain = gains(2, 1)
    gain[1, 2] = np.nan
    table = gain_table("T", TIME[:2], NAMES, FREQUENCY[:1], gain)
    found = table_gains(table, ("c", "a"), ())
    np.testing.assert_array_equal(found, gain[:, [2, 0]])
    np.testing.assert_array_equal(table_gains(table, ("b",), LINEAR)[:, 0, 0],
                                  gain[:, 1, 0][:, None, None] * np.eye(2))
    two = gain[..., None, None] * np.array([[1, 0], [0, 2j]])
    diagonal = gain_table("T", TIME[:2], NAMES, FREQUENCY[:1], two)
    np.testing.assert_array_equal(table_gains(diagonal, NAMES[:2], LINEAR), two[:, :2])
    with pytest.raises(InputError, match="there are no gains of 1 antennas"):
        table_gains(table, ("a", "x"), ())
    with pytest.raises(InputError, match="of XX, YY, and the data have RR, LL; give"):
        table_gains(diagonal, NAMES, ("RR", "LL"))


def test_the_nearest_sample_and_none_that_is_far():
    axis = np.array([30.0, 10.0, 20.0])
    assert nearest_sample(axis, np.array([4.0, 11.0, 16.0, 39.0]), "times").tolist() == [1, 1, 2, 0]
    assert nearest_sample(axis[:1], np.array([1e9]), "times").tolist() == [0]
    with pytest.raises(InputError, match="times from 10 to 30, and the data from 5 to 55"):
        nearest_sample(axis, np.array([5.0, 55.0]), "times")


def observed(tmp_path, gain, time=TIME, frequency=FREQUENCY, name="T", products=()):
    write_dataset(gain_table(name, time, NAMES, frequency, gain), tmp_path / "t.zarr")
    setup = SimpleNamespace(antenna_names=NAMES, products=products, time=TIME, frequency=FREQUENCY)
    return known_gains(str(tmp_path / "t.zarr"), name, setup, phase=name == "T")


def test_a_solution_is_the_mean_over_its_interval(tmp_path):
    gain = gains(6, 4, phase=0.3)
    gain[0, 1, :2] = np.nan
    gain[2:4, 2, 2:] = np.nan
    term = chain.TermBlocks("T", "phase", np.repeat([0, 1, 2], 2), np.repeat([0, 1], 2))
    found = observed(tmp_path, gain).on_intervals(term)
    assert found.gain.shape == (3, 2, 3)
    np.testing.assert_allclose(np.abs(found.gain[np.isfinite(found.gain)]), 1.0)
    expected = np.angle(np.nanmean(gain[:2, 1, :2]))
    assert np.angle(found.gain[0, 0, 1]) == pytest.approx(expected)
    assert np.isnan(found.gain[1, 1, 2])
    assert np.isnan(found.snr[1, 1, 2])  # 0 would mean that there are no data
    assert np.isfinite(found.gain).sum() == 17


@pytest.mark.parametrize(("jones", "products"), [("scalar", ()), ("diagonal", LINEAR)])
def test_phases_that_scatter_leave_the_amplitude_of_an_interval(tmp_path, jones, products):
    """A mean of complex numbers of 1 rad would be exp(-1/2) = 0.61 of them."""
    size = np.array([1.0, 2.0, 0.5])[:, None]
    gain = size * gains(6, 4)
    gain[2, 1, 1] = np.nan
    term = chain.TermBlocks("G", "amplitude_phase", np.repeat([0, 1], 3), np.zeros(4, int), jones)
    found = observed(tmp_path, gain, name="G", products=products).on_intervals(term).gain
    both = found if jones == "scalar" else np.diagonal(found, axis1=-2, axis2=-1)[..., 0]
    np.testing.assert_allclose(np.abs(both), np.broadcast_to(size[:, 0], both.shape))
    expected = np.angle(np.nansum(gain[:3, 1]))
    assert np.angle(both[0, 0, 1]) == pytest.approx(expected)
    if jones == "diagonal":
        assert not found[..., 0, 1].any()


def test_elements_of_full_matrices_have_complex_means(tmp_path):
    """Leakages of opposite phases leave none."""
    gain = np.broadcast_to(np.eye(2), (6, 3, 4, 2, 2)).astype(complex)
    gain[..., 0, 1] = 0.1 * np.where(np.arange(6) % 2, 1, -1)[:, None, None]
    term = chain.TermBlocks("G", "amplitude_phase", np.zeros(6, int), np.zeros(4, int), "full")
    found = observed(tmp_path, gain, name="G", products=LINEAR).on_intervals(term).gain
    np.testing.assert_allclose(found, np.broadcast_to(np.eye(2), found.shape), atol=1e-12)


def test_fixed_gains_keep_the_intervals_of_their_table(tmp_path):
    gain = gains(2, 1)
    term = chain.TermBlocks("T", "phase", np.arange(6), np.arange(4))
    fixed, solution = observed(tmp_path, gain, np.array([10.0, 40.0]), FREQUENCY[:1]).as_they_are(
        term)
    expanded = chain.expand(solution, fixed)
    np.testing.assert_array_equal(expanded, np.repeat(np.repeat(gain, 3, axis=0), 4, axis=2))
    part = chain.TermBlocks("T", chain.FIXED, fixed.time_block[4:], fixed.channel_block[:2])
    np.testing.assert_array_equal(chain.expand(chain.restrict(solution, part), part),
                                  expanded[4:, :, :2])


def test_a_fixed_term_is_taken_out_before_the_next_is_solved():
    first, second = baselines(8)
    known = random_gains(1, np.arange(1), np.arange(1), 8, 0.0, 0.2)
    wanted = random_gains(2, np.arange(1), np.arange(1), 8, 1.0, 0.0)
    model = np.full((1, first.size, 1), 2.0, complex)
    vis = corrupt(model, known * wanted, first, second)
    terms = (chain.TermBlocks("B", chain.FIXED, np.zeros(1, int), np.zeros(1, int)),
             chain.TermBlocks("T", "phase", np.zeros(1, int), np.zeros(1, int)))
    cells = chain.refine([t.time_block for t in terms])
    a, b = reduce(vis, model, np.ones(vis.shape), first, second, 8, np.zeros(1, int),
                  np.zeros(1, int))
    given = np.swapaxes(known, 1, 2)
    solved, rest = chain.solve_chain(chain.CellMatrices(a, b, cells, cells), terms, {"B": given},
                                     lambda term, solution: solution.gain, chain.SolverOptions())
    np.testing.assert_array_equal(solved["B"].gain, given)
    turned = solved["T"].gain[0, 0] * np.conj(wanted[0, :, 0])
    np.testing.assert_allclose(turned, turned[0], atol=1e-6)
    assert rest is None
    # what the known gains leave is the wanted ones
    _, rest = chain.solve_chain(chain.CellMatrices(a, b, cells, cells), terms[:1], {"B": given},
                                lambda term, solution: solution.gain, chain.SolverOptions())
    gain = wanted[0, :, 0]
    np.testing.assert_allclose(rest.a[0, 0], rest.b[0, 0] * np.outer(gain, np.conj(gain)),
                               rtol=1e-5)


def test_the_solver_stays_where_it_starts_when_that_is_right():
    first, second = baselines(8)
    true = random_gains(2, np.arange(1), np.arange(1), 8, 1.0, 0.1)
    model = np.full((1, first.size, 1), 2.0, complex)
    a, b = reduce(corrupt(model, true, first, second), model, np.ones(model.shape), first, second,
                  8, np.zeros(1, int), np.zeros(1, int))
    runs = [solve(a, b, mode="amplitude_phase", start=start, tolerance=1e-6, max_iterations=200)
            for start in (None, np.swapaxes(true, 1, 2))]
    assert runs[1].iterations[0, 0] == 1 < runs[0].iterations[0, 0]
