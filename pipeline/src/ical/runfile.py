"""Reading run files: finding, parsing, and reporting everything that is wrong at once."""

from __future__ import annotations

import copy
import json
import re
from collections.abc import Mapping
from importlib import resources
from pathlib import Path
from typing import Any

import yaml
from pydantic import ValidationError

from arl.errors import InputError
from ical import checks, legacy
from ical.parameters import Parameters
from ical.problems import Problem, describe, did_you_mean, raise_all

SUFFIXES = (".yml", ".yaml", ".json")
#: Parameters that may hold a path; those in the second group may also hold a name.
PATHS = ("input.measurement_set", "selfcal.start_model", "imaging.mask",
         "imaging.start_model", "selfcal.start_gains.T", "selfcal.start_gains.G",
         "selfcal.start_gains.B")
NAMES_OR_PATHS = ("observation.layout", "sky.catalogue", "sky.primary_beam",
                  "imaging.primary_beam", "quality.catalogue")
#: Stands in for what is wrong or missing, so that the rest can still be judged.
_STAND_IN = {
    "observation": {
        "phase_centre": {"ra": 30.0, "dec": -60.0},
        "frequency": {"start": 9e7, "end": 1.1e8, "channels": 7},
        "time": {"start_hour_angle": -60.0, "end_hour_angle": 60.0, "samples": 11},
    }
}


def shipped_runs() -> dict[str, Path]:
    """The runs that ship with the project, by name."""
    folder = Path(str(resources.files("ical") / "runs"))
    return {p.stem: p for p in sorted(folder.iterdir()) if p.suffix in SUFFIXES}


def find(name_or_path: str | Path) -> Path:
    """The run file of a shipped name or a path.

    Raises
    ------
    InputError: there is neither.
    """
    path = Path(name_or_path).expanduser()
    if path.is_file():
        return path
    shipped = shipped_runs()
    if str(name_or_path) in shipped:
        return shipped[str(name_or_path)]
    raise InputError(
        f"There is no run {str(name_or_path)!r}{did_you_mean(str(name_or_path), shipped) or '.'} "
        f"Give the path of a run file, or one of {', '.join(shipped)}."
    )


def read(name_or_path: str | Path) -> Parameters:
    """Read and check a run file; see `ical.parameters.load`."""
    path = find(name_or_path)
    data = parse(path)
    if not legacy.is_legacy(data):
        return build(data, path)
    converted = legacy.convert(data)
    return build(converted.data, path, converted.problems, converted.origin)


def build(
    data: dict[str, Any],
    path: Path,
    problems: list[Problem] | None = None,
    origin: Mapping[str, str] | None = None,
) -> Parameters:
    """Make parameters of parsed data, or raise one InputError with all their problems.

    Parameters
    ----------
    path: the file, for messages, the default name, and what relative paths are relative to.
    problems: what is known to be wrong already.
    origin: keys as the user wrote them, by the key they became.
    """
    data = _with_absolute_paths(data, path.resolve().parent)
    data.setdefault("name", _name_from(path))
    parameters, found = _validate(data)
    wrong = {p.key for p in found}
    found += [p for p in checks.check(parameters) if not _touches(p, wrong)]
    if origin:
        found = [Problem(origin.get(p.key, p.key), p.text) for p in found]
    raise_all(str(path), [*(problems or []), *found])
    return parameters


def _touches(problem: Problem, wrong: set[str]) -> bool:
    """Whether a problem rests on a key that is wrong itself (or on a part of it)."""
    return any(key == bad or key.startswith(f"{bad}.") or bad.startswith(f"{key}.")
               for key in (problem.key, *problem.needs) for bad in wrong)


def _validate(data: dict[str, Any]) -> tuple[Parameters, list[Problem]]:
    """Parameters from data, what is wrong replaced by stand-ins, and what was wrong."""
    repaired, problems = copy.deepcopy(data), list[Problem]()
    while True:
        try:
            return Parameters.model_validate(repaired), problems
        except ValidationError as error:
            problems += describe(error, Parameters)
            for entry in error.errors():
                _repair(repaired, entry["loc"])


