"""The run's folder: never overwritten, never half written, done only for the inputs of now."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from datetime import UTC, datetime
from pathlib import Path

import numpy as np
import pytest
from written_ms import smallest_ms

from arl.errors import InputError
from arl.io.files import replacing
from arl.io.measurement_set import describe, read, select
from ical import store as module
from ical.parameters import Parameters, load
from ical.store import (
    UPSTREAM,
    Store,
    digest,
    new_run_id,
    read_json,
    read_npz,
    write_json,
    write_npz,
)


def changed(section: str, **values) -> Parameters:
    """tiny with some values of one section (or, for '', of the top) changed."""
    p = load("tiny")
    if not section:
        return p.model_copy(update=values)
    return p.model_copy(update={section: getattr(p, section).model_copy(update=values)})


@pytest.fixture
def store(tmp_path) -> Store:
    return Store.create(load("tiny"), tmp_path, run_id="one")


def test_run_id_is_name_and_utc():
    moment = datetime(2026, 3, 4, 5, 6, 7, tzinfo=UTC)
    assert new_run_id("tiny", moment) == "tiny-20260304T050607Z"


def test_a_new_run_keeps_its_parameters(store, tmp_path):
    assert store.folder == tmp_path / "one"
    assert read_json(store.folder / "parameters.json") == load("tiny").to_dict()
    assert store.partition_path("a") == str(tmp_path / "one" / "visibilities" / "a.zarr")


def test_data_may_live_elsewhere(tmp_path):
    store = Store.create(load("tiny"), tmp_path / "r", tmp_path / "d", "one")
    assert store.partition_path("a") == str(tmp_path / "d" / "one" / "a.zarr")


def test_a_run_is_not_overwritten(store, tmp_path):
    with pytest.raises(InputError, match="--resume"):
        Store.create(load("tiny"), tmp_path, run_id="one")


@pytest.mark.parametrize("name", ["../up", "", "a/b", ".hidden", "x" * 200])
def test_a_run_stays_in_its_folder(tmp_path, name):
    with pytest.raises(InputError, match="can't name a run"):
        module._checked(name)


def test_opening_wants_the_same_parameters(store, tmp_path):
    assert Store.open(load("tiny"), tmp_path, run_id="one").run_id == "one"
    with pytest.raises(InputError, match=r"other parameters \(imaging\.npixel, seed\)"):
        Store.open(changed("imaging", npixel=64).model_copy(update={"seed": 2}), tmp_path,
                   run_id="one")


def test_resources_and_name_may_change(store, tmp_path):
    assert Store.open(changed("resources", workers=7), tmp_path, run_id="one")
    assert Store.open(changed("", name="other"), tmp_path, run_id="one")


def test_the_newest_run_of_these_parameters_is_found(tmp_path):
    for k, (name, parameters) in enumerate([
            ("a", load("tiny")), ("b", load("tiny")), ("c", changed("", seed=9))]):
        made = Store.create(parameters, tmp_path, run_id=name)
        os.utime(made.folder / "parameters.json", (1000 + k, 1000 + k))
    assert Store.open(load("tiny"), tmp_path).run_id == "b"


def test_opening_what_is_not_there(tmp_path):
    with pytest.raises(InputError, match="no run of tiny"):
        Store.open(load("tiny"), tmp_path)
    with pytest.raises(InputError, match="There is no run x"):
        Store.open(load("tiny"), tmp_path, run_id="x")


def hashes(parameters: Parameters, tmp_path: Path) -> dict[str, str]:
    store = Store(tmp_path / "none", tmp_path / "none", parameters)
    return {stage: digest(store.inputs(stage)) for stage in UPSTREAM}


@pytest.mark.parametrize(("parameters", "stages"), [
    (changed("", seed=2), {"model", "image", "selfcal"}),
    (changed("gains", phase_error=0.7), {"model", "image", "selfcal"}),
    (changed("sky", flux_limit=3.0), {"model", "image", "selfcal"}),
    (changed("imaging", npixel=64), {"model", "image", "selfcal"}),
    (changed("imaging", epsilon=1e-3), {"image", "selfcal"}),
    (changed("selfcal", cycles=9), {"selfcal"}),
    (changed("resources", workers=9), set()),
    (changed("", name="other"), set()),
])
def test_a_stage_follows_from_its_own_inputs(parameters, stages, tmp_path):
    before, after = hashes(load("tiny"), tmp_path), hashes(parameters, tmp_path)
    assert {s for s in UPSTREAM if before[s] != after[s]} == stages


def test_another_library_or_another_catalogue_is_another_input(tmp_path, monkeypatch):
    before = hashes(load("tiny"), tmp_path)
    monkeypatch.setenv("ARL_DIGEST", "f" * 64)
    assert hashes(load("tiny"), tmp_path)["model"] != before["model"]
    catalogue = tmp_path / "sky.csv"
    catalogue.write_text("1")
    own = changed("sky", catalogue=str(catalogue))
    first = hashes(own, tmp_path)
    catalogue.write_text("22")
    assert hashes(own, tmp_path)["selfcal"] != first["selfcal"]


def test_done_is_done_for_the_inputs_of_now(store, tmp_path):
    assert not store.is_done("image")
    store.write_stage("image", {"wall_s": 1.5}, store.inputs("image"))
    assert store.is_done("image")
    assert not store.is_done("selfcal")
    record = store.read_stage("image")
    assert (record["stage"], record["status"], record["wall_s"]) == ("image", "done", 1.5)
    other = Store(store.folder, store.data, changed("imaging", epsilon=1e-3))
    assert not other.is_done("image")


def test_what_changes_while_a_stage_works_leaves_it_undone_and_its_checkpoint_unused(tmp_path):
    """They are those of the inputs that it began with, also where it wrote them later."""
    catalogue = tmp_path / "sky.csv"
    catalogue.write_text("as it was read")
    store = Store.create(changed("sky", catalogue=str(catalogue)), tmp_path, run_id="one")
    inputs = store.inputs("selfcal")
    catalogue.write_text("as it is now")
    store.write_checkpoint("selfcal", 1, {}, {"x": np.ones(2)}, inputs)
    store.write_stage("selfcal", {}, inputs)
    assert not store.is_done("selfcal")
    assert last(store) is None
    assert store.read_checkpoint("selfcal", inputs) is not None
    assert store.changed_since("selfcal") == ["sky.catalogue"]
    catalogue.write_text("as it was read")
    assert store.is_done("selfcal")


def set_phase_centre(path: Path) -> None:
    from casacore.tables import table

    with table(f"{path}::FIELD", readonly=False, ack=False) as field:
        field.putcell("PHASE_DIR", 0, np.array([[0.7, -1.0]]))


def flag(path: Path) -> None:
    from casacore.tables import table

    with table(str(path), readonly=False, ack=False) as main:
        main.putcol("FLAG_ROW", np.ones(main.nrows(), bool))


@pytest.mark.parametrize(("change", "where"), [
    (flag, "a.ms"), (set_phase_centre, "a.ms"), (flag, "a.ms/SUBMSS/a.0000.ms"),
    (set_phase_centre, "a.ms/SUBMSS/a.0000.ms")])
def test_a_measurement_set_is_known_with_all_that_is_in_it(tmp_path, change, where):
    """A multi-MS has its data in sets below it."""
    smallest_ms(tmp_path / "a.ms")
    (tmp_path / "a.ms" / "SUBMSS").mkdir()
    smallest_ms(tmp_path / "a.ms" / "SUBMSS" / "a.0000.ms")
    before = module.fingerprint(str(tmp_path / "a.ms"))
    change(tmp_path / where)
    assert module.fingerprint(str(tmp_path / "a.ms")) != before


def test_reading_a_measurement_set_or_copying_it_with_its_times_changes_nothing(tmp_path):
    path = smallest_ms(tmp_path / "a.ms")
    before = module.fingerprint(path)
    read(describe(select(path, "DATA", None, None)), (0, 1), (0, 1))
    for lock in Path(path).rglob("table.lock"):
        lock.touch()
    assert module.fingerprint(path) == before
    subprocess.run(["cp", "-a", path, tmp_path / "b.ms"], check=True)
    assert module.fingerprint(str(tmp_path / "b.ms")) == before


def write_half(path: Path) -> None:
    path.write_bytes(b"half")
    raise RuntimeError


def test_failing_to_write_leaves_the_old_file_and_no_scrap(tmp_path):
    path = tmp_path / "a.json"
    write_json(path, {"a": 1})
    with pytest.raises(ValueError, match="JSON"):
        write_json(path, {"a": float("nan")})
    with pytest.raises(TypeError):
        write_json(path, {"a": object()})
    arrays = tmp_path / "a.npz"
    write_npz(arrays, {"x": np.arange(3)})
    with pytest.raises(RuntimeError), replacing(arrays) as temporary:
        write_half(temporary)
    np.testing.assert_array_equal(read_npz(arrays)["x"], [0, 1, 2])
    assert read_json(path) == {"a": 1}
    assert sorted(p.name for p in tmp_path.iterdir()) == ["a.json", "a.npz"]


def test_damaged_json_is_said(tmp_path):
    (tmp_path / "a.json").write_text("{")
    with pytest.raises(InputError, match="damaged"):
        read_json(tmp_path / "a.json")


def checkpoint(store: Store, number: int, state: dict, arrays: dict) -> None:
    """Keep a state of a loop that began with the inputs of now."""
    store.write_checkpoint("selfcal", number, state, arrays, store.inputs("selfcal"))


def last(store: Store) -> tuple | None:
    """The last checkpoint that fits the inputs of now."""
    return store.read_checkpoint("selfcal", store.inputs("selfcal"))


def test_checkpoint_comes_back_whole(store):
    model = np.random.default_rng(1).normal(size=(2, 4, 4)).astype(np.float32)
    gains = np.exp(1j * np.arange(6.0))
    assert last(store) is None
    checkpoint(store, 1, {"rms": 0.5}, {"model": model * 0})
    checkpoint(store, 2, {"rms": 0.25}, {"model": model, "gains": gains})
    number, state, arrays = last(store)
    assert (number, state) == (2, {"rms": 0.25})
    np.testing.assert_array_equal(arrays["model"], model)
    np.testing.assert_array_equal(arrays["gains"], gains)
    assert len(list((store.folder / "selfcal" / "checkpoint").glob("*.npz"))) == 1


def test_checkpoint_interrupted_half_way_is_the_one_before(store, monkeypatch):
    checkpoint(store, 1, {}, {"x": np.ones(2)})

    def die(*_):
        raise KeyboardInterrupt

    monkeypatch.setattr(module, "write_json", die)  # the arrays are written, the pointer is not
    with pytest.raises(KeyboardInterrupt):
        checkpoint(store, 2, {}, {"x": np.zeros(2)})
    number, _, arrays = last(store)
    assert number == 1
    np.testing.assert_array_equal(arrays["x"], [1, 1])


def test_checkpoint_of_other_inputs_is_not_used(store):
    checkpoint(store, 1, {}, {"x": np.ones(2)})
    other = Store(store.folder, store.data, changed("selfcal", cycles=9))
    assert last(other) is None
    store.clear_checkpoint("selfcal")
    assert last(store) is None


HOLD = """
import sys
from pathlib import Path
from ical.parameters import load
from ical.store import Store
store = Store.open(load("tiny"), Path(sys.argv[1]), run_id="one")
with store.lock():
    print("held", flush=True)
    sys.stdin.read()
"""


def test_two_processes_do_not_work_on_one_run(store, tmp_path):
    environment = os.environ | {"PYTHONPATH": str(Path(module.__file__).parents[1])}
    with subprocess.Popen([sys.executable, "-c", HOLD, str(tmp_path)], stdin=subprocess.PIPE,
                          stdout=subprocess.PIPE, text=True, env=environment) as other:
        assert other.stdout.readline() == "held\n"
        with pytest.raises(InputError, match=f"process {other.pid} on"), store.lock():
            pass
        other.kill()  # a holder that dies lets go
        other.wait()
    with store.lock():
        pass


def test_stored_parameters_of_the_measurement_set_kind_open_again(tmp_path):
    smallest_ms(tmp_path / "a.ms")
    path = tmp_path / "run.json"
    path.write_text(json.dumps({"input": {"measurement_set": "a.ms"}}))
    Store.create(load(path), tmp_path, run_id="one")
    again = load(tmp_path / "one" / "parameters.json")
    assert Store.open(again, tmp_path, run_id="one").is_done("model") is False
