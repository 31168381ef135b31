"""The verdict of a run: clear rules on what was measured, and one honest line."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass, field

from ical.report.schema import GainTerm, Outcome, Quality, Reason, Status, Verdict

#: Limits above which a measure makes the verdict WARN, and FAIL.
FLUX_RATIO_ERROR = (0.01, 0.10)
FLUX_RATIO_SCATTER = (0.03, 0.20)
POSITION_OFFSET_BEAM = (0.05, 0.5)
#: Share of the bright isolated sources of the truth that are not in the image, and of all isolated
#: ones above 10 times the noise that were not found: noise hides none of either.
BRIGHT_MISSING = (0.05, 0.25)
MISSING = (0.25, 0.50)
GAIN_PHASE_RMS_DEG = (5.0, 30.0)
FLAGGED_FRACTION = (0.10, 0.50)
#: Some findings are never worse than a warning. A catalogue has errors of its own, and so has the
#: primary beam: only what is beyond the second of the limits of fluxes and positions is worth one.
NEVER = float("inf")
#: Residual rms after self-calibration over that of the same imaging of data without gain errors.
RMS_RATIO = (1.10, 3.0)
#: Largest residual over the peak of the restored image,
RESIDUAL_SHARE = (0.05, 0.5)
#: where it is this many times the residual's robust rms: noise alone reaches 5 times in 1e6 pixels,
#: and 7 times in one of 4000 images of 1e8.
NOISE_PEAK = 7.0

RANK: dict[Status, int] = {"PASS": 0, "WARN": 1, "FAIL": 2}
_OUTCOMES: dict[str, tuple[Status, str]] = {
    "CONVERGED": ("PASS", "self-calibration converged"),
    "MAX_CYCLES": ("WARN", "self-calibration used up its cycles before it converged"),
    "REVERTED": ("WARN", "self-calibration went back to an earlier cycle"),
    "FAILED": ("FAIL", "self-calibration failed"),
}


@dataclass(frozen=True)
class Facts:
    """What the verdict is made from.

    Attributes
    ----------
    expected: the stages that the run is to have, in order. done: those that are.
    errors: the last error of a stage that is not done, by stage.
    ideal_reference: the image stage imaged the same sky without gain errors, so that its residual
        says what self-calibration can reach at best.
    uncalibrated_image: the image stage imaged observed data before their calibration, so that its
        residual says nothing of the run.
    noiseless: it is a simulation without noise, so that residuals hold nothing but what the method
        leaves, and their ratio may be large where both are next to nothing.
    """

    expected: tuple[str, ...]
    done: frozenset[str]
    outcome: Outcome | None = None
    quality: dict[str, Quality] = field(default_factory=dict)
    gains: dict[str, GainTerm] = field(default_factory=dict)
    errors: dict[str, str] = field(default_factory=dict)
    ideal_reference: bool = False
    uncalibrated_image: bool = False
    noiseless: bool = False


def judge(facts: Facts) -> Verdict:
    """The verdict: the worst finding decides; with no finding, PASS."""
    reasons = sorted(_reasons(facts), key=lambda r: -RANK[r.status])
    status = reasons[0].status if reasons else "PASS"
    told = [r.text for r in reasons if r.status == status] if reasons else []
    rest = len(reasons) - len(told)
    if rest:
        told.append(f"{rest} lesser warning{'s' * (rest > 1)}")
    line = f"{status}: " + "; ".join([*told, *_achieved(facts)])
    return Verdict(status=status, line=line + ".", reasons=reasons)


def _reasons(facts: Facts) -> Iterator[Reason]:
    yield from _unfinished(facts)
    if facts.outcome:
        status, text = _OUTCOMES[facts.outcome.status]
        if status != "PASS":
            why = f" ({facts.outcome.reason})" if facts.outcome.reason else ""
            yield Reason(status=status, text=text + why)
    for term, table in sorted(facts.gains.items()):
        # what the data do not have says nothing of the calibration
        share = table.flagged_with_data_fraction
        yield from _over(f"flagged gains of {term}",
                         table.flagged_fraction if share is None else share, FLAGGED_FRACTION,
                         "{:.0%}")
    for stage, quality in facts.quality.items():
        if stage != "image" or not facts.uncalibrated_image:
            yield from _measured(stage, quality)
            yield from _left(stage, quality, facts.noiseless)
    yield from _beside_ideal(facts)


def _unfinished(facts: Facts) -> Iterator[Reason]:
    for stage in facts.expected:
        if stage in facts.done:
            continue
        if stage in facts.errors:
            yield Reason(status="FAIL", text=f"stage {stage} failed: {facts.errors[stage]}")
        else:
            yield Reason(status="WARN", text=f"stage {stage} has not been done")


def _measured(stage: str, quality: Quality) -> Iterator[Reason]:
    """Findings on one stage's sources and gains."""
    yield from _compared(stage, quality)
    yield from _missed(stage, quality)
    yield from _over(f"{stage}: gain phase error", quality.gain_phase_rms_deg,
                     GAIN_PHASE_RMS_DEG, "{:.1f}°")


