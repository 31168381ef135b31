"""Run files: what they become, and that every mistake in them is said, all at once."""

from __future__ import annotations

import copy
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import yaml
from pydantic import ValidationError
from written_ms import smallest_ms

from arl.calibration.gains import gain_table
from arl.errors import InputError
from arl.io.fits import ImageHeader, write_image
from arl.io.zarr import write_dataset
from ical.checks import check
from ical.parameters import MinorLoop, Parameters, load
from ical.problems import all_keys, section_of
from ical.runfile import shipped_runs
from ical.stages.image import clean_options

GOOD: dict[str, Any] = {
    "observation": {
        "r_max": 120.0,
        "phase_centre": {"ra": 30.0, "dec": -60.0},
        "frequency": {"start": 9.0e7, "end": 1.1e8, "channels": 4},
        "time": {"start_hour_angle": -30.0, "end_hour_angle": 30.0, "samples": 3},
    }
}


def write(folder: Path, changes: dict[str, Any] | None = None, drop: str = "") -> Path:
    """GOOD with dotted keys set to other values, as a file."""
    data = copy.deepcopy(GOOD)
    for key, value in (changes or {}).items():
        *parents, last = key.split(".")
        section = data
        for parent in parents:
            section = section.setdefault(parent, {})
        section[last] = value
    if drop:
        *parents, last = drop.split(".")
        section = data
        for parent in parents:
            section = section[parent]
        del section[last]
    path = folder / "my run.yml"
    path.write_text(yaml.safe_dump(data))
    return path


def mistakes(path: Path) -> list[str]:
    """The sentences that reading a file ends in."""
    with pytest.raises(InputError) as caught:
        load(path)
    text = str(caught.value)
    lines = [line.removeprefix("  - ") for line in text.splitlines() if line.startswith("  - ")]
    return lines or [text.removeprefix(f"{path}: ")]


@pytest.mark.parametrize("name", sorted(shipped_runs()))
def test_shipped_runs_are_good(name):
    assert load(name).name == name


def test_reference_is_the_observation_of_the_design():
    p = load("reference")
    assert p.observation.layout == "LOWBD2"
    assert p.observation.r_max == 300.0
    assert (p.observation.phase_centre.ra, p.observation.phase_centre.dec) == (30.0, -60.0)
    assert (p.observation.frequency.start, p.observation.frequency.end) == (90e6, 110e6)
    assert (p.observation.frequency.channels, p.observation.time.samples) == (7, 11)
    assert (p.imaging.npixel, p.imaging.cell_rad) == (512, 1.5904e-3)
    assert p.imaging.clean.scales == (0, 3, 10)
    assert p.selfcal.terms == "TG"
    assert p.gains.phase_error == 1.0
    assert p.sky.positions == "exact"
    assert p.imaging.clean.threshold is None


def test_reference_noise_differs_by_noise_alone():
    plain, noisy = load("reference").to_dict(), load("reference-noise").to_dict()
    assert noisy.pop("noise")["sefd"] > 0
    plain.pop("noise")
    assert noisy.pop("name") == "reference-noise"
    plain.pop("name")
    noisy["observation"]["time"].pop("integration")
    plain["observation"]["time"].pop("integration")
    assert noisy == plain


def test_reference_shows_every_parameter():
    """The commented example is the manual: no key may be missing from it."""
    shown = yaml.safe_load(shipped_runs()["reference"].read_text())
    for key, field in all_keys(Parameters).items():
        first = key.split(".")[0]
        if first in ("input", "quality", "superseded") or key.startswith("selfcal.clean."):
            continue
        value = shown
        for part in key.split("."):
            assert part in value, f"{key} is not shown"
            value = value[part]
        assert section_of(field.annotation) is None or value is None or isinstance(value, dict)


def test_every_field_is_described():
    missing = [k for k, f in all_keys(Parameters).items() if not f.description]
    assert missing == []


