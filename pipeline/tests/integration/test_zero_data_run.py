"""A data column that nobody filled, as CORRECTED_DATA may be: images of nothing, no calibration."""

from __future__ import annotations

import json
import warnings

import numpy as np
import pytest
from small_field import CELL, CENTRE, NPIXEL, small_array
from small_runs import perform
from written_ms import all_rows, write_ms

from arl.io.fits import read_image
from ical.cli import _run_cli
from ical.transitions import NOTHING

pytestmark = pytest.mark.integration
IMAGING = {"npixel": NPIXEL, "cell_rad": CELL}


@pytest.fixture(scope="module")
def folder(tmp_path_factory):
    place = tmp_path_factory.mktemp("zero")
    array, frequency = small_array(np.linspace(-30, 30, 3)), np.array([95e6, 105e6])
    vis = np.zeros((3, len(array.pairs[0]), 2, 2), complex)
    write_ms(place / "a.ms", all_rows(array.uvw, 1.5e9 + 7200.0 * np.arange(3), array.pairs, vis),
             frequency, correlations=("XX", "YY"), n_antenna=array.n_antenna, phase_centre=CENTRE)
    (place / "model.csv").write_text("ra_deg,dec_deg,flux_jy\n30.0,-60.0,3.0\n")
    return place


def test_a_run_ends_failed_with_its_reason_and_leaves_its_images(folder):
    run = folder / "run.yml"
    run.write_text(json.dumps({"input": {"measurement_set": "a.ms"}, "imaging": IMAGING}))
    with warnings.catch_warnings():
        warnings.simplefilter("error", RuntimeWarning)  # nothing is divided by what is not there
        assert _run_cli(["run", str(run), "--results", str(folder), "--name", "zero"]) == 0
    report = json.loads((folder / "zero" / "report.json").read_text())
    assert (report["outcome"]["status"], report["outcome"]["reason"]) == ("FAILED", NOTHING)
    assert report["verdict"]["status"] == "FAIL"
    for stage in ("image", "selfcal"):
        for kind in ("model", "residual", "restored"):
            image, _ = read_image(folder / "zero" / stage / f"{kind}_combined.fits")
            assert not image.any()


@pytest.mark.parametrize("section", ["imaging", "selfcal"])
def test_a_start_model_does_not_make_data_of_them(folder, one_worker, section):
    run = {"input": {"measurement_set": "a.ms"}, "imaging": dict(IMAGING), "selfcal": {}}
    run[section]["start_model"] = "model.csv"
    store = perform(folder, run, one_worker, section)
    found = store.read_stage("selfcal")
    assert found["outcome"] == {"status": "FAILED", "reason": NOTHING}
    assert not read_image(store.folder / "selfcal" / "restored_combined.fits")[0].any()
