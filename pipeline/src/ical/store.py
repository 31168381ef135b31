"""What a run keeps on disk: its folder, the record of each stage, checkpoints, and the lock.

A stage is done if its stage.json says so and carries the hash of the inputs of now. What it carries
is the hash of those with which the stage began: they may change while it works for hours. Whatever
is written is written to a temporary name first and then renamed, so no reader sees half of a file.
"""

from __future__ import annotations

import fcntl
import hashlib
import json
import os
import re
import socket
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from datetime import UTC, datetime
from pathlib import Path
from typing import TYPE_CHECKING, Any

import arl
import ical
from arl.errors import InputError
from arl.io.files import replacing, write_text
from ical.parameters import Parameters
from ical.runfile import NAMES_OR_PATHS, PATHS

if TYPE_CHECKING:
    import numpy as np

#: The stages whose outcome a stage reads. The report is none of them: it is made of whatever there
#: is, again whenever it is asked for.
UPSTREAM: dict[str, tuple[str, ...]] = {
    "model": (), "image": ("model",), "selfcal": ("model",)
}
#: The parameters that a stage's outcome follows from, besides what its upstream stages read. The
#: simulated sky is cut to the image and the partitions to its bands; uv_range has a say in the
#: size that is advised.
SECTIONS: dict[str, tuple[str, ...]] = {
    "model": ("seed", "observation", "sky", "noise", "gains", "input", "imaging.npixel",
              "imaging.cell_rad", "imaging.clean_border", "imaging.guard_band",
              "imaging.size_rounding", "imaging.bands", "imaging.uv_range"),
    "image": ("imaging", "quality"), "selfcal": ("imaging", "selfcal", "quality"),
}
#: These parameters change nothing in the outcome.
IDLE = ("name", "resources", "superseded")
RUN_ID = re.compile(r"^[A-Za-z0-9][A-Za-z0-9._-]{0,127}$")


def new_run_id(name: str, now: datetime | None = None) -> str:
    """`<name>-<UTC yyyymmddThhmmssZ>`."""
    return f"{name}-{(now or datetime.now(UTC)).astimezone(UTC):%Y%m%dT%H%M%SZ}"


def canonical(data: Any) -> str:
    """JSON with one spelling for equal data."""
    return json.dumps(data, sort_keys=True, separators=(",", ":"), allow_nan=False)


def digest(data: Any) -> str:
    """SHA-256 (hex) of the canonical JSON of data."""
    return hashlib.sha256(canonical(data).encode()).hexdigest()


def library_identity() -> str:
    """Digest of the deployed library, or its version where it is not deployed by digest."""
    return f"arl {os.environ.get('ARL_DIGEST') or arl.__version__}, ical {ical.__version__}"


def write_json(path: Path, data: Any) -> None:
    """Write JSON atomically (indented, NaN refused)."""
    write_text(path, json.dumps(data, indent=2, allow_nan=False) + "\n")


def read_json(path: Path) -> Any | None:
    """The content of a JSON file, None where there is no file.

    Raises
    ------
    InputError: it is not JSON.
    """
    try:
        return json.loads(path.read_text(encoding="utf-8"))
    except FileNotFoundError:
        return None
    except json.JSONDecodeError as error:
        raise InputError(f"{path} is damaged ({error}): start a new run.") from error


def write_npz(path: Path, arrays: Mapping[str, np.ndarray]) -> None:
    """Write arrays by name atomically."""
    import numpy as np

    with replacing(path) as temporary, open(temporary, "wb") as out:
        np.savez(out, **arrays)  # type: ignore[arg-type]  # names are ours, none is allow_pickle


def read_npz(path: Path) -> dict[str, np.ndarray]:
    """The arrays of `write_npz`."""
    import numpy as np

    with np.load(path, allow_pickle=False) as file:
        return {name: file[name] for name in file.files}


def run_hash(parameters: Parameters) -> str:
    """Hash of all parameters that change a run's outcome."""
    return digest({k: v for k, v in parameters.to_dict().items() if k not in IDLE})


def _pick(data: Mapping[str, Any], key: str) -> Any:
    value: Any = data
    for part in key.split("."):
        value = value.get(part) if isinstance(value, Mapping) else None
    return value


def fingerprint(path: str) -> str | list[tuple[str, int, int]] | None:
    """SHA-256 of a file, the same on every host that has a copy.

    Of a folder, as a Measurement Set is one, the size and time of change of all files in it and
    below, where a set has its subtables and a multi-MS its data and flags. Not of locks, which
    readers touch.
    """
    try:
        if not os.path.isdir(path):
            with open(path, "rb") as file:
                return hashlib.file_digest(file, "sha256").hexdigest()
        names = sorted(os.path.join(folder, name) for folder, _, files in os.walk(path)
                       for name in files if name != "table.lock")
        found = [(os.path.relpath(name, path), os.stat(name)) for name in names]
    except (OSError, ValueError):
        return None
    return [(name, status.st_size, status.st_mtime_ns) for name, status in found]