def test_parameters_do_not_change():
    p = load("tiny")
    with pytest.raises(ValidationError):
        p.imaging.npixel = 64


def test_written_parameters_are_a_run_file_again(tmp_path):
    import json

    for name in shipped_runs():
        path = tmp_path / f"{name}.json"
        path.write_text(json.dumps(load(name).to_dict()))
        assert load(path).to_dict() == load(name).to_dict()


def test_name_is_that_of_the_file(tmp_path):
    assert load(write(tmp_path)).name == "my-run"


def test_loop_cleans_as_imaging_does_but_for_what_it_says(tmp_path):
    path = write(tmp_path, {"imaging.clean.gain": 0.2, "imaging.clean.threshold": 0.3,
                            "selfcal.clean.threshold": 0.5})
    p = load(path)
    assert (p.selfcal_clean.gain, p.selfcal_clean.threshold) == (0.2, 0.5)
    assert p.imaging.clean.threshold == 0.3


def test_loop_may_set_back_to_automatic(tmp_path):
    path = write(tmp_path, {"imaging.clean.threshold": 0.3, "selfcal.clean.threshold": None})
    assert load(path).selfcal_clean.threshold is None


@pytest.mark.parametrize("changes", [
    {"imaging.clean.algorithm": "generic"},
    {"imaging.clean.algorithm": "generic", "imaging.clean.scales": [0], "imaging.npixel": 32},
    {"imaging.clean.algorithm": "generic", "imaging.clean.scales": [0]},
    {"imaging.clean.scales": [0, 4], "selfcal.clean.algorithm": "generic"},
    {"imaging.clean.scales": [6]},
    {"imaging.clean.threshold": 0.1, "imaging.clean.auto_mask": 2.0}])
def test_only_what_acts_is_refused_and_what_is_resolved_is_a_run_file(tmp_path, changes):
    """A fixed threshold alone has no times the noise to be below of."""
    found = load(write(tmp_path, changes)).to_dict()
    again = Parameters.model_validate(found)
    assert check(again) == []
    assert again.to_dict() == found


@pytest.mark.parametrize(("given", "threshold", "sigma"), [
    ({}, 0.0, 3.0), ({"threshold": 0.1}, 0.1, None), ({"auto_threshold": 2.0}, 0.0, 2.0),
    ({"threshold": 0.1, "auto_threshold": 2.0}, 0.1, 2.0)])
def test_a_fixed_threshold_is_a_floor_beside_that_of_the_noise(given, threshold, sigma):
    """As in WSClean: both act where both are given."""
    found = clean_options(MinorLoop(**given))
    assert (found.threshold, found.threshold_sigma) == (threshold, sigma)


@pytest.mark.parametrize("text", ["90.0e6", "9e7", "90e+6", "90000000"])
def test_numbers_are_numbers_however_written(tmp_path, text):
    path = write(tmp_path)
    path.write_text(path.read_text().replace("90000000.0", text))
    assert text in path.read_text()
    assert load(path).observation.frequency.start == 90e6


