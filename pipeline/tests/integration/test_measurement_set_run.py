"""A Measurement Set through all stages: from the command line to the calibrated visibilities."""

from __future__ import annotations

import json
import shutil
from types import SimpleNamespace

import numpy as np
import pytest
import yaml
from small_field import CELL, CENTRE, FLUX, NPIXEL, PIXELS, seen, small_array
from small_runs import perform
from written_ms import all_rows, write_ms

from arl.beam import beam_power
from arl.errors import InputError
from arl.io.fits import ImageHeader, read_image, write_image
from arl.io.zarr import read_dataset
from ical.cli import _run_cli
from ical.cluster import connect
from ical.context import ClusterOptions, RunContext
from ical.parameters import load
from ical.progress import JsonLines, Progress
from ical.stages import ingest
from ical.stages.run import run_model
from ical.store import Store

pytestmark = [pytest.mark.integration, pytest.mark.slow]

FREQUENCY = np.array([95e6, 100e6, 105e6])
RUN = f"""
input: {{measurement_set: a.ms}}
imaging:
  npixel: {NPIXEL}
  cell_rad: {CELL}
  clean: {{scales: [0], major_cycles: 3}}
selfcal: {{terms: T, cycles: 4, solution_interval: {{T: 60.0}}}}
"""


@pytest.fixture(scope="module")
def observed(tmp_path_factory):
    """Two sources with phase errors, the middle channel flagged throughout; the phases."""
    folder = tmp_path_factory.mktemp("ms")
    array = small_array(np.array([-30.0, 0.0, 30.0]))
    first, second = array.pairs
    vis = seen(array, FREQUENCY)
    phase = np.random.default_rng(8).normal(scale=0.6, size=(3, array.n_antenna, 3))
    turned = vis * np.exp(1j * (phase[:, first] - phase[:, second]))
    rows = all_rows(array.uvw, 1.5e9 + 7200.0 * np.arange(3), array.pairs,
                    turned[..., None].repeat(2, axis=-1))
    rows["FLAG"] = np.zeros(rows["DATA"].shape, bool)
    rows["FLAG"][:, 1] = True
    write_ms(folder / "a.ms", rows, FREQUENCY, correlations=("XX", "YY"),
             n_antenna=array.n_antenna, diameter=10.0, phase_centre=CENTRE)
    (folder / "run.yml").write_text(RUN)
    return folder, vis


def test_a_run_calibrates_it_and_leaves_all_products(observed, capsys):
    folder, ideal = observed
    run = folder / "one"
    assert _run_cli(["run", str(folder / "run.yml"), "--results", str(folder), "--name", run.name
                     ]) == 0
    assert "1 of 3 bands hold nothing but flags" in capsys.readouterr().out
    image, header = read_image(run / "selfcal" / "restored_combined.fits")
    assert header["DATE-OBS"].startswith("2017-07-14T02:40:00")
    found = [image[i - 3:i + 4, j - 3:j + 4].max() for i, j in PIXELS]
    np.testing.assert_allclose(found, FLUX, rtol=0.05)
    report = json.loads((run / "report.json").read_text())
    assert report["outcome"]["status"] in ("CONVERGED", "MAX_CYCLES")
    assert report["quality"]["selfcal"]["flux_ratio_median"] is None
    assert report["quality"]["selfcal"]["gain_phase_rms_deg"] is None
    assert "no truth to judge fluxes by" in report["verdict"]["line"]
    assert (run / "report.html").is_file()
    with read_dataset(run / "selfcal" / "gains_T.zarr") as table:
        np.testing.assert_array_equal(table["frequency"].values, FREQUENCY[[0, 2]])
        assert not table["FLAG"].values.any()
    for channel, name in ((0, "band000_time0000"), (2, "band002_time0000")):
        with read_dataset(run / "visibilities" / f"{name}.zarr") as dataset:
            corrected = dataset["VISIBILITY_CORRECTED"].values[..., 0, 0]
        error = corrected - ideal[..., channel]
        # 0.75 before calibration; what is left is mostly a shift of the whole sky, which a blank
        # start leaves free
        assert np.linalg.norm(error) < 0.2 * np.linalg.norm(ideal[..., channel])


