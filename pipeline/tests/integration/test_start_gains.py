"""Runs that begin with gains from a file: those of an earlier run, or the injected ones."""

from __future__ import annotations

import numpy as np
import pytest
from small_runs import SMALL, changed, perform

from arl.calibration.gains import gain_table
from arl.errors import InputError
from arl.io.fits import read_image
from arl.io.h5parm import write_h5parm
from arl.io.zarr import read_dataset, write_dataset
from ical.parameters import Parameters
from ical.stages.model import injected_gains, set_up

pytestmark = pytest.mark.integration

BOTH = {"gains": {"phase_error": 1.0, "bandpass_amplitude": 0.2}}


def injected(run):
    """The observation of a run, and the gains that it injects."""
    parameters = Parameters.model_validate(run)
    setup = set_up(parameters)
    return setup, injected_gains(parameters, setup)


def written(path, setup, gain, name="T", time=None):
    """A gain table as a file of either kind."""
    table = gain_table(name, setup.time if time is None else time, setup.antenna_names,
                       setup.frequency, gain)
    if path.suffix == ".h5":
        write_h5parm(table, path, setup.antenna_positions, setup.phase_centre)
    else:
        write_dataset(table, path)
    return str(path)


def quality(store):
    return store.read_stage("selfcal")["quality"]


@pytest.mark.parametrize("suffix", [".h5", ".zarr"])
def test_from_the_injected_gains_the_loop_is_where_it_would_end(one_worker, tmp_path, suffix):
    """The first model is made from data that are right, and every cycle is one ahead."""
    setup, gain = injected(SMALL)
    path = written(tmp_path / f"known{suffix}", setup, gain)
    blank = perform(tmp_path, changed({"selfcal.cycles": 2}), one_worker, "blank")
    known = perform(tmp_path, changed({"selfcal.cycles": 2, "selfcal.start_gains.T": path}),
                    one_worker, "known")
    raw = [quality(s)["gain_phase_rms_raw_deg"] for s in (blank, known)]
    assert raw[1] < min(1.0, 0.5 * raw[0])
    rms = [[c["rms_jy"] for c in s.read_stage("selfcal")["history"]] for s in (blank, known)]
    assert rms[1][0] < 0.3 * rms[0][0]
    assert rms[1][1] < 0.5 * rms[0][1]


def test_what_a_run_wrote_another_begins_with(one_worker, tmp_path):
    """Solutions go out as h5parm and come in again: the data are corrected by the same gains."""
    one = perform(tmp_path, SMALL, one_worker, "one")
    table = one.folder / "selfcal" / "gains_T.h5"
    run = changed({"selfcal.start_gains.T": str(table), "selfcal.fixed_terms": "T"})
    two = perform(tmp_path, run, one_worker, "two")
    for name in ("band000_time0000", "band001_time0000"):
        a, b = (read_dataset(s.partition_path(name)) for s in (one, two))
        np.testing.assert_allclose(
            a["VISIBILITY_CORRECTED"].values, b["VISIBILITY_CORRECTED"].values, atol=1e-4)
        assert np.abs(a["VISIBILITY_CORRECTED"].values - a["VISIBILITY"].values).max() > 1


def test_fixed_gains_are_applied_and_not_solved(one_worker, tmp_path):
    """A bandpass that is known, and phases that are not."""
    base = changed({**BOTH, "selfcal.terms": "BT", "selfcal.fixed_terms": "B"})
    setup, bandpass = injected(changed({"gains": {"bandpass_amplitude": 0.2}}))
    path = written(tmp_path / "b.h5", setup, bandpass[:1], "B", setup.time[:1])
    store = perform(tmp_path, changed({"selfcal.start_gains.B": path}, base), one_worker, "fixed")
    with read_dataset(store.folder / "selfcal" / "gains_B.zarr") as table:
        np.testing.assert_allclose(table["GAIN"].values[..., 0], bandpass, atol=1e-6)
    without = perform(tmp_path, changed({**BOTH, "selfcal.terms": "T"}), one_worker, "without")
    residual = [quality(s)["residual_rms_jy"] for s in (store, without)]
    assert residual[0] < 0.5 * residual[1]
    assert store.read_stage("selfcal")["history"][0]["terms"] == "BT"


def test_gains_that_are_all_fixed_are_imaged_with(one_worker, tmp_path):
    """Nothing is solved: the image is that of data without errors."""
    setup, gain = injected(SMALL)
    path = written(tmp_path / "t.h5", setup, gain)
    store = perform(tmp_path, changed({"selfcal.start_gains.T": path, "selfcal.fixed_terms": "T"}),
                    one_worker, "applied", ("model", "image", "selfcal"))
    with read_dataset(store.folder / "selfcal" / "gains_T.zarr") as table:
        np.testing.assert_allclose(table["GAIN"].values[..., 0], gain, atol=1e-6)
    images = [read_image(store.folder / s / "restored_combined.fits")[0]
              for s in ("image", "selfcal")]
    assert np.abs(images[0] - images[1]).max() < 0.01 * images[0].max()


@pytest.mark.parametrize(("change", "words"), [
    ("antennas", "there are no gains of 16 antennas"), ("time", r"the gains have times"),
    ("amplitude", "they have amplitudes, and T is of phases alone"),
    ("receptors", "set selfcal.jones of the term to diagonal"),
])
def test_gains_of_other_data_are_refused_before_anything_is_done(
    one_worker, tmp_path, change, words
):
    setup, gain = injected(SMALL)
    names, time = setup.antenna_names, setup.time
    if change == "antennas":
        names = names[:1] + tuple(f"X{n}" for n in names[1:])
    elif change == "time":
        time = time + 1e6
    elif change == "amplitude":
        gain = 1.1 * gain
    else:
        gain = gain[..., None, None] * np.eye(2)
    write_dataset(gain_table("T", time, names, setup.frequency, gain), tmp_path / "g.zarr")
    with pytest.raises(InputError, match=words) as caught:
        perform(tmp_path, changed({"selfcal.start_gains.T": "g.zarr"}), one_worker, "refused",
                ("model",))
    assert str(caught.value).startswith("selfcal.start_gains.T: ")


@pytest.mark.parametrize("fixed", ["", "T"])
def test_gains_that_leave_nothing_of_a_band_are_named(one_worker, tmp_path, fixed):
    setup, gain = injected(SMALL)
    gain[..., 1] = np.nan
    path = written(tmp_path / "t.h5", setup, gain)
    run = changed({"selfcal.start_gains.T": path, "selfcal.fixed_terms": fixed})
    with pytest.raises(InputError, match=r"selfcal.start_gains: the gains of T flag all data of "
                                         r"band 1 \(100 to 110 MHz\); give gains"):
        perform(tmp_path, run, one_worker, "lost")
