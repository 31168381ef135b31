"""The loop's state on disk: a lost pipeline costs at most the cycle it was in."""

from __future__ import annotations

import time
from collections.abc import Mapping, Sequence
from dataclasses import asdict
from typing import Any

import numpy as np

from arl.calibration.chain import TermSolution
from ical.context import RunContext
from ical.convergence import Measures
from ical.mirror import keep_copies
from ical.stages.loopstate import Cycle, LoopState, Solutions

STAGE = "selfcal"
#: Of what is written, one more with each change to it. A library of the same version may have left
#: another, or one without: the loop is then begun anew.
FORMAT = 3
FIELDS = ("time_blocks", "channel_blocks", "gain", "snr")


class LoopKeeper:
    """Tells of every cycle and keeps the state after it.

    Attributes
    ----------
    ends: when each cycle of this process ended, s since 1970, by its number.
    """

    def __init__(self, context: RunContext) -> None:
        self._context = context
        self.ends: dict[int, float] = {}

    def told(self, cycle: Cycle, cycles: int) -> None:
        """One line of progress: the cycle, its rms and the decision."""
        self.ends[cycle.number] = time.time()
        self._context.progress.update(
            0.9 * cycle.number / cycles,
            f"terms {cycle.terms}, rms {cycle.rms_jy * 1e3:.3f} mJy: {cycle.decision}",
            cycle.number, cycles)

    def keep(self, state: LoopState) -> None:
        """Write the checkpoint of the last accepted state."""
        shared = _shared(state.solutions)
        plain = {"format": FORMAT, "terms": state.terms, "dropped": state.dropped,
                 "provisional": state.provisional, "solvable": state.solvable,
                 "measures": asdict(state.measures),
                 "history": [asdict(c) for c in state.history],
                 "solutions": [{"term": solution.name, "partitions": partitions}
                               for solution, partitions in shared]}
        arrays = {"model": state.model}
        for number, (solution, _) in enumerate(shared):
            arrays |= {f"{number}/{field}": getattr(solution, field) for field in FIELDS}
        self._context.store.write_checkpoint(
            STAGE, len(state.history), plain, arrays, self._context.inputs)
        keep_copies(self._context)

    def read(self) -> LoopState | None:
        """The state to resume from, None where none of this format is there, or is asked for."""
        found = (self._context.store.read_checkpoint(STAGE, self._context.inputs)
                 if self._context.resume else None)
        if found is None or found[1].get("format") != FORMAT:
            return None
        number, plain, arrays = found
        history = tuple(Cycle(**c) for c in plain["history"])
        self._context.progress.resume_from(0.9 * number / self._context.parameters.selfcal.cycles)
        return LoopState(arrays["model"], _solutions(plain["solutions"], arrays), plain["terms"],
                         plain["dropped"], Measures(**plain["measures"]), history,
                         provisional=plain["provisional"], solvable=plain["solvable"])


def _shared(solutions: Solutions) -> list[tuple[TermSolution, list[str]]]:
    """Every solution once, and the partitions that have it: all, where it was solved jointly."""
    found: dict[int, tuple[TermSolution, list[str]]] = {}
    for partition, terms in solutions.items():
        for solution in terms.values():
            found.setdefault(id(solution), (solution, []))[1].append(partition)
    return list(found.values())


def _solutions(
    shared: Sequence[Mapping[str, Any]], arrays: Mapping[str, np.ndarray]
) -> Solutions:
    """Solutions by partition and term; those that partitions shared are one object again."""
    solutions: Solutions = {}
    for number, one in enumerate(shared):
        fields = [arrays[f"{number}/{field}"] for field in FIELDS]
        solution = TermSolution(one["term"], *fields)
        for partition in one["partitions"]:
            solutions.setdefault(partition, {})[solution.name] = solution
    return solutions
