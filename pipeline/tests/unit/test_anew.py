"""What a stage that begins anew removes, and what it leaves."""

from __future__ import annotations

import io

import numpy as np
import pytest

from ical.context import ClusterOptions, RunContext
from ical.parameters import load
from ical.progress import JsonLines, Progress
from ical.report import assemble
from ical.stages import anew
from ical.store import Store

PRODUCTS = ("dirty_band00.fits", "spectralindexerror_combined.fits", "residual_band100.fits",
            "gains_G.h5", "history.json", "stage.json")
OTHERS = ("notes.txt", "restored_band00.reg", "restored_band00_mine.fits", "my_combined.fits")


def context_of(store: Store, *, resume: bool) -> RunContext:
    """A self-calibration that begins."""
    return RunContext(load("tiny"), store, Progress("selfcal", JsonLines(io.StringIO())),
                      ClusterOptions(None, 1, 1, None), resume)


@pytest.fixture
def store(tmp_path) -> Store:
    """A run of which self-calibration has left its products, and the user something else."""
    store = Store.create(load("tiny"), tmp_path, run_id="one")
    folder = store.stage_folder("selfcal")
    for name in (*PRODUCTS, *OTHERS):
        (folder / name).write_text(name)
    (folder / "gains_G.zarr").mkdir()
    (folder / "gains_G.zarr" / "zarr.json").write_text("{}")
    return store


@pytest.mark.parametrize("kept", [None, "fits", "other"])
@pytest.mark.parametrize("resume", [False, True])
def test_products_are_removed_where_no_checkpoint_is_gone_on_from(store, kept, resume):
    if kept:
        inputs = store.inputs("selfcal") if kept == "fits" else {"library": "another"}
        store.write_checkpoint("selfcal", 1, {}, {"x": np.ones(2)}, inputs)
    anew.clear(context_of(store, resume=resume))
    names = {path.name for path in store.stage_folder("selfcal").iterdir()} - {"checkpoint"}
    gone = set() if kept == "fits" and resume else {*PRODUCTS, "gains_G.zarr"}
    assert names == {*PRODUCTS, *OTHERS, "gains_G.zarr"} - gone
    assert store.has_checkpoint("selfcal", store.inputs("selfcal")) == (kept == "fits")


def test_all_images_that_the_report_knows_are_products():
    assert set(anew.KINDS) == set(assemble.KINDS)
