"""Model: telescope and sky to the visibilities of every partition, where they are to stay."""

from __future__ import annotations

from dataclasses import dataclass
from datetime import UTC, datetime

import numpy as np

from arl import beam, corruption, simulation, sky, telescope, visibility
from arl.errors import InputError
from ical.bands import band_count
from ical.cluster import Cluster
from ical.parameters import GainErrors, Observation, Parameters, UvRange
from ical.partitions import Partition, Plan, make_plan
from ical.stages.observed import Observed, image_size, no_baseline

LONGEST_INTEGRATION_S = 10.0
LONE_CHANNEL_WIDTH_HZ = 1e6
IDEAL = "VISIBILITY_IDEAL"


@dataclass(frozen=True)
class Setup(Observed):
    """What a simulated observation is, worked out from its parameters.

    Attributes
    ----------
    hour_angle: rad (time,).
    lmn, flux: components (n, 3) and their apparent flux in Jy (n, chan).
    shape: of the components, as in `arl.sky.Components`.
    sigma: noise of one component of a visibility, Jy; 0 is none.
    """

    layout: telescope.Layout
    hour_angle: np.ndarray
    lmn: np.ndarray
    flux: np.ndarray
    shape: np.ndarray
    sigma: float


def plan_run(parameters: Parameters, setup: Observed, hosts: list[str]) -> Plan:
    """The partitions of the run: a function of its parameters, shared among the hosts."""
    n_channel = setup.frequency.size
    visibilities = setup.time.size * setup.n_baseline * n_channel
    n_band = parameters.imaging.bands or max(
        band_count(setup.frequency, visibilities, setup.npixel),
        parameters.imaging.clean.spectral_terms or 1)
    return make_plan(setup.time.size, setup.n_baseline, n_channel, min(n_band, n_channel), hosts)


def set_up(parameters: Parameters) -> Setup:
    """Work out the observation.

    Raises
    ------
    InputError: too few stations, a field that never rises, or no component in it.
    """
    observation = parameters.observation
    if observation is None:
        raise InputError("A simulation needs the section observation.")
    layout = telescope.within(telescope.load_layout(observation.layout), observation.r_max)
    centre = (float(np.radians(observation.phase_centre.ra)),
              float(np.radians(observation.phase_centre.dec)))
    hour_angle = _visible_hour_angles(observation, layout, centre[1])
    frequency, width = _frequency_axis(observation)
    time, integration = _time_axis(observation, hour_angle)
    uvw = telescope.baseline_uvw(layout, centre[1], hour_angle)
    _used(parameters.selfcal.uv_range, uvw, "selfcal")
    npixel, inner, cell = image_size(
        parameters.imaging, _used(parameters.imaging.uv_range, uvw, "imaging"), frequency,
        observation.station_diameter)
    lmn, flux, shape = _apparent_sky(parameters, observation, centre, npixel, cell, frequency)
    return Setup(
        time, integration, frequency, width, centre, npixel, inner, cell, layout.names,
        uvw.shape[1], layout.itrf, (), "TOPO", observation.station_diameter, layout, hour_angle,
        lmn, flux, shape, _noise_sigma(parameters, width, integration))


def _used(used: UvRange, uvw: np.ndarray, section: str) -> np.ndarray:
    """Those of the baselines (time, baseline, 3) that are in a section's range, (sample, 3).

    Raises
    ------
    InputError: none is.
    """
    inside = telescope.in_uv_range(uvw, used.min_m, used.max_m)
    if not inside.any():
        raise no_baseline(used, "the observation", section)
    return uvw[inside]


def _visible_hour_angles(
    observation: Observation, layout: telescope.Layout, dec: float
) -> np.ndarray:
    axis = observation.time
    hour_angle = np.radians(
        np.linspace(axis.start_hour_angle, axis.end_hour_angle, axis.samples))
    up = telescope.elevation(layout, dec, hour_angle) > np.radians(observation.elevation_limit)
    if not up.any():
        raise InputError(
            f"The field at declination {np.degrees(dec):g} never rises above "
            f"{observation.elevation_limit:g} degrees in the hour angles asked for: change "
            f"observation.phase_centre, time or elevation_limit.")
    return hour_angle[up]


def _frequency_axis(observation: Observation) -> tuple[np.ndarray, float]:
    axis = observation.frequency
    frequency = np.linspace(axis.start, axis.end, axis.channels)
    spacing = frequency[1] - frequency[0] if axis.channels > 1 else LONE_CHANNEL_WIDTH_HZ
    return frequency, float(axis.channel_width or spacing)


def _time_axis(observation: Observation, hour_angle: np.ndarray) -> tuple[np.ndarray, float]:
    """Times around a transit at noon UTC of the given date."""
    noon = datetime.fromisoformat(f"{observation.time.date}T12:00:00").replace(tzinfo=UTC)
    time = noon.timestamp() + simulation.sidereal_seconds(hour_angle)
    spacing = float(np.diff(time).min()) if time.size > 1 else LONGEST_INTEGRATION_S
    return time, observation.time.integration or min(spacing, LONGEST_INTEGRATION_S)


def _apparent_sky(
    parameters: Parameters, observation: Observation, centre: tuple[float, float],
    npixel: int, cell: float, frequency: np.ndarray,
) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    choice = parameters.sky
    components = sky.load_catalogue(choice.catalogue)
    components = components.select(components.flux >= choice.flux_limit)
    components = sky.in_field(components, *centre, npixel, cell)
    if not len(components):
        raise InputError(
            f"No component of {choice.catalogue} above {choice.flux_limit:g} Jy lies in the field: "
            f"lower sky.flux_limit or move observation.phase_centre.")
    if choice.positions == "pixel":
        components = sky.snap_to_pixels(components, *centre, cell)
    lmn = sky.lmn_of(components, *centre)
    power = beam.beam_power(choice.primary_beam, lmn[:, 0], lmn[:, 1], frequency,
                            observation.station_diameter)
    return lmn, sky.spectrum(components, frequency) * power, components.shape