ONE_MISTAKE = [
    ({"imaging.npixels": 64}, "imaging.npixels", "did you mean imaging.npixel?"),
    ({"imaging.cell": 1e-3}, "imaging.cell", "did you mean imaging.cell_rad?"),
    ({"r_max": 1e-3}, "r_max", "did you mean observation.r_max?"),
    ({"zzz": 1}, "zzz", "remove it"),
    ({"imaging.npixel": -64}, "imaging.npixel", "at least 32"),
    ({"imaging.npixel": 65}, "imaging.npixel", "multiple of 2"),
    ({"imaging.npixel": "big"}, "imaging.npixel", "'big' is not a whole number"),
    ({"imaging.npixel": 64.5}, "imaging.npixel", "64.5 is not a whole number"),
    ({"imaging.cell_rad": float("inf")}, "imaging.cell_rad", "finite"),
    ({"imaging.weighting": "robust"}, "imaging.weighting", "'natural', 'uniform' or 'briggs'"),
    ({"imaging.robust": 0.5}, "imaging.robust", "only with weighting briggs"),
    ({"imaging.joint_density": True}, "imaging.joint_density", "only with weighting"),
    ({"imaging.clean.scales": [0, -3]}, "imaging.clean.scales", "-3 is too small"),
    ({"imaging.clean.scales": [3, 3]}, "imaging.clean.scales", "twice"),
    ({"imaging.clean.scales": []}, "imaging.clean.scales", "empty"),
    ({"imaging.npixel": 32, "imaging.clean.scales": [9]}, "imaging.clean.scales", "stay below 8"),
    ({"imaging.taper_rad": 0.0}, "imaging.taper_rad", "above 0"),
    ({"imaging.primary_beam": "gauss"}, "imaging.primary_beam", "airy, none"),
    ({"imaging.mask": "none.fits"}, "imaging.mask", "there is no file"),
    ({"imaging.clean.auto_mask": 2.0}, "imaging.clean.auto_mask", "below auto_threshold"),
    ({"imaging.clean.threshold": 0.1, "imaging.clean.auto_threshold": 3.0,
      "imaging.clean.auto_mask": 2.0}, "imaging.clean.auto_mask", "below auto_threshold"),
    ({"imaging.clean.algorithm": "generic", "imaging.clean.scales": [0, 3]},
     "imaging.clean.scales", "only with algorithm multiscale"),
    ({"selfcal.clean.algorithm": "generic", "selfcal.clean.scales": None},
     "selfcal.clean.scales", "only with algorithm multiscale"),
    ({"imaging.clean.spectral_terms": 5}, "imaging.clean.spectral_terms", "at most 4"),
    ({"imaging.bands": 5}, "imaging.bands", "5 bands can't be made of 4 channels"),
    ({"imaging.uv_range": {"min_m": 50.0, "max_m": 20.0}}, "imaging.uv_range", "no baseline"),
    ({"imaging.npixel": 1024, "imaging.cell_rad": 0.01}, "imaging.cell_rad", "horizon"),
    ({"imaging": 5}, "imaging", "not a section"),
    ({"observation.r_max": -300.0}, "observation.r_max", "above 0"),
    ({"observation.r_max": 30.0}, "observation.r_max", "stations"),
    ({"observation.layout": "LOWBD3"}, "observation.layout", "LOWBD3"),
    ({"observation.layout": "none.csv"}, "observation.layout", "none.csv"),
    ({"observation.phase_centre.dec": 80.0}, "observation.phase_centre", "below the horizon"),
    ({"observation.elevation_limit": 75.0}, "observation.phase_centre", "below the limit of 75"),
    ({"observation.phase_centre.dec": -91.0}, "observation.phase_centre.dec", "at least -90"),
    ({"observation.frequency.end": 8e7}, "observation.frequency.end", "before start"),
    ({"observation.frequency.end": 9e7}, "observation.frequency.channels", "after their start"),
    ({"observation.frequency.channels": 1}, "observation.frequency.channels", "can't span"),
    ({"observation.frequency.channels": 0}, "observation.frequency.channels", "at least 1"),
    ({"observation.time.end_hour_angle": -60.0}, "observation.time.end_hour_angle", "before"),
    ({"observation.time.date": "2018-02-30"}, "observation.time.date", "calendar"),
    ({"observation.time.date": "soon"}, "observation.time.date", "yyyy-mm-dd"),
    ({"sky.catalogue": "gleem"}, "sky.catalogue", "did you mean gleam?"),
    ({"sky.catalogue": "none.fits"}, "sky.catalogue", "there is no"),
    ({"sky.primary_beam": "gauss"}, "sky.primary_beam", "airy, none"),
    ({"sky.flux_limit": -1.0}, "sky.flux_limit", "at least 0"),
    ({"noise": {"sefd": 1e3, "sigma": 1.0}}, "noise", "both given"),
    ({"gains.phase_error": -1.0}, "gains.phase_error", "at least 0"),
    ({"input.field": 1}, "input.field", "only on a Measurement Set"),
    ({"quality.catalogue": "gleam"}, "quality.catalogue", "compared with the simulated sky"),
    ({"selfcal.terms": "TX"}, "selfcal.terms", "T (phase)"),
    ({"selfcal.terms": "TT"}, "selfcal.terms", "twice"),
    ({"selfcal.cycles": 2}, "selfcal.first_cycle.G", "after the last one"),
    ({"selfcal.global_solution": "no"}, "selfcal.global_solution", "not true or false"),
    ({"selfcal.start_model": "none.csv"}, "selfcal.start_model", "there is no file"),
    ({"imaging.start_model": "none.fits"}, "imaging.start_model", "there is no file"),
    ({"selfcal.interpolation.B": "linear"}, "selfcal.interpolation.B", "which is not in"),
    ({"selfcal.interpolation.T": "cubic"}, "selfcal.interpolation.T", "linear"),
    ({"selfcal.robust_terms": "B"}, "selfcal.robust_terms", "B is not solved"),
    ({"resources.memory_limit": "lots"}, "resources.memory_limit", "4 GB"),
    ({"name": "../etc"}, "name", "letters"),
    ({"seed": -1}, "seed", "at least 0"),
]


