"""What a user is told of the solution intervals that were chosen for him, and of those he gave."""

from __future__ import annotations

import json

import numpy as np
import pytest
from small_field import CELL, CENTRE, FLUX, NPIXEL, seen, small_array
from small_runs import perform
from written_ms import all_rows, write_ms

from ical.stages.report import write

pytestmark = pytest.mark.integration

#: Samples so far apart that fringes and gains change between them in time and in frequency.
TIME, FREQUENCY = 1.5e9 + 2880.0 * np.arange(6), np.array([95e6, 100e6, 105e6])


@pytest.fixture(scope="module")
def folder(tmp_path_factory):
    """Two sources without noise, phases of every station and channel wrong by 0.7 rad (rms)."""
    folder = tmp_path_factory.mktemp("sparse")
    array = small_array(np.linspace(-30, 30, TIME.size))
    first, second = array.pairs
    phase = np.random.default_rng(3).normal(scale=0.7, size=(array.n_antenna, FREQUENCY.size))
    vis = seen(array, FREQUENCY) * np.exp(1j * (phase[first] - phase[second]))
    write_ms(folder / "a.ms", all_rows(array.uvw, TIME, array.pairs, vis[..., None]), FREQUENCY,
             correlations=("I",), n_antenna=array.n_antenna, phase_centre=CENTRE)
    return folder


def calibrated(folder, cluster, name, **selfcal):
    """The report of a run."""
    store = perform(folder, {
        "input": {"measurement_set": "a.ms"},
        "imaging": {"npixel": NPIXEL, "cell_rad": CELL, "clean": {"scales": [0]}},
        "selfcal": {"terms": "T", "cycles": 4, **selfcal},
    }, cluster, name)
    write(store.folder)
    return json.loads((store.folder / "report.json").read_text())


def test_bright_data_that_look_faint_are_not_joined_in_silence(one_worker, folder):
    report = calibrated(folder, one_worker, "automatic")
    assert report["quality"]["selfcal"]["restored_peak_jy"] < 0.8 * FLUX.max()
    (warning,) = report["warnings"]
    assert "one solution holds 3 channels and 6 times" in warning
    assert "selfcal.solution_bandwidth.T" in warning
    assert (report["gains"]["T"]["times"], report["gains"]["T"]["channels"]) == (1, 1)
    assert report["gains"]["T"]["solutions"] == report["gains"]["T"]["antennas"]


def test_nor_are_all_their_times(one_worker, folder):
    """Also where the bandwidth was given."""
    report = calibrated(folder, one_worker, "bandwidth", solution_bandwidth={"T": 1e6})
    (warning,) = report["warnings"]
    assert "one solution holds 1 channels and 6 times" in warning


def test_who_gives_the_intervals_is_told_nothing_and_gets_the_fluxes(one_worker, folder):
    report = calibrated(folder, one_worker, "given", solution_interval={"T": 6000.0},
                        solution_bandwidth={"T": 1e6})
    assert report["quality"]["selfcal"]["restored_peak_jy"] == pytest.approx(FLUX.max(), rel=0.02)
    assert report["warnings"] == []
    assert (report["gains"]["T"]["times"], report["gains"]["T"]["channels"]) == (3, 3)
