"""Bands as the run chooses them, against one band a channel."""

from __future__ import annotations

import pytest
from small_runs import changed, perform

from arl.io.fits import read_image
from ical.store import read_json

pytestmark = pytest.mark.integration


def test_a_band_of_one_percent_is_as_good_as_its_channels(one_worker, tmp_path):
    """Sources with spectral indices of about -0.8 behind an Airy beam."""
    run = changed({"observation.frequency": {"start": 99.6e6, "end": 100.4e6, "channels": 8},
                   "imaging.clean": {"scales": [0], "major_cycles": 10}})
    found = []
    for name, bands in (("chosen", None), ("channels", 8)):
        store = perform(tmp_path, changed({"imaging.bands": bands}, run), one_worker, name,
                        ("model", "image"))
        restored, _ = read_image(store.folder / "image" / "restored_combined.fits")
        quality = store.read_stage("image")["quality"]
        found.append((len(read_json(store.folder / "plan.json")["bands"]), restored.max(),
                      quality["residual_rms_jy"]))
    (few, peak, residual), (many, other_peak, other_residual) = found
    assert (few, many) == (1, 8)
    assert peak == pytest.approx(other_peak, rel=2e-3)
    assert residual < other_residual + 1e-4 * peak
