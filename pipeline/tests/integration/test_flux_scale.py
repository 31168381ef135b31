"""Measurement Sets whose visibilities are in other units than the sky they are calibrated on."""

from __future__ import annotations

import numpy as np
import pytest
from small_field import CELL, CENTRE, FLUX, NPIXEL, PIXELS, seen, small_array
from small_runs import perform
from written_ms import all_rows, write_ms

from arl.calibration.gains import gain_table
from arl.conventions import lmn_to_radec
from arl.io.fits import read_image
from arl.io.zarr import read_dataset, write_dataset

pytestmark = pytest.mark.integration

FREQUENCY, TIME = np.array([95e6, 100e6]), 1.5e9 + 1200.0 * np.arange(6)
ARRAY = small_array(np.linspace(-30, 30, TIME.size))
NAMES = tuple(f"A{k}" for k in range(ARRAY.n_antenna))
SELFCAL = {"terms": "TG", "first_cycle": {"G": 1}, "cycles": 4, "flux_scale": "model",
           "solution_interval": {"T": 60.0, "G": 1e5}, "start_model": "sky.csv"}


def injected(factor):
    """Phases of every time, amplitudes that stay; visibilities are `factor` times the sky's."""
    generator = np.random.default_rng(3)
    phase = generator.normal(scale=0.6, size=(TIME.size, ARRAY.n_antenna, 1))
    size = 1 + 0.15 * generator.standard_normal((1, ARRAY.n_antenna, 1))
    return np.sqrt(factor) * size * np.exp(1j * phase) * np.ones(FREQUENCY.size)


