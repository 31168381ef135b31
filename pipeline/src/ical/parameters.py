"""The parameters of a run: what a run file may say, with units and defaults.

A run file is YAML in the form below, or the JSON of 2018 (see `ical.legacy`). `load` reads either,
by path or by the name of a run that ships with the project, and reports all that is wrong with it
at once. Angles are degrees where a field says so; everything else is SI, and fluxes are Jy.
"""

from __future__ import annotations

from pathlib import Path
from typing import Annotated, Any, Literal

from pydantic import BaseModel, BeforeValidator, ConfigDict, Field

Pixels = Annotated[int, Field(ge=0)]
#: How deep is cleaned where nothing is asked for, in units of the noise.
DEFAULT_SIGMA = 3.0


class Section(BaseModel):
    """Base of every section: immutable, strict about types, and closed to unknown keys."""

    model_config = ConfigDict(frozen=True, extra="forbid", strict=True, allow_inf_nan=False)


class PhaseCentre(Section):
    """Direction at which the array points and about which images are made."""

    ra: float = Field(ge=-180, le=360, description="right ascension, ICRS, degrees")
    dec: float = Field(ge=-90, le=90, description="declination, ICRS, degrees")


class FrequencyAxis(Section):
    """Evenly spaced channels from `start` to `end`, both included."""

    start: float = Field(gt=0, description="centre of the first channel, Hz")
    end: float = Field(gt=0, description="centre of the last channel, Hz")
    channels: int = Field(ge=1, description="number of channels")
    channel_width: float | None = Field(
        None, gt=0,
        description="bandwidth of a channel, Hz; null: the spacing, or 1 MHz for a single channel",
    )


class TimeAxis(Section):
    """Samples evenly spaced in hour angle from `start_hour_angle` to `end_hour_angle`."""

    start_hour_angle: float = Field(
        ge=-180, le=180, description="hour angle of the first sample, degrees")
    end_hour_angle: float = Field(
        ge=-180, le=180, description="hour angle of the last sample, degrees")
    samples: int = Field(ge=1, description="number of times")
    integration: float | None = Field(
        None, gt=0,
        description="integration time of a sample, s; null: the spacing, at most 10 s")
    date: str = Field(
        "2018-01-01", pattern=r"^\d{4}-\d{2}-\d{2}$",
        description="UTC date of the transit, yyyy-mm-dd")


class Observation(Section):
    """The simulated observation; absent when a Measurement Set is given."""

    layout: str = Field(
        "LOWBD2", min_length=1,
        description="array layout: a shipped name, or the path of a CSV file")
    r_max: float | None = Field(
        None, gt=0,
        description="keep stations within this distance (3-D) of the mean position, m; null: all")
    phase_centre: PhaseCentre = Field(description="pointing: {ra, dec} in degrees")
    frequency: FrequencyAxis = Field(description="channels: {start, end, channels}, Hz")
    time: TimeAxis = Field(
        description="times: {start_hour_angle, end_hour_angle, samples}, degrees")
    elevation_limit: float = Field(
        0.0, ge=0, lt=90, description="no data below this elevation, degrees")
    smearing: bool = Field(
        False, description="visibilities are means over integration time and channel width, which "
        "smears sources far from the centre (true), or values in the middle (false)")
    station_diameter: float = Field(
        35.0, gt=0,
        description="aperture of a station, m: sets the Airy beam and field of view")


class Sky(Section):
    """What the simulation puts on the sky."""

    catalogue: str = Field(
        "gleam", min_length=1,
        description="gleam, or the path of a FITS, VOTable or CSV catalogue")
    flux_limit: float = Field(
        1.0, ge=0, description="use components of at least this flux, Jy at the "
        "reference frequency of the catalogue (200 MHz unless a CSV names another)")
    primary_beam: str = Field(
        "airy", min_length=1, description="airy, none, or the path of a beam file")
    positions: Literal["exact", "pixel"] = Field(
        "exact", description="components where the catalogue has them (exact) or moved to the "
        "nearest pixel centre (pixel)")


