"""Measurement Sets written by casacore and read back, against direct sums."""

from __future__ import annotations

import numpy as np
import pytest
from casacore.tables import makescacoldesc, table
from direct import direct_sum
from written_ms import all_rows, taken, write_ms

from arl.conventions import radec_to_lmn
from arl.errors import InputError
from arl.gridding import invert
from arl.io.measurement_set import describe, read, select
from arl.telescope import baseline_uvw, baselines, load_layout, within
from arl.visibility import receptors

CENTRE = (np.radians(30.0), np.radians(-60.0))
FREQUENCY = np.linspace(95e6, 105e6, 4)
TIME = 1.5e9 + 60.0 * np.arange(5)
N = 4
PAIRS = np.triu_indices(N, 1)


def observed(seed: int = 1) -> tuple[np.ndarray, np.ndarray]:
    """Random uvw (time, baseline, 3) and data (time, baseline, chan, 4)."""
    rng = np.random.default_rng(seed)
    shape = (TIME.size, PAIRS[0].size)
    vis = rng.normal(size=(*shape, FREQUENCY.size, 4, 2)) @ [1, 1j]
    return rng.normal(scale=100, size=(*shape, 3)), vis.astype(np.complex64)


def rows_of(uvw: np.ndarray, vis: np.ndarray) -> dict[str, np.ndarray]:
    return all_rows(uvw, TIME, PAIRS, vis)


def contents_of(path: str):
    return describe(select(path, "DATA", None, None))


def whole(path: str):
    contents = contents_of(path)
    return read(contents, (0, contents.time.size), (0, contents.frequency.size))


def test_stokes_i_is_the_mean_of_the_parallel_hands(tmp_path):
    uvw, vis = observed()
    dataset = whole(write_ms(tmp_path / "a.ms", rows_of(uvw, vis), FREQUENCY))
    expected = (vis[..., 0] + vis[..., 3]) / 2
    np.testing.assert_allclose(dataset["VISIBILITY"].values[..., 0], expected, rtol=1e-6)
    np.testing.assert_array_equal(dataset["UVW"].values, uvw)
    np.testing.assert_allclose(dataset["time"].values, TIME, atol=1e-5)
    np.testing.assert_allclose(dataset["WEIGHT"].values, 2.0)
    assert list(dataset["baseline_antenna2_name"].values) == ["A1", "A2", "A3", "A2", "A3", "A3"]
    assert dataset["frequency"].attrs["channel_width"]["data"] == pytest.approx(10e6 / 3)


def test_circular_feeds(tmp_path):
    uvw, vis = observed()
    dataset = whole(write_ms(tmp_path / "a.ms", rows_of(uvw, vis[..., [0, 3]]), FREQUENCY,
                             correlations=("RR", "LL")))
    np.testing.assert_allclose(dataset["VISIBILITY"].values[..., 0],
                               (vis[..., 0] + vis[..., 3]) / 2, rtol=1e-6)


def test_the_order_of_rows_and_antennas_does_not_matter(tmp_path):
    uvw, vis = observed()
    rows = rows_of(uvw, vis)
    expected = whole(write_ms(tmp_path / "a.ms", rows, FREQUENCY))
    rng = np.random.default_rng(2)
    swap = rng.random(len(rows["TIME"])) < 0.5
    turned = dict(rows)
    turned["ANTENNA1"] = np.where(swap, rows["ANTENNA2"], rows["ANTENNA1"])
    turned["ANTENNA2"] = np.where(swap, rows["ANTENNA1"], rows["ANTENNA2"])
    turned["UVW"] = np.where(swap[:, None], -rows["UVW"], rows["UVW"])
    turned["DATA"] = np.where(swap[:, None, None], rows["DATA"].conj(), rows["DATA"])
    mixed = whole(write_ms(tmp_path / "b.ms", taken(turned, rng.permutation(swap.size)), FREQUENCY))
    for name in ("VISIBILITY", "UVW", "WEIGHT", "FLAG"):
        np.testing.assert_array_equal(mixed[name].values, expected[name].values)


