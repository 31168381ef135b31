"""The report of a made-up run: its numbers against those put in, and a page that stands alone."""

import base64
import io
import json
import re
import shutil
import subprocess
import sys
from html.parser import HTMLParser
from pathlib import Path

import numpy as np
import pytest
import report_run
from astropy.io import fits
from astropy.wcs import WCS
from PIL import Image

from arl.calibration.gains import gain_table
from arl.errors import InputError
from arl.io.fits import ImageHeader, write_image
from arl.io.zarr import write_dataset
from arl.restoration import Beam
from ical.forecast import Sizes, forecast
from ical.parameters import Resources
from ical.report import assemble as assembling
from ical.report import figures, sky_figures
from ical.report.assemble import assemble, last_errors, quality_of, read_run
from ical.report.products import Gains, SkyImage, read_gains, read_image
from ical.report.schema import Report
from ical.report.svg import new_figure, to_svg
from ical.report.verdict import Facts, judge
from ical.stages.report import write

VOID = {"meta", "br", "hr", "img", "link", "input"}


@pytest.fixture(scope="module")
def whole(tmp_path_factory):
    return report_run.write_run(tmp_path_factory.mktemp("results") / "reference-1")


@pytest.fixture(scope="module")
def made(whole):
    write(whole)
    return whole


@pytest.fixture(scope="module")
def page(made):
    return (made / "report.html").read_text(encoding="utf-8")


@pytest.fixture(scope="module")
def report(made):
    return json.loads((made / "report.json").read_text(encoding="utf-8"))


@pytest.fixture
def partial(whole, tmp_path):
    """A copy of the run, without most images, to take things away from."""
    ignore = shutil.ignore_patterns("*_band*.fits", "dirty*", "report.*", "gains_G*")
    return shutil.copytree(whole, tmp_path / "partial", ignore=ignore)


class Balance(HTMLParser):
    """Checks that every element is closed, in order, and collects ids and references."""

    def __init__(self):
        super().__init__()
        self.open, self.ids, self.references = [], [], []

    def handle_starttag(self, tag, attrs):
        self.handle_startendtag(tag, attrs)
        if tag not in VOID:
            self.open.append(tag)

    def handle_startendtag(self, tag, attrs):
        for name, value in attrs:
            if name == "id":
                self.ids.append(value)
            self.references += re.findall(r"url\(#([^)]+)\)", value or "")
            if name == "href" and value.startswith("#"):
                self.references.append(value[1:])

    def handle_endtag(self, tag):
        if tag not in VOID:
            assert self.open.pop() == tag


def test_json_has_what_the_issue_promises(report):
    assert report["verdict"]["status"] == "PASS"
    assert report["outcome"] == {"status": "CONVERGED", "reason": report_run.OUTCOME["reason"]}
    assert report["stages"]["selfcal"]["wall_s"] == pytest.approx(4.3 * 5.1)
    assert report["stages"]["image"]["cpu_s"] == pytest.approx(7.9 * 2.2)
    assert report["stages"]["model"]["peak_rss_mb"] == pytest.approx(610)
    own = report_run.quality("selfcal")
    for measure in ("residual_rms_jy", "residual_peak_jy", "flux_ratio_median",
                    "flux_ratio_scatter", "position_offset_beam", "gain_phase_rms_deg"):
        assert report["quality"]["selfcal"][measure] == own[measure]
    assert report["quality"]["image"]["gain_phase_rms_deg"] is None
    assert report["parameters"] == report_run.PARAMETERS
    assert report["superseded"] == report_run.PARAMETERS["superseded"]
    assert {"ical", "arl", "python", "numpy", "dask"} <= report["versions"].keys()
    assert report["warnings"] == ["selfcal: LOW017 has no usable data: its gains are flagged"]


def test_json_reads_back_as_its_schema(made, report):
    again = Report.model_validate_json((made / "report.json").read_text(encoding="utf-8"))
    assert json.loads(again.model_dump_json()) == report


def test_history_keeps_every_cycle_and_its_decision(report):
    assert [c["decision"] for c in report["history"]] == ["accept", "accept", "drop", "converged"]
    third = report["history"][2]
    assert third["cycle"] == 3
    assert third["terms"] == ["T", "G"]
    assert third["snr"] == pytest.approx(7.9 / 0.0041)


