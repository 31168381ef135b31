"""The forecast: sizes counted independently, and cost that follows them."""

from __future__ import annotations

import dataclasses

import numpy as np
import pytest
from written_ms import write_ms

from arl.conventions import C
from arl.cost import w_planes
from arl.errors import InputError
from arl.telescope import baseline_uvw, load_layout, within
from benchmarks.large import large
from ical.forecast import Sizes, disk_bytes, forecast, sizes_of, visibility_bytes
from ical.memory import driver_memory, worker_memory
from ical.parameters import Imaging, Input, Parameters, Resources, load
from ical.stages import ingest
from ical.stages.model import set_up

SIZES = Sizes(times=10, stations=5, baselines=10, channels=4, bands=2, partitions=2,
              partition_visibilities=200, npixel=64, planes=3, components=7, scales=3,
              major_cycles=4, cycles=3, selfcal=True, terms=2, solutions=20)


def grown(**changes) -> Sizes:
    return dataclasses.replace(SIZES, **changes)


def test_reference_has_the_sizes_that_the_design_states():
    sizes = sizes_of(load("reference"))
    assert (sizes.stations, sizes.baselines, sizes.visibilities) == (94, 4371, 336_567)
    assert (sizes.bands, sizes.npixel) == (7, 512)


def test_compat_is_imaged_as_in_2018():
    assert sizes_of(load("compat-2018")).npixel == 512


def test_disk_by_hand():
    vis = 10 * 10 * 4 * ((8 + 4 + 1) + 8 + (8 + 4 + 1))  # data, weight, flag; ideal; as corrected
    uvw = 10 * 10 * 2 * 24
    # stages, bands and the combined one, six images; and three of a stage; float32
    images = 2 * (3 * 6 + 3) * 64 * 64 * 4
    gains = 10 * 5 * 4 * 2 * (16 + 2 + 8 + 4 + 8 + 4)  # and flags; amplitude, phase, their weights
    assert disk_bytes(SIZES) == vis + uvw + images + gains


def test_disk_without_loop_or_simulation_has_fewer_columns():
    assert disk_bytes(SIZES) - disk_bytes(grown(components=0)) == 400 * 8
    alone = grown(selfcal=False)
    assert visibility_bytes(SIZES) - visibility_bytes(alone) == 400 * (8 + 4 + 1)
    assert disk_bytes(alone) < disk_bytes(SIZES)


def test_gains_of_two_receptors_are_matrices():
    """16 bytes and 64, of each term; a simulation's are besides compared with the truth."""
    read = grown(components=0, stations=50, receptors=False)
    both = dataclasses.replace(read, receptors=True)
    numbers = 10 * 50 * 4
    assert disk_bytes(both) - disk_bytes(read) == 3 * numbers * 2 * 42
    # solutions with their signal-to-noise; all gains, and once more on their way
    each = 2 * (16 + 8) + 2 * 2 * 16
    assert driver_memory(both) - driver_memory(read) == 3 * numbers * each
    alone, none = (dataclasses.replace(read, terms=n, selfcal=n > 0) for n in (1, 0))
    # of a single term the most is as its table is written
    assert driver_memory(alone) - driver_memory(none) == numbers * (24 + 3 * 16 + 1)
    assert driver_memory(grown(stations=50)) - driver_memory(read) == numbers * (122 - 2 * 2 * 16)


def test_memory_grows_with_images_and_partitions():
    base = worker_memory(SIZES)
    assert worker_memory(grown(npixel=2048)) > base + 2 * 2048**2 * 4 * 3
    assert worker_memory(grown(partition_visibilities=2_000_000)) > base + 7e7


@pytest.mark.parametrize(("joint", "held"), [(False, 2), (True, 1)])
def test_uniform_weights_hold_a_grid_of_every_band_or_one_of_all(joint, held):
    """float64; of the images without their border."""
    data = large(1e7).to_dict()
    data["imaging"] |= {"bands": 2, "clean_border": 0.25}
    natural = sizes_of(Parameters.model_validate(data))
    data["imaging"] |= {"weighting": "briggs", "joint_density": joint}
    briggs = sizes_of(Parameters.model_validate(data))
    assert natural.npixel > 1.4 * 1024
    assert natural.partitions > natural.bands
    assert worker_memory(briggs) - worker_memory(natural) == held * 1024**2 * 8
    assert driver_memory(briggs) == driver_memory(natural)


