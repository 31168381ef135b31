"""What the self-calibration loop is in the middle of: its cycles and its last accepted state."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Protocol

import numpy as np

from arl.calibration.chain import TermSolution
from ical.convergence import Decision, Measures
from ical.imager import BandImages

#: Solutions by partition and term; what was solved jointly is one object that all partitions have.
Solutions = dict[str, dict[str, TermSolution]]


@dataclass(frozen=True)
class Cycle:
    """What one cycle did and was judged by.

    Attributes
    ----------
    terms: that were solved. rms_jy, peak_jy, min_jy, beam_area_sr, flagged_fraction: of the
        image with the gains that the decision is about (see `ical.convergence.Measures`).
    decision, reason: what became of it, and why.
    """

    number: int
    terms: str
    rms_jy: float
    peak_jy: float
    min_jy: float
    beam_area_sr: float
    flagged_fraction: float
    decision: Decision
    reason: str


@dataclass(frozen=True)
class LoopState:
    """The last accepted state of the loop: all that it goes on from.

    Attributes
    ----------
    model: on which the next cycle calibrates, (band, l, m) Jy per pixel.
    solutions: the accepted gains. terms: those they are of. dropped: terms given up.
    measures: of the image the gains gave; with no term in use, of the uncorrected data's image.
    history: the cycles so far.
    residual: of the model with the gains, where it has been imaged.
    provisional: some of the gains may be below selfcal.min_snr: good enough to find a better model
        (see `ical.stages.terms.GainTerms.is_provisional`).
    solvable: see `ical.transitions.LoopPoint`.
    """

    model: np.ndarray
    solutions: Solutions
    terms: str
    dropped: str
    measures: Measures
    history: tuple[Cycle, ...]
    residual: BandImages | None = None
    provisional: bool = False
    solvable: bool = False


class Watcher(Protocol):
    """Who is told of the loop's progress, and keeps its state."""

    def told(self, cycle: Cycle, cycles: int) -> None:
        """A cycle was judged."""

    def keep(self, state: LoopState) -> None:
        """The loop can go on from this state."""