def test_hosts_add_tasks_but_not_the_bytes_they_hold(report):
    a, b = report["hosts"]["node-a"], report["hosts"]["node-b"]
    assert a["tasks"] == b["tasks"] == 60
    assert a["kinds"] == {"calibrate": 42, "sum_images": 18}
    assert (a["bytes"], b["bytes"]) == (20_700_000, 18_000_000)


def test_residuals_are_measured_band_by_band(report):
    noise = report_run.residuals("selfcal").astype(np.float32).astype(float)
    bands = report["quality"]["selfcal"]["bands"]
    assert [b["frequency_hz"] for b in bands] == pytest.approx(list(report_run.FREQUENCY))
    assert [b["residual_rms_jy"] for b in bands] == pytest.approx(
        list(np.sqrt((noise**2).mean(axis=(1, 2)))))
    assert [b["residual_peak_jy"] for b in bands] == pytest.approx(
        list(np.abs(noise).max(axis=(1, 2))))


@pytest.mark.parametrize(("snr", "left", "status"), [
    (0, 0.0, "WARN"), (8, 0.0, "PASS"), (30, 0.0, "PASS"), (8, 1.0, "FAIL"), (1000, 0.04, "PASS"),
    (1000, 0.2, "WARN"), (1000, 0.6, "FAIL")])