def test_grids_that_wait_to_be_added_are_counted_where_no_images_wait():
    """Joint over two bands of a partition each: those two, the sum so far and the next."""
    one_a_band = grown(grids=2, grid_npixel=2048, npixel=2048)
    joint = dataclasses.replace(one_a_band, grids=1)
    assert worker_memory(one_a_band) - worker_memory(grown(npixel=2048)) == 2 * 2048**2 * 8
    assert worker_memory(joint) - worker_memory(grown(npixel=2048)) == (1 + 2 + 1) * 2048**2 * 8


def test_reading_a_measurement_set_takes_more_than_simulating():
    large = grown(partition_visibilities=2_000_000)
    read = worker_memory(dataclasses.replace(large, components=0))
    assert read - worker_memory(large) > 50 * 2_000_000


def test_matrices_follow_the_solution_intervals():
    """A station pair of a solution: complex128 and float64, once more where terms follow."""
    stations, fewer = grown(stations=100), grown(stations=100, solutions=10)
    assert worker_memory(stations) - worker_memory(fewer) == 10 * 100**2 * 24 * 2
    one = worker_memory(dataclasses.replace(stations, terms=1))
    assert worker_memory(stations) - one == 20 * 100**2 * 24
    assert worker_memory(dataclasses.replace(stations, selfcal=False)) < one


def test_solutions_are_counted_from_the_intervals_asked_for(tmp_path):
    """tiny: 5 times, an hour apart, 3 channels in as many bands; by default one each sample."""
    assert sizes_of(load("tiny")).solutions == 5
    data = load("tiny").to_dict()
    data["selfcal"]["solution_interval"] = {"T": 7300.0, "G": 1e6, "B": None}
    assert sizes_of(Parameters.model_validate(data)).solutions == 4


def many_blocks(**selfcal) -> Sizes:
    """reference-noise with 239 times, ten minutes apart or less, of 96 channels: 52 partitions."""
    data = large(1e8).to_dict()
    data["selfcal"] |= selfcal
    return sizes_of(Parameters.model_validate(data))


def test_what_spans_partitions_is_counted_over_all_of_them():
    """Intervals that are chosen end where partitions do; one of B is all times."""
    none, b = many_blocks(), many_blocks(terms="TGB")
    assert (none.partitions, none.spanning, b.spanning) == (52, 0, 96)
    step = large(1e8).observation.time
    span = (step.end_hour_angle - step.start_hour_angle) * 240 * 0.99726957
    asked = many_blocks(solution_interval={"T": None, "G": span / 10, "B": None})
    assert 11 * 96 <= asked.spanning <= 12 * 96
    smoothed = many_blocks(smoothing_time={"T": 60.0, "G": None, "B": None})
    assert smoothed.spanning == 239 * 96
    fixed = many_blocks(terms="TGB", fixed_terms="B")
    assert fixed.spanning == 0


def test_matrices_that_span_partitions_take_memory_in_workers_and_driver():
    few = grown(stations=100)
    many = dataclasses.replace(few, spanning=300)
    each = 300 * 100**2 * 24
    assert worker_memory(many) - worker_memory(few) == each * 2
    assert driver_memory(many) - driver_memory(few) == each * 3


def test_streamed_data_do_not_fill_memory():
    """Ten times the observation in partitions of the same size takes the same memory."""
    one = grown(times=20_000, baselines=1000, partition_visibilities=2_000_000, partitions=40)
    ten = dataclasses.replace(one, times=200_000, partitions=400)
    assert worker_memory(ten) == worker_memory(one)


def test_totals_are_the_sums_of_their_parts():
    found = forecast(SIZES, Resources(workers=3))
    assert found.memory_total == 3 * found.memory_per_worker + found.memory_driver
    assert found.tasks == sum(s.tasks for s in found.stages.values())
    assert found.seconds == pytest.approx(sum(s.seconds for s in found.stages.values()))
    assert list(found.stages) == ["model", "image", "selfcal", "report"]
    assert "selfcal" not in forecast(grown(selfcal=False), Resources()).stages


