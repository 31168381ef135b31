"""A Measurement Set whose images are compared with a catalogue of the sky it was made from."""

from __future__ import annotations

import json

import numpy as np
import pytest
import yaml
from direct import direct_sum
from small_field import CELL, CENTRE, NPIXEL, small_array
from written_ms import all_rows, write_ms

from arl.beam import airy_power
from arl.conventions import lmn, lmn_to_radec
from ical.cli import _run_cli

pytestmark = pytest.mark.integration

FREQUENCY, DIAMETER = np.array([95e6, 105e6]), 8.0
#: Pixels from the centre, and intrinsic fluxes (Jy) at 150 MHz; the index is that of all.
PIXELS = np.array([[2, -4], [30, 22], [-24, 31], [16, -35], [-33, -20]])
FLUX, INDEX = np.array([3.0, 8.0, 10.0, 6.0, 9.0]), -0.8
RUN = {
    "input": {"measurement_set": "a.ms", "station_diameter": DIAMETER},
    "imaging": {"npixel": NPIXEL, "cell_rad": CELL, "bands": 2, "primary_beam": "airy",
                "clean": {"scales": [0]}},
    "selfcal": {"enabled": False}, "quality": {"catalogue": "sky.csv"},
}


def apparent():
    """True apparent fluxes, Jy (source, chan)."""
    l, m = (PIXELS * CELL).T
    return FLUX[:, None] * (FREQUENCY / 150e6) ** INDEX * airy_power(l, m, FREQUENCY, DIAMETER)


@pytest.fixture(scope="module")
def folder(tmp_path_factory):
    """The Measurement Set, the catalogue with a Gaussian outside the images, one of elsewhere."""
    folder = tmp_path_factory.mktemp("catalogue")
    array = small_array(np.array([-30.0, 0.0, 30.0]))
    vis = direct_sum(array.uvw, FREQUENCY, lmn(*(PIXELS * CELL).T), apparent())
    rows = all_rows(array.uvw, 1.5e9 + 7200.0 * np.arange(3), array.pairs,
                    vis[..., None].repeat(2, axis=-1))
    write_ms(folder / "a.ms", rows, FREQUENCY, correlations=("XX", "YY"),
             n_antenna=array.n_antenna, phase_centre=CENTRE)
    ra, dec = np.degrees(lmn_to_radec(*(PIXELS * CELL).T, *CENTRE))
    head = "ra_deg,dec_deg,flux_jy,spectral_index,reference_frequency_hz,major_arcsec\n"
    rows = [f"{a},{d},{s},{INDEX},1.5e8,\n" for a, d, s in zip(ra, dec, FLUX, strict=True)]
    (folder / "sky.csv").write_text(head + "".join(rows) + "30,60,50,0,1e8,600\n")
    (folder / "elsewhere.csv").write_text(head + "30,60,50,0,1e8,\n")
    return folder


def written(folder, name, **changes):
    run = RUN | {key: RUN[key] | change for key, change in changes.items()}
    (folder / f"{name}.yml").write_text(yaml.safe_dump(run))
    return str(folder / f"{name}.yml")


def test_its_fluxes_and_positions_are_those_of_the_catalogue(folder):
    path = written(folder, "corrected")
    assert _run_cli(["run", path, "--results", str(folder), "--name", "corrected"]) == 0
    report = json.loads((folder / "corrected" / "report.json").read_text())
    found = report["quality"]["image"]
    assert found["reference"] == "catalogue"
    assert found["flux_ratio_median"] == pytest.approx(1.0, abs=0.01)
    assert found["flux_ratio_scatter"] < 0.02
    assert found["position_offset_beam"] < 0.05
    assert (found["found_sources"], found["completeness"], found["reliability"]) == (5, 1.0, 1.0)
    np.testing.assert_allclose(sorted(s["true_flux_jy"] for s in found["sources"]),
                               sorted(apparent()[:, 0]), rtol=1e-6)
    assert "of the catalogue" in report["verdict"]["line"]
    assert "Flux / catalogue" in (folder / "corrected" / "report.html").read_text()


def test_without_a_primary_beam_the_catalogue_is_taken_as_it_is(folder):
    path = written(folder, "plain", imaging={"primary_beam": None})
    assert _run_cli(["run", path, "--results", str(folder), "--name", "plain"]) == 0
    found = json.loads((folder / "plain" / "report.json").read_text())["quality"]["image"]
    given = FLUX * (FREQUENCY[0] / 150e6) ** INDEX
    ratio = np.median(apparent()[:, 0] / given)
    assert ratio < 0.8
    assert found["flux_ratio_median"] == pytest.approx(ratio, rel=0.02)


def test_a_catalogue_of_another_field_is_refused_before_anything_runs(folder, capsys):
    path = written(folder, "wrong", quality={"catalogue": "elsewhere.csv"})
    for command in (["check", path], ["run", path, "--results", str(folder), "--name", "wrong"]):
        assert _run_cli(command) == 2
        told = capsys.readouterr().err
        assert "quality.catalogue: " in told
        assert "has no source inside the images" in told