def _noise_sigma(parameters: Parameters, width: float, integration: float) -> float:
    noise = parameters.noise
    if noise.sefd is not None:
        return simulation.sigma_from_sefd(noise.sefd, width, integration)
    return noise.sigma or 0.0


def simulate_partition(
    parameters: Parameters, setup: Setup, partition: Partition, path: str
) -> int:
    """Task: make one partition's visibilities and write them; returns their bytes.

    VISIBILITY is what the array observes: gain errors, then noise. VISIBILITY_IDEAL has the same
    noise and no gain errors.
    """
    from arl.io.zarr import write_dataset

    first, second = telescope.baselines(len(setup.layout.names))
    rows, columns = slice(*partition.times), slice(*partition.channels)
    uvw = telescope.baseline_uvw(setup.layout, setup.phase_centre[1], setup.hour_angle[rows])
    ideal, observed = _visibilities(parameters, setup, partition, uvw)
    frame = visibility.Frame(
        setup.time[rows], setup.integration_time, setup.frequency[columns], setup.channel_width,
        uvw, first, second, setup.antenna_names, setup.phase_centre, "simulated",
        np.ones(uvw.shape[0], int), setup.frequency_frame, setup.layout.name)
    weight = np.full((*ideal.shape, 1), 1 / setup.sigma**2 if setup.sigma else 1.0, np.float32)
    dataset = visibility.make_visibility(
        frame, observed[..., None], weight, np.zeros(weight.shape, bool),
        others={IDEAL: ideal[..., None]})
    return write_dataset(dataset, path)


def _visibilities(
    parameters: Parameters, setup: Setup, partition: Partition, uvw: np.ndarray
) -> tuple[np.ndarray, np.ndarray]:
    """Ideal and observed visibilities, complex64, made time by time to save memory."""
    first, second = telescope.baselines(len(setup.layout.names))
    columns, channels = slice(*partition.channels), partition.channel_index
    gains = _gains(parameters, setup, partition.time_index, channels)
    ideal = np.empty((*uvw.shape[:2], channels.size), np.complex64)
    observed = np.empty_like(ideal)
    for k, time in enumerate(partition.time_index):
        one = slice(k, k + 1)
        vis = simulation.predict_components(
            uvw[one], setup.frequency[columns], setup.lmn, setup.flux[:, columns],
            setup.shape, _smearing(parameters, setup, slice(time, time + 1)))
        corrupted = simulation.corrupt(vis, gains[one], first, second)
        if setup.sigma:
            noise = simulation.thermal_noise(
                parameters.seed, np.array([time]), channels, first.size, setup.sigma)
            vis, corrupted = vis + noise, corrupted + noise
        ideal[k], observed[k] = vis[0], corrupted[0]
    return ideal, observed


def _smearing(
    parameters: Parameters, setup: Setup, times: slice
) -> simulation.Smearing | None:
    """How far baselines move within an integration, where the run asks for smearing."""
    if parameters.observation is None or not parameters.observation.smearing:
        return None
    half = np.pi / 86400 * simulation.SIDEREAL_RATE * setup.integration_time
    before, after = (
        telescope.baseline_uvw(setup.layout, setup.phase_centre[1], setup.hour_angle[times] + d)
        for d in (-half, half))
    return simulation.Smearing(after - before, setup.channel_width)


def injected_gains(parameters: Parameters, setup: Setup) -> np.ndarray:
    """The injected gains of the whole observation, (time, ant, chan); 1 without errors."""
    times, channels = np.arange(setup.time.size), np.arange(setup.frequency.size)
    return _gains(parameters, setup, times, channels)


def _gains(
    parameters: Parameters, setup: Setup, times: np.ndarray, channels: np.ndarray
) -> np.ndarray:
    errors, n = parameters.gains or GainErrors(), len(setup.layout.names)
    gains = simulation.random_gains(parameters.seed, times, channels, n, errors.phase_error,
                                    errors.amplitude_error)
    seconds = setup.time[times] - setup.time[0]
    if errors.screen_phase:
        gains = gains * np.exp(1j * corruption.phase_screen(
            parameters.seed, setup.layout.enu[:, :2], seconds, setup.frequency[channels],
            rms=errors.screen_phase, reference_frequency=float(setup.frequency[0]),
            scale=errors.screen_scale, speed=errors.screen_speed))
    if errors.drift_phase or errors.drift_amplitude:
        phase, amplitude = corruption.drifts(parameters.seed, n, seconds, errors.drift_time)
        gains = gains * ((1 + errors.drift_amplitude * amplitude)
                         * np.exp(1j * errors.drift_phase * phase))[..., None]
    if errors.bandpass_phase or errors.bandpass_amplitude:
        gains = gains * corruption.bandpasses(parameters.seed, channels, n, errors.bandpass_phase,
                                              errors.bandpass_amplitude)
    return gains


def simulate(
    cluster: Cluster, parameters: Parameters, setup: Setup, plan: Plan, paths: dict[str, str]
) -> dict[str, int]:
    """Make all partitions on the hosts that own them; returns the bytes of each."""
    made = {p.name: cluster.submit(p.host, simulate_partition, parameters, setup, p, paths[p.name])
            for p in plan.partitions}
    sizes: dict[str, int] = cluster.client.gather(made)
    return sizes