class Noise(Section):
    """Thermal noise added to the simulated visibilities; at most one of the two is given."""

    sefd: float | None = Field(
        None, gt=0, description="system equivalent flux density of a station, Jy; null: no noise")
    sigma: float | None = Field(
        None, gt=0,
        description="noise of the real and of the imaginary part of a visibility, Jy; null: none")


class GainErrors(Section):
    """Errors of the station gains; those of several kinds multiply."""

    phase_error: float = Field(
        0.0, ge=0, description="standard deviation of the phase, rad, independent for each "
        "station, time and channel")
    amplitude_error: float = Field(
        0.0, ge=0, lt=1, description="the same of the amplitude, as a fraction")
    screen_phase: float = Field(
        0.0, ge=0, description="phase of a turbulent screen above the array, rad (rms) at the "
        "first channel; it goes as one over the frequency")
    screen_scale: float = Field(
        20e3, gt=0, description="longest wave of the screen, m; stations that are nearer to one "
        "another see nearly the same phase")
    screen_speed: float = Field(
        100.0, ge=0, description="speed at which the screen moves east, m/s")
    drift_phase: float = Field(
        0.0, ge=0, description="phase that drifts, rad (rms), alike in all channels")
    drift_amplitude: float = Field(
        0.0, ge=0, lt=1, description="amplitude that drifts, as a fraction (rms)")
    drift_time: float = Field(
        3600.0, gt=0, description="time over which drifts stay alike (to 61 %), s")
    bandpass_phase: float = Field(
        0.0, ge=0, description="phase of each channel, rad (rms), alike at all times")
    bandpass_amplitude: float = Field(
        0.0, ge=0, lt=1, description="amplitude of each channel, as a fraction (rms)")


def _name_of_number(value: Any) -> Any:
    """A field's number as the text that may also be its name."""
    return str(value) if isinstance(value, int) and not isinstance(value, bool) else value


class Input(Section):
    """Real data instead of a simulation."""

    measurement_set: str | None = Field(
        None, min_length=1, description="path of a Measurement Set; null: simulate `observation`")
    column: str = Field(
        "DATA", min_length=1, description="data column to image and to calibrate, such as DATA or "
        "CORRECTED_DATA")
    field: Annotated[str | None, BeforeValidator(_name_of_number)] = Field(
        None, min_length=1, description="field to use, by its name or number; null: the only one")
    spectral_window: int | None = Field(
        None, ge=0, description="spectral window to use, by its number; null: the only one")
    station_diameter: float | None = Field(
        None, gt=0, description="aperture of a station, m: sets the airy beam, and the field of "
        "view where imaging.npixel is null; null: as the Measurement Set says (for the beam all "
        "antennas must agree)")


class UvRange(Section):
    """Baselines that are used, by projected length."""

    min_m: float | None = Field(None, ge=0, description="shortest baseline, m; null: no limit")
    max_m: float | None = Field(None, gt=0, description="longest baseline, m; null: no limit")


