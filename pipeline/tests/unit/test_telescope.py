import numpy as np
import pytest

from arl.conventions import C
from arl.errors import InputError
from arl.telescope import baseline_uvw, baselines, elevation, load_layout, within

DEC = np.radians(-60.0)


def test_the_reference_observation_has_94_stations_and_4371_baselines():
    core = within(load_layout("LOWBD2"), 300.0)
    assert len(core.names) == 94
    assert baselines(94)[0].size == 4371


def test_the_reference_cell_is_that_of_the_2018_run():
    core = within(load_layout("LOWBD2"), 300.0)
    uvw = baseline_uvw(core, DEC, np.linspace(-np.pi / 3, np.pi / 3, 11))
    cell = 1 / (3 * np.abs(uvw).max() * 110e6 / C)
    assert cell == pytest.approx(1.5904e-3, rel=1e-4)


def test_baselines_keep_their_length_as_the_earth_turns(layout, uvw, pairs):
    first, second = pairs
    expected = np.linalg.norm(layout.enu[second] - layout.enu[first], axis=1)
    np.testing.assert_allclose(np.linalg.norm(uvw, axis=-1), np.tile(expected, (3, 1)))


def test_itrf_positions_keep_distances_and_the_site():
    core = within(load_layout("LOWBD2"), 300.0)
    itrf = core.itrf
    np.testing.assert_allclose(np.linalg.norm(itrf[5] - itrf[9]),
                               np.linalg.norm(core.enu[5] - core.enu[9]), atol=1e-6)
    longitude = np.degrees(np.arctan2(itrf[:, 1], itrf[:, 0]))
    np.testing.assert_allclose(longitude, 116.4999, atol=0.1)


def test_elevation_at_transit_and_at_the_pole():
    site = load_layout("LOWBD2")
    assert elevation(site, site.latitude, np.array([0.0]))[0] == pytest.approx(np.pi / 2)
    assert elevation(site, -np.pi / 2, np.array([1.0]))[0] == pytest.approx(-site.latitude)


def test_a_radius_that_leaves_too_few_stations_is_refused():
    with pytest.raises(InputError, match="calibration needs 3"):
        within(load_layout("LOWBD2"), 1.0)


def test_an_unknown_layout_is_refused():
    with pytest.raises(InputError, match="no layout 'LOWBD9'"):
        load_layout("LOWBD9")


def test_a_layout_without_its_site_is_refused(tmp_path):
    path = tmp_path / "mine.csv"
    path.write_text("east,north,up\n0,0,0\n1,1,1\n")
    with pytest.raises(InputError, match="longitude_deg"):
        load_layout(str(path))


SITE = "# longitude_deg: 116.5\n# latitude_deg: -26.7\n# height_m: 300\n"


@pytest.mark.parametrize("table", [
    "0,0,1\n100,0,1\n0,200,1\n", "east,north,up\n0,0,1\n100,0,1\n0,200,1\n",
    "Name,up_m,north_m,east_m\na,1,0,0\nb,1,0,100\nc,1,200,0\n",
])
def test_a_users_layout_in_any_order_of_named_columns(tmp_path, table):
    path = tmp_path / "mine.csv"
    path.write_text(SITE + table)
    found = load_layout(str(path))
    np.testing.assert_array_equal(found.enu, [[0, 0, 1], [100, 0, 1], [0, 200, 1]])
    assert np.degrees(found.latitude) == pytest.approx(-26.7)


@pytest.mark.parametrize(("table", "words"), [
    ("x,y,z\n0,0,0\n", "not a table of east, north, up"),
    ("east,north,up\n0,0\n", "not a table of east, north, up"),
    ("0,0,nan\n1,1,1\n", "not a finite number"),
    ("0,0,a\n1,1,1\n", "not a table of east, north, up"),
])
def test_a_layout_that_is_not_one_is_refused(tmp_path, table, words):
    path = tmp_path / "mine.csv"
    path.write_text(SITE + table)
    with pytest.raises(InputError, match=words):
        load_layout(str(path))


def test_a_layout_that_is_no_text_is_refused(tmp_path):
    path = tmp_path / "mine.csv"
    path.write_bytes(b"\xff\xfe\x00")
    with pytest.raises(InputError, match="can't be read as text"):
        load_layout(str(path))
