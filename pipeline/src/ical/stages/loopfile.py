"""The loop's state on disk: a lost pipeline costs at most the cycle it was in."""

from __future__ import annotations

import time
from dataclasses import asdict

import numpy as np

from arl.calibration.chain import TermSolution
from ical.context import RunContext
from ical.convergence import Measures
from ical.mirror import keep_copies
from ical.stages.loopstate import Cycle, LoopState, Solutions

STAGE = "selfcal"
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
        plain = {"terms": state.terms, "dropped": state.dropped,
                 "provisional": state.provisional, "solvable": state.solvable,
                 "measures": asdict(state.measures),
                 "history": [asdict(c) for c in state.history]}
        arrays = {"model": state.model}
        for partition, terms in state.solutions.items():
            for term, solution in terms.items():
                arrays |= {f"{partition}/{term}/{name}": getattr(solution, name)
                           for name in FIELDS}
        self._context.store.write_checkpoint(STAGE, len(state.history), plain, arrays)
        keep_copies(self._context)

    def read(self) -> LoopState | None:
        """The state to resume from, None where there is none or it is not asked for."""
        found = self._context.store.read_checkpoint(STAGE) if self._context.resume else None
        if found is None:
            return None
        number, plain, arrays = found
        history = tuple(Cycle(**c) for c in plain["history"])
        self._context.progress.resume_from(0.9 * number / self._context.parameters.selfcal.cycles)
        return LoopState(arrays["model"], _solutions(arrays), plain["terms"], plain["dropped"],
                         Measures(**plain["measures"]), history,
                         provisional=plain["provisional"], solvable=plain["solvable"])


def _solutions(arrays: dict[str, np.ndarray]) -> Solutions:
    """Solutions by partition and term from arrays named partition/term/field."""
    solutions: Solutions = {}
    for name in arrays:
        if name.endswith("/gain"):
            partition, term, _ = name.split("/")
            fields = [arrays[f"{partition}/{term}/{field}"] for field in FIELDS]
            solutions.setdefault(partition, {})[term] = TermSolution(term, *fields)
    return solutions