def _repair(data: dict[str, Any], location: tuple[str | int, ...]) -> None:
    """Replace what is at a location by a stand-in, or remove it."""
    inner = next((k for k, part in enumerate(location) if isinstance(part, int)), len(location))
    *parents, last = location[:inner]
    section: Any = data
    stand_in: Any = _STAND_IN
    for key in parents:
        section = section.get(key, {})
        stand_in = stand_in.get(key, {})
    if last in stand_in:
        section[last] = copy.deepcopy(stand_in[last])
    else:
        section.pop(last, None)


def _name_from(path: Path) -> str:
    name = re.sub(r"[^A-Za-z0-9._-]+", "-", path.stem).strip("._-")[:64]
    return name or "run"


def _with_absolute_paths(data: dict[str, Any], folder: Path) -> dict[str, Any]:
    """The data with relative paths made absolute from the run file's folder."""
    data = copy.deepcopy(data)
    for key in (*PATHS, *NAMES_OR_PATHS):
        *parents, last = key.split(".")
        below: Any = data
        for parent in parents:
            below = below.get(parent) if isinstance(below, dict) else None
        value = below.get(last) if isinstance(below, dict) else None
        if isinstance(value, str) and value and (key in PATHS or is_path(value)):
            below[last] = str(folder / Path(value).expanduser())
    return data


def is_path(value: str) -> bool:
    """Whether a value that may be a name is a path: it has a slash or a file's suffix."""
    return "/" in value or bool(Path(value).suffix)


class _Loader(yaml.SafeLoader):
    """YAML as a reader would take it: 1e6 is a number, no is a text, and no key comes twice."""


_Loader.yaml_implicit_resolvers = {
    first: [(tag, pattern) for tag, pattern in resolvers
            if tag.rsplit(":", 1)[-1] not in ("bool", "float", "timestamp")]
    for first, resolvers in yaml.SafeLoader.yaml_implicit_resolvers.items()
}
_Loader.add_implicit_resolver(
    "tag:yaml.org,2002:bool", re.compile(r"^(?:true|True|TRUE|false|False|FALSE)$"), list("tTfF"))
_Loader.add_implicit_resolver(
    "tag:yaml.org,2002:float",
    re.compile(r"^[-+]?(?:(?:\d+\.\d*|\.\d+)(?:[eE][-+]?\d+)?|\d+[eE][-+]?\d+"
               r"|\.(?:inf|Inf|INF))$|^\.(?:nan|NaN|NAN)$"),
    list("-+0123456789."))


def _mapping(loader: _Loader, node: yaml.MappingNode) -> dict[str, Any]:
    pairs = loader.construct_pairs(node, deep=True)
    return _unique(pairs, f" (line {node.start_mark.line + 1})")


_Loader.add_constructor("tag:yaml.org,2002:map", _mapping)


def _unique(pairs: list[tuple[Any, Any]], where: str = "") -> dict[str, Any]:
    found: dict[str, Any] = {}
    for key, value in pairs:
        if str(key) in found:
            raise InputError(f"The key {key} stands twice in one section{where}: remove one.")
        found[str(key)] = value
    return found


def parse(path: Path) -> dict[str, Any]:
    """The content of a YAML or JSON file as nested dicts.

    Raises
    ------
    InputError: it can't be read, has a syntax error, or is not a mapping.
    """
    try:
        text = path.read_text(encoding="utf-8")
        if path.suffix == ".json":
            data = json.loads(text, object_pairs_hook=_unique)
        else:
            data = yaml.load(text, Loader=_Loader)
    except (OSError, UnicodeDecodeError) as error:
        raise InputError(f"{path} can't be read: {error}.") from error
    except json.JSONDecodeError as error:
        raise InputError(
            f"{path} is not valid JSON at line {error.lineno}: {error.msg}.") from error
    except yaml.YAMLError as error:
        raise InputError(f"{path} is not valid YAML: {_yaml_fault(error)}.") from error
    except InputError as error:
        raise InputError(f"{path}: {error}") from error
    if not isinstance(data, dict):
        raise InputError(f"{path} is not a run file: it must hold sections of keys and values.")
    return data


def _yaml_fault(error: yaml.YAMLError) -> str:
    mark = getattr(error, "problem_mark", None)
    where = f" at line {mark.line + 1}" if mark else ""
    return f"{getattr(error, 'problem', None) or error}{where}"