class MinorLoop(Section):
    """How the residual image is deconvolved."""

    algorithm: Literal["multiscale", "generic"] = Field(
        "multiscale", description="multiscale, or generic (points only, cheaper: no scales)")
    scales: Annotated[tuple[Pixels, ...], Field(strict=False, min_length=1)] | None = Field(
        (0, 3, 10), description="scale sizes, pixels; 0 is a point; null: points, and sizes from "
        "about four beams upwards, each twice the one before")
    spectral_terms: int | None = Field(
        None, ge=1,
        description="terms of the polynomial in frequency that ties the bands together; "
        "null: 3, or as many as there are bands")
    minor_iterations: int = Field(
        10000, ge=1, description="most components found between two residual images")
    gain: float = Field(
        0.25, gt=0, le=1, description="fraction of a peak that one component takes")
    major_gain: float = Field(
        0.85, gt=0, le=1,
        description="fraction of the highest peak that may be cleaned before a new residual image")
    threshold: float | None = Field(
        None, gt=0,
        description="never clean below this residual peak, Jy/beam; null: auto_threshold decides")
    auto_threshold: float | None = Field(
        None, gt=0,
        description="stop at this many times the robust noise of the residual; where threshold is "
        "given too, the higher of the two holds; null: 3, and none where threshold is given")
    auto_mask: float | None = Field(
        5.0, gt=0,
        description="find components only above this many times the noise first, then go down to "
        "auto_threshold where some were found; null: no mask")
    mask_threshold: float | None = Field(
        None, gt=0,
        description="the same level as Jy/beam in the band where the residual is strongest; with "
        "auto_mask the higher of the two holds; null: none")

    @property
    def threshold_sigma(self) -> float | None:
        """Times the noise at which cleaning stops; None: `threshold` alone says."""
        if self.auto_threshold is None and self.threshold is None:
            return DEFAULT_SIGMA
        return self.auto_threshold


class Clean(MinorLoop):
    """Deconvolution with residual images computed again from the visibilities."""

    major_cycles: int = Field(5, ge=1, description="most residual images")


class Imaging(Section):
    """How visibilities become images; also the grid on which self-calibration works."""

    npixel: int | None = Field(
        None, ge=32, multiple_of=2, description="pixels on a side, even; null: guard_band decides")
    cell_rad: float | None = Field(
        None, gt=0, description="size of a pixel, rad; null: a third of the finest fringe")
    clean_border: float = Field(
        0.0, ge=0, le=2,
        description="width of a border around the images, as a fraction of theirs, in which "
        "sources are found and subtracted too, so that their sidelobes do not reach the images; "
        "it is not written")
    guard_band: float = Field(
        8.0, gt=0,
        description="field of view in units of longest wavelength / station diameter, where npixel "
        "is null")
    size_rounding: Literal["fft", "power_of_two"] = Field(
        "fft", description="an advised npixel is rounded up to a fast transform length (fft) or to "
        "a power of two")
    bands: int | None = Field(
        None, ge=1,
        description="sub-bands imaged apart and cleaned jointly; null: each at most "
        "1 % of its frequency wide, and at most 8 unless the data cost more than their images")
    weighting: Literal["natural", "uniform", "briggs"] = Field(
        "natural", description="weighting of the visibilities: natural, uniform or briggs; the "
        "uv-density is that of the data before calibration, also where they are corrected")
    robust: float = Field(
        0.0, ge=-2, le=2, description="robustness of briggs weighting: -2 near uniform, 2 natural")
    joint_density: bool = Field(
        False, description="uniform and briggs weights from the uv-density of all bands together "
        "(true) or of each band (false)")
    taper_rad: float | None = Field(
        None, gt=0,
        description="width (FWHM) on the sky, rad, of a Gaussian taper of the weights: the beam is "
        "the one without it convolved with that Gaussian; null: none")
    mask: str | None = Field(
        None, min_length=1,
        description="path of a FITS image: components are put only where it is not 0; null: "
        "anywhere")
    start_model: str | None = Field(
        None, min_length=1,
        description="path of a FITS image (Jy/pixel, on the grid of the images), or of a CSV of "
        "components, which are put on pixels: deconvolution begins with it and adds to it, in "
        "imaging and in self-calibration; null: a blank sky")
    primary_beam: str | None = Field(
        None, min_length=1,
        description="beam for which restored images are corrected: airy, none, or the path of a "
        "beam file; null: that of the simulation, none for a Measurement Set")
    epsilon: float = Field(
        1e-4, ge=1e-5, le=1e-2, description="relative accuracy of gridding and degridding; "
        "residual images, a small part of the data, are made to ten times it")
    uv_range: UvRange = Field(UvRange(), description="baselines that are imaged: {min_m, max_m}, m")
    clean: Clean = Field(Clean(), description="deconvolution")