def test_time_falls_with_workers_but_not_below_the_minor_loop():
    large = grown(times=1000, baselines=10_000, partitions=20, npixel=1024)
    one, two = (forecast(large, Resources(workers=n)).seconds for n in (1, 2))
    assert one / 2 < two < one
    none_left = forecast(dataclasses.replace(large, partitions=1), Resources(workers=8))
    alone = forecast(dataclasses.replace(large, partitions=1), Resources(workers=1))
    assert none_left.seconds == alone.seconds


def test_w_planes():
    assert w_planes(0.0, 0.5) == 0
    # a field of 60 degrees in radius: n - 1 spans 0.5, so 100 wavelengths make 75 planes
    assert w_planes(100.0, 3**0.5 / 2) == 75


def measurement_set(tmp_path, **changes):
    """3 antennas, 2 times, 4 channels, autocorrelations besides."""
    pairs = [(p, q) for p in range(3) for q in range(p, 3)]
    rows = {"TIME": np.repeat([1.5e9, 1.5e9 + 10], len(pairs)),
            "ANTENNA1": np.tile([p for p, _ in pairs], 2),
            "ANTENNA2": np.tile([q for _, q in pairs], 2),
            "UVW": np.tile([[100.0 * (q - p), 0, 10.0 * (q - p)] for p, q in pairs], (2, 1)),
            "DATA": np.ones((2 * len(pairs), 4, 4), np.complex64)}
    write_ms(tmp_path / "a.ms", rows, np.linspace(1e8, 1.03e8, 4), n_antenna=3, **changes)


def run_of(tmp_path, text):
    (tmp_path / "run.yml").write_text(f"input: {{measurement_set: a.ms}}\n{text}\n")
    return load(tmp_path / "run.yml")


def test_a_measurement_set_is_counted(tmp_path):
    measurement_set(tmp_path)
    sizes = sizes_of(run_of(tmp_path, "imaging: {npixel: 64}"))
    assert (sizes.times, sizes.baselines, sizes.channels, sizes.stations) == (2, 3, 4, 3)
    assert sizes.visibilities == 24
    assert (sizes.npixel, sizes.components) == (64, 0)


def test_the_image_is_advised_from_the_data(tmp_path):
    """Field = guard band x longest wavelength / diameter, cell = a third of the finest fringe."""
    measurement_set(tmp_path)
    cell = C / 1.03e8 / 200 / 3
    field = 8 * C / 1e8 / 35
    sizes = sizes_of(run_of(tmp_path, ""))
    assert field / cell <= sizes.npixel < 1.1 * field / cell + 2
    shorter = sizes_of(run_of(tmp_path, "imaging: {uv_range: {max_m: 150}}"))
    assert field / cell / 2 <= shorter.npixel < 1.1 * field / cell / 2 + 2
    wider = sizes_of(run_of(tmp_path, f"imaging: {{cell_rad: {1.25 * cell}}}"))
    assert field / cell / 1.25 <= wider.npixel < 1.1 * field / cell / 1.25 + 2


@pytest.mark.parametrize(("text", "products"), [("", 1), ("selfcal: {jones: {G: diagonal}}", 4)])
def test_disk_of_correlations_is_counted_for_each(tmp_path, text, products):
    """Of two receptors all four that the Measurement Set has are stored, as observed and corrected.
    """
    measurement_set(tmp_path)
    sizes = sizes_of(run_of(tmp_path, text))
    uvw = sizes.times * sizes.baselines * sizes.bands * 24
    assert visibility_bytes(sizes) == 24 * products * 2 * (8 + 4 + 1) + uvw


def test_advice_that_nobody_can_follow_is_an_error(tmp_path):
    measurement_set(tmp_path, diameter=0.0)
    with pytest.raises(InputError, match="does not know the diameter of its antennas"):
        sizes_of(run_of(tmp_path, ""))
    measurement_set(tmp_path)
    with pytest.raises(InputError, match="no baseline of at most 10"):
        sizes_of(run_of(tmp_path, "imaging: {uv_range: {max_m: 10}}"))
    with pytest.raises(InputError, match=r"imaging\.uv_range: .*no baseline of at least 1e\+06"):
        sizes_of(run_of(tmp_path, "imaging: {uv_range: {min_m: 1.0e6}}"))
    with pytest.raises(InputError, match=r"selfcal\.uv_range: .*no baseline of at least 1e\+06"):
        sizes_of(run_of(tmp_path, "selfcal: {uv_range: {min_m: 1.0e6}}"))
    assert sizes_of(run_of(tmp_path, "selfcal: {uv_range: {min_m: 10}}")).visibilities == 24
    monsters = {
        "needs 60000 pixels on a side, and 32768 is the most": {"cell_rad": 1e-5},
        "1500 pixels of 0.001 rad reach beyond": {"cell_rad": 1e-3, "npixel": 1500}}
    for words, imaging in monsters.items():
        parameters = run_of(tmp_path, "").model_copy(update={
            "imaging": Imaging(**imaging),
            "input": Input(measurement_set=str(tmp_path / "a.ms"), station_diameter=40.0)})
        with pytest.raises(InputError, match=words):
            sizes_of(parameters)


