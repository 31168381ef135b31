"""Every transition of the loop's rules, from measures made up for it."""

from dataclasses import replace

import pytest

from ical.convergence import (
    Measures,
    deterioration,
    improvement,
    judge,
    judge_first_terms,
    judge_terms,
)

OLD = Measures(rms=0.010, peak=5.0, minimum=-0.050, beam_area=1e-5, flagged=0.0)


def ask(new, *, settled=True, noise=None):
    return judge(new, OLD, settled=settled, noise=noise).decision


@pytest.mark.parametrize(("change", "decision"), [
    ({"rms": 0.0098}, "accept"),                        # peak/rms up by 2 %
    ({"rms": 0.00991}, "converged"),                    # by 0.9 %: nothing
    ({"rms": 0.01009}, "converged"),                    # down by 0.9 %: nothing either
    ({"minimum": -0.0490}, "accept"),                   # peak/|min| up by 2 %
    ({"rms": 0.01005, "minimum": -0.0490}, "accept"),   # one of the two is enough
    ({"rms": 0.0102}, "revert"),                        # peak/rms down by 2 %
    ({"rms": 0.0111, "peak": 6.0}, "revert"),           # the rms up by 11 %, though the peak grew
    ({"rms": 0.0109, "peak": 6.0}, "accept"),           # by 9 %, and the signal grew more
    ({"rms": 0.0050, "beam_area": 1.06e-5}, "revert"),
    ({"rms": 0.0050, "beam_area": 1.04e-5}, "accept"),
    ({"rms": 0.0098, "peak": 4.8}, "revert"),           # less noise, but less signal still
])
def test_a_settled_cycle(change, decision):
    assert ask(replace(OLD, **change)) == decision


def test_the_loop_goes_on_until_every_term_has_been_tried():
    assert ask(OLD, settled=False) == "accept"
    assert ask(OLD) == "converged"
    assert ask(replace(OLD, rms=0.02), settled=False) == "revert"


def test_the_expected_noise_ends_the_loop_though_the_image_still_improves():
    better = replace(OLD, rms=0.005)
    assert ask(better) == ask(better, noise=0.004) == "accept"
    assert ask(better, noise=0.0048) == "converged"
    assert ask(better, noise=0.0048, settled=False) == "accept"


def test_a_perfect_residual_converges_without_dividing_by_zero():
    perfect = replace(OLD, rms=0.0, minimum=0.0)
    assert ask(perfect) == "accept"
    assert judge(perfect, perfect, settled=True, noise=None).decision == "converged"
    assert improvement(perfect, perfect) == 0.0


def test_a_term_is_kept_only_when_it_helps():
    assert judge_terms(replace(OLD, rms=0.0098), OLD, "G") is None
    assert judge_terms(replace(OLD, rms=0.0099), OLD, "G") == "G changes peak/rms by +1.01%"
    # one pixel, which the noise moves: no reason to keep a term
    assert "changes" in judge_terms(replace(OLD, minimum=-0.045), OLD, "G")
    assert "with G the signal-to-noise fell by 2" in judge_terms(
        replace(OLD, rms=0.0103), OLD, "G")


def test_the_first_terms_are_judged_by_the_peak_alone():
    coherent = replace(OLD, peak=12.0, rms=0.05)  # what phases had smeared is now in the residual
    assert judge_first_terms(coherent, OLD, "T") is None
    assert judge_first_terms(replace(OLD, peak=4.6), OLD, "T") is None
    assert "peak fell by 12" in judge_first_terms(replace(OLD, peak=4.4), OLD, "T")


def test_first_terms_that_move_the_flux_scale_are_judged_by_peak_over_rms():
    fainter = replace(OLD, peak=OLD.peak / 1e4, rms=OLD.rms / 1e4)
    assert "the peak fell by 100" in judge_first_terms(fainter, OLD, "TG")
    assert judge_first_terms(fainter, OLD, "TG", rescaled=True) is None
    assert judge_first_terms(OLD, fainter, "TG", rescaled=True) is None
    noise = replace(OLD, peak=2 * OLD.peak, rms=2.3 * OLD.rms)
    assert judge_first_terms(noise, OLD, "TG", rescaled=True) == (
        "with TG peak/rms fell by 13.0%")


def test_the_reasons_say_what_was_measured():
    assert deterioration(replace(OLD, rms=0.012), OLD) == "the rms rose by 20.0%"
    assert "grew by 6.0%" in deterioration(replace(OLD, beam_area=1.06e-5), OLD)
    assert deterioration(OLD, OLD) is None
    assert "peak/rms 1000" in judge(
        replace(OLD, rms=0.005), OLD, settled=True, noise=None).reason