class FirstCycle(Section):
    """The cycle, counted from 1, at which the loop begins to solve each term."""

    T: int = Field(1, ge=1, description="first cycle of T (phase, fast)")
    G: int = Field(3, ge=1, description="first cycle of G (amplitude and phase, slow)")
    B: int = Field(4, ge=1, description="first cycle of B (per channel)")


class SolutionInterval(Section):
    """How long one solution of each term holds."""

    T: float | None = Field(
        None, gt=0, description="solution interval of T, s; null: as few times as a predicted "
        "signal-to-noise of 5 takes, a single one without noise; over a gap between scans only "
        "where one of them is shorter")
    G: float | None = Field(
        None, gt=0, description="solution interval of G, s; null: ten times that of T, or what a "
        "predicted signal-to-noise of 30 takes, over gaps as T")
    B: float | None = Field(
        None, gt=0, description="solution interval of B, s; null: the whole observation")


class SolutionBandwidth(Section):
    """How many Hz one solution of each term holds for."""

    T: float | None = Field(
        None, gt=0, description="bandwidth of a solution of T, Hz; null: one channel, or as many "
        "as a predicted signal-to-noise of 5 takes where all times together do not suffice")
    G: float | None = Field(
        None, gt=0, description="bandwidth of a solution of G, Hz; null: as T, for a predicted "
        "signal-to-noise of 30")
    B: float | None = Field(
        None, gt=0, description="bandwidth of a solution of B, Hz; null: one channel")


class StartGains(Section):
    """Gains that a term has before it is solved for the first time."""

    T: str | None = Field(
        None, min_length=1, description="path of T's gains: an h5parm, or a folder gains_T.zarr "
        "of an earlier run; null: none")
    G: str | None = Field(None, min_length=1, description="path of G's gains; null: none")
    B: str | None = Field(None, min_length=1, description="path of B's gains; null: none")


class Interpolation(Section):
    """The gains of samples off the centre of their solution interval."""

    T: Literal["nearest", "linear"] = Field(
        "nearest", description="T: constant within an interval (nearest), or between the centres "
        "of neighbouring ones in time and frequency (linear in amplitude and phase)")
    G: Literal["nearest", "linear"] = Field("nearest", description="G: nearest or linear")
    B: Literal["nearest", "linear"] = Field("nearest", description="B: nearest or linear")


class Jones(Section):
    """What one solution of each term is: a gain for both receptors, one each, or a matrix."""

    T: Literal["scalar", "diagonal"] = Field(
        "scalar", description="T: scalar (both receptors alike) or diagonal (one each)")
    G: Literal["scalar", "diagonal", "full"] = Field(
        "scalar", description="G: scalar, diagonal, or full (a Jones matrix); all but scalar need "
        "a Measurement Set with the correlations of both receptors")
    B: Literal["scalar", "diagonal", "full"] = Field(
        "scalar", description="B: scalar, diagonal or full")


class SmoothingWidth(Section):
    """Standard deviation of a Gaussian that averages solutions and fills flagged ones."""

    T: float | None = Field(None, gt=0, description="of T; null: none")
    G: float | None = Field(None, gt=0, description="of G; null: none")
    B: float | None = Field(None, gt=0, description="of B; null: none")


