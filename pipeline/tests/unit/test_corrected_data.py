"""Corrected visibilities with their weights and flags, as the stores keep them."""

from __future__ import annotations

import numpy as np
import pytest

from arl.io.zarr import read_dataset, write_dataset
from arl.telescope import baselines
from arl.visibility import Frame, make_visibility, stokes_i
from ical import tasks

N, N_TIME, N_CHANNEL, FLUX, DEAD = 5, 300, 2, 3.0, 2
FIRST, SECOND = baselines(N)
LINEAR = {1: ("I",), 2: ("XX", "YY"), 4: ("XX", "XY", "YX", "YY")}
#: The rms of each correlation's noise: their weights are not alike.
SIGMA = np.array([[0.5, 1.0], [2.0, 0.8]])
GOOD = (FIRST != DEAD) & (SECOND != DEAD)


def gains_of(products: int) -> np.ndarray:
    """Gains (ant,) or Jones matrices (ant, 2, 2), those of two products diagonal."""
    noise = np.random.default_rng(3).normal(size=(2, N, 2, 2))
    jones = np.eye(2) + 0.4 * (noise[0] + 1j * noise[1])
    if products == 4:
        return jones
    return jones[:, 0, 0] if products == 1 else jones * np.eye(2)


def observe(path, products: int) -> np.ndarray:
    """A point source seen with these gains and noise in a store, antenna 2's sample at time 0 and
    channel 1 flagged; returns the gains."""
    gains = gains_of(products)
    noise = np.random.default_rng(4).normal(size=(2, N_TIME, FIRST.size, N_CHANNEL, 2, 2))
    noise = (noise[0] + 1j * noise[1]) * SIGMA / np.sqrt(2)
    jones = gains if products > 1 else gains[:, None, None] * np.eye(2)
    vis = noise + (FLUX * jones[FIRST] @ np.conj(jones[SECOND].swapaxes(1, 2)))[:, None]
    kept = {1: [0], 2: [0, 3], 4: [0, 1, 2, 3]}[products]
    vis, weight = (np.broadcast_to(x, vis.shape).reshape(*vis.shape[:3], 4)[..., kept].copy()
                   for x in (vis, SIGMA ** -2))
    flag = np.zeros(vis.shape, bool)
    flag[0, 0, 1] = True
    vis[flag] = weight[flag] = 0  # as `arl.io.measurement_set.read` leaves them
    frame = Frame(1.5e9 + np.arange(N_TIME), 1.0, np.array([1e8, 1.01e8]), 1e6,
                  np.ones((N_TIME, FIRST.size, 3)), FIRST, SECOND, tuple("abcde"), (0.5, -1.0),
                  "simulated", np.ones(N_TIME, int), "TOPO", "LOWBD2")
    write_dataset(make_visibility(frame, vis.astype(np.complex64), weight.astype(np.float32), flag,
                                  LINEAR[products]), path)
    return gains


@pytest.fixture(params=[1, 2, 4])
def corrected(request, tmp_path):
    """What the data group names, (time, baseline, chan, pol), the gains of one antenna flagged from
    time 100 on; and the number of bytes that the task tells."""
    path = tmp_path / f"{request.param}.zarr"
    gains = np.repeat(observe(path, request.param)[None], N_TIME, axis=0)
    gains[100:, DEAD] = np.nan
    whole = np.repeat(np.expand_dims(gains, 2), N_CHANNEL, axis=2)
    told = tasks.write_corrected(tasks.Source(str(path), "VISIBILITY"), [whole])
    dataset = read_dataset(path)
    group = dataset.attrs["data_groups"]["corrected"]
    found = {kind: dataset[group[kind]].values for kind in ("correlated_data", "weight", "flag")}
    return found, told, dataset


def test_baselines_of_a_flagged_gain_are_flagged(corrected):
    found, told, dataset = corrected
    expected = np.zeros(found["flag"].shape, bool)
    expected[100:, ~GOOD] = True
    expected[0, 0, 1] = True  # as observed
    np.testing.assert_array_equal(found["flag"], expected)
    np.testing.assert_array_equal(found["weight"] == 0, expected)
    assert not found["correlated_data"][expected].any()
    assert told == sum(x.nbytes for x in found.values())
    assert not dataset["FLAG"].values[100:].any()  # the observed ones stay what they are


def test_weights_are_those_of_the_noise_that_the_gains_leave(corrected):
    """The inverse mean square, over 300 times and 2 channels, of what is not the source."""
    found, *_ = corrected
    parallel = np.array({1: [1], 2: [1, 1], 4: [1, 0, 0, 1]}[found["flag"].shape[-1]])
    square = np.abs(found["correlated_data"] - FLUX * parallel)[:, GOOD, 0] ** 2
    rms = np.sqrt(square.mean(axis=0))
    np.testing.assert_allclose(rms, found["weight"][5, GOOD, 0] ** -0.5, rtol=0.15)
    np.testing.assert_allclose(np.mean(rms * found["weight"][5, GOOD, 0] ** 0.5), 1, rtol=0.02)


@pytest.mark.parametrize("corrected", [1, 2], indirect=True)
def test_weights_of_gains_of_each_receptor_rise_with_the_square_of_both(corrected):
    found, _, dataset = corrected
    products = found["flag"].shape[-1]
    gains = gains_of(products)
    size = np.abs(gains if products == 1 else gains[:, [0, 1], [0, 1]]).reshape(N, products)
    for k, (p, q) in enumerate(zip(FIRST, SECOND, strict=True)):
        expected = dataset["WEIGHT"].values[:100, k] * size[p] ** 2 * size[q] ** 2
        np.testing.assert_allclose(found["weight"][:100, k], expected, rtol=1e-5)


def test_the_mean_of_corrected_data_is_the_flux_of_the_source(corrected):
    """Zeros with a weight would take from it: 4 baselines of 10 for two thirds of the time."""
    vis, weight = stokes_i(corrected[2], "VISIBILITY_CORRECTED")
    assert np.average(vis, weights=weight) == pytest.approx(FLUX, rel=0.03)
