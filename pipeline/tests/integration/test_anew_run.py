"""Self-calibration that is made again finds no gains this time: those of before are gone."""

from __future__ import annotations

import io
import shutil

import pytest
from small_runs import SMALL, changed, perform

from arl.io.zarr import read_dataset
from ical.context import RunContext
from ical.progress import JsonLines, Progress
from ical.report.assemble import assemble, read_run
from ical.stages import selfcal
from ical.stages.run import run_selfcal

pytestmark = pytest.mark.integration


def find_nothing(self, watcher, kept=None):
    """In place of the loop: no gains."""
    return selfcal._failed(*self._imager.dirty_and_psf(), "nothing to calibrate on", ())


def groups_of(store):
    """The data groups and variables of all stores of a run."""
    found = []
    for path in sorted(store.data.iterdir()):
        with read_dataset(path) as dataset:
            found.append((set(dataset.attrs["data_groups"]), set(dataset)))
    return found


def test_a_second_attempt_without_gains_offers_none(tmp_path, one_worker, monkeypatch):
    start = tmp_path / "start.csv"
    start.write_text("ra_deg,dec_deg,flux_jy\n30.0,-60.0,10\n")
    run = changed({"selfcal.cycles": 1, "selfcal.start_model": str(start)}, SMALL)
    store = perform(tmp_path, run, one_worker, "run")
    folder = store.folder / "selfcal"
    assert assemble(read_run(store.folder)).gains
    assert all("corrected" in groups for groups, _ in groups_of(store))
    products = {path.name for path in folder.iterdir()}
    shutil.copy(folder / "residual_band00.fits", folder / "residual_band02.fits")
    (folder / "notes.txt").write_text("mine")

    start.write_text("ra_deg,dec_deg,flux_jy\n30.0,-60.0,11\n")
    monkeypatch.setattr(selfcal.SelfCalibration, "run", find_nothing)
    run_selfcal(RunContext(store._parameters, store, Progress("selfcal", JsonLines(io.StringIO())),
                           one_worker, True))
    left = {path.name for path in folder.iterdir()}
    assert left == products - {"gains_T.zarr", "gains_T.h5"} | {"notes.txt"}
    report = assemble(read_run(store.folder))
    assert (report.outcome.status, report.gains) == ("FAILED", {})
    assert len(report.quality["selfcal"].bands) == 2
    for groups, variables in groups_of(store):
        assert groups == {"base", "ideal"}
        assert not any(name.endswith("_CORRECTED") for name in variables)