class Selfcal(Section):
    """The loop that calibrates the data on the image made from them."""

    enabled: bool = Field(True, description="false: `ical run` leaves the selfcal stage out")
    terms: str = Field(
        "TG", pattern=r"^[TGB]+$",
        description="gain terms in the order in which they are solved, of T (phase), "
        "G (amplitude and phase) and B (bandpass)")
    first_cycle: FirstCycle = Field(
        FirstCycle(), description="first cycle of each of the terms; those of others are not used")
    solution_interval: SolutionInterval = Field(
        SolutionInterval(), description="solution interval of each of the terms, s; those of "
        "others are not used")
    solution_bandwidth: SolutionBandwidth = Field(
        SolutionBandwidth(), description="bandwidth of a solution of each term, Hz")
    jones: Jones = Field(
        Jones(), description="kind of each term: scalar, diagonal or full")
    start_gains: StartGains = Field(
        StartGains(), description="gain tables that the data are corrected by before the first "
        "cycle, and from which the solver of a term starts")
    fixed_terms: str = Field(
        "", pattern=r"^[TGB]*$",
        description="which of T, G and B are applied as start_gains has them and never solved; the "
        "others are solved on data corrected by them, wherever in terms they stand")
    robust_terms: str = Field(
        "", pattern=r"^[TGB]*$",
        description="which of T, G and B are solved with robust weights (Student's t), so that "
        "interference and what the model lacks move their gains less")
    smoothing_time: SmoothingWidth = Field(
        SmoothingWidth(), description="smoothing of solutions in time by term, standard deviation "
        "of a Gaussian, s; flagged ones are interpolated")
    smoothing_frequency: SmoothingWidth = Field(
        SmoothingWidth(), description="smoothing of solutions in frequency by term, standard "
        "deviation of a Gaussian, Hz; flagged ones are interpolated")
    interpolation: Interpolation = Field(
        Interpolation(), description="how the solutions of each term are applied between the "
        "centres of their intervals")
    reference_antenna: str | None = Field(
        None, min_length=1, description="name of the antenna whose phases are zero (where it is "
        "flagged the others go on continuously); null: the first with at least half as many "
        "solutions as any other")
    global_solution: bool = Field(
        False, description="one T and G solution over all channels (true) or one per channel")
    cycles: int = Field(5, ge=1, description="most cycles")
    expected_rms: float | None = Field(
        None, gt=0, description="rms of an image of noise alone, Jy/beam, at which the loop ends; "
        "null: that of the simulated noise, of a Measurement Set none")
    uv_range: UvRange = Field(
        UvRange(), description="baselines that gains are solved from: {min_m, max_m}, m")
    min_snr: float = Field(
        3.0, ge=0, description="flag gain solutions of a signal-to-noise below this, and in any "
        "case those without data; without a start model the first ones below 1, unless the loop "
        "comes back to them")
    outlier_mad: float | None = Field(
        None, gt=0, description="flag gain amplitudes farther from their antenna's median than "
        "this many times 1.4826 median absolute deviations; null: none. The median is of what is "
        "solved at once, a partition unless the term is smoothed or its intervals span several: "
        "where that is one or two intervals, nothing is flagged")
    clean: MinorLoop | None = Field(
        None, description="what deconvolution does differently here; the rest as in imaging.clean")
    start_model: str | None = Field(
        None, min_length=1,
        description="path of a CSV of components, or of a FITS image (Jy/pixel, on the grid of "
        "the images), to calibrate on in the first cycle alone; null: the model of the images")
    flux_scale: Literal["data", "model"] = Field(
        "data", description="amplitude gains leave the flux scale as it is in the data (data), or "
        "bring it to that of start_model (model), however far off the data are")

    @property
    def in_order(self) -> str:
        """The terms as they are applied: the fixed ones first, or what is solved before one of them
        would take part of it, and the data were corrected by that twice."""
        return "".join(sorted(self.terms, key=lambda term: term not in self.fixed_terms))


class Quality(Section):
    """What the images of a Measurement Set are compared with."""

    catalogue: str | None = Field(
        None, min_length=1,
        description="gleam, or the path of a FITS, VOTable or CSV catalogue: sources that are "
        "found and fitted in the restored images are compared with its; null: with nothing")