def test_missing_rows_and_gaps_in_time_are_regularised(tmp_path):
    uvw, vis = observed()
    rows = rows_of(uvw, vis)
    time, baseline = np.divmod(np.arange(len(rows["TIME"])), PAIRS[0].size)
    there = (time != 2) & ~((time == 1) & (baseline == 4))
    dataset = whole(write_ms(tmp_path / "a.ms", taken(rows, there), FREQUENCY))
    np.testing.assert_allclose(dataset["time"].values, TIME[[0, 1, 3, 4]], atol=1e-5)
    gone = np.zeros((4, 6), bool)
    gone[1, 4] = True
    np.testing.assert_array_equal(dataset["FLAG"].values.all(axis=(2, 3)), gone)
    np.testing.assert_array_equal(dataset["WEIGHT"].values[..., 0, 0] == 0, gone)
    assert not dataset["VISIBILITY"].values[1, 4].any()


def test_flags_weights_and_nans_are_honoured(tmp_path):
    uvw, vis = observed()
    vis[0, 0, 0, 3] = np.nan
    vis[0, 5, 1, 1] = np.nan  # a cross-hand, which does not count
    rows = rows_of(uvw, vis)
    n = len(rows["TIME"])
    rows["FLAG"] = np.zeros((n, 4, 4), bool)
    rows["FLAG"][1, 2, 0] = True  # time 0, baseline 1
    rows["FLAG_ROW"] = np.arange(n) == 2
    weight = np.random.default_rng(3).uniform(1, 2, (n, 4, 4)).astype(np.float32)
    weight[3, 3, 3] = 0
    weight[4, 0, 0] = np.nan
    rows["WEIGHT_SPECTRUM"] = weight
    dataset = whole(write_ms(tmp_path / "a.ms", rows, FREQUENCY))
    bad = np.zeros((5, 6, 4), bool)
    bad[0, [0, 1, 3, 4], [0, 2, 3, 0]] = True
    bad[0, 2] = True
    np.testing.assert_array_equal(dataset["FLAG"].values[..., 0], bad)
    expected = 4 / (1 / weight[..., 0] + 1 / np.where(weight[..., 3] > 0, weight[..., 3], np.nan))
    np.testing.assert_allclose(dataset["WEIGHT"].values[..., 0][~bad],
                               expected.reshape(bad.shape)[~bad], rtol=1e-6)
    assert np.isfinite(dataset["VISIBILITY"].values).all()


@pytest.mark.parametrize("unknown", [0.0, np.nan])
@pytest.mark.parametrize("count", [5, 1])
def test_no_time_is_lost_where_the_integration_is_not_known(tmp_path, unknown, count):
    uvw, vis = observed()
    rows = taken(rows_of(uvw, vis), np.arange(count * PAIRS[0].size))
    rows["INTERVAL"] = np.full(len(rows["TIME"]), unknown)
    path = write_ms(tmp_path / "a.ms", rows, FREQUENCY)
    dataset = whole(path)
    np.testing.assert_allclose(dataset["time"].values, TIME[:count], atol=1e-5)
    assert not dataset["FLAG"].values.any()
    assert contents_of(path).integration_time == pytest.approx(60.0 if count > 1 else 1.0)