def test_an_airy_beam_has_the_diameter_that_is_given_or_that_of_the_antennas(tmp_path):
    measurement_set(tmp_path, diameter=np.array([13.5, 13.501, 13.5]))
    run = run_of(tmp_path, "imaging: {npixel: 64, primary_beam: airy}")
    assert ingest.set_up(run)[1].station_diameter == 13.5
    given = run.input.model_copy(update={"station_diameter": 40.0})
    run = run.model_copy(update={"input": given})
    assert ingest.set_up(run)[1].station_diameter == 40.0


@pytest.mark.parametrize(("diameter", "words"), [
    (0.0, "antennas without a diameter"), (np.array([25.0, 0.0, 25.0]), "without a diameter"),
    (np.array([13.5, 15.0, 15.0]), r"antennas of 13\.5 to 15 m; give input\.station_diameter"),
])
def test_an_airy_beam_needs_antennas_that_agree(tmp_path, diameter, words):
    measurement_set(tmp_path, diameter=diameter)
    with pytest.raises(InputError, match=words):
        sizes_of(run_of(tmp_path, "imaging: {npixel: 64, primary_beam: airy}"))
    plain = run_of(tmp_path, "imaging: {npixel: 64}")
    assert ingest.set_up(plain)[1].station_diameter == 0


def simulated(tmp_path, uv_range, r_max, section="imaging"):
    (tmp_path / "run.yml").write_text(f"""
observation:
  r_max: {r_max}
  phase_centre: {{ra: 30.0, dec: -60.0}}
  frequency: {{start: 95.0e6, end: 105.0e6, channels: 2}}
  time: {{start_hour_angle: 0.0, end_hour_angle: 0.0, samples: 1}}
{section}: {{uv_range: {{{uv_range}}}}}
""")
    return load(tmp_path / "run.yml")


def test_a_simulation_is_advised_from_the_baselines_that_are_imaged(tmp_path):
    station = within(load_layout("LOWBD2"), 120.0)
    uvw = np.abs(baseline_uvw(station, np.radians(-60.0), np.zeros(1))[0])
    chosen = uvw[np.hypot(uvw[:, 0], uvw[:, 1]) <= 90]
    assert 0 < len(chosen) < len(uvw)
    found = set_up(simulated(tmp_path, "max_m: 90", 120.0))
    assert found.cell == pytest.approx(C / 1.05e8 / chosen.max() / 3)
    assert found.cell > set_up(simulated(tmp_path, "", 120.0)).cell


def test_a_simulation_too_fine_to_image_is_mended_as_its_error_says(tmp_path):
    with pytest.raises(InputError, match=r"a shorter uv_range\.max_m"):
        sizes_of(simulated(tmp_path, "", 45000.0))
    assert sizes_of(simulated(tmp_path, "max_m: 500", 45000.0)).npixel < 1000


@pytest.mark.parametrize("section", ["imaging", "selfcal"])
def test_a_simulation_without_a_baseline_to_use_is_refused(tmp_path, section):
    with pytest.raises(InputError, match=section + r"\.uv_range: the observation has no baseline "
                                                   r"of at least 900 m; make min_m smaller"):
        sizes_of(simulated(tmp_path, "min_m: 900", 120.0, section))


def test_smearing_makes_the_simulation_longer():
    def seconds(sizes):
        return forecast(sizes, Resources()).stages["model"].seconds

    many = {"components": 10_000_000}
    assert seconds(grown(**many, smeared=True)) > 5 * seconds(grown(**many))