class Resources(Section):
    """The cluster that is started on this machine when no scheduler's address is given."""

    workers: int = Field(2, ge=1, description="number of worker processes")
    threads: int = Field(1, ge=1, description="library threads of each worker")
    memory_limit: str | None = Field(
        None, pattern=r"^\d+(\.\d+)? ?([kMGT]i?)?B$",
        description="memory of a worker, e.g. 4 GB; null: an equal share of the machine's")


class Superseded(Section):
    """A parameter of a 2018 run file that acts no longer, and why."""

    key: str = Field(description="the parameter's path in the file")
    reason: str = Field(description="why it acts no longer")


class Parameters(Section):
    """All parameters of a run."""

    name: str = Field(
        "run", pattern=r"^[A-Za-z0-9][A-Za-z0-9._-]{0,63}$",
        description="names the run's folder: letters, digits, dot, dash and underscore")
    seed: int = Field(
        1, ge=0, lt=2**63, description="seed of everything random: gain errors and noise")
    observation: Observation | None = Field(
        None, description="the simulated observation; absent when a Measurement Set is given")
    sky: Sky = Field(Sky(), description="the simulated sky")
    noise: Noise = Field(Noise(), description="thermal noise of the simulation")
    gains: GainErrors | None = Field(
        None, description="gain errors of the simulation; null: none")
    input: Input = Field(Input(), description="real data instead of a simulation")
    imaging: Imaging = Field(Imaging(), description="imaging")
    selfcal: Selfcal = Field(Selfcal(), description="self-calibration")
    quality: Quality = Field(Quality(), description="comparison with a catalogue")
    resources: Resources = Field(Resources(), description="local cluster")
    superseded: Annotated[tuple[Superseded, ...], Field(strict=False)] = Field(
        (), description="written by ical: parameters of a 2018 file that act no longer")

    @property
    def receptors(self) -> bool:
        """Whether a term is solved for each receptor, so that their correlations are kept."""
        kinds = self.selfcal.jones
        return self.selfcal.enabled and any(
            getattr(kinds, t) != "scalar" for t in self.selfcal.terms)

    @property
    def simulated(self) -> bool:
        """Whether the data are simulated, not read from a Measurement Set."""
        return self.observation is not None

    @property
    def starts_from_model(self) -> bool:
        """Whether the first cycle calibrates on a model of the user's, not on one of the data."""
        return bool(self.selfcal.start_model or self.imaging.start_model)

    @property
    def image_beam(self) -> str:
        """Kind of the primary beam that images are corrected for."""
        own = self.sky.primary_beam if self.simulated else "none"
        return self.imaging.primary_beam or own

    @property
    def selfcal_clean(self) -> MinorLoop:
        """Deconvolution within the loop: imaging.clean with what selfcal.clean says."""
        own = self.selfcal.clean
        if own is None:
            return self.imaging.clean
        return self.imaging.clean.model_copy(
            update={name: getattr(own, name) for name in own.model_fields_set})

    def to_dict(self) -> dict[str, Any]:
        """The resolved parameters, JSON-ready; `Parameters.model_validate` is the inverse.

        What does nothing (a simulated sky beside a Measurement Set, scales of points) is left out,
        so that the outcome is itself a run file.
        """
        data = self.model_dump(mode="json")
        loop = self.selfcal_clean.model_dump(mode="json")
        loop.pop("major_cycles", None)
        data["selfcal"]["clean"] = loop
        for clean in (data["imaging"]["clean"], loop):
            if clean["algorithm"] == "generic":
                del clean["scales"]
        idle = ("input", "quality") if self.simulated else ("observation", "sky", "noise", "gains")
        return {key: value for key, value in data.items() if key not in idle}


def load(name_or_path: str | Path) -> Parameters:
    """Read a run file (YAML or the 2018 JSON) by path, or a shipped run by name.

    Relative paths in a file are taken from the file's folder.

    Raises
    ------
    InputError: no such file, or everything that is wrong with what it says, a sentence each.
    """
    from ical.runfile import read

    return read(name_or_path)