@pytest.mark.parametrize("unknown", [None, 0.0, np.nan])
@pytest.mark.parametrize("short_first", [False, True])
def test_dumps_of_different_lengths_are_times_of_their_own(tmp_path, short_first, unknown):
    """Scans of 20 s and of 1 s: a tenth of the usual dump is more than a short one."""
    length = np.repeat([20.0, 1.0], [30, 10])
    if short_first:
        length = length[::-1]
    time = 1.5e9 + np.cumsum(length) - length / 2
    rng = np.random.default_rng(4)
    vis = (rng.normal(size=(40, PAIRS[0].size, FREQUENCY.size, 4, 2)) @ [1, 1j])
    rows = all_rows(rng.normal(scale=100, size=(40, PAIRS[0].size, 3)), time, PAIRS, vis)
    rows["INTERVAL"] = np.repeat(length, PAIRS[0].size)
    if unknown is not None:
        rows["INTERVAL"][7] = unknown
    path = write_ms(tmp_path / "a.ms", rows, FREQUENCY)
    dataset = whole(path)
    np.testing.assert_allclose(dataset["time"].values, time, atol=1e-5)
    assert not dataset["FLAG"].values.any()
    expected = (vis[..., 0] + vis[..., 3]) / 2
    np.testing.assert_allclose(dataset["VISIBILITY"].values[..., 0], expected, rtol=1e-5, atol=1e-6)
    assert contents_of(path).integration_time == 20.0


def test_a_row_without_a_baseline_is_flagged(tmp_path):
    """It would make every pixel of the image NaN."""
    uvw, vis = observed()
    uvw[1, 2, 0] = np.nan
    dataset = whole(write_ms(tmp_path / "a.ms", rows_of(uvw, vis), FREQUENCY))
    gone = np.isnan(uvw).any(axis=-1)
    np.testing.assert_array_equal(dataset["FLAG"].values.all(axis=(2, 3)), gone)
    assert not dataset["WEIGHT"].values[gone].any()
    assert not dataset["VISIBILITY"].values[gone].any()
    np.testing.assert_array_equal(dataset["UVW"].values, np.where(gone[..., None], 0.0, uvw))


def test_weights_of_whole_rows_where_there_are_none_by_channel(tmp_path):
    uvw, vis = observed()
    rows = rows_of(uvw, vis)
    weight = np.random.default_rng(3).uniform(1, 2, (len(rows["TIME"]), 4)).astype(np.float32)
    rows["WEIGHT"] = weight
    dataset = whole(write_ms(tmp_path / "a.ms", rows, FREQUENCY, spectrum=False))
    expected = (4 / (1 / weight[:, 0] + 1 / weight[:, 3])).reshape(5, 6, 1)
    np.testing.assert_allclose(dataset["WEIGHT"].values[..., 0],
                               np.broadcast_to(expected, (5, 6, 4)), rtol=1e-6)


def test_autocorrelations_are_left_out(tmp_path):
    uvw, vis = observed()
    rows = rows_of(uvw, vis)
    auto = taken(rows, np.arange(4))
    auto["ANTENNA2"] = auto["ANTENNA1"] = np.arange(4)
    both = {k: np.concatenate([auto[k], rows[k]]) for k in rows}
    contents = contents_of(write_ms(tmp_path / "a.ms", both, FREQUENCY))
    assert contents.antenna1.size == 6
    with pytest.raises(InputError, match="nothing but autocorrelations of field target"):
        contents_of(write_ms(tmp_path / "b.ms", auto, FREQUENCY))


def test_blocks_of_times_and_channels_are_parts_of_the_whole(tmp_path):
    path = write_ms(tmp_path / "a.ms", rows_of(*observed()), FREQUENCY)
    everything, part = whole(path), read(contents_of(path), (1, 3), (2, 4))
    np.testing.assert_array_equal(part["VISIBILITY"].values,
                                  everything["VISIBILITY"].values[1:3, :, 2:4])
    np.testing.assert_array_equal(part["UVW"].values, everything["UVW"].values[1:3])
    np.testing.assert_array_equal(part["frequency"].values, FREQUENCY[2:4])


def test_a_window_of_falling_frequency_is_turned(tmp_path):
    uvw, vis = observed()
    path = write_ms(tmp_path / "a.ms", rows_of(uvw, vis[:, :, ::-1]), FREQUENCY[::-1])
    np.testing.assert_array_equal(whole(path)["frequency"].values, FREQUENCY)
    expected = (vis[..., 0] + vis[..., 3]) / 2
    np.testing.assert_allclose(whole(path)["VISIBILITY"].values[..., 0], expected, rtol=1e-6)
    part = read(contents_of(path), (0, 5), (0, 1))
    np.testing.assert_allclose(part["VISIBILITY"].values[:, :, 0, 0], expected[:, :, 0], rtol=1e-6)