@pytest.mark.parametrize(("changes", "key", "words"), ONE_MISTAKE)
def test_one_mistake_is_one_sentence(tmp_path, changes, key, words):
    found = mistakes(write(tmp_path, changes))
    assert len(found) == 1, found
    assert found[0].startswith(f"{key}: ")
    assert words in found[0]
    assert found[0].rstrip()[-1] in ".?)"


@pytest.mark.parametrize("key", ["observation.phase_centre", "observation.frequency.start",
                                 "observation.time"])
def test_missing_parameters_are_named(tmp_path, key):
    found = mistakes(write(tmp_path, drop=key))
    assert len(found) == 1
    assert found[0].startswith(f"{key}: is missing")


def test_all_mistakes_are_said_at_once(tmp_path):
    """Those of single fields, of combinations, and of files together, and nothing twice."""
    wrong = {"imaging.npixel": -64, "imaging.npixels": 64, "observation.r_max": 30.0,
             "observation.phase_centre.dec": 80.0, "observation.frequency.end": 8e7,
             "sky.catalogue": "none.fits", "imaging.bands": 9, "selfcal.terms": "TX"}
    found = mistakes(write(tmp_path, wrong))
    keys = sorted(f.split(":")[0] for f in found)
    assert keys == sorted([
        "imaging.npixel", "imaging.npixels", "observation.r_max", "observation.phase_centre",
        "observation.frequency.end", "sky.catalogue", "imaging.bands", "selfcal.terms"])


def test_what_rests_on_a_mistake_is_not_a_mistake_of_its_own(tmp_path):
    found = mistakes(write(tmp_path, {"observation.frequency.channels": -4, "imaging.bands": 5}))
    assert [f.split(":")[0] for f in found] == ["observation.frequency.channels"]


def test_data_are_either_read_or_simulated(tmp_path):
    (tmp_path / "some.ms").mkdir()
    (tmp_path / "some.ms" / "table.dat").touch()
    both = mistakes(write(tmp_path, {"input.measurement_set": "some.ms"}))
    assert len(both) == 1
    assert "either read or simulated" in both[0]
    neither = mistakes(write(tmp_path, {"seed": 2}, drop="observation"))
    assert len(neither) == 1
    assert "give one of the two" in neither[0]


