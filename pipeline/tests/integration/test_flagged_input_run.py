"""A Measurement Set much of which is flagged: what is left is calibrated, and judged by itself."""

from __future__ import annotations

import json

import numpy as np
import pytest
import yaml
from small_field import CELL, CENTRE, NPIXEL, seen, small_array
from written_ms import all_rows, write_ms

from arl.io.zarr import read_dataset
from ical.cli import _run_cli

pytestmark = pytest.mark.integration

N_CHANNEL, FLAGGED, DEAD = 16, 9, 4
FREQUENCY = 1e8 + 4e4 * np.arange(N_CHANNEL)
RUN = {
    "input": {"measurement_set": "a.ms"},
    "imaging": {"npixel": NPIXEL, "cell_rad": CELL, "bands": 1,
                "clean": {"scales": [0], "major_cycles": 3}},
    "selfcal": {"terms": "TG", "cycles": 4, "first_cycle": {"T": 1, "G": 2},
                "solution_interval": {"T": 60.0, "G": 1e5}},
}


def test_gains_without_data_are_not_flagged_for_their_noise(tmp_path):
    """Nine of 16 channels are flagged, one antenna is dead: T, and a G of all times, have no data
    of 59 % of their solutions, and find all that there is to be found."""
    array = small_array(np.array([-30.0, 0.0, 30.0]))
    first, second = array.pairs
    phase = np.random.default_rng(8).normal(scale=0.5, size=(3, array.n_antenna, N_CHANNEL))
    vis = seen(array, FREQUENCY) * np.exp(1j * (phase[:, first] - phase[:, second]))
    rows = all_rows(array.uvw, 1.5e9 + 7200.0 * np.arange(3), array.pairs,
                    vis[..., None].repeat(2, axis=-1))
    rows["FLAG"] = np.zeros(rows["DATA"].shape, bool)
    rows["FLAG"][:, :FLAGGED] = True
    rows["FLAG"][(rows["ANTENNA1"] == DEAD) | (rows["ANTENNA2"] == DEAD)] = True
    write_ms(tmp_path / "a.ms", rows, FREQUENCY, correlations=("XX", "YY"),
             n_antenna=array.n_antenna, phase_centre=CENTRE)
    (tmp_path / "run.yml").write_text(yaml.safe_dump(RUN))
    assert _run_cli(["run", str(tmp_path / "run.yml"), "--results", str(tmp_path), "--name", "one"
                     ]) == 0
    expected = np.zeros((3, array.n_antenna, N_CHANNEL), bool)
    expected[..., :FLAGGED] = expected[:, DEAD] = True
    report = json.loads((tmp_path / "one" / "report.json").read_text())
    assert "T" in report["gains"]
    for term, brief in report["gains"].items():
        with read_dataset(tmp_path / "one" / "selfcal" / f"gains_{term}.zarr") as table:
            for name in ("FLAG", "NO_DATA"):
                np.testing.assert_array_equal(table[name].values[..., 0], expected)
        assert brief["no_data_fraction"] == pytest.approx(expected.mean())
        assert brief["flagged_with_data_fraction"] == 0.0
    assert not [r for r in report["verdict"]["reasons"] if "flagged gains" in r["text"]]
