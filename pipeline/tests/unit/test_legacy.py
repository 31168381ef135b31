"""The parameters.json of 2018: accepted unchanged, and nothing in it ignored in silence."""

from __future__ import annotations

import copy
import hashlib
import json
import math
from typing import Any

import pytest

from arl.errors import InputError
from ical.legacy import MAPPED, SUPERSEDED, leaves
from ical.parameters import Parameters, load
from ical.runfile import parse, shipped_runs

ORIGINAL: dict[str, Any] = parse(shipped_runs()["compat-2018"])
SHA256 = "7faaab1bed7995af7e77db2cc3c42c0ff12a5995fcf652531b56944f1c8ad3d1"
KEYS = [key for key, _ in leaves(ORIGINAL)]
#: Another value that the original would have taken.
OTHER: dict[str, Any] = {
    "modeling.configuration.name": None,  # a path, made by the test
    "processing.ical.calibration_context": "T",
    "processing.continuum_imaging.algorithm": "hogbom",
    "processing.ical.algorithm": "hogbom",
    "processing.continuum_imaging.scales": [0, 4], "processing.ical.scales": [0, 4],
    "processing.continuum_imaging.nmoment": 2, "processing.ical.nmoment": 2,
    "processing.ical.nmajor": 4,
    "modeling.configuration.num_freq_win": 5,
    "processing.controls.G.first_selfcal": 4,
}


def with_value(key: str, value: Any) -> dict[str, Any]:
    """The original with one leaf changed."""
    data = copy.deepcopy(ORIGINAL)
    *parents, last = key.split(".")
    section = data
    for parent in parents:
        section = section[parent]
    section[last] = value
    return data


def read(tmp_path, data: dict[str, Any]) -> Parameters:
    """Parameters of data in the form of 2018, by way of a file."""
    path = tmp_path / "parameters.json"
    path.write_text(json.dumps(data))
    return load(path)


def another(key: str, value: Any, tmp_path) -> Any:
    """Another legal value of a leaf."""
    if key == "modeling.configuration.name":
        path = tmp_path / "array.csv"
        path.write_text("# longitude_deg: 116.5\n# latitude_deg: -26.7\n# height_m: 300\n"
                        "east,north,up\n0,0,0\n100,0,0\n0,100,0\n50,50,0\n")
        return str(path)
    if key in OTHER:
        return OTHER[key]
    if isinstance(value, bool):
        return not value
    if isinstance(value, str):
        return 100.0  # a timescale that was auto
    return value * 0.9 if isinstance(value, float) else value + 1


def test_the_file_is_the_original_unchanged():
    content = shipped_runs()["compat-2018"].read_bytes()
    assert hashlib.sha256(content).hexdigest() == SHA256


@pytest.mark.parametrize("key", KEYS)
def test_every_leaf_acts_or_is_superseded(key, tmp_path):
    before = read(tmp_path, ORIGINAL).to_dict()
    listed = {entry["key"]: entry["reason"] for entry in before["superseded"]}
    if key in SUPERSEDED:
        assert key not in MAPPED
        assert listed[key].endswith(".")
        return
    assert key not in listed
    value = dict(leaves(ORIGINAL))[key]
    changed = read(tmp_path, with_value(key, another(key, value, tmp_path))).to_dict()
    assert changed != before, f"{key} does nothing"
    ours = MAPPED[key][0]
    assert [k for k, v in leaves(changed)
            if dict(leaves(before))[k] != v and k != "superseded"] == [ours]


def test_scales_beside_hogbom_are_said_to_do_nothing(tmp_path):
    data = with_value("processing.ical.algorithm", "hogbom")
    told = {entry.key: entry.reason for entry in read(tmp_path, data).superseded}
    assert "finds points" in told["processing.ical.scales"]
    assert "processing.continuum_imaging.scales" not in told


def test_the_mapping_has_nothing_that_the_file_lacks():
    assert {*MAPPED, *SUPERSEDED} == set(KEYS)