def _left(stage: str, quality: Quality, noiseless: bool) -> Iterator[Reason]:
    """Findings where more is left of a source than noise would be, which is a large share of the
    peak of any faint field (without noise whatever is left), or where nothing is more than that.
    """
    left, peak = quality.residual_peak_jy, quality.restored_peak_jy
    noise = 0.0 if noiseless else quality.residual_robust_rms_jy or 0.0
    if noise and peak is not None and peak <= NOISE_PEAK * noise:
        yield Reason(status="WARN", text=f"{stage}: nothing is above {NOISE_PEAK:g} times the rms")
    if left is not None and peak and left > NOISE_PEAK * noise:
        yield from _over(f"{stage}: residual peak of the image's peak", left / abs(peak),
                         RESIDUAL_SHARE, "{:.1%}")


def limits(quality: Quality, of: tuple[float, float]) -> tuple[float, float]:
    """Limits of a measure against the truth, as they are for what the stage was compared with."""
    return (of[1], NEVER) if quality.reference == "catalogue" else of


def _compared(stage: str, quality: Quality) -> Iterator[Reason]:
    """Findings on fluxes and positions."""
    ratio = quality.flux_ratio_median
    off = None if ratio is None else abs(ratio - 1)
    for what, value, of, form in (
        ("fluxes off by", off, FLUX_RATIO_ERROR, "{:.1%}"),
        ("flux scatter", quality.flux_ratio_scatter, FLUX_RATIO_SCATTER, "{:.1%}"),
        ("position offset", quality.position_offset_beam, POSITION_OFFSET_BEAM, "{:.2f} beam"),
    ):
        yield from _over(f"{stage}: {what}", value, limits(quality, of), form)


def _missed(stage: str, quality: Quality) -> Iterator[Reason]:
    """Findings on sources of the truth that are not there."""
    if is_displaced(quality):
        number = quality.bright_sources
        which = f"none of {number} bright sources is" if number != 1 else "the bright source is not"
        yield Reason(status="WARN" if quality.reference == "catalogue" else "FAIL",
                     text=f"{stage}: {which} within a beam of its place")
        return
    for what, share, of in (
        ("bright sources missing", quality.bright_completeness, BRIGHT_MISSING),
        ("sources missing", quality.completeness, MISSING),
    ):
        # to 9 digits: 1 - 0.95 is more than 0.05
        missing = None if share is None else round(1 - share, 9)
        yield from _over(f"{stage}: {what}", missing, limits(quality, of), "{:.1%}")


def is_displaced(quality: Quality) -> bool:
    """Whether there are sources to judge fluxes by, and no fit ended near any of them."""
    return bool(quality.bright_sources) and quality.flux_ratio_median is None


def _beside_ideal(facts: Facts) -> Iterator[Reason]:
    both = [facts.quality.get(stage, Quality()).residual_rms_jy for stage in ("image", "selfcal")]
    if facts.ideal_reference and both[0] and both[1]:
        yield from _over("residual rms over that without gain errors", both[1] / both[0],
                         (RMS_RATIO[0], NEVER) if facts.noiseless else RMS_RATIO, "{:.2f}")


def _over(
    what: str, value: float | None, limits: tuple[float, float], form: str
) -> Iterator[Reason]:
    """A finding when the value is over its warning or failure limit."""
    if value is None or value <= limits[0]:
        return
    status: Status = "FAIL" if value > limits[1] else "WARN"
    limit = form.format(limits[1] if status == "FAIL" else limits[0])
    yield Reason(status=status, text=f"{what} {form.format(value)} (limit {limit})")


def _achieved(facts: Facts) -> Iterator[str]:
    """What was reached, in words, of the last stage that made images."""
    if facts.outcome and facts.outcome.status == "CONVERGED":
        yield _OUTCOMES["CONVERGED"][1]
    stage = next((s for s in ("selfcal", "image") if s in facts.quality), None)
    if stage is None:
        return
    quality = facts.quality[stage]
    if quality.residual_rms_jy is not None and quality.residual_peak_jy is not None:
        yield (f"residual rms {jansky(quality.residual_rms_jy)}, "
               f"peak {jansky(quality.residual_peak_jy)}")
    if quality.flux_ratio_median is None and not is_displaced(quality):
        yield _no_fluxes(quality)
    elif quality.flux_ratio_median is not None:
        scatter = quality.flux_ratio_scatter
        yield (f"fluxes {quality.flux_ratio_median:.3f}"
               + (f" ± {scatter:.3f}" if scatter is not None else "")
               + f" of the {quality.reference or 'truth'}")
    if quality.gain_phase_rms_deg is not None:
        yield f"gain phases {quality.gain_phase_rms_deg:.2g}° rms from the truth"


def _no_fluxes(quality: Quality) -> str:
    """Why there are none."""
    if quality.reference is None:
        return "no truth to judge fluxes by"
    return f"no isolated source of the {quality.reference} is bright enough to judge fluxes by"


def jansky(flux: float) -> str:
    """A flux with three digits and the unit that suits it: 1.23 Jy, 45.6 mJy, 7.89 µJy."""
    units = ((1.0, "Jy"), (1e3, "mJy"), (1e6, "µJy"))
    factor, unit = next(
        (u for u in units if abs(flux) * u[0] >= 0.9995 or flux == 0), units[-1])
    return f"{flux * factor:.3g} {unit}"
