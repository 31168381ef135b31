"""What `make bench-peers` does without the peers: the Measurement Set, the meter, the judge."""

import sys
from itertools import pairwise
from types import SimpleNamespace

import numpy as np
import pytest

from arl.io import measurement_set
from arl.io.fits import ImageHeader, write_image
from arl.restoration import Beam, gaussian
from benchmarks.peers import judge as judging
from benchmarks.peers.__main__ import arguments, row_groups, tables
from benchmarks.peers.imaging import quality_ratios, ratios
from benchmarks.peers.judge import Images, Quality, dirty_difference, judge
from benchmarks.peers.observation import Size, parameters, simulate
from benchmarks.peers.plot import draw
from benchmarks.peers.process import Cost, run
from benchmarks.peers.selfcal import our_parameters
from benchmarks.peers.settings import Deconvolution, our_imaging, wsclean_options
from ical.parameters import Parameters

SMALL = Size.of("3:64", 120.0)


@pytest.fixture(scope="module")
def written(tmp_path_factory):
    path = tmp_path_factory.mktemp("peers") / "simulated.ms"
    return path, simulate(parameters(SMALL, 7, None), path)


def test_the_measurement_set_holds_the_simulation(written):
    """Stokes I has the noise that was asked for, on the sky's visibilities and the true uvw."""
    path, setup = written
    contents = measurement_set.describe(measurement_set.select(str(path), "DATA", None, None))
    data = measurement_set.read(contents, (0, 3), (0, 8))
    from arl.simulation import predict_components
    from arl.telescope import baseline_uvw

    uvw = baseline_uvw(setup.layout, setup.phase_centre[1], setup.hour_angle)
    np.testing.assert_allclose(data["UVW"].values, uvw, atol=1e-6)
    exact = predict_components(uvw, setup.frequency, setup.lmn, setup.flux, setup.shape)
    noise = data["VISIBILITY"].values[..., 0] - exact
    assert np.std(noise.real) == pytest.approx(setup.sigma, rel=0.03)
    assert abs(noise.mean()) < 4 * setup.sigma / np.sqrt(noise.size)


def test_its_times_are_regular_and_its_integrations_leave_no_gap(written):
    """As DP3 demands."""
    path, _ = written
    contents = measurement_set.describe(measurement_set.select(str(path), "DATA", None, None))
    spacing = np.diff(contents.time)
    np.testing.assert_allclose(spacing, spacing[0], atol=1e-3)
    assert contents.integration_time == pytest.approx(spacing[0], rel=1e-6)


def test_the_receptors_have_noise_of_their_own(written):
    path, setup = written
    contents = measurement_set.describe(measurement_set.select(str(path), "DATA", None, None))
    four = measurement_set.read(contents, (0, 3), (0, 8), receptors=True)["VISIBILITY"].values
    difference = (four[..., 0] - four[..., 3]) / 2
    assert np.std(difference.real) == pytest.approx(setup.sigma, rel=0.03)


def test_wall_cpu_and_memory_are_those_of_all_processes(tmp_path):
    """A child that its parent does not wait for counts too."""
    work = ("x = bytearray(60_000_000); import time; c = time.process_time()\n"
            "while time.process_time() - c < 0.5: pass\ntime.sleep(0.6)")
    parent = (f"import subprocess, sys; subprocess.Popen([sys.executable, '-c', {work!r}]); "
              f"import time; time.sleep(0.6)")
    cost = run([sys.executable, "-c", parent], tmp_path / "log")
    assert cost.cpu_s >= 0.5
    assert cost.peak_mb > 60
    assert cost.wall_s >= 0.6


def test_a_program_that_fails_is_an_error_that_names_its_log(tmp_path):
    with pytest.raises(RuntimeError, match=r"ended with 3: see .*log"):
        run([sys.executable, "-c", "raise SystemExit(3)"], tmp_path / "log")


def test_costs_of_a_sequence_add_up_and_its_memory_is_the_largest():
    assert Cost.of_sequence([Cost(1, 2, 30), Cost(10, 20, 3)]) == Cost(11, 22, 30)


