"""Mistakes in a run file, said in one sentence each with the key, the fault and the remedy."""

from __future__ import annotations

import difflib
import types
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any, Union, get_args, get_origin

from pydantic import BaseModel, ValidationError
from pydantic.fields import FieldInfo

from arl.errors import InputError

_NOT_A = {
    "int_type": "a whole number", "int_from_float": "a whole number", "float_type": "a number",
    "bool_type": "true or false", "string_type": "a text", "tuple_type": "a list",
    "finite_number": "a finite number",
}
_LIMITS = {
    "greater_than": ("too small: it must be above", "gt"),
    "greater_than_equal": ("too small: it must be at least", "ge"),
    "less_than": ("too large: it must be below", "lt"),
    "less_than_equal": ("too large: it must be at most", "le"),
    "multiple_of": ("not a multiple of", "multiple_of"),
}


@dataclass(frozen=True)
class Problem:
    """One mistake.

    Attributes
    ----------
    key: dotted path in the run file ('' for the file as a whole).
    text: what is wrong and what to do, without the key.
    needs: other keys that the finding rests on; when one of them is wrong itself, this is moot.
    """

    key: str
    text: str
    needs: tuple[str, ...] = ()

    def sentence(self) -> str:
        """The mistake as it is shown."""
        return f"{self.key}: {self.text}" if self.key else self.text


def raise_all(source: str, problems: Sequence[Problem]) -> None:
    """Raise one InputError that lists all problems; nothing where there are none."""
    if not problems:
        return
    sentences = list(dict.fromkeys(p.sentence() for p in problems))
    if len(sentences) == 1:
        raise InputError(f"{source}: {sentences[0]}")
    listed = "\n".join(f"  - {s}" for s in sentences)
    raise InputError(f"{source} has {len(sentences)} mistakes:\n{listed}")


def did_you_mean(word: str, known: Iterable[str]) -> str:
    """'; did you mean X?' for the known word nearest to a word, or '' where none is near."""
    near = difflib.get_close_matches(word, list(known), n=1)
    return f"; did you mean {near[0]}?" if near else ""


def section_of(annotation: Any) -> type[BaseModel] | None:
    """The model class in an annotation such as `Clean | None`, if there is one."""
    if get_origin(annotation) in (Union, types.UnionType):
        found = [section_of(a) for a in get_args(annotation)]
        return next((f for f in found if f), None)
    if isinstance(annotation, type) and issubclass(annotation, BaseModel):
        return annotation
    return None


def find_field(model: type[BaseModel], keys: Sequence[str | int]) -> FieldInfo | None:
    """The field at a path of keys below a model, None where there is none."""
    section: type[BaseModel] | None = model
    field = None
    for key in keys:
        if section is None or key not in section.model_fields:
            return field if isinstance(key, int) else None
        field = section.model_fields[str(key)]
        section = section_of(field.annotation)
    return field


def all_keys(model: type[BaseModel], prefix: str = "") -> dict[str, FieldInfo]:
    """Every key of a model and of the sections below it, by dotted path."""
    found: dict[str, FieldInfo] = {}
    for name, field in model.model_fields.items():
        found[prefix + name] = field
        below = section_of(field.annotation)
        if below is not None:
            found |= all_keys(below, f"{prefix}{name}.")
    return found


def describe(error: ValidationError, model: type[BaseModel]) -> list[Problem]:
    """The problems in a pydantic error, in the words of this project."""
    return [_describe_one(e, model) for e in error.errors()]


def _describe_one(error: Any, model: type[BaseModel]) -> Problem:
    location, kind = error["loc"], error["type"]
    key = ".".join(k for k in location if isinstance(k, str))  # without places in a list
    if kind == "extra_forbidden":
        near = _suggest(location, model) or "; remove it."
        return Problem(key, f"there is no such parameter{near}")
    field = find_field(model, location)
    meaning = (field.description if field else None) or "see docs"
    if kind == "missing":
        return Problem(key, f"is missing; give {meaning}.")
    return Problem(key, f"{_fault(error)} ({meaning}).")


def _suggest(location: Sequence[str | int], model: type[BaseModel]) -> str:
    """Siblings first, then the same name anywhere else."""
    *parents, wrong = [str(k) for k in location]
    prefix = "".join(f"{p}." for p in parents)
    keys = all_keys(model)
    siblings = {k.removeprefix(prefix): k for k in keys
                if k.startswith(prefix) and "." not in k.removeprefix(prefix)}
    near = difflib.get_close_matches(wrong, siblings, n=1)
    if near:
        return f"; did you mean {siblings[near[0]]}?"
    same = [k for k in keys if k.rsplit(".", 1)[-1] == wrong]
    return f"; did you mean {same[0]}?" if same else ""


def _fault(error: Mapping[str, Any]) -> str:
    kind, value, context = error["type"], error["input"], error.get("ctx", {})
    shown = repr(value)
    if kind in _NOT_A:
        return f"{shown} is not {_NOT_A[kind]}"
    if kind in _LIMITS:
        words, limit = _LIMITS[kind]
        return f"{shown} is {words} {context[limit]}"
    if kind == "literal_error":
        return f"{shown} is not one of {context['expected']}"
    if kind in ("model_type", "model_attributes_type", "dict_type"):
        return f"{shown} is not a section of keys and values"
    if kind in ("too_short", "string_too_short"):
        return "it is empty"
    if kind == "string_pattern_mismatch":
        return f"{shown} does not have the form that is needed"
    return f"{shown} is not accepted: {error['msg']}"