@pytest.mark.parametrize(("diameter", "given"), [(8.0, {"station_diameter": 8.0}), (10.0, {})])
def test_its_images_are_corrected_for_the_beam_of_its_stations(
    observed, one_worker, diameter, given
):
    """As the run file says, or else by the DISH_DIAMETER of all antennas."""
    folder, _ = observed
    store = perform(folder, {
        "input": {"measurement_set": "a.ms", **given},
        "imaging": {"npixel": NPIXEL, "cell_rad": CELL, "primary_beam": "airy",
                    "clean": {"scales": [0], "major_cycles": 1}}}, one_worker, f"beam{diameter:g}",
        ("model", "image"))
    plain, corrected = (read_image(store.folder / "image" / f"{kind}_band00.fits")[0]
                        for kind in ("restored", "pbcorrected"))
    l, m = ((PIXELS - NPIXEL // 2) * CELL).T
    powers = beam_power("airy", l, m, FREQUENCY[:1], diameter)
    for (i, j), power in zip(PIXELS, powers, strict=True):
        assert 0.1 < power < 0.9
        assert corrected[i, j] == pytest.approx(plain[i, j] / power[0], rel=1e-4)


def test_partitions_are_sent_to_hosts_that_do_not_see_it(observed, tmp_path, monkeypatch):
    folder, _ = observed
    parameters = load(folder / "run.yml")
    stores = {}
    for name in ("seen", "sent"):
        if name == "sent":
            monkeypatch.setattr(ingest, "hosts_that_see", lambda cluster, path: set())
        stores[name] = Store.create(parameters, tmp_path, run_id=name)
        with open(tmp_path / f"{name}.log", "w") as log:
            run_model(RunContext(parameters, stores[name], Progress("model", JsonLines(log)),
                                 ClusterOptions(None, 1, 1, None), False))
    for partition in ("band000_time0000", "band002_time0000"):
        one, other = (read_dataset(s.partition_path(partition)) for s in stores.values())
        assert one.equals(other)
    assert '"partitions sent"' in (tmp_path / "sent.log").read_text()


@pytest.mark.parametrize(("access", "seen", "read"), [
    ("auto", {"a"}, {"a"}), ("auto", set(), set()), ("shared", {"a", "b"}, {"a", "b"}),
    ("distribute", {"a", "b"}, set())])
def test_hosts_read_their_partitions_as_they_are_told(monkeypatch, access, seen, read):
    monkeypatch.setenv("ICAL_MS_ACCESS", access)
    monkeypatch.setattr(ingest, "hosts_that_see", lambda cluster, path: seen)
    cluster = SimpleNamespace(hosts=lambda: ["a", "b"])
    assert ingest.hosts_that_read(cluster, "/data/a.ms") == read


def test_a_shared_measurement_set_that_a_host_does_not_see_is_refused(monkeypatch):
    monkeypatch.setenv("ICAL_MS_ACCESS", "shared")
    monkeypatch.setattr(ingest, "hosts_that_see", lambda cluster, path: {"a"})
    cluster = SimpleNamespace(hosts=lambda: ["b", "a", "c"])
    with pytest.raises(InputError, match=r"the workers of b, c do not find the /data/a\.ms that"):
        ingest.hosts_that_read(cluster, "/data/a.ms")


def test_hosts_see_the_same_measurement_set_or_none(observed):
    folder, _ = observed
    with connect(None, workers=1, threads=1, memory_limit=None) as cluster:
        assert ingest.hosts_that_see(cluster, str(folder / "a.ms")) == set(cluster.hosts())
        assert ingest.identity(str(folder / "b.ms")) is None


@pytest.mark.parametrize("stale", [False, True])
def test_a_host_whose_copy_is_not_the_same_is_refused_by_name(observed, monkeypatch, stale):
    """Of a column that was written anew the main table's own file knows nothing."""
    from casacore.tables import table

    paths = {name: observed[0] / name / "a.ms" for name in ("a", "b")}
    for path in paths.values():
        shutil.copytree(observed[0] / "a.ms", path, dirs_exist_ok=True)
    if stale:
        with table(str(paths["b"]), readonly=False, ack=False) as main:
            main.putcol("DATA", 2 * main.getcol("DATA"))
    main_tables = [(path / "table.dat").stat() for path in paths.values()]
    assert len({(s.st_size, s.st_mtime_ns) for s in main_tables}) == 1
    workers = [SimpleNamespace(host=name, address=name) for name in paths]
    cluster = SimpleNamespace(hosts=lambda: list(paths), workers=lambda: workers,
                              ask=lambda task, path: {
                                  w.address: task(str(paths[w.host])) for w in workers})
    monkeypatch.setenv("ICAL_MS_ACCESS", "shared")
    if stale:
        with pytest.raises(InputError, match=r"the workers of b do not .* copied by rsync -a or"):
            ingest.hosts_that_read(cluster, str(observed[0] / "a.ms"))
    else:
        assert ingest.hosts_that_read(cluster, str(observed[0] / "a.ms")) == set(paths)


def test_data_that_are_all_flagged_end_in_one_sentence(observed, capsys):
    folder, _ = observed
    from casacore.tables import table

    table(str(folder / "a.ms"), ack=False).copy(str(folder / "b.ms"), deep=True).close()
    with table(str(folder / "b.ms"), readonly=False, ack=False) as main:
        main.putcol("FLAG_ROW", np.ones(main.nrows(), bool))
    (folder / "flagged.yml").write_text(RUN.replace("a.ms", "b.ms"))
    assert _run_cli(["run", str(folder / "flagged.yml"), "--results", str(folder)]) == 2
    assert "are flagged, without weight, or not finite" in capsys.readouterr().err


@pytest.mark.parametrize(("lines", "words"), [
    ("  reference_antenna: CS001\n", "selfcal.reference_antenna: there is no CS001"),
    ("  terms: T\nimaging:\n  mask: far.fits\n", "far.fits"),
    ("  start_model: far.csv\n", "far.csv has no component within 90 degrees"),
])
def test_what_the_data_do_not_fit_is_found_before_they_are_read(
    observed, tmp_path, capsys, lines, words
):
    folder, _ = observed
    far = ImageHeader(CELL, (CENTRE[0] + 1.0, CENTRE[1]), 1e8, 1e6, "", None, "", "mask", "t",
                      "TOPO")
    write_image(folder / "far.fits", np.ones((8, 8)), far)
    (folder / "far.csv").write_text("ra_deg,dec_deg,flux_jy\n210,60,10\n")
    run = yaml.safe_load(RUN)
    for section, values in yaml.safe_load("selfcal:\n" + lines).items():
        run[section] |= values
    (folder / "unfit.yml").write_text(yaml.safe_dump(run))
    assert _run_cli(["run", str(folder / "unfit.yml"), "--results", str(tmp_path)]) == 2
    assert words in capsys.readouterr().err
    assert not list(tmp_path.glob("**/*.zarr"))
