"""A Measurement Set with interference: gains solved with robust weights, and without."""

from __future__ import annotations

import numpy as np
import pytest
from small_field import CELL, CENTRE, FLUX, seen, small_array
from small_runs import perform
from written_ms import all_rows, write_ms

from arl.conventions import lmn_to_radec
from arl.io.zarr import read_dataset

pytestmark = pytest.mark.integration

FREQUENCY = np.array([95e6, 105e6])
NPIXEL, OFFSET = 64, np.array([[10, -7], [-12, 9]])


@pytest.fixture(scope="module")
def observed(tmp_path_factory):
    """Two sources behind gains that are alike at all times, 2 % of the samples hit."""
    folder = tmp_path_factory.mktemp("robust")
    array = small_array(np.linspace(-30, 30, 12))
    n, (first, second) = array.n_antenna, array.pairs
    sky = seen(array, FREQUENCY, OFFSET)
    generator = np.random.default_rng(8)
    gain = (1 + 0.1 * generator.standard_normal((n, 2, 2))) * np.exp(
        1j * generator.standard_normal((n, 2, 2)))  # antenna, chan, receptor
    vis = sky[..., None] * (gain[first] * np.conj(gain[second]))
    vis = vis + 0.3 * (generator.standard_normal(vis.shape)
                       + 1j * generator.standard_normal(vis.shape))
    hit = generator.random(vis.shape[:3]) < 0.02
    vis[hit] += 200 * np.exp(2j * np.pi * generator.random((hit.sum(), 1)))
    rows = all_rows(array.uvw, 1.5e9 + 1200.0 * np.arange(12), array.pairs, vis)
    write_ms(folder / "a.ms", rows, FREQUENCY, correlations=("XX", "YY"), n_antenna=n,
             phase_centre=CENTRE)
    ra, dec = np.degrees(lmn_to_radec(*(OFFSET * CELL).T, *CENTRE))
    (folder / "sky.csv").write_text("ra_deg,dec_deg,flux_jy\n" + "".join(
        f"{a},{d},{s}\n" for a, d, s in zip(ra, dec, FLUX, strict=True)))
    return folder, gain


def gain_error(store, gain):
    """Rms of the gains against the injected ones, but for the factor all antennas share."""
    with read_dataset(store.folder / "selfcal" / "gains_G.zarr") as table:
        found = table["GAIN"].values[0]
    factor = np.sum(gain * np.conj(found), axis=0) / np.sum(np.abs(found) ** 2, axis=0)
    return float(np.sqrt(np.mean(np.abs(factor * found - gain) ** 2)))


def test_interference_moves_robust_gains_ten_times_less(observed, one_worker):
    folder, gain = observed
    errors = []
    # the last is applied between intervals, and so solved from the sum over partitions
    for terms, applied in (("", "nearest"), ("G", "nearest"), ("G", "linear")):
        store = perform(folder, {
            "input": {"measurement_set": "a.ms"},
            "imaging": {"npixel": NPIXEL, "cell_rad": CELL, "clean": {"scales": [0]}},
            "selfcal": {"terms": "G", "first_cycle": {"G": 1}, "cycles": 1, "min_snr": 0.0,
                        "jones": {"G": "diagonal"}, "solution_interval": {"G": 1e5},
                        "start_model": "sky.csv", "robust_terms": terms,
                        "interpolation": {"G": applied}},
        }, one_worker, f"robust{terms}-{applied}")
        errors.append(gain_error(store, gain))
    # the noise alone: 0.3 Jy in each part, 16 baselines, 12 samples, visibilities of 11 Jy rms
    theory = 0.3 * np.sqrt(2) / (np.sqrt(116 * 16 * 12))
    assert errors[1] < 1.5 * theory
    assert errors[1] < errors[0] / 10
    assert errors[2] == pytest.approx(errors[1], rel=0.05)