@pytest.mark.parametrize(("megahertz", "words"), [
    ([95, 100, 98, 105], r"window 0 .* \(channel 1 is at 100 MHz, 2 at 98 MHz\)"),
    ([105, 100, 100, 95], r"\(channel 1 is at 100 MHz, 2 at 100 MHz\)"),
    ([95, 95, 100, 105], r"\(channel 0 is at 95 MHz, 1 at 95 MHz\)")])
def test_channels_in_no_order_are_refused(tmp_path, megahertz, words):
    """They are read as one block, and half of them would have the frequencies of others."""
    path = write_ms(tmp_path / "a.ms", rows_of(*observed()), 1e6 * np.array(megahertz, float))
    with pytest.raises(InputError, match=words):
        contents_of(path)


def two_fields(tmp_path) -> str:
    rows = rows_of(*observed())
    rows["FIELD_ID"] = (np.arange(len(rows["TIME"])) >= 6).astype(int)
    rows["DATA_DESC_ID"] = (np.arange(len(rows["TIME"])) >= 18).astype(int)
    return write_ms(tmp_path / "a.ms", rows, FREQUENCY, fields=("3C48", "B0"), windows=2)


def test_field_and_window_are_chosen(tmp_path):
    path = two_fields(tmp_path)
    assert describe(select(path, "DATA", "3C48", None)).time.size == 1
    by_number = select(path, "DATA", "1", 1)
    assert (by_number.field_name, by_number.data_description) == ("B0", 1)
    assert describe(by_number).time.size == 2


@pytest.mark.parametrize(("field", "window", "words"), [
    (None, None, r"several fields; choose one of 0 \(3C48\), 1 \(B0\)"),
    ("3C49", None, r"no data of a field 3C49; choose one of 0 \(3C48\)"),
    ("7", None, "no data of a field 7"),
    ("B0", None, r"several spectral windows; choose one of 0 \(4 channels, 95 to 105 MHz\), 1"),
    ("0", 1, r"no data of spectral window 1 in this field; choose one of 0 \("),
])
def test_an_unclear_choice_names_what_there_is(tmp_path, field, window, words):
    with pytest.raises(InputError, match=words):
        select(two_fields(tmp_path), "DATA", field, window)


def test_what_can_not_be_used_is_refused(tmp_path):
    uvw, vis = observed()
    path = write_ms(tmp_path / "a.ms", rows_of(uvw, vis[..., :2]), FREQUENCY,
                    correlations=("XX", "XY"))
    with pytest.raises(InputError, match="can't be made from the correlations XX, XY"):
        select(path, "DATA", None, None)
    with pytest.raises(InputError, match="no data column CORRECTED_DATA; it has DATA"):
        select(path, "CORRECTED_DATA", None, None)
    with pytest.raises(InputError, match="not a Measurement Set: it has no column TIME"):
        select(f"{path}/ANTENNA", "DATA", None, None)
    twice = {k: np.concatenate([v, v[:3]]) for k, v in rows_of(uvw, vis).items()}
    with pytest.raises(InputError, match="3 rows of a time and baseline that another row has "
                       r"too \(.*averaged by baseline\); split or expand"):
        contents_of(write_ms(tmp_path / "b.ms", twice, FREQUENCY))


#: As casacore writes a reference that differs from row to row; codes are the file's own.
VARIABLE = {"type": "direction", "VarRefCol": "PhaseDir_Ref",
            "TabRefTypes": ["J2000", "APP", "ICRS", "AZEL"],
            "TabRefCodes": np.array([0, 3, 21, 40], np.uint32)}


