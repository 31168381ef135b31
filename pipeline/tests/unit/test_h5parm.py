"""h5parm files: what DP3 and losoto look for, and what they write."""

import h5py
import numpy as np
import pytest

from arl.calibration.gains import gain_table
from arl.errors import InputError
from arl.io.h5parm import read_h5parm, write_h5parm

TIME = 1.5e9 + 10.0 * np.arange(3)
FREQUENCY = np.array([1.0e8, 1.1e8])
NAMES = ("CS001", "CS002", "RS106", "A_NAME_LONGER_THAN_SIXTEEN")
POSITIONS = np.arange(12.0).reshape(4, 3)


def gains(matrix=()):
    generator = np.random.default_rng(3)
    shape = (3, 4, 2, *matrix)
    gain = generator.standard_normal(shape) + 1j * generator.standard_normal(shape)
    gain[1, 2, 0] = np.nan
    return gain


def written(path, gain, products=("XX", "XY", "YX", "YY")):
    table = gain_table("G", TIME, NAMES, FREQUENCY, gain, products)
    write_h5parm(table, path, POSITIONS, (0.5, -1.0))
    return table


@pytest.mark.parametrize(("matrix", "products"), [
    ((), ("XX", "YY")), ((2, 2), ("XX", "XY", "YX", "YY")), ((2, 2), ("RR", "RL", "LR", "LL"))])
def test_a_table_comes_back_as_it_was(tmp_path, matrix, products):
    table = written(tmp_path / "g.h5", gains(matrix), products)
    found = read_h5parm(tmp_path / "g.h5", "G")
    np.testing.assert_allclose(found["GAIN"].values, table["GAIN"].values, rtol=1e-12)
    np.testing.assert_array_equal(found["FLAG"].values, table["FLAG"].values)
    np.testing.assert_allclose(found["time"].values, TIME)
    for name in ("antenna_name", "frequency", "receptor"):
        np.testing.assert_array_equal(found[name].values, table[name].values)


def test_diagonal_matrices_are_two_polarisations(tmp_path):
    gain = gains((2, 2))
    gain[..., 0, 1] = gain[..., 1, 0] = 0
    written(tmp_path / "g.h5", gain)
    with h5py.File(tmp_path / "g.h5") as file:
        table = file["sol000/phase000"]
        assert table["pol"][()].tolist() == [b"XX", b"YY"]
        np.testing.assert_allclose(table["val"][0, 1, 1], np.angle(gain[0, 1, 1, [0, 1], [0, 1]]))


def test_it_has_what_dp3_looks_for(tmp_path):
    """Strings of fixed length, MJD seconds, AXES of val and weight, antennas and directions."""
    written(tmp_path / "g.h5", gains((2, 2)))
    with h5py.File(tmp_path / "g.h5") as file:
        group = file["sol000"]
        for node in (group, group["amplitude000"], group["phase000"]):
            assert node.attrs["h5parm_version"] == b"1.0"
        assert group["antenna"].dtype.names == ("name", "position")
        assert group["antenna"]["name"].tolist() == [n.encode() for n in NAMES]
        np.testing.assert_allclose(group["antenna"]["position"], POSITIONS)
        assert group["source"]["name"].tolist() == [b"[POINTING]"]
        np.testing.assert_allclose(group["source"]["dir"], [[0.5, -1.0]])
        for kind in ("amplitude", "phase"):
            table = group[f"{kind}000"]
            assert table.attrs["TITLE"] == kind.encode()
            assert h5py.check_string_dtype(table.attrs.get_id("TITLE").dtype).length is not None
            assert table["val"].attrs["AXES"] == table["weight"].attrs["AXES"] == (
                b"time,ant,freq,pol")
            assert table["time"][0] == pytest.approx(1.5e9 + 40587 * 86400)
            assert np.isnan(table["val"][1, 2, 0]).all()
            assert not table["weight"][1, 2, 0].any()
            assert table["weight"][()].sum() == 3 * 4 * 2 * 4 - 4


def losoto_like(path, axes, shape, kinds=("phase",), pol=()):
    """A file with axes in another order and with a direction."""
    generator = np.random.default_rng(1)
    values = generator.uniform(-1, 1, shape)
    with h5py.File(path, "w") as file:
        for kind in kinds:
            group = file.create_group(f"sol000/{kind}000")
            named = {"time": TIME + 40587 * 86400, "freq": FREQUENCY, "pol": np.array(pol, "S2"),
                     "ant": np.array(NAMES, "S32"), "dir": np.array(["[a]"], "S8")}
            for axis in axes:
                group[axis] = named[axis]
            group["val"], group["weight"] = values, np.ones(shape)
            group["weight"][(0,) * len(shape)] = 0
            group["val"].attrs["AXES"] = np.bytes_(",".join(axes).encode())
    return values


def test_phases_of_losoto_in_any_order_of_axes(tmp_path):
    values = losoto_like(tmp_path / "l.h5", ("pol", "dir", "ant", "freq", "time"), (2, 1, 4, 2, 3),
                         pol=(b"XX", b"YY"))
    found = read_h5parm(tmp_path / "l.h5")
    assert found["receptor"].values.tolist() == ["XX", "YY"]
    expected = np.exp(1j * np.transpose(values[:, 0], (3, 1, 2, 0)))
    good = ~found["FLAG"].values
    np.testing.assert_allclose(found["GAIN"].values[good], expected[good])
    assert np.argwhere(~good).tolist() == [[0, 0, 0, 0]]