class Store:
    """The folder of one run.

    Attributes
    ----------
    folder: `<results>/<run id>`.
    data: folder of the partitions, the same path on every host (see `partition_path`).
    """

    def __init__(self, folder: Path, data: Path, parameters: Parameters) -> None:
        self.folder, self.data = folder, data
        self._parameters = parameters

    @property
    def run_id(self) -> str:
        """The run's name: that of its folder."""
        return self.folder.name

    @classmethod
    def create(
        cls, parameters: Parameters, results: Path, data: Path | None = None,
        run_id: str | None = None,
    ) -> Store:
        """Make the folder of a new run and write its parameters.

        Raises
        ------
        InputError: the folder exists, can't be made, or its name is not a run's.
        """
        identity = _checked(run_id or new_run_id(parameters.name))
        store = cls._at(parameters, results, data, identity)
        try:
            store.folder.mkdir(parents=True)
        except FileExistsError:
            raise InputError(
                f"The run {identity} exists in {results}: add --resume to go on with it, or give "
                f"another --name.") from None
        except OSError as error:
            raise InputError(f"{store.folder} can't be made: {error.strerror}.") from error
        write_json(store.folder / "parameters.json", parameters.to_dict())
        return store

    @classmethod
    def open(
        cls, parameters: Parameters, results: Path, data: Path | None = None,
        run_id: str | None = None,
    ) -> Store:
        """Open the run of an id, or the newest run of these parameters where none is given.

        Raises
        ------
        InputError: there is none, or it was started with other parameters.
        """
        identity = _checked(run_id) if run_id else newest(parameters, results)
        if identity is None:
            raise InputError(
                f"{results} has no run of {parameters.name} with these parameters: make one with "
                f"`ical model` or `ical run`, or give its --name.")
        store = cls._at(parameters, results, data, identity)
        written = read_json(store.folder / "parameters.json")
        if written is None:
            raise InputError(f"There is no run {identity} in {results}: make it with `ical model` "
                             f"or `ical run`.")
        if _hash_of_written(written) != run_hash(parameters):
            raise InputError(
                f"The run {identity} was started with other parameters "
                f"({', '.join(changed_keys(written, parameters.to_dict()))}): start a new run, or "
                f"use {store.folder / 'parameters.json'}.")
        return store

    @classmethod
    def _at(cls, parameters: Parameters, results: Path, data: Path | None, run_id: str) -> Store:
        folder = results / run_id
        return cls(folder, data / run_id if data else folder / "visibilities", parameters)

    def partition_path(self, name: str) -> str:
        """Where a partition's Zarr store is, on the host that owns it."""
        return str(self.data / f"{name}.zarr")

    def stage_folder(self, stage: str) -> Path:
        """The folder of a stage's results, made when it is missing."""
        folder = self.folder / stage
        folder.mkdir(exist_ok=True)
        return folder

    def inputs(self, stage: str) -> dict[str, str]:
        """Digests of what a stage's outcome follows from, by name: the library, its parameters, the
        files they name (by their keys), and all that its upstream follows from.
        """
        data, sections = self._parameters.to_dict(), SECTIONS.get(stage, ())
        found = {"library": digest(library_identity()),
                 f"parameters of {stage}": digest({key: _pick(data, key) for key in sections})}
        for key in (*PATHS, *NAMES_OR_PATHS):
            path = str(_pick(data, key))
            if key.startswith(sections) and "/" in path:
                found[key] = digest(fingerprint(path))
        for name in UPSTREAM.get(stage, ()):
            found |= self.inputs(name)
        return found

    def write_stage(
        self, stage: str, record: Mapping[str, Any], inputs: Mapping[str, str]
    ) -> None:
        """Write stage.json: from now on the stage is done, for the `inputs` with which it began.

        `record` has what the stage measured (wall_s, quality, ...); name, hash and status are
        added here.
        """
        write_json(self.stage_folder(stage) / "stage.json",
                   {"stage": stage, **_as_kept(inputs), "status": "done", **record})

    def read_stage(self, stage: str) -> dict[str, Any] | None:
        """stage.json, None where the stage was never finished."""
        return read_json(self.folder / stage / "stage.json")

    def is_done(self, stage: str) -> bool:
        """Whether the stage was finished with the inputs of now."""
        record = self.read_stage(stage)
        return (record is not None and record.get("status") == "done"
                and record.get("inputs_hash") == digest(self.inputs(stage)))

    def changed_since(self, stage: str) -> list[str]:
        """The inputs that have changed since a stage was done, or else since its last checkpoint;
        none where there is neither.
        """
        kept = self.read_stage(stage) or self._checkpoint(stage) or {}
        return changed_inputs(kept.get("inputs", {}), self.inputs(stage))

    def write_checkpoint(
        self, stage: str, number: int, state: Any, arrays: Mapping[str, np.ndarray],
        inputs: Mapping[str, str],
    ) -> None:
        """Keep the state of a loop after its step `number`; the one before stays until then.

        `inputs` are those with which the stage began.
        """
        folder = self.stage_folder(stage) / "checkpoint"
        name = f"arrays_{number:04d}.npz"
        write_npz(folder / name, arrays)
        write_json(folder / "state.json", {**_as_kept(inputs), "number": number, "arrays": name,
                                           "state": state})
        for old in folder.glob("arrays_*.npz"):
            if old.name != name:
                old.unlink()

    def read_checkpoint(
        self, stage: str, inputs: Mapping[str, str]
    ) -> tuple[int, Any, dict[str, np.ndarray]] | None:
        """(number, state, arrays) of the last checkpoint, None where none fits the inputs."""
        kept = self._fitting(stage, inputs)
        if kept is None:
            return None
        arrays = read_npz(self.folder / stage / "checkpoint" / kept["arrays"])
        return kept["number"], kept["state"], arrays

    def has_checkpoint(self, stage: str, inputs: Mapping[str, str]) -> bool:
        """Whether there is a checkpoint that fits the inputs."""
        return self._fitting(stage, inputs) is not None

    def _fitting(self, stage: str, inputs: Mapping[str, str]) -> dict[str, Any] | None:
        kept = self._checkpoint(stage)
        return kept if kept is not None and kept["inputs_hash"] == digest(inputs) else None

    def _checkpoint(self, stage: str) -> dict[str, Any] | None:
        return read_json(self.folder / stage / "checkpoint" / "state.json")

    def clear_checkpoint(self, stage: str) -> None:
        """Forget the checkpoint of a stage that is done."""
        folder = self.folder / stage / "checkpoint"
        (folder / "state.json").unlink(missing_ok=True)
        for old in folder.glob("arrays_*.npz"):
            old.unlink()

    @contextmanager
    def lock(self) -> Iterator[None]:
        """Hold the run for this process; the kernel lets go when the process ends, however.

        Raises
        ------
        InputError: another process holds it.
        """
        with open(self.folder / ".lock", "a+", encoding="utf-8") as file:
            try:
                fcntl.flock(file, fcntl.LOCK_EX | fcntl.LOCK_NB)
            except BlockingIOError:
                file.seek(0)
                raise InputError(
                    f"The run {self.run_id} is being worked on by {file.read().strip()}: wait for "
                    f"it to end, or stop it.") from None
            file.truncate(0)
            file.write(f"process {os.getpid()} on {socket.gethostname()}\n")
            file.flush()
            yield


