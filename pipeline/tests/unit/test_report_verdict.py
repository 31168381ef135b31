"""The verdict's rules: each limit from both sides, and the line that is read first."""

from dataclasses import replace

import pytest

from ical.report.schema import GainTerm, Outcome, Quality
from ical.report.verdict import Facts, jansky, judge

ALL = ("model", "image", "selfcal")
GOOD = Quality(residual_rms_jy=1.5e-3, residual_peak_jy=0.03, restored_peak_jy=8.0,
               flux_ratio_median=1.001, flux_ratio_scatter=0.005, position_offset_beam=0.01,
               gain_phase_rms_deg=0.6)


def facts(measured=GOOD, **more):
    given = {"expected": ALL, "done": frozenset(ALL),
             "outcome": Outcome(status="CONVERGED", reason="it stopped improving"),
             "quality": {"selfcal": measured}}
    return Facts(**(given | more))


def changed(**measures):
    return facts(GOOD.model_copy(update=measures))


def flagged(share):
    return facts(gains={"T": GainTerm(
        solutions=100, times=1, channels=1, antennas=100, flagged_fraction=share,
        flagged_antennas={}, amplitude_median=1.0, amplitude_scatter=0.0)})


def test_good_run_passes_and_says_what_it_reached():
    verdict = judge(facts())
    assert verdict.status == "PASS"
    assert verdict.reasons == []
    assert verdict.line == (
        "PASS: self-calibration converged; residual rms 1.5 mJy, peak 30 mJy; "
        "fluxes 1.001 ± 0.005 of the truth; gain phases 0.6° rms from the truth.")


@pytest.mark.parametrize(("given", "status"), [
    (changed(flux_ratio_median=0.9901), "PASS"), (changed(flux_ratio_median=0.989), "WARN"),
    (changed(flux_ratio_median=1.011), "WARN"), (changed(flux_ratio_median=0.89), "FAIL"),
    (changed(flux_ratio_scatter=0.03), "PASS"), (changed(flux_ratio_scatter=0.031), "WARN"),
    (changed(flux_ratio_scatter=0.21), "FAIL"),
    (changed(position_offset_beam=0.051), "WARN"), (changed(position_offset_beam=0.6), "FAIL"),
    (changed(bright_completeness=0.95), "PASS"), (changed(bright_completeness=0.949), "WARN"),
    (changed(bright_completeness=0.75), "WARN"), (changed(bright_completeness=0.749), "FAIL"),
    (changed(completeness=0.75), "PASS"), (changed(completeness=0.749), "WARN"),
    (changed(completeness=0.499), "FAIL"),
    (changed(gain_phase_rms_deg=4.9), "PASS"), (changed(gain_phase_rms_deg=5.1), "WARN"),
    (changed(gain_phase_rms_deg=31.0), "FAIL"),
    (changed(residual_peak_jy=0.39), "PASS"), (changed(residual_peak_jy=0.41), "WARN"),
    (changed(residual_peak_jy=4.1), "FAIL"),
    (flagged(0.10), "PASS"), (flagged(0.11), "WARN"), (flagged(0.51), "FAIL"),
])
def test_limits(given, status):
    assert judge(given).status == status


@pytest.mark.parametrize(("status", "verdict"), [
    ("CONVERGED", "PASS"), ("MAX_CYCLES", "WARN"), ("REVERTED", "WARN"), ("FAILED", "FAIL")])
def test_outcome_of_the_loop(status, verdict):
    found = judge(facts(outcome=Outcome(status=status, reason="because of this")))
    assert found.status == verdict
    assert ("because of this" in found.line) == (verdict != "PASS")


@pytest.mark.parametrize(("ratio", "ideal", "status"), [
    (1.09, True, "PASS"), (1.11, True, "WARN"), (3.1, True, "FAIL"), (3.1, False, "PASS")])
def test_selfcal_is_compared_with_imaging_without_gain_errors(ratio, ideal, status):
    image = GOOD.model_copy(update={"residual_rms_jy": 1e-3})
    selfcal = GOOD.model_copy(update={"residual_rms_jy": ratio * 1e-3})
    found = judge(facts(quality={"image": image, "selfcal": selfcal}, ideal_reference=ideal))
    assert found.status == status


@pytest.mark.parametrize(("ratio", "status"), [(1.09, "PASS"), (1.11, "WARN"), (30.0, "WARN")])
def test_what_methods_leave_of_data_without_noise_fails_no_run(ratio, status):
    image = GOOD.model_copy(update={"residual_rms_jy": 1e-4})
    selfcal = GOOD.model_copy(update={"residual_rms_jy": ratio * 1e-4})
    found = judge(facts(quality={"image": image, "selfcal": selfcal}, ideal_reference=True,
                        noiseless=True))
    assert found.status == status