def test_measurement_set_is_taken_from_the_folder_of_the_file(tmp_path):
    smallest_ms(tmp_path / "some.ms")
    path = write(tmp_path, {"input.measurement_set": "some.ms"}, drop="observation")
    p = load(path)
    assert p.input.measurement_set == str(tmp_path / "some.ms")
    assert not p.simulated
    assert "sky" not in p.to_dict()


@pytest.mark.parametrize(("catalogue", "words"), [
    ("none.csv", "there is no"), ("sky.csv", "no column for flux"), ("gleem", "did you mean")])
def test_a_catalogue_to_compare_with_is_looked_at_before_any_work(tmp_path, catalogue, words):
    smallest_ms(tmp_path / "some.ms")
    (tmp_path / "sky.csv").write_text("ra_deg,dec_deg\n1,2\n")
    asked = {"input.measurement_set": "some.ms", "quality.catalogue": catalogue}
    (found,) = mistakes(write(tmp_path, asked, drop="observation"))
    assert found.startswith("quality.catalogue: ")
    assert words in found


@pytest.mark.parametrize(("make", "words"), [(False, "there is no"), (True, "table.dat")])
def test_measurement_set_must_be_one(tmp_path, make, words):
    if make:
        (tmp_path / "some.ms").mkdir()
    path = write(tmp_path, {"input.measurement_set": "some.ms"}, drop="observation")
    assert words in mistakes(path)[0]


def test_simulation_beside_a_measurement_set_is_not_ignored_in_silence(tmp_path):
    smallest_ms(tmp_path / "some.ms")
    path = write(tmp_path, {"input.measurement_set": "some.ms", "gains.phase_error": 1.0},
                 drop="observation")
    assert mistakes(path)[0].startswith("gains: acts only on a simulation")


@pytest.mark.parametrize(("text", "words"), [
    ("a: [1", "not valid YAML"), ("- 1\n- 2\n", "not a run file"),
    ("seed: 1\nseed: 2\n", "twice"), ("", "not a run file"),
])
def test_files_that_are_no_run_files(tmp_path, text, words):
    path = tmp_path / "run.yml"
    path.write_text(text)
    assert words in mistakes(path)[0]


def test_json_with_a_syntax_error_names_the_line(tmp_path):
    path = tmp_path / "run.json"
    path.write_text('{\n"seed": 1,,\n}')
    assert "line 2" in mistakes(path)[0]


def test_unknown_run_lists_those_that_ship():
    with pytest.raises(InputError, match=r"did you mean reference\?.*compat-2018"):
        load("referense")
    with pytest.raises(InputError, match=r"There is no run 'x.yml'\. Give the path"):
        load("x.yml")


@pytest.mark.parametrize(("key", "name", "text", "words"), [
    ("sky.catalogue", "sky.csv", "ra_deg,dec_deg\n1,2\n", "no column for flux"),
    ("sky.primary_beam", "beam.csv", "angle_deg,power\n0,1\n", "the frequency is missing"),
    ("observation.layout", "array.csv", "east,north,up\n0,0,0\n", "longitude_deg"),
    ("selfcal.start_model", "model.csv", "ra_deg,flux_jy\n1,2\n", "no column for dec"),
    ("selfcal.start_model", "mk.py", "import x\n", "neither a FITS image nor a CSV of components"),
    ("imaging.start_model", "mk.py", "import x\n", "neither a FITS image nor a CSV of components"),
    ("imaging.mask", "mk.py", "import x\n", "can't be read as a FITS image: it is not a FITS file"),
])
def test_a_file_of_the_user_is_looked_at_before_any_work(tmp_path, key, name, text, words):
    (tmp_path / name).write_text(text)
    (found,) = mistakes(write(tmp_path, {key: name}))
    assert found.startswith(f"{key}: ")
    assert words in found
    assert "ignore_missing_simple" not in found  # astropy's advice, to those who program


