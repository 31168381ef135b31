"""The parameters.json of 2018, read unchanged.

Every parameter of it either becomes one of ours (`MAPPED`) or is reported with the reason why it
acts no longer (`SUPERSEDED`). A superseded parameter whose value would ask for something that is
not done any more is an error, not a remark.
"""

from __future__ import annotations

import copy
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass, field
from typing import Any

from ical.problems import Problem, did_you_mean

SECTIONS = ("modeling", "files", "advice", "processing")
ALGORITHMS = {"mmclean": "multiscale", "msclean": "multiscale", "hogbom": "generic"}
W_CONTEXTS = ("2d", "facets", "facets_slice", "facets_timeslice", "facets_wstack", "slice",
              "timeslice", "wprojection", "wsnapshots", "wstack")

Converter = Callable[[Any], Any]


@dataclass(frozen=True)
class Obsolete:
    """Why a parameter acts no longer, and the values that are still satisfied without it.

    `accepted` None means any value.
    """

    reason: str
    accepted: tuple[Any, ...] | None = None


@dataclass
class Converted:
    """A 2018 file in our form.

    Attributes
    ----------
    data: sections for `ical.parameters.Parameters`, with the superseded parameters listed.
    problems: unknown keys and values that can't be converted.
    origin: the 2018 key of each of our keys.
    """

    data: dict[str, Any] = field(default_factory=dict)
    problems: list[Problem] = field(default_factory=list)
    origin: dict[str, str] = field(default_factory=dict)


def _as_is(value: Any) -> Any:
    return value


def _is_number(value: Any) -> bool:
    return isinstance(value, int | float) and not isinstance(value, bool)


def _degrees_from_pi(value: Any) -> Any:
    """Hour angle in units of pi rad to degrees; what is no number is left for the schema."""
    return value * 180.0 if _is_number(value) else value


def _beam(value: Any) -> str:
    if not isinstance(value, bool):
        raise ValueError(f"{value!r} is not true or false.")
    return "airy" if value else "none"


def _algorithm(value: Any) -> str:
    if not isinstance(value, str) or value not in ALGORITHMS:
        raise ValueError(f"{value!r} is not one of {', '.join(ALGORITHMS)}.")
    return ALGORITHMS[value]


def _major_gain(value: Any) -> float:
    """The minor loop stopped at this fraction of the first peak: it cleaned the rest."""
    if not _is_number(value) or not 0 <= value < 1:
        raise ValueError(f"{value!r} is not a fraction of at least 0 and below 1.")
    return 1.0 - value


def _interval(value: Any) -> float | None:
    if value == "auto":
        return None
    if not _is_number(value) or value <= 0:
        raise ValueError(f"{value!r} is neither auto nor a positive number of seconds.")
    return float(value)


def _clean(section: str, target: str) -> dict[str, tuple[str, Converter]]:
    names: dict[str, tuple[str, Converter]] = {
        "scales": ("scales", _as_is), "algorithm": ("algorithm", _algorithm),
        "nmoment": ("spectral_terms", _as_is), "niter": ("minor_iterations", _as_is),
        "fractional_threshold": ("major_gain", _major_gain),
        # what it looked for; sources that it found we clean to the noise
        "threshold": ("mask_threshold", _as_is),
        "gain": ("gain", _as_is),
    }
    return {f"processing.{section}.{old}": (f"{target}.{new}", convert)
            for old, (new, convert) in names.items()}


_CONFIGURATION = "modeling.configuration"
MAPPED: dict[str, tuple[str, Converter]] = {
    "modeling.gleam_model.flux_limit": ("sky.flux_limit", _as_is),
    "modeling.gleam_model.applybeam": ("sky.primary_beam", _beam),
    "modeling.phasecentre.RA": ("observation.phase_centre.ra", _as_is),
    "modeling.phasecentre.Dec": ("observation.phase_centre.dec", _as_is),
    f"{_CONFIGURATION}.name": ("observation.layout", _as_is),
    f"{_CONFIGURATION}.num_freq_win": ("observation.frequency.channels", _as_is),
    f"{_CONFIGURATION}.fstart": ("observation.frequency.start", _as_is),
    f"{_CONFIGURATION}.fend": ("observation.frequency.end", _as_is),
    f"{_CONFIGURATION}.num_times": ("observation.time.samples", _as_is),
    f"{_CONFIGURATION}.timestart_pi": ("observation.time.start_hour_angle", _degrees_from_pi),
    f"{_CONFIGURATION}.timeend_pi": ("observation.time.end_hour_angle", _degrees_from_pi),
    f"{_CONFIGURATION}.r_max": ("observation.r_max", _as_is),
    "modeling.corrupt.phase_error": ("gains.phase_error", _as_is),
    "advice.guard_band_image": ("imaging.guard_band", _as_is),
    **_clean("continuum_imaging", "imaging.clean"),
    "processing.continuum_imaging.nmajor": ("imaging.clean.major_cycles", _as_is),
    **_clean("ical", "selfcal.clean"),
    "processing.ical.nmajor": ("selfcal.cycles", _as_is),
    "processing.ical.calibration_context": ("selfcal.terms", _as_is),
    "processing.ical.global_solution": ("selfcal.global_solution", _as_is),
    "processing.ical.do_selfcal": ("selfcal.enabled", _as_is),
    **{f"processing.controls.{t}.first_selfcal": (f"selfcal.first_cycle.{t}", _as_is)
       for t in "TGB"},
    **{f"processing.controls.{t}.timescale": (f"selfcal.solution_interval.{t}", _interval)
       for t in "TGB"},
}