@pytest.mark.parametrize(("robust_rms", "noiseless", "status"), [
    (0.059, False, "PASS"), (0.057, False, "WARN"), (0.059, True, "WARN"), (None, False, "WARN"),
    (0.0, False, "WARN")])
def test_a_residual_is_judged_above_what_noise_reaches(robust_rms, noiseless, status):
    """Of 0.41 Jy, 5.1 % of the image's peak: 6.9 or 7.2 times the robust rms."""
    given = GOOD.model_copy(update={"residual_peak_jy": 0.41, "residual_robust_rms_jy": robust_rms})
    assert judge(facts(given, noiseless=noiseless)).status == status


def test_findings_name_the_stage_and_the_limit():
    assert "selfcal: flux scatter 5.0% (limit 3.0%)" in judge(changed(flux_ratio_scatter=0.05)).line


def test_missing_stage_warns_and_failed_stage_fails():
    partial = facts(done=frozenset({"model", "image"}), outcome=None, quality={"image": GOOD})
    assert judge(partial).line.startswith("WARN: stage selfcal has not been done;")
    failed = facts(done=frozenset({"model"}), outcome=None, quality={},
                   errors={"image": "worker lost"})
    verdict = judge(failed)
    assert verdict.line == "FAIL: stage image failed: worker lost; 1 lesser warning."
    assert [r.status for r in verdict.reasons] == ["FAIL", "WARN"]


def test_without_truth_it_says_so():
    verdict = judge(facts(Quality(residual_rms_jy=2e-3, residual_peak_jy=0.01)))
    assert verdict.status == "PASS"
    assert "no truth to judge fluxes by" in verdict.line


@pytest.mark.parametrize(("measure", "value", "status"), [
    ("flux_ratio_median", 0.91, "PASS"), ("flux_ratio_median", 0.5, "WARN"),
    ("flux_ratio_scatter", 0.19, "PASS"), ("flux_ratio_scatter", 0.9, "WARN"),
    ("position_offset_beam", 0.49, "PASS"), ("position_offset_beam", 0.9, "WARN"),
    ("bright_completeness", 0.76, "PASS"), ("bright_completeness", 0.0, "WARN"),
    ("completeness", 0.51, "PASS"), ("completeness", 0.0, "WARN")])
def test_a_catalogue_is_no_truth(measure, value, status):
    found = judge(changed(reference="catalogue", **{measure: value}))
    assert found.status == status
    assert "of the catalogue" in found.line


def test_a_catalogue_too_faint_for_fluxes_is_not_a_missing_truth():
    verdict = judge(facts(Quality(residual_rms_jy=2e-3, residual_peak_jy=0.01,
                                  reference="catalogue")))
    assert "no isolated source of the catalogue is bright enough" in verdict.line


@pytest.mark.parametrize(("reference", "status"), [("truth", "FAIL"), ("catalogue", "WARN")])
@pytest.mark.parametrize(("number", "text"), [
    (60, "selfcal: none of 60 bright sources is within a beam of its place"),
    (1, "selfcal: the bright source is not within a beam of its place")])
def test_sources_that_are_all_elsewhere_are_told_as_that(reference, status, number, text):
    """And once, whatever of them was found within a beam of another's place."""
    verdict = judge(facts(Quality(reference=reference, bright_sources=number, completeness=0.0,
                                  bright_completeness=0.0)))
    assert [(r.status, r.text) for r in verdict.reasons] == [(status, text)]
    assert "bright enough" not in verdict.line


def test_no_bright_source_is_said_where_there_is_none():
    verdict = judge(facts(Quality(reference="truth", bright_sources=0, completeness=1.0)))
    assert verdict.status == "PASS"
    assert "no isolated source of the truth is bright enough to judge fluxes by" in verdict.line


@pytest.mark.parametrize(("flux", "text"), [
    (12.34, "12.3 Jy"), (1.0, "1 Jy"), (0.9999, "1 Jy"), (0.0456, "45.6 mJy"),
    (7.89e-6, "7.89 µJy"), (3e-9, "0.003 µJy"), (0.0, "0 Jy"), (-0.02, "-20 mJy")])
def test_jansky(flux, text):
    assert jansky(flux) == text


def test_the_image_of_observed_data_before_calibration_is_not_judged():
    poor = Quality(residual_rms_jy=1.0, residual_peak_jy=5.0, restored_peak_jy=5.0)
    fine = Quality(residual_rms_jy=1e-3, residual_peak_jy=5e-3, restored_peak_jy=5.0)
    facts = Facts(("image", "selfcal"), frozenset(("image", "selfcal")),
                  quality={"image": poor, "selfcal": fine}, uncalibrated_image=True)
    assert judge(facts).status == "PASS"
    assert judge(replace(facts, uncalibrated_image=False)).status == "FAIL"