def test_units_and_values():
    p = load("compat-2018")
    assert math.isclose(p.observation.time.start_hour_angle, -60.0, abs_tol=1e-6)
    assert math.isclose(p.observation.time.end_hour_angle, 60.0, abs_tol=1e-6)
    assert p.sky.primary_beam == "airy"
    assert p.sky.positions == "pixel"
    assert p.imaging.clean.mask_threshold == 0.1
    assert p.imaging.clean.major_gain == pytest.approx(0.9)
    assert p.imaging.clean.auto_mask is None
    assert (p.selfcal.cycles, p.selfcal.terms) == (5, "TG")
    assert p.selfcal.solution_interval.B == 1e5
    assert p.selfcal.solution_interval.T is None
    assert p.selfcal_clean.mask_threshold == 0.1


def test_image_is_that_of_the_2018_run():
    """512 pixels of 1.5904e-3 rad: 8 wavelengths over 35 m, a third of the finest fringe."""
    import numpy as np

    from arl.gridding import advise
    from arl.telescope import baseline_uvw, load_layout, within

    p = load("compat-2018")
    assert (p.imaging.npixel, p.imaging.cell_rad) == (None, None)
    o = p.observation
    layout = within(load_layout(o.layout), o.r_max)
    axis = np.linspace(o.time.start_hour_angle, o.time.end_hour_angle, o.time.samples)
    uvw = baseline_uvw(layout, np.radians(o.phase_centre.dec), np.radians(axis))
    frequency = np.linspace(o.frequency.start, o.frequency.end, o.frequency.channels)
    advice = advise(uvw, frequency, diameter=o.station_diameter,
                    guard_band=p.imaging.guard_band, rounding=p.imaging.size_rounding)
    assert advice.npixel == 512
    assert advice.cell == pytest.approx(1.5904e-3, rel=1e-4)


@pytest.mark.parametrize(("key", "value", "words"), [
    ("modeling.phasecentre.frame", "galactic", "icrs"),
    ("modeling.configuration.PolarisationFrame", "linear", "stokesI"),
    ("modeling.predict.context", "magic", "wstack"),
    ("modeling.gleam_model.applybeam", "true", "not true or false"),
    ("processing.ical.algorithm", "magic", "mmclean"),
    ("processing.ical.algorithm", ["mmclean"], "mmclean"),
    ("processing.ical.fractional_threshold", 1.5, "fraction"),
    ("processing.controls.T.timescale", "long", "auto"),
    ("processing.controls.T.timescale", -1.0, "positive"),
    ("modeling.configuration.num_times", -11, "at least 1"),
    ("modeling.configuration.timestart_pi", "noon", "not a number"),
    ("modeling.configuration.fend", 1.0, "before"),
    ("modeling.configuration.r_max", 30.0, "stations"),
    ("processing.continuum_imaging.scales", [0, -3], "-3"),
])
def test_mistakes_name_the_key_of_2018(tmp_path, key, value, words):
    with pytest.raises(InputError) as caught:
        read(tmp_path, with_value(key, value))
    message = str(caught.value)
    assert f": {key}: " in message
    assert words in message
    assert " mistakes:" not in message


def test_unknown_keys_are_mistakes(tmp_path):
    data = copy.deepcopy(ORIGINAL)
    data["processing"]["ical"]["nmoments"] = 3
    data["advice"]["guardband"] = 3
    with pytest.raises(InputError) as caught:
        read(tmp_path, data)
    message = str(caught.value)
    assert "has 2 mistakes" in message
    assert "processing.ical.nmoments: there was no such parameter in 2018; did you mean " \
           "processing.ical.nmoment?" in message


def test_a_missing_section_is_missed(tmp_path):
    data = copy.deepcopy(ORIGINAL)
    del data["modeling"]["phasecentre"]
    with pytest.raises(InputError, match=r"observation\.phase_centre: is missing"):
        read(tmp_path, data)