def test_gains_to_start_from_need_a_term_and_a_table(tmp_path):
    gain = np.ones((1, 2, 1), complex)
    write_dataset(gain_table("T", np.zeros(1), ("a", "b"), np.array([1e8]), gain),
                  tmp_path / "t.zarr")
    table = {"selfcal.start_gains.T": "t.zarr"}
    found = load(write(tmp_path, table)).selfcal.start_gains.T
    assert found == str(tmp_path / "t.zarr")
    for changes, key, words in (
        ({"selfcal.start_gains.T": "no.h5"}, "selfcal.start_gains.T", "there is no"),
        ({"selfcal.start_gains.T": "my run.yml"}, "selfcal.start_gains.T", "can't be read as"),
        ({"selfcal.start_gains.T": "."}, "selfcal.start_gains.T", "can't be read as a gain table"),
        ({"selfcal.start_gains.B": "t.zarr"}, "selfcal.start_gains.B", "acts on term B"),
        ({"selfcal.fixed_terms": "T"}, "selfcal.fixed_terms", "needs gains to be fixed to"),
        ({"selfcal.fixed_terms": "X"}, "selfcal.fixed_terms", "which of T, G and B"),
        (table | {"selfcal.fixed_terms": "T", "selfcal.solution_interval.T": 9.0},
         "selfcal.solution_interval.T", "acts on solutions, and T is in selfcal.fixed_terms"),
        (table | {"selfcal.first_cycle.T": 2}, "selfcal.first_cycle.T", "has gains to start from"),
    ):
        (found,) = mistakes(write(tmp_path, changes))
        assert found.startswith(f"{key}: "), found
        assert words in found


def test_a_mask_of_nothing_is_seen_before_any_work(tmp_path):
    header = ImageHeader(2e-3, tuple(np.radians([30.0, -60.0])), 1e8, 2e7, "", None,
                         "2018-01-01T08:00:00", "m", "t", "TOPO")
    write_image(tmp_path / "m.fits", np.full((8, 8), np.nan), header)
    (found,) = mistakes(write(tmp_path, {"imaging.mask": "m.fits"}))
    assert found.startswith("imaging.mask: every pixel of ")


@pytest.mark.parametrize("key", ["imaging.start_model", "selfcal.start_model"])
def test_a_model_image_must_be_on_the_grid_of_the_images(tmp_path, key):
    image = np.zeros((64, 64))
    image[20, 30] = 1.0
    header = ImageHeader(2e-3, tuple(np.radians([30.0, -60.0])), 1e8, 2e7, "Jy/pixel", None,
                         "2018-01-01T08:00:00", "m", "t", "TOPO")
    write_image(tmp_path / "m.fits", image, header)
    same = {key: "m.fits", "imaging.npixel": 64, "imaging.cell_rad": 2e-3}
    assert load(write(tmp_path, same)).to_dict()
    (found,) = mistakes(write(tmp_path, same | {"imaging.cell_rad": 3e-3}))
    assert found.startswith(f"{key}: ")
    assert "pixels beside those of the images" in found


@pytest.mark.parametrize(("change", "words"), [
    ({"input.field": "B0"}, "no data of a field B0; choose one of 0 (target)"),
    ({"input.spectral_window": 3}, "no data of spectral window 3"),
    ({"input.column": "CORRECTED_DATA"}, "no data column CORRECTED_DATA; it has DATA"),
    ({"imaging.bands": 2}, "2 bands can't be made of 1 channels"),
])
def test_what_is_asked_of_a_measurement_set_must_be_in_it(tmp_path, change, words):
    smallest_ms(tmp_path / "some.ms")
    path = write(tmp_path, {"input.measurement_set": "some.ms", **change}, drop="observation")
    assert words in mistakes(path)[0]


@pytest.mark.parametrize("field", [0, "0", "target", None])
def test_a_field_is_a_number_or_a_name(tmp_path, field):
    smallest_ms(tmp_path / "some.ms")
    change = {"input.measurement_set": "some.ms", "input.field": field, "imaging.bands": None}
    parameters = load(write(tmp_path, change, drop="observation"))
    assert parameters.input.field == (None if field is None else str(field))


