"""The checkpoint of the loop: what comes back, how large it is, and that of another version."""

from __future__ import annotations

import io

import numpy as np
import pytest

from arl.calibration.chain import TermSolution
from ical.context import RunContext
from ical.convergence import Measures
from ical.parameters import load
from ical.progress import JsonLines, Progress
from ical.stages.loopfile import FIELDS, LoopKeeper
from ical.stages.loopstate import Cycle, LoopState
from ical.store import Store, read_json, write_json

MODEL = np.arange(32, dtype=np.float32).reshape(2, 4, 4)
MEASURES = Measures(0.1, 5.0, -0.2, 1e-6, 0.25)


@pytest.fixture(name="context")
def context_fixture(tmp_path):
    """A run that is to be gone on with; what is kept needs no cluster."""
    parameters = load("tiny")
    store = Store.create(parameters, tmp_path, run_id="one")
    progress = Progress("selfcal", JsonLines(io.StringIO()))
    return RunContext(parameters, store, progress, None, resume=True)


def solution(name, times, first=0):
    """Random gains of 17 antennas, some of them flagged, in two channels."""
    generator = np.random.default_rng(first)
    gain = np.exp(1j * generator.normal(size=(times, 2, 17)))
    return TermSolution(name, first + np.arange(times), np.arange(2),
                        np.where(generator.uniform(size=gain.shape) < 0.1, np.nan, gain),
                        generator.uniform(3, 9, gain.shape))


def state_of(partitions):
    """T was solved in each of some partitions, B jointly."""
    jointly = solution("B", 500)
    history = (Cycle(1, "TB", 0.1, 5.0, -0.2, 1e-6, 0.25, "accept", "better"),)
    return LoopState(MODEL, {f"p{k}": {"T": solution("T", 1, k), "B": jointly}
                             for k in range(partitions)}, "TB", "G", MEASURES, history,
                     provisional=True, solvable=True)


def kept_files(context):
    folder = context.store.folder / "selfcal" / "checkpoint"
    return folder / "state.json", next(folder.glob("*.npz"))


def test_what_partitions_share_they_share_when_it_comes_back(context):
    state = state_of(3)
    LoopKeeper(context).keep(state)
    found = LoopKeeper(context).read()
    np.testing.assert_array_equal(found.model, MODEL)
    assert (found.terms, found.dropped, found.measures, found.history, found.provisional,
            found.solvable) == ("TB", "G", MEASURES, state.history, True, True)
    assert list(found.solutions) == list(state.solutions)
    for partition, own in state.solutions.items():
        for term, one in own.items():
            again = found.solutions[partition][term]
            assert again.name == term
            for field in FIELDS:
                np.testing.assert_array_equal(getattr(again, field), getattr(one, field))
    assert len({id(own["B"]) for own in found.solutions.values()}) == 1
    assert len({id(own["T"]) for own in found.solutions.values()}) == 3


def test_a_checkpoint_has_what_is_shared_once_however_many_partitions_there_are(context):
    sizes = []
    for partitions in (1, 20):
        LoopKeeper(context).keep(state_of(partitions))
        sizes.append(kept_files(context)[1].stat().st_size)
    jointly = sum(getattr(solution("B", 500), field).nbytes for field in FIELDS)
    assert sizes[0] > jointly
    assert sizes[1] - sizes[0] < 0.2 * jointly  # T's of 19 partitions more


@pytest.mark.parametrize("other", [None, 1])
def test_a_checkpoint_of_another_format_is_not_gone_on_from(context, other):
    """An earlier library of the same version may have left it: the first had no number."""
    LoopKeeper(context).keep(state_of(2))
    path, arrays = kept_files(context)
    kept = read_json(path)
    kept["state"] = {k: v for k, v in kept["state"].items() if k not in ("format", "solutions")}
    write_json(path, kept | {"state": kept["state"] | ({"format": other} if other else {})})
    np.savez(arrays, model=MODEL, **{"p0/T/gain": np.ones(1)})
    assert LoopKeeper(context).read() is None