def with_frame(path, codes, keywords=VARIABLE) -> str:
    """A Measurement Set of two fields, with data of the second, and a frame of each."""
    rows = rows_of(*observed())
    rows["FIELD_ID"] = np.ones(len(rows["TIME"]), int)
    name = write_ms(path, rows, FREQUENCY, fields=("first", "second"), phase_centre=CENTRE)
    with table(f"{name}::FIELD", readonly=False, ack=False) as fields:
        fields.addcols(makescacoldesc("PhaseDir_Ref", codes[0]))
        fields.putcol("PhaseDir_Ref", codes)
        fields.putcolkeyword("PHASE_DIR", "MEASINFO", keywords)
    return name


@pytest.mark.parametrize("codes", [[3, 0], [40, 21], ["APP", "J2000"], ["AZEL", "ICRS"]])
def test_the_frame_of_the_phase_centre_is_that_of_the_fields_row(tmp_path, codes):
    contents = contents_of(with_frame(tmp_path / "a.ms", codes))
    assert contents.phase_centre == pytest.approx(CENTRE)


@pytest.mark.parametrize(("codes", "words"), [
    ([0, 3], "its phase centre in APP; J2000 and ICRS are read: shift"), ([21, 40], "in AZEL"),
    (["J2000", "B1950"], "in B1950"), ([0, 7], "in a frame of code 7, which it does not name;")])
def test_a_phase_centre_in_another_frame_is_refused(tmp_path, codes, words):
    with pytest.raises(InputError, match=words):
        contents_of(with_frame(tmp_path / "a.ms", codes))


def test_codes_without_names_and_a_fixed_frame_that_is_not_read_are_refused(tmp_path):
    without = {k: v for k, v in VARIABLE.items() if not k.startswith("TabRef")}
    with pytest.raises(InputError, match="code 0, which it does not name"):
        contents_of(with_frame(tmp_path / "a.ms", [0, 0], without))
    with pytest.raises(InputError, match="its phase centre in B1950; J2000 and ICRS are read"):
        contents_of(with_frame(tmp_path / "b.ms", [0, 0], {"type": "direction", "Ref": "B1950"}))


def moving(path, ephemeris=-1, rates=(0.0, 0.0), order=1) -> str:
    """A Measurement Set whose phase centre has an ephemeris, or rates (rad/s)."""
    name = write_ms(path, rows_of(*observed()), FREQUENCY, phase_centre=CENTRE)
    with table(f"{name}::FIELD", readonly=False, ack=False) as fields:
        fields.addcols(makescacoldesc("EPHEMERIS_ID", 0))
        fields.putcol("EPHEMERIS_ID", [ephemeris])
        fields.putcell("NUM_POLY", 0, order)
        fields.putcell("PHASE_DIR", 0, np.array([CENTRE, rates]))
    return name


def test_a_phase_centre_that_moves_is_refused(tmp_path):
    with pytest.raises(InputError, match=r"follows an ephemeris \(EPHEMERIS_ID 2\).* shift"):
        contents_of(moving(tmp_path / "a.ms", ephemeris=2))
    with pytest.raises(InputError, match=r"moves \(NUM_POLY 1, PHASE_DIR has rates\).* shift"):
        contents_of(moving(tmp_path / "b.ms", rates=(1e-7, 0.0)))


@pytest.mark.parametrize(("rates", "order"), [((0.0, 0.0), 1), ((1e-7, 0.0), 0)])
def test_rates_that_are_zero_or_do_not_count_move_nothing(tmp_path, rates, order):
    contents = contents_of(moving(tmp_path / "a.ms", rates=rates, order=order))
    assert contents.phase_centre == pytest.approx(CENTRE)


