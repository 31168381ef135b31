"""The stores as others read them: xradio's schema of MSv4, and plain xarray."""

from __future__ import annotations

import shutil

import numpy as np
import pytest
import xarray as xr
from written_ms import smallest_ms

from arl.calibration.gains import gain_table
from arl.io.measurement_set import describe, read, select
from arl.io.zarr import drop_corrected, read_dataset, write_corrected, write_dataset
from arl.visibility import Frame, make_visibility, stokes_i
from ical.data import load

check = pytest.importorskip("xradio.schema.check")
# the check knows the types of a Measurement Set once they are imported
schema = pytest.importorskip("xradio.measurement_set.schema")


def simulated() -> xr.Dataset:
    """Three antennas, two times, four channels, with a second column."""
    first, second = np.triu_indices(3, 1)
    vis = np.random.default_rng(1).normal(size=(2, 3, 4, 1, 2)).astype(np.float32) @ [1, 1j]
    frame = Frame(np.array([1.5e9, 1.5e9 + 10]), 10.0, np.linspace(1e8, 1.03e8, 4), 1e6,
                  np.ones((2, 3, 3)), first, second, ("a", "b", "c"), (0.5, -1.0), "simulated",
                  np.ones(2, int), "TOPO", "LOWBD2")
    vis = vis.astype(np.complex64)
    return make_visibility(frame, vis, np.ones(vis.shape, np.float32), np.zeros(vis.shape, bool),
                           others={"VISIBILITY_IDEAL": vis})


@pytest.fixture(params=["simulated", "read"])
def store(request, tmp_path):
    """A partition on disk with corrected data, and those of them (time, baseline, chan) by kind."""
    if request.param == "simulated":
        dataset = simulated()
    else:
        contents = describe(select(smallest_ms(tmp_path / "a.ms"), "DATA", None, None))
        dataset = read(contents, (0, 1), (0, 1))
    write_dataset(dataset, tmp_path / "p.zarr")
    vis = 2 * dataset["VISIBILITY"].values
    flag = np.arange(vis.size).reshape(vis.shape) % 3 == 1
    weight = np.where(flag, 0, np.arange(1, vis.size + 1, dtype=np.float32).reshape(vis.shape))
    write_corrected(tmp_path / "p.zarr", vis, weight, flag)
    return tmp_path / "p.zarr", {"correlated_data": vis, "weight": weight, "flag": flag}


def test_a_partition_follows_the_schema(store):
    with xr.open_zarr(store[0]) as dataset:
        issues = check.check_dataset(dataset, schema.VisibilityXds)
    assert not list(issues), "\n".join(map(str, issues))


def test_a_tree_of_partitions_and_gains_follows_the_schema(store):
    table = gain_table("T", np.array([1.5e9]), ("a", "b"), np.array([1e8]), np.ones((1, 2, 1)))
    with xr.open_zarr(store[0]) as dataset:
        tree = xr.DataTree.from_dict({"/band000_time0000": dataset, "/gains_T": table})
        with pytest.warns(check.ExtensionTypeWarning, match="extension:t.gains.ical"):
            issues = check.check_datatree(tree)
    assert not list(issues), "\n".join(map(str, issues))


def test_corrected_data_are_found_by_their_data_group(store):
    path, corrected = store
    with xr.open_zarr(path) as dataset:
        group = dataset.attrs["data_groups"]["corrected"]
        for kind, values in corrected.items():
            np.testing.assert_array_equal(dataset[group[kind]].values, values)
        assert group["uvw"] in dataset
        assert dataset.attrs["data_groups"]["base"]["weight"] == "WEIGHT"


def test_stokes_i_has_the_weights_and_flags_of_its_column(store):
    path, corrected = store
    with xr.open_zarr(path) as dataset:
        found = stokes_i(dataset, "VISIBILITY_CORRECTED")
        before = stokes_i(dataset)
        np.testing.assert_array_equal(before[1], dataset["WEIGHT"].values[..., 0])
    used = np.where(corrected["flag"], 0, corrected["correlated_data"])
    np.testing.assert_array_equal(found[0], used[..., 0])
    np.testing.assert_allclose(found[1], corrected["weight"][..., 0], rtol=1e-6)


def test_xradio_selects_the_corrected_data(store):
    pytest.importorskip("xradio.measurement_set")  # which gives every DataTree its xr_ms
    path, corrected = store
    chosen = xr.open_datatree(path, engine="zarr").xr_ms.sel(data_group_name="corrected")
    assert "VISIBILITY" not in chosen
    assert "WEIGHT" not in chosen
    for name, kind in (("VISIBILITY", "correlated_data"), ("WEIGHT", "weight"), ("FLAG", "flag")):
        np.testing.assert_array_equal(chosen[f"{name}_CORRECTED"].values, corrected[kind])


def test_a_store_that_took_the_place_of_another_is_read(tmp_path):
    """A worker outlives the stage that wrote its partitions, and which may be redone."""
    path = str(tmp_path / "p.zarr")
    for factor in (1, 5, 7):
        dataset = simulated()
        dataset["VISIBILITY"] *= factor
        write_dataset(dataset, path)
        found = load(path, "VISIBILITY")
        np.testing.assert_allclose(found.vis, dataset["VISIBILITY"][..., 0])
        assert load(path, "VISIBILITY") is found


@pytest.mark.parametrize("cut_short", [False, True])
def test_corrected_data_are_dropped_and_the_others_stay(tmp_path, monkeypatch, cut_short):
    dataset = simulated()
    write_dataset(dataset, tmp_path / "p.zarr")
    vis = dataset["VISIBILITY"].values
    write_corrected(tmp_path / "p.zarr", 2 * vis, np.ones(vis.shape), vis == 0)
    if cut_short:
        with monkeypatch.context() as patched:
            patched.setattr(shutil, "rmtree", interrupt)
            with pytest.raises(KeyboardInterrupt):
                drop_corrected(tmp_path / "p.zarr")
        with read_dataset(tmp_path / "p.zarr") as found:
            assert "corrected" not in found.attrs["data_groups"]
    for _ in range(2):
        drop_corrected(tmp_path / "p.zarr")
        for consolidated in (True, False):
            with xr.open_zarr(tmp_path / "p.zarr", consolidated=consolidated) as found:
                xr.testing.assert_identical(found.load(), dataset)
        assert not list((tmp_path / "p.zarr").glob("*_CORRECTED"))


def interrupt(*_: object) -> None:
    raise KeyboardInterrupt