def test_what_is_left_of_a_source_is_judged_and_noise_is_not(tmp_path, snr, left, status):
    """Of a field of noise and one source: its residual peak is 4.1 sigma where nothing is left."""
    n, sigma = report_run.NPIXEL, 2e-3
    noise = np.random.default_rng(4).normal(0, sigma, (n, n))
    offset = (np.arange(n) - n // 2) / 3
    source = snr * sigma * np.exp(-offset[:, None] ** 2 - offset ** 2)
    for kind, image in (("residual", noise + left * source), ("restored", noise + source)):
        report_run.write_image(tmp_path / f"{kind}_combined.fits", image, 1e8)
    found = quality_of(tmp_path, {})
    assert found.residual_robust_rms_jy == pytest.approx(sigma, rel=0.01)
    facts = Facts(("image",), frozenset(("image",)), quality={"image": found})
    assert judge(facts).status == status


def test_the_robust_rms_is_of_the_image_that_the_peak_is_of(tmp_path):
    """What a stage says of its residual is of the combined one; else it is the lowest band's."""
    images = {"combined": 1.0, "band00": 3.0, "band01": 5.0}
    for name, sigma in images.items():
        noise = np.random.default_rng(1).normal(0, sigma, (report_run.NPIXEL,) * 2)
        report_run.write_image(tmp_path / f"residual_{name}.fits", noise, 1e8)
    for told, expected in (({}, 3.0), ({"residual_peak_jy": 9.0}, 1.0),
                           ({"residual_robust_rms_jy": 0.5}, 0.5)):
        found = quality_of(tmp_path, {"quality": told})
        assert found.residual_robust_rms_jy == pytest.approx(expected, rel=0.01), told


@pytest.mark.parametrize(("parameters", "noiseless"), [
    ({"noise": {"sefd": None, "sigma": None}}, True), ({"noise": {"sefd": 1e3}}, False),
    ({"input": {"measurement_set": "a.ms"}}, False)])
def test_data_of_a_telescope_have_noise(partial, parameters, noiseless, monkeypatch):
    seen = []
    monkeypatch.setattr(assembling, "judge", lambda facts: seen.append(facts) or judge(facts))
    (partial / "parameters.json").write_text(json.dumps({"name": "a"} | parameters))
    assemble(read_run(partial))
    assert seen[0].noiseless is noiseless


def test_gain_tables_in_brief(report, made):
    t = report["gains"]["T"]
    assert (t["times"], t["antennas"], t["channels"]) == (11, 94, 7)
    assert t["flagged_fraction"] == pytest.approx(1 / 94)
    assert t["flagged_antennas"] == {"LOW017": 1.0}
    assert t["amplitude_median"] == pytest.approx(1.0)
    assert (report["gains"]["G"]["times"], report["gains"]["G"]["solutions"]) == (1, 94 * 7)
    assert list(report["gains"]) == ["T", "G"]
    (table,) = read_gains(made / "selfcal" / "gains_G.zarr")
    assert not table.phase_only
    assert np.isnan(table.gain[:, 17]).all()
    assert np.isfinite(np.delete(table.gain, 17, axis=1)).all()


@pytest.mark.parametrize(("failed", "told", "status"), [
    (0, True, "PASS"), (2, True, "WARN"), (5, True, "FAIL"), (0, False, "FAIL"), (9, True, "FAIL")])
@pytest.mark.parametrize("matrix", [(), (2, 2)])
def test_gains_of_what_was_flagged_in_the_input_are_not_judged(
        partial, failed, told, status, matrix):
    """Nine of 16 channels and one of ten antennas have no data; of the nine others some failed.

    Tables of before that was written are judged by all that is flagged.
    """
    empty = np.zeros((3, 10, 16), bool)
    empty[..., :9] = empty[:, 9] = True
    gain = np.ones((3, 10, 16, *matrix), complex) * (np.eye(2) if matrix else 1.0)
    gain[empty], gain[:, :failed] = np.nan, np.nan
    names = tuple(f"A{k}" for k in range(10))
    table = gain_table("T", 1e9 + np.arange(3.0), names, 1e8 + 1e6 * np.arange(16), gain,
                       no_data=empty if told else None)
    write_dataset(table, partial / "selfcal" / "gains_T.zarr")
    report = assemble(read_run(partial))
    brief = report.gains["T"]
    assert brief.flagged_fraction == pytest.approx(1 - (9 - failed) / 10 * 7 / 16)
    assert brief.no_data_fraction == (pytest.approx(1 - 9 / 10 * 7 / 16) if told else None)
    assert brief.flagged_with_data_fraction == (pytest.approx(failed / 9) if told else None)
    assert brief.flagged_antennas["A9"] == 1.0
    assert report.verdict.status == status
    write(partial)
    words = f"{failed / 9:.1%} of those with data flagged, 60.6% without data"
    assert (words in (partial / "report.html").read_text(encoding="utf-8")) == told


def test_gains_of_no_data_at_all_are_a_failure(partial):
    gain = np.full((3, 4, 2), np.nan, complex)
    table = gain_table("T", 1e9 + np.arange(3.0), tuple("abcd"), np.array([1e8, 1.1e8]), gain,
                       no_data=np.ones(gain.shape, bool))
    write_dataset(table, partial / "selfcal" / "gains_T.zarr")
    report = assemble(read_run(partial))
    brief = report.gains["T"]
    assert (brief.no_data_fraction, brief.flagged_with_data_fraction) == (1.0, None)
    assert "flagged gains of T 100% (limit 50%)" in report.verdict.line


@pytest.mark.parametrize(("solved", "unit", "drawn"), [
    ((1, 16), "frequency (MHz)", (0, slice(None))), ((5, 1), "hours", (slice(None), 8))])
def test_lines_of_gains_are_along_the_axis_on_which_they_were_solved(
        monkeypatch, solved, unit, drawn):
    """A table has every time and channel: of a bandpass all times are the same."""
    random = np.random.default_rng(3)
    gain = np.broadcast_to(
        random.uniform(0.5, 2, (solved[0], 3, solved[1])).astype(complex), (5, 3, 16))
    time, frequency = 1.5e9 + 3600.0 * np.arange(5), 1e8 + 1e6 * np.arange(16)
    axes = []
    monkeypatch.setattr(figures, "to_svg", lambda figure, *words: axes.extend(figure.axes))
    figures.gain_lines(Gains("B", "I", gain, time, frequency, ("a", "b", "c"), solved), "b")
    assert axes[-1].get_xlabel().startswith(unit)
    along = frequency / 1e6 if solved[0] == 1 else np.arange(5.0)
    for antenna, line in enumerate(axes[-1].lines):
        np.testing.assert_allclose(line.get_xdata(), along)
        np.testing.assert_allclose(line.get_ydata(), np.abs(gain[drawn[0], antenna, drawn[1]]))


def test_gains_of_two_receptors_are_drawn_and_counted_both(partial):
    """Diagonal matrices: the second receptor's phases are others, and one of them is flagged."""
    gain = np.zeros((3, 4, 2, 2, 2), complex)
    gain[..., 0, 0], gain[..., 1, 1] = 1.0, 2j
    gain[:, 1, :, 1, 1] = np.nan
    table = gain_table("G", 1e9 + np.arange(3.0), tuple("abcd"), np.array([1e8, 1.1e8]), gain)
    write_dataset(table, partial / "selfcal" / "gains_G.zarr")
    one, other = read_gains(partial / "selfcal" / "gains_G.zarr")
    assert (one.receptor, other.receptor) == ("XX", "YY")
    np.testing.assert_array_equal(one.gain, gain[..., 0, 0])
    np.testing.assert_array_equal(other.gain, gain[..., 1, 1])
    run = read_run(partial)
    brief = assemble(run).gains["G"]
    assert (brief.solutions, brief.flagged_fraction) == (48, 1 / 8)
    assert brief.flagged_antennas == {"b": 0.5}
    assert brief.amplitude_median == pytest.approx(1.0)
    write(partial)
    page = (partial / "report.html").read_text(encoding="utf-8")
    for text in ("phase of the G XX gains", "phase of the G YY gains", "G YY gains of 4 antennas",
                 "of the receptors XX and YY"):
        assert text in page, text


def test_every_product_is_listed_once(report, made):
    listed = {f["path"]: f for f in report["files"]}
    assert len(listed) == len(report["files"])
    on_disk = {str(p.relative_to(made)) for p in made.rglob("*.fits")}
    assert on_disk <= listed.keys()
    assert listed["image/residual_combined.fits"]["bytes"] == (
        made / "image" / "residual_combined.fits").stat().st_size
    inside = [p for p in (made / "selfcal" / "gains_T.zarr").rglob("*") if p.is_file()]
    assert listed["selfcal/gains_T.zarr"]["bytes"] == sum(p.stat().st_size for p in inside)


def test_page_needs_nothing_from_outside(page):
    assert len(page.encode()) < 3_000_000
    assert "://" not in page
    assert "<script" not in page
    assert "<link" not in page
    assert not re.search(r'(?:src|href)="(?!#|data:image/png;base64,)', page)


def test_page_is_well_formed_and_its_ids_are_its_own(page):
    parser = Balance()
    parser.feed(page)
    assert parser.open == []
    assert len(set(parser.ids)) == len(parser.ids)
    assert set(parser.references) <= set(parser.ids)


def test_page_shows_all_that_was_asked(page):
    for text in ("self-calibration converged", "restored image of the stage image",
                 "residual image of the stage selfcal", "dirty image of the stage selfcal",
                 "phase of the T gains", "amplitude of the G gains", "with G the rms rose by 20.6%",
                 "fitted over true flux", "offsets of every source", "node-b", "advice.wproj",
                 "Jy/beam", "Right ascension", "LOW017"):
        assert text in page, text
    assert "amplitude of the T gains" not in page  # T turns phases only


def test_figures_follow_the_page_colours(page):
    assert "#0b0b" not in page
    used = set(re.findall(r"var\((--[\w-]+)", page))
    assert used <= set(re.findall(r"(--[\w-]+):", page))
    assert "prefers-color-scheme: dark" in page


@pytest.mark.parametrize(("path", "words"), [
    ("/data/a.ms", "it can be run again as it is"),
    ("/run-file/inputs/input.measurement_set-a.ms", "in place of those under /run-file")])
def test_a_run_file_with_paths_of_a_container_is_told_not_to_run_as_it_is(partial, path, words):
    (partial / "parameters.json").write_text(json.dumps({"input": {"measurement_set": path}}))
    write(partial)
    assert words in (partial / "report.html").read_text(encoding="utf-8")


def test_text_of_a_run_cannot_become_markup(partial):
    evil = '<script>alert("x")</script>'
    record = json.loads((partial / "selfcal" / "stage.json").read_text())
    record["warnings"], record["outcome"]["reason"] = [evil], evil
    (partial / "selfcal" / "stage.json").write_text(json.dumps(record))
    write(partial)
    page = (partial / "report.html").read_text()
    assert "<script>" not in page
    assert "&lt;script&gt;alert" in page


def test_the_forecast_stands_beside_what_was_measured(partial):
    sizes = Sizes(times=10, stations=5, baselines=10, channels=4, bands=2, partitions=2,
                  partition_visibilities=200, npixel=64, planes=3, components=7, scales=3,
                  major_cycles=4, cycles=3, selfcal=True, terms=2, solutions=20)
    predicted = forecast(sizes, Resources(workers=3))
    (partial / "forecast.json").write_text(json.dumps({"forecast": predicted.to_dict()}))
    report = assemble(read_run(partial))
    assert (report.forecast.workers, report.forecast.tasks) == (3, predicted.tasks)
    assert report.forecast.memory_mb * 1e6 == pytest.approx(predicted.memory_total, abs=1e5)
    assert report.stages["model"].forecast.wall_s == predicted.stages["model"].seconds
    (partial / "forecast.json").unlink()
    assert assemble(read_run(partial)).forecast is None


def test_a_run_that_only_has_a_model(partial):
    for name in ("image", "selfcal"):
        shutil.rmtree(partial / name)
    report = write(partial)
    assert report.verdict.line == (
        "WARN: stage image has not been done; stage selfcal has not been done.")
    assert report.quality == {}
    assert "<h2 id=\"images\">" not in (partial / "report.html").read_text()


def test_a_run_without_selfcal_that_wanted_none(partial):
    shutil.rmtree(partial / "selfcal")
    wanted = report_run.PARAMETERS | {"selfcal": {"enabled": False, "terms": "TG"}}
    (partial / "parameters.json").write_text(json.dumps(wanted))
    report = assemble(read_run(partial))
    assert report.verdict.status == "PASS"
    assert list(report.quality) == ["image"]


def test_a_loop_that_failed_still_has_a_page(partial):
    shutil.rmtree(partial / "selfcal")
    reason = "the image of the data holds nothing above the threshold to calibrate on"
    report_run.write_stage(partial, "selfcal", outcome={"state": "FAILED", "reason": reason})
    (partial / "selfcal" / "history.json").write_text("[]")
    report = write(partial)
    assert report.verdict.line.startswith(f"FAIL: self-calibration failed ({reason})")
    assert reason in (partial / "report.html").read_text()


def test_a_stage_that_died_is_a_failure_with_its_message(partial):
    (partial / "selfcal" / "stage.json").unlink()
    events = [{"event": "error", "stage": "image", "message": "mended since"},
              {"event": "error", "stage": "selfcal", "message": "the scheduler went away."},
              {"event": "stage_end", "stage": "selfcal", "status": "failed"}]
    lines = [json.dumps(e) for e in events]
    (partial / "progress.jsonl").write_text("\n".join([*lines, '{"event": "pro']))
    assert last_errors(partial / "progress.jsonl", frozenset({"model", "image"})) == {
        "selfcal": "the scheduler went away"}
    report = assemble(read_run(partial))
    assert report.verdict.status == "FAIL"
    assert "stage selfcal failed: the scheduler went away" in report.verdict.line


def test_stages_of_other_inputs_than_those_before_them_are_told(partial):
    old, new = {"library": "1", "input.measurement_set": "2"}, {"input.measurement_set": "3"}
    report_run.write_stage(partial, "model", inputs=old | new)
    report_run.write_stage(partial, "image", inputs=old | {"parameters of image": "4"})
    report_run.write_stage(partial, "selfcal", inputs=old | new)
    assert assemble(read_run(partial)).warnings == [
        "image: it is of other inputs than model, which was made again since "
        "(input.measurement_set): --resume makes it again, too"]


def test_history_without_peaks_and_one_cycle(partial):
    (partial / "selfcal" / "history.json").write_text(json.dumps(
        [{"number": 1, "terms": "T", "rms": 0.01, "decision": "revert", "reason": "worse"}]))
    write(partial)
    page = (partial / "report.html").read_text()
    assert "✕ revert" in page
    assert "signal to noise" not in page


def test_no_run_is_a_user_mistake(tmp_path):
    with pytest.raises(InputError, match=r"holds no run"):
        write(tmp_path)


def test_nothing_is_left_behind_but_the_report(made):
    assert {p.name for p in made.iterdir()} == {
        "parameters.json", "model", "image", "selfcal", "report.json", "report.html"}


def test_images_of_the_library_are_read_as_it_writes_them(tmp_path):
    image = np.random.default_rng(0).normal(0, 1, (32, 32))
    header = ImageHeader(1e-3, (0.5, -1.0), 95e6, 1e6, "Jy/beam", Beam(4e-3, 3e-3, 0.7),
                         "2018-01-01T00:00:00", "run", "ical", "TOPO")
    write_image(tmp_path / "a.fits", image, header)
    found = read_image(tmp_path / "a.fits")
    np.testing.assert_array_equal(found.data, image.astype(np.float32).T[:, ::-1])
    assert (found.ra, found.dec, found.frequency) == pytest.approx((0.5, -1.0, 95e6))
    assert found.beam == pytest.approx((4e-3, 3e-3, 0.7))
    # pixel (i, j) = (5, 20) of [l, m] is at l = -11, m = 4 cells
    left, right, bottom, top = found.extent
    x, y = 32 - 1 - 5, 20
    assert left + (x + 0.5) * (right - left) / 32 == pytest.approx(-11e-3)
    assert bottom + (y + 0.5) * (top - bottom) / 32 == pytest.approx(4e-3)


@pytest.mark.parametrize("dec", [-60.0, 45.0])
def test_graticule_labels_are_where_the_world_coordinates_are(tmp_path, dec):
    path = tmp_path / "a.fits"
    report_run.write_image(path, np.zeros((report_run.NPIXEL,) * 2), 1e8)
    with fits.open(path, mode="update") as file:
        file[0].header["CRVAL2"] = dec
        wcs = WCS(file[0].header).celestial
    image = read_image(path)
    figure = new_figure(4, 4)
    axes = figure.add_subplot()
    sky_figures.graticule(axes, image, "#000000")
    left, right, bottom, top = image.extent
    n = report_run.NPIXEL
    edge = top if dec < 0 else bottom
    assert len(axes.get_xticks()) >= 3
    for l, label in zip(axes.get_xticks(), axes.get_xticklabels(), strict=True):
        x = (l - left) / (right - left) * n - 0.5
        y = (edge - bottom) / (top - bottom) * n - 0.5
        ra = wcs.all_pix2world([[x, y]], 0)[0, 0]
        h, m = re.fullmatch(r"(\d+)h(?:(\d+)m)?", label.get_text()).groups()
        assert ra / 15 == pytest.approx(int(h) + int(m or 0) / 60, abs=2e-3)
    assert len(axes.get_yticks()) >= 3
    for m, label in zip(axes.get_yticks(), axes.get_yticklabels(), strict=True):
        y = (m - bottom) / (top - bottom) * n - 0.5
        found = wcs.all_pix2world([[-0.5, y]], 0)[0, 1]
        text = label.get_text()[:-1].replace("\N{MINUS SIGN}", "-")
        assert found == pytest.approx(float(text), abs=0.02)


@pytest.mark.parametrize(("ra", "dec", "size"), [
    (30.0, -60.0, 0.2), (0.02, 10.0, 0.2), (359.95, -89.3, 0.2), (30.0, 80.0, 5e-3),
    (200.0, 45.0, 40.0), (10.0, 89.95, 0.2), (0.0, -90.0, 0.2), (350.0, -75.0, 50.0)])
def test_lines_of_the_graticule_cross_the_field_without_gaps(ra, dec, size):
    """Of any size (degrees), across 0h and over a pole; each has one coordinate, by its WCS."""
    n = 64
    wcs = WCS({"CTYPE1": "RA---SIN", "CTYPE2": "DEC--SIN", "CRVAL1": ra, "CRVAL2": dec,
               "CDELT1": -size / n, "CDELT2": size / n, "CRPIX1": n / 2, "CRPIX2": n / 2})
    cell = np.radians(size / n)
    image = SkyImage(Path("a.fits"), np.zeros((n, n)), np.radians(ra), np.radians(dec),
                     (n / 2 - 1, n / 2 - 1), (-cell, cell), None, "Jy/beam", 1e8)
    axes = new_figure(4, 4).add_subplot()
    sky_figures.graticule(axes, image, "#000000")
    left, right, bottom, top = image.extent
    of_polar_field = abs(dec) + size / 2 > 90
    constant = []
    for line in axes.lines:
        drawn = np.column_stack(line.get_data())
        # NaN is where it has left the field
        assert np.nanmax(np.hypot(*np.diff(drawn, axis=0).T)) < 0.05 * (left - right)
        l, m = drawn[np.isfinite(drawn[:, 0])].T
        assert len(l) > (10 if of_polar_field else 50)
        pixel = np.column_stack([(l - left) / (right - left), (m - bottom) / (top - bottom)])
        world = wcs.all_pix2world(pixel * n - 0.5, 0)
        turned = world - [[ra, 0]]
        turned[:, 0] = (turned[:, 0] + 180) % 360 - 180
        at_pole = np.abs(world[:, 1]) > 90 - 1e-6  # which has no right ascension
        constant.append(np.argmin([np.ptp(turned[~at_pole, 0]), np.ptp(turned[:, 1])]))
        assert np.ptp(turned[~at_pole, constant[-1]]) < 1e-6 * max(size, 1)
    assert min(constant.count(0), constant.count(1)) >= 2


@pytest.mark.parametrize(("seconds", "step", "text"), [
    (7200, 3600, "2h"), (5400, 1800, "1h30m"), (86400 - 30, 30, "23h59m30s"),
    (3599.96, 0.1, "1h00m00.0s"), (-3600, 3600, "23h"), (12.5, 0.5, "0h00m12.5s")])
def test_hours(seconds, step, text):
    assert sky_figures.hours(seconds, step) == text


@pytest.mark.parametrize(("seconds", "step", "text"), [
    (-216000, 36000, "-60°"), (-1800, 1800, "-0°30'"), (198922, 1, "+55°15'22\"")])
def test_degrees(seconds, step, text):
    plain = str.maketrans({"\N{MINUS SIGN}": "-", "\N{PRIME}": "'", "\N{DOUBLE PRIME}": '"'})
    assert sky_figures.degrees(seconds, step).translate(plain) == text


def test_thinning_keeps_the_extremes():
    data = np.random.default_rng(1).normal(0, 1, (1000, 1000)).astype(np.float32)
    data[123, 457], data[901, 2] = 50.0, -60.0
    small = sky_figures.thin(data, 300)
    assert max(small.shape) <= 300
    assert (small.max(), small.min()) == (50.0, -60.0)
    assert small[123 // 4, 457 // 4] == 50.0


def test_stretch_is_set_by_the_noise_not_by_one_bright_pixel():
    data = np.random.default_rng(2).normal(0, 2e-3, (300, 300))
    data[10, 10] = 1000.0
    stretch = sky_figures.stretch_of("residual", [data])
    assert stretch.high == pytest.approx(1e-2, rel=0.02)
    assert stretch.low == -stretch.high


def test_pictures_in_figures_keep_their_exact_colours():
    figure = new_figure(2, 2)
    axes = figure.add_axes((0, 0, 1, 1))
    shown = axes.imshow(np.arange(64.0).reshape(8, 8), interpolation="none", cmap="viridis")
    svg = to_svg(figure, "a", "a & b")
    assert 'aria-label="a &amp; b"' in svg
    data = re.search(r"data:image/png;base64,([A-Za-z0-9+/=]+)", svg)[1]
    picture = np.asarray(Image.open(io.BytesIO(base64.b64decode(data))).convert("RGBA"))
    wanted = shown.to_rgba(np.arange(64.0).reshape(8, 8), bytes=True)
    got, expected = ({tuple(c) for c in a.reshape(-1, 4)} for a in (picture, wanted))
    assert got == expected


def test_importing_the_stage_loads_nothing_heavy():
    code = ("import sys; import ical.stages.report; "
            "print([m for m in ('numpy', 'matplotlib', 'astropy', 'xarray') if m in sys.modules])")
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert done.stdout.strip() == "[]"


def test_the_report_reads_gains_without_xarray():
    code = ("import sys; import ical.report.assemble, ical.report.page, ical.report.figures; "
            "print('xarray' in sys.modules, 'pandas' in sys.modules)")
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert done.stdout.split() == ["False", "False"]


def test_a_run_without_its_parameters_has_its_folder_for_a_name(partial):
    (partial / "parameters.json").unlink()
    assert assemble(read_run(partial)).name == "partial"


@pytest.mark.parametrize(("noise", "status"), [
    (None, "WARN"), ({"sefd": None, "sigma": None}, "WARN"),
    ({"sefd": None, "sigma": 3.0}, "FAIL")])
def test_residuals_beside_those_of_the_ideal_fail_a_run_with_noise_alone(partial, noise, status):
    parameters = json.loads((partial / "parameters.json").read_text())
    (partial / "parameters.json").write_text(json.dumps(parameters | {"noise": noise}))
    for stage, rms in (("image", 1e-4), ("selfcal", 4e-4)):
        path = partial / stage / "stage.json"
        record = json.loads(path.read_text())
        record["quality"]["residual_rms_jy"] = rms
        path.write_text(json.dumps(record))
    reasons = assemble(read_run(partial)).verdict.reasons
    assert [r.status for r in reasons if "over that without gain errors 4.00" in r.text] == [status]