def test_the_flux_scale_of_a_model_needs_one_and_amplitudes_from_the_start(tmp_path):
    (tmp_path / "model.csv").write_text("ra_deg,dec_deg,flux_jy\n30,-60,1\n")
    model = {"selfcal.flux_scale": "model", "selfcal.start_model": "model.csv"}
    assert "needs selfcal.start_model" in mistakes(
        write(tmp_path, {"selfcal.flux_scale": "model"}))[0]
    assert "T has phases alone" in mistakes(write(tmp_path, {**model, "selfcal.terms": "T"}))[0]
    late = {**model, "selfcal.terms": "TG", "selfcal.first_cycle.G": 2}
    assert mistakes(write(tmp_path, late))[0].startswith("selfcal.first_cycle.G: must be 1")
    assert load(write(tmp_path, {**late, "selfcal.first_cycle.G": 1})).selfcal.flux_scale == "model"


@pytest.mark.parametrize(("changes", "words"), [
    ({"terms": "TG", "first_cycle": {"G": 1}}, "of G that have no scale yet, and they keep that of "
     "selfcal.start_gains.G"),
    ({"terms": "TG", "fixed_terms": "G"}, "all that have some are in selfcal.fixed_terms"),
    ({"terms": "TGB", "fixed_terms": "G"}, "first_cycle.B: must be 1"),
    ({"terms": "TGB", "fixed_terms": "G", "first_cycle": {"B": 1}}, None)])
def test_the_flux_scale_of_a_model_needs_amplitudes_that_are_free(tmp_path, changes, words):
    """Those that were given have a scale, which is kept; a fixed term leaves it to the next."""
    (tmp_path / "model.csv").write_text("ra_deg,dec_deg,flux_jy\n30,-60,1\n")
    write_dataset(gain_table("G", np.zeros(1), ("a", "b"), np.array([1e8]),
                             np.ones((1, 2, 1), complex)), tmp_path / "g.zarr")
    given = {"flux_scale": "model", "start_model": "model.csv", "start_gains": {"G": "g.zarr"}}
    path = write(tmp_path, {f"selfcal.{k}": v for k, v in (given | changes).items()})
    if words is None:
        assert load(path).selfcal.flux_scale == "model"
    else:
        (found,) = mistakes(path)
        assert found.startswith("selfcal.f")
        assert words in found


@pytest.mark.parametrize(("terms", "kinds", "wrong"), [
    ("TGB", {"T": "diagonal", "B": "full"}, "T"), ("TGB", {"G": "full", "B": "diagonal"}, "G"),
    ("BTG", {"T": "diagonal", "B": "full"}, None), ("TGB", {"B": "full"}, None),
    ("TGB", {"T": "diagonal", "B": "diagonal"}, None)])
def test_fixed_matrices_come_first_where_their_place_matters(tmp_path, terms, kinds, wrong):
    """Numbers may be multiplied in any order, and diagonal matrices; others not."""
    smallest_ms(tmp_path / "some.ms")
    write_dataset(gain_table("B", np.zeros(1), ("a", "b"), np.array([1e8]),
                             np.ones((1, 2, 1, 2, 2), complex)), tmp_path / "b.zarr")
    path = write(tmp_path, {
        "input.measurement_set": "some.ms", "imaging.bands": None, "selfcal.terms": terms,
        "selfcal.jones": kinds, "selfcal.fixed_terms": "B", "selfcal.start_gains.B": "b.zarr"},
        drop="observation")
    if wrong is None:
        assert load(path).selfcal.in_order == "BTG"
    else:
        (found,) = mistakes(path)
        assert found.startswith(f"selfcal.terms: {wrong} is solved on data corrected by B, which")
        assert f"name B before {wrong}." in found