def catalogue(path, pixels, fluxes):
    """Sources at pixels."""
    ra, dec = np.degrees(lmn_to_radec(*((pixels - NPIXEL // 2) * CELL).T, *CENTRE))
    rows = [f"{a},{d},{s},0" for a, d, s in zip(ra, dec, fluxes, strict=True)]
    path.write_text("\n".join(["ra_deg,dec_deg,flux_jy,spectral_index", *rows]))


def calibrate(folder, cluster, gain, sky=(PIXELS, FLUX), **selfcal):
    """Write the Measurement Set and the sky that is its start model, and run."""
    first, second = ARRAY.pairs
    vis = seen(ARRAY, FREQUENCY) * gain[:, first] * np.conj(gain[:, second])
    write_ms(folder / "a.ms", all_rows(ARRAY.uvw, TIME, ARRAY.pairs,
                                       vis[..., None].repeat(2, axis=-1)), FREQUENCY,
             correlations=("XX", "YY"), n_antenna=ARRAY.n_antenna, phase_centre=CENTRE)
    catalogue(folder / "sky.csv", *sky)
    return perform(folder, {
        "input": {"measurement_set": "a.ms"},
        "imaging": {"npixel": NPIXEL, "cell_rad": CELL, "clean": {"scales": [0]}},
        "selfcal": SELFCAL | selfcal}, cluster, "run")


def solved(store):
    """The product of the gains that a run wrote, (time, ant, chan)."""
    tables = [read_dataset(store.folder / "selfcal" / f"gains_{term}.zarr") for term in "TG"]
    return np.prod([np.where(t["FLAG"].values, np.nan, t["GAIN"].values)[..., 0]
                    for t in tables], axis=0)


def assert_recovered(store, gain, most=0.01):
    """Every gain is as it was injected, but for the phase that all antennas share."""
    ratio = solved(store) / gain
    ratio = ratio * np.exp(-1j * np.angle(ratio.mean(axis=1, keepdims=True)))
    assert np.abs(ratio - 1).max() < most
    image, _ = read_image(store.folder / "selfcal" / "restored_combined.fits")
    found = [image[i - 3:i + 4, j - 3:j + 4].max() for i, j in PIXELS]
    np.testing.assert_allclose(found, FLUX, rtol=0.005)


@pytest.mark.parametrize("factor", [1e-4, 0.5, 2.0, 1e4])
def test_the_data_come_to_the_scale_of_the_model(one_worker, tmp_path, factor):
    gain = injected(factor)
    store = calibrate(tmp_path, one_worker, gain)
    assert_recovered(store, gain)


@pytest.mark.parametrize("factor", [0.1, 10.0])
def test_with_phases_to_start_from_too(one_worker, tmp_path, factor):
    """Then the amplitudes are tried next to the phases alone, which leave the scale."""
    gain = injected(factor)
    known = gain_table("T", TIME, NAMES, FREQUENCY, gain / np.abs(gain))
    write_dataset(known, tmp_path / "known.zarr")
    store = calibrate(tmp_path, one_worker, gain, start_gains={"T": "known.zarr"})
    assert_recovered(store, gain)


def test_phases_do_not_depend_on_the_units_of_the_data(one_worker, tmp_path):
    """Where the scale is to stay that of the data, as elsewhere."""
    gain = injected(1e4)
    store = calibrate(tmp_path, one_worker, gain, flux_scale="data")
    ratio = solved(store) / gain
    ratio = ratio * np.exp(-1j * np.angle(ratio.mean(axis=1, keepdims=True)))
    assert np.abs(np.angle(ratio)).max() < 0.01


@pytest.mark.parametrize("fixed", ["", "G"])
def test_phases_do_not_depend_on_amplitudes_that_are_given(one_worker, tmp_path, fixed):
    """G, which comes after T, begins with gains of 3: T is solved on data nine times the model."""
    gain = injected(9.0)
    known = gain_table("G", TIME[:1], NAMES, FREQUENCY, np.abs(gain[:1]))
    write_dataset(known, tmp_path / "known.zarr")
    interval = {"T": 60.0} if fixed else SELFCAL["solution_interval"]
    store = calibrate(tmp_path, one_worker, gain, start_gains={"G": "known.zarr"}, start_model=None,
                      flux_scale="data", fixed_terms=fixed, solution_interval=interval)
    history = store.read_stage("selfcal")["history"]
    assert {(c["terms"], c["flagged_fraction"], c["reason"][:3]) for c in history} == {
        ("GT" if fixed else "TG", 0.0, "rms")}
    # a blank start leaves the positions, and with them gradients of phase, to some degree open
    assert_recovered(store, gain, most=0.05)


@pytest.mark.parametrize("terms", ["TG", "GT"])
def test_what_is_fixed_is_no_part_of_what_is_solved(one_worker, tmp_path, terms):
    """Wherever in the terms it stands: its phases are not those of T, which has every time."""
    fast, generator = injected(1.0), np.random.default_rng(9)
    slow = np.exp(1j * generator.normal(size=(1, ARRAY.n_antenna, 1))) * np.abs(fast[:1])
    gain = slow * fast / np.abs(fast)
    write_dataset(gain_table("G", TIME[:1], NAMES, FREQUENCY, slow), tmp_path / "known.zarr")
    store = calibrate(tmp_path, one_worker, gain, start_gains={"G": "known.zarr"}, fixed_terms="G",
                      flux_scale="data", terms=terms, solution_interval={"T": 60.0})
    assert {c["terms"] for c in store.read_stage("selfcal")["history"]} == {"GT"}
    assert_recovered(store, gain)


@pytest.mark.parametrize("factor", [0.5, 2.0])
def test_gains_from_a_wrong_sky_are_left_out_at_any_scale(one_worker, tmp_path, factor):
    """Nothing is where the start model says: the first cycle makes the image worse and says so."""
    wrong = np.random.default_rng(4).uniform(20, 108, (12, 2)), np.full(12, 5.0)
    perfect = np.full_like(injected(1.0), np.sqrt(factor))
    store = calibrate(tmp_path, one_worker, perfect, wrong, min_snr=0.0)
    assert store.read_stage("selfcal")["history"][0]["reason"].startswith(
        "with TG peak/rms fell by")