def test_both_sides_are_asked_for_the_same(written, tmp_path):
    path, setup = written
    clean = Deconvolution()
    imaging = our_imaging(SMALL, clean)
    options = wsclean_options(SMALL, clean, tmp_path / "x")
    said = {k: v for k, v in pairwise(options) if k.startswith("-")}
    asked = imaging["clean"]
    assert said["-gain"] == str(asked["gain"])
    assert said["-mgain"] == str(asked["major_gain"])
    assert said["-multiscale-scales"] == ",".join(map(str, asked["scales"]))
    assert said["-niter"] == str(asked["minor_iterations"])
    assert said["-nmiter"] == str(asked["major_cycles"])
    assert said["-channels-out"] == str(imaging["bands"])
    assert said["-wgridder-accuracy"] == str(imaging["epsilon"])
    assert np.radians(float(said["-scale"].removesuffix("deg"))) == pytest.approx(
        imaging["cell_rad"])
    Parameters.model_validate({"input": {"measurement_set": str(path)}, "imaging": imaging})
    ours = our_parameters(SMALL, path, setup)
    assert setup.integration_time > ours.selfcal.solution_interval.T


def test_an_image_is_judged_by_the_truth_whichever_pixel_is_its_reference(tmp_path):
    """Ours has the phase centre in pixel n/2 of FITS, WSClean's in n/2 + 1."""
    n, cell, beam = 64, 1e-3, Beam(4e-3, 4e-3, 0.0)
    axis = (np.arange(n) - n // 2) * cell
    l, m = np.meshgrid(axis, axis, indexing="ij")
    at, flux = np.array([[10 * cell, -5 * cell, 1.0]]), 2.0
    image = flux * gaussian(beam, l - at[0, 0], m - at[0, 1])
    setup = SimpleNamespace(npixel=n, cell=cell, lmn=at, flux=np.array([[flux, flux]]))
    header = ImageHeader(cell, (0.5, -1.0), 1e8, 1e6, "Jy/beam", beam, "2018-01-01T00:00:00",
                         "it", "us", "TOPO")
    ours = Images.of_ical(tmp_path)
    noise = np.random.default_rng(1).normal(0, 1e-3, image.shape)
    for path, pixels in ((ours.dirty, image), (ours.residual, noise), (ours.restored, image)):
        write_image(path, pixels, header)
    theirs = Images.of_wsclean(tmp_path / "w")
    for mine, their in zip((ours.dirty, ours.residual, ours.restored),
                           (theirs.dirty, theirs.residual, theirs.restored), strict=True):
        with judging.fits.open(mine) as hdus:
            hdus[0].data = np.roll(hdus[0].data, 1, axis=-1)
            hdus[0].header["CRPIX1"] += 1
            hdus[0].writeto(their)
    for side in (ours, theirs):
        found = judge(side, setup)
        assert found.sources == 1
        assert found.flux_ratio_median == pytest.approx(1.0, abs=1e-3)
        assert found.residual_rms_jy == pytest.approx(1e-3, rel=0.05)
    assert dirty_difference(ours, theirs, n) < 1e-6


def test_the_tables_and_the_picture_tell_every_ratio(tmp_path):
    cheap, dear = Cost(1.0, 2.0, 100.0), Cost(2.0, 2.0, 50.0)
    good, bad = Quality(1e-3, 1.0, 0.01, 5), Quality(2e-3, 1.0, 0.005, 5)
    rows = ratios([((cheap, cheap), dear)] * 2, 0.9) + quality_ratios(good, bad)
    found = {"part": "imaging", "visibilities": 10, "npixel": 64, "bands": 4,
             "quality": {"ours": good.to_dict(), "peer": bad.to_dict()}, "rows": rows}
    assert {r["bar"]: r.get("state") for r in rows} == {
        "wall": "met", "wall without start-up and report": None, "CPU": None,
        "CPU without start-up and report": None, "memory": None, "residual rms": "met",
        "flux scatter": "MISSED"}
    text = tables("imaging", found)
    assert all(row["bar"] in text for rows in row_groups(found).values() for row in rows)
    draw([found], tmp_path / "x.png")
    assert (tmp_path / "x.png").stat().st_size > 5000


@pytest.mark.parametrize("given", [["other"], ["imaging", "--imaging", "3"],
                                   ["--pairs", "0"], ["--selfcal", "1:64"]])
def test_what_makes_no_sense_is_refused(given, capsys):
    with pytest.raises(SystemExit):
        arguments(given)
    assert "error:" in capsys.readouterr().err
