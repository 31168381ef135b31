"""Whether a cycle of self-calibration is kept and whether the loop goes on: the rules, as numbers.

Nothing here looks at data. A cycle is judged by what was measured on its image against the last
accepted cycle; a term that is new in a cycle is judged against the same cycle without it, but the
first ones by the signal alone.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Literal

#: peak / rms or peak / |minimum| must rise by this share, or it is no improvement.
LEAST_GAIN = 0.0125
#: rises of the rms and of the beam's area that are never accepted.
MOST_NOISE, MOST_BEAM = 0.10, 0.05
#: The first gains may lower the peak by less than this share.
MOST_SIGNAL_LOST = 0.10
#: The residual is noise when its rms is within this share of the expected one.
NOISE_MARGIN = 0.05

Decision = Literal["accept", "drop", "revert", "converged"]


@dataclass(frozen=True)
class Measures:
    """What one cycle's image is judged by.

    Attributes
    ----------
    rms: of the residual, Jy/beam. peak, minimum: extreme pixels of the restored image, Jy/beam.
    beam_area: solid angle of the restoring beam, sr.
    flagged: share of the gain solutions that are flagged.
    """

    rms: float
    peak: float
    minimum: float
    beam_area: float
    flagged: float

    @property
    def signal_to_noise(self) -> float:
        """peak / rms; infinite for a perfect residual."""
        return _ratio(self.peak, self.rms)

    @property
    def dynamic_range(self) -> float:
        """peak / |minimum|."""
        return _ratio(self.peak, abs(self.minimum))

    @property
    def told(self) -> str:
        """In words."""
        return f"rms {self.rms * 1e3:.3f} mJy, peak/rms {self.signal_to_noise:.0f}"


@dataclass(frozen=True)
class Verdict:
    """A decision and, in words, what it rests on."""

    decision: Decision
    reason: str


def _ratio(a: float, b: float) -> float:
    return a / b if b > 0 else float("inf")


def _rise(new: float, old: float) -> float:
    """new / old - 1."""
    return 0.0 if new == old else _ratio(new, old) - 1


def improvement(new: Measures, old: Measures) -> float:
    """The larger of the shares by which peak / rms and peak / |minimum| rose."""
    return max(_rise(new.signal_to_noise, old.signal_to_noise),
               _rise(new.dynamic_range, old.dynamic_range))


def deterioration(new: Measures, old: Measures) -> str | None:
    """Why `new` must not be accepted after `old`, or None.

    The signal-to-noise counts as fallen from the share on that would count as an improvement:
    less than that is nothing, in either direction.
    """
    noise = _rise(new.rms, old.rms)
    if noise >= MOST_NOISE:
        return f"the rms rose by {noise:.1%}"
    beam = _rise(new.beam_area, old.beam_area)
    if beam >= MOST_BEAM:
        return f"the beam's area grew by {beam:.1%}, for the data that flags took away"
    signal = _rise(new.signal_to_noise, old.signal_to_noise)
    if signal <= -LEAST_GAIN:
        return f"the signal-to-noise fell by {-signal:.1%}"
    return None


def judge_terms(new: Measures, without: Measures, terms: str) -> str | None:
    """Why terms that were tried for the first time are dropped, or None when they help.

    `without` is the same cycle without them: the same model and the other terms. What counts is
    peak / rms: the minimum is a single pixel, which noise moves by more than a share of it.
    """
    worse = deterioration(new, without)
    if worse:
        return f"with {terms} {worse}"
    gained = _rise(new.signal_to_noise, without.signal_to_noise)
    return f"{terms} changes peak/rms by {gained:+.2%}" if gained < LEAST_GAIN else None


def judge_first_terms(
    new: Measures, uncorrected: Measures, terms: str, *, rescaled: bool = False
) -> str | None:
    """Why the first terms of all are dropped, or None.

    The model was made from the uncorrected data, and what phase errors had taken from them is
    missing in it: with good gains that flux is in the residual, whose rms rises manifold. So only
    the peak tells: gains that find what belongs together raise it, gains of noise lower it.
    `rescaled`: they bring the data to the flux scale of a start model. Then the peak says nothing,
    but peak / rms does: no model made from the data is subtracted yet, whose lack the rms would
    show.
    """
    if rescaled:
        what, lost = "peak/rms", -_rise(new.signal_to_noise, uncorrected.signal_to_noise)
    else:
        what, lost = "the peak", -_rise(new.peak, uncorrected.peak)
    return f"with {terms} {what} fell by {lost:.1%}" if lost >= MOST_SIGNAL_LOST else None


def judge(new: Measures, old: Measures, *, settled: bool, noise: float | None) -> Verdict:
    """Accept a cycle, revert to the one before, or end with this one.

    Parameters
    ----------
    settled: every requested term has been tried, and on a model cleaned to its full depth.
    noise: the expected rms of an image of noise alone, Jy/beam; None where it is not known.
    """
    worse = deterioration(new, old)
    if worse:
        return Verdict("revert", worse)
    gained = improvement(new, old)
    if settled and noise is not None and new.rms <= (1 + NOISE_MARGIN) * noise:
        return Verdict("converged", f"{new.told}: the expected noise is {noise * 1e3:.3f} mJy")
    if settled and gained < LEAST_GAIN:
        return Verdict("converged", f"{new.told}: {gained:+.2%}, less than {LEAST_GAIN:.2%}")
    return Verdict("accept", new.told)