def test_a_source_far_from_the_centre_is_imaged_where_it_is(tmp_path):
    """The sign of phase and w: a source 12 degrees away, observed with long w, keeps its peak.

    The Measurement Set holds the direct sum over exp(+2 pi i (ul + vm + w(n-1))) with uvw from
    position(antenna2) - position(antenna1), which is what DP3 and WSClean read and write.
    """
    core = within(load_layout("LOWBD2"), 200.0)
    uvw = baseline_uvw(core, CENTRE[1], np.radians(np.linspace(-45, 45, 5)))
    lmn = radec_to_lmn(np.radians([48.0]), np.radians([-52.0]), *CENTRE)
    cell = 4e-3
    i, j = np.rint(lmn[0, :2] / cell).astype(int)
    lmn = np.array([[i * cell, j * cell, np.sqrt(1 - (i**2 + j**2) * cell**2)]])
    vis = direct_sum(uvw, FREQUENCY, lmn, np.ones((1, 4)))
    path = write_ms(tmp_path / "a.ms", all_rows(
        uvw, TIME, baselines(len(core.names)), vis[..., None].repeat(2, axis=-1)), FREQUENCY,
        correlations=("XX", "YY"), n_antenna=len(core.names), phase_centre=CENTRE)
    contents = contents_of(path)
    assert contents.phase_centre == pytest.approx(CENTRE)
    assert contents.longest[2] > 100
    dataset = read(contents, (0, 5), (0, 4))
    weight = dataset["WEIGHT"].values[..., 0]
    image = invert(dataset["UVW"].values, FREQUENCY, dataset["VISIBILITY"].values[..., 0], weight,
                   npixel=256, cell=cell, epsilon=1e-5, threads=1) / weight.sum()
    assert np.unravel_index(image.argmax(), image.shape) == (128 + i, 128 + j)
    assert image.max() == pytest.approx(1.0, abs=1e-3)


def test_correlations_of_both_receptors_stay_when_asked_for(tmp_path):
    """Of a reversed baseline the conjugate transpose, and what is bad in one is bad in all."""
    uvw, vis = observed()
    rows = rows_of(uvw, vis)
    rows["ANTENNA1"], rows["ANTENNA2"] = rows["ANTENNA2"].copy(), rows["ANTENNA1"].copy()
    rows["UVW"] = -rows["UVW"]
    rows["DATA"] = rows["DATA"][..., [0, 2, 1, 3]].conj()
    rows["FLAG"] = np.zeros(rows["DATA"].shape, bool)
    rows["FLAG"][0, 1, 2] = True
    rows["WEIGHT_SPECTRUM"] = np.full(rows["DATA"].shape, [1, 2, 3, 4], np.float32)
    contents = contents_of(write_ms(tmp_path / "a.ms", rows, FREQUENCY))
    dataset = read(contents, (0, TIME.size), (0, FREQUENCY.size), receptors=True)
    assert dataset["polarization"].values.tolist() == ["XX", "XY", "YX", "YY"]
    expected = vis.copy()
    expected[0, 0, 1] = 0
    np.testing.assert_array_equal(dataset["VISIBILITY"].values, expected)
    assert np.argwhere(dataset["FLAG"].values.all(axis=-1)).tolist() == [[0, 0, 1]]
    assert dataset["FLAG"].values.sum() == 4
    assert dataset["WEIGHT"].values[1, 2, 0].tolist() == [1, 3, 2, 4]
    matrices = receptors(dataset)
    np.testing.assert_array_equal(matrices[1, 2, 0], vis[1, 2, 0].reshape(2, 2))


def test_parallel_hands_alone_are_diagonal_matrices(tmp_path):
    uvw, vis = observed()
    contents = contents_of(write_ms(tmp_path / "a.ms", rows_of(uvw, vis[..., [0, 3]]), FREQUENCY,
                                    correlations=("RR", "LL")))
    dataset = read(contents, (0, TIME.size), (0, FREQUENCY.size), receptors=True)
    assert dataset["polarization"].values.tolist() == ["RR", "LL"]
    matrices = receptors(dataset)
    np.testing.assert_array_equal(matrices[..., 0, 0], vis[..., 0])
    np.testing.assert_array_equal(matrices[..., 1, 1], vis[..., 3])
    assert not matrices[..., 0, 1].any()
    assert receptors(read(contents, (0, 1), (0, 1))) is None