def test_amplitudes_without_a_frequency_axis(tmp_path):
    values = losoto_like(tmp_path / "l.h5", ("time", "ant"), (3, 4), kinds=("amplitude",))
    found = read_h5parm(tmp_path / "l.h5")
    assert found["GAIN"].shape == (3, 4, 1, 1)
    np.testing.assert_allclose(found["GAIN"].values[1:, :, 0, 0], values[1:])


@pytest.mark.parametrize("axis", ["time", "freq", "ant"])
def test_amplitudes_and_phases_of_different_axes_are_not_put_together(tmp_path, axis):
    """As many of them, and others: their products would be gains of nothing."""
    written(tmp_path / "g.h5", gains())
    with h5py.File(tmp_path / "g.h5", "r+") as file:
        values = file[f"sol000/phase000/{axis}"]
        values[...] = values[()][::-1]
    with pytest.raises(InputError, match="amplitudes and phases in sol000 have different axes"):
        read_h5parm(tmp_path / "g.h5")


@pytest.mark.parametrize(("gone", "words"), [
    ("weight", "lacks weight;"), ("val", "no values with an attribute AXES"),
    ("time", "lacks time;"), ("freq", "lacks freq;"), ("ant", "lacks ant;")])
def test_a_table_that_lacks_a_part_is_named_with_it(tmp_path, gone, words):
    written(tmp_path / "g.h5", gains())
    with h5py.File(tmp_path / "g.h5", "r+") as file:
        del file[f"sol000/phase000/{gone}"]
    with pytest.raises(InputError, match=words) as told:
        read_h5parm(tmp_path / "g.h5")
    assert f"{tmp_path / 'g.h5'}: phase000 " in str(told.value)


def test_an_axis_without_values_or_place_is_said(tmp_path):
    written(tmp_path / "g.h5", gains())
    with h5py.File(tmp_path / "g.h5", "r+") as file:
        values = file["sol000/phase000/val"]
        values.attrs["AXES"] = np.bytes_(values.attrs["AXES"] + b",dir")
    with pytest.raises(InputError, match=r"phase000 has val and weight of shapes"):
        read_h5parm(tmp_path / "g.h5")


@pytest.mark.parametrize("short", ["weight", "time"])
def test_parts_of_a_table_that_do_not_fit_are_said(tmp_path, short):
    written(tmp_path / "g.h5", gains())
    with h5py.File(tmp_path / "g.h5", "r+") as file:
        table = file["sol000/phase000"]
        cut = table[short][1:]
        del table[short]
        table[short] = cut
    with pytest.raises(InputError, match=r"phase000 has val and weight of shapes"):
        read_h5parm(tmp_path / "g.h5")


def like_ddecal(path, kinds):
    """A file with the axes that DP3's ddecal gives to TEC and what comes with it."""
    losoto_like(path, ("time", "ant", "dir", "freq"), (3, 4, 1, 2), kinds=kinds)


@pytest.mark.parametrize(("kinds", "words"), [
    (("tec", "phase", "error"), "has phase000 in sol000, and also tec000, which is not read"),
    (("phase", "amplitude", "rotation"), "amplitude000 and phase000 in sol000, and also rotation"),
    (("phase", "clock", "tec"), "and also clock000, tec000, which are not read; combine them")])
def test_solutions_that_would_be_left_out_are_named(tmp_path, kinds, words):
    """DP3's mode tecandphase: its phase alone is not the phase that it solved."""
    like_ddecal(tmp_path / "d.h5", kinds)
    with pytest.raises(InputError, match=words):
        read_h5parm(tmp_path / "d.h5")


@pytest.mark.parametrize("second", ["phase001", "phaseOffset000"])
def test_a_second_table_of_phases_is_not_left_out_in_silence(tmp_path, second):
    written(tmp_path / "g.h5", gains())
    with h5py.File(tmp_path / "g.h5", "r+") as file:
        file.copy("sol000/phase000", f"sol000/{second}")
    with pytest.raises(InputError, match=f"and also {second}, which is not read"):
        read_h5parm(tmp_path / "g.h5")


def test_what_is_no_solution_may_stand_beside_them(tmp_path):
    """Errors of DP3, and groups without values; another solution set is another matter."""
    like_ddecal(tmp_path / "d.h5", ("phase", "error"))
    with h5py.File(tmp_path / "d.h5", "r+") as file:
        file.create_group("sol000/history")
        file.copy("sol000/phase000", "sol001/tec000")
    assert read_h5parm(tmp_path / "d.h5")["GAIN"].shape == (3, 4, 2, 1)


def test_what_can_not_be_read_is_said_in_a_sentence(tmp_path):
    (tmp_path / "no.h5").write_text("nothing")
    with pytest.raises(InputError, match="can't be read as an h5parm"):
        read_h5parm(tmp_path / "no.h5")
    written(tmp_path / "g.h5", gains())
    with pytest.raises(InputError, match="no solution set sol001; it has sol000"):
        read_h5parm(tmp_path / "g.h5", solution_set="sol001")
    losoto_like(tmp_path / "t.h5", ("time", "ant"), (3, 4), kinds=("tec",))
    with pytest.raises(InputError, match=r"no phases in sol000 \(it has tec000\)"):
        read_h5parm(tmp_path / "t.h5")