_OWN_FOLDER = ("Each run has a folder of its own with fixed file names, so that no run overwrites "
               "another.")
_W_EXACT = ("The w-term is corrected exactly, to the accuracy imaging.epsilon; there is no method "
            "or number of planes to choose.")
_NO_FACETS = ("The image is cleaned as a whole, up to its rim; facets, which crashed at small "
              "sizes, are not needed.")
_POINTS = "Hogbom's CLEAN finds points; sizes act with mmclean and msclean."
SUPERSEDED: dict[str, Obsolete] = {
    "modeling.simulate.order": Obsolete(
        "The order of the simulation follows from the plan of partitions.",
        ("frequency", "time", "both")),
    "modeling.phasecentre.frame": Obsolete("Directions are ICRS.", ("icrs",)),
    "modeling.phasecentre.equinox": Obsolete("Directions are ICRS, which has no equinox.",
                                             ("J2000",)),
    f"{_CONFIGURATION}.PolarisationFrame": Obsolete("Stokes I is what is simulated and imaged.",
                                                    ("stokesI",)),
    "modeling.predict.context": Obsolete("Visibilities of components are computed exactly, "
                                         "without a grid.", W_CONTEXTS),
    **{f"files.{name}": Obsolete(_OWN_FOLDER) for name in (
        "vis_list", "predicted_vis_list", "corrupted_vis_list", "continuum_imaging_restored",
        "continuum_imaging_residual", "ical_restored", "ical_residual")},
    "advice.delA": Obsolete(_W_EXACT),
    "advice.wprojection_planes": Obsolete(_W_EXACT),
    **{f"processing.{s}.context": Obsolete(_W_EXACT, W_CONTEXTS)
       for s in ("continuum_imaging", "ical")},
    **{f"processing.{s}.deconvolve_{what}": Obsolete(_NO_FACETS)
       for s in ("continuum_imaging", "ical") for what in ("facets", "overlap", "taper")},
    **{f"processing.{s}.psf_support": Obsolete("Components are subtracted with the whole PSF.")
       for s in ("continuum_imaging", "ical")},
    "processing.ical.timeslice": Obsolete(_W_EXACT),
}
#: What the 2018 run did without a parameter for it: components moved to pixel centres, sizes
#: rounded up to powers of two, no mask, no amplitude errors.
IMPLIED: dict[str, Any] = {
    "sky.positions": "pixel", "imaging.size_rounding": "power_of_two",
    "imaging.clean.auto_mask": None, "selfcal.clean.auto_mask": None,
}


def is_legacy(data: Mapping[str, Any]) -> bool:
    """Whether parsed data have the sections of 2018."""
    return any(section in data for section in SECTIONS)


def leaves(data: Mapping[str, Any], prefix: str = "") -> Iterator[tuple[str, Any]]:
    """(dotted key, value) of everything in nested dicts that is not a dict."""
    for key, value in data.items():
        if isinstance(value, Mapping):
            yield from leaves(value, f"{prefix}{key}.")
        else:
            yield f"{prefix}{key}", value


def convert(data: Mapping[str, Any]) -> Converted:
    """Bring the data of a 2018 file into our form."""
    converted = Converted()
    superseded = []
    for key, value in IMPLIED.items():
        _set(converted.data, key, value)
    for key, value in leaves(data):
        if key in MAPPED:
            _take(converted, key, value)
        elif key in SUPERSEDED:
            superseded.append({"key": key, "reason": SUPERSEDED[key].reason})
            _refuse_unmet(converted, key, value)
        else:
            known = (*MAPPED, *SUPERSEDED)
            near = did_you_mean(key, known) or "; remove it."
            converted.problems.append(Problem(key, f"there was no such parameter in 2018{near}"))
    converted.data["superseded"] = superseded + _drop_sizes_of_points(converted)
    return converted


def _drop_sizes_of_points(converted: Converted) -> list[dict[str, str]]:
    """Take out the scales that hogbom had beside it, and did not look at."""
    dropped = []
    for section, (parent, name) in (("continuum_imaging", ("imaging", "clean")),
                                    ("ical", ("selfcal", "clean"))):
        clean = converted.data.get(parent, {}).get(name, {})
        if clean.get("algorithm") == "generic" and clean.pop("scales", None) is not None:
            dropped.append({"key": f"processing.{section}.scales", "reason": _POINTS})
    return dropped


def _take(converted: Converted, key: str, value: Any) -> None:
    target, convert_value = MAPPED[key]
    converted.origin[target] = key
    try:
        _set(converted.data, target, convert_value(value))
    except ValueError as error:
        converted.problems.append(Problem(key, str(error)))


def _refuse_unmet(converted: Converted, key: str, value: Any) -> None:
    rule = SUPERSEDED[key]
    if rule.accepted is not None and value not in rule.accepted:
        converted.problems.append(Problem(
            key, f"{value!r} can't be honoured; use {' or '.join(map(str, rule.accepted))}. "
            f"{rule.reason}"))


def _set(data: dict[str, Any], key: str, value: Any) -> None:
    *parents, last = key.split(".")
    for parent in parents:
        data = data.setdefault(parent, {})
    data[last] = copy.copy(value)