def _as_kept(inputs: Mapping[str, str]) -> dict[str, Any]:
    return {"inputs_hash": digest(inputs), "inputs": dict(inputs)}


def changed_inputs(old: Mapping[str, str], new: Mapping[str, str]) -> list[str]:
    """The names of the inputs that have changed."""
    return [name for name, value in old.items() if new.get(name) != value]


def _checked(run_id: str) -> str:
    if not RUN_ID.match(run_id):
        raise InputError(f"{run_id!r} can't name a run: use letters, digits, dot, dash and "
                         f"underscore, beginning with a letter or digit.")
    return run_id


def _hash_of_written(written: Mapping[str, Any]) -> str:
    return digest({k: v for k, v in written.items() if k not in IDLE})


def newest(parameters: Parameters, results: Path) -> str | None:
    """The id of the newest run in a folder that has these parameters."""
    wanted = run_hash(parameters)
    found = [
        (path.stat().st_mtime_ns, path.parent.name)
        for path in results.glob("*/parameters.json")
        if _hash_of_written(read_json(path) or {}) == wanted
    ]
    return max(found)[1] if found else None


def changed_keys(old: Mapping[str, Any], new: Mapping[str, Any], prefix: str = "") -> list[str]:
    """Dotted keys at which two nested dicts differ, in order."""
    changed: list[str] = []
    for key in sorted({*old, *new}):
        if not prefix and key in IDLE:
            continue
        a, b = old.get(key), new.get(key)
        if isinstance(a, Mapping) and isinstance(b, Mapping):
            changed += changed_keys(a, b, f"{prefix}{key}.")
        elif a != b:
            changed.append(prefix + key)
    return changed
