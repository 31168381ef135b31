"""What is written is on the disk before it has its name, and the name before anybody is told."""

import errno
import os
from pathlib import Path

import numpy as np
import pytest
import xarray as xr

from arl.io.files import replacing
from arl.io.zarr import write_corrected, write_dataset


@pytest.fixture
def order(monkeypatch) -> list[tuple[str, str]]:
    """What was flushed and renamed, in order."""
    seen: list[tuple[str, str]] = []
    real = {"fsync": os.fsync, "rename": os.rename, "replace": os.replace}

    def fsync(opened: int) -> None:
        seen.append(("flush", os.readlink(f"/proc/self/fd/{opened}")))
        real["fsync"](opened)

    def renaming(name):
        def rename(source, target) -> None:
            seen.append(("rename", str(target)))
            real[name](source, target)
        return rename

    monkeypatch.setattr(os, "fsync", fsync)
    for name in ("rename", "replace"):
        monkeypatch.setattr(os, name, renaming(name))
    return seen


def dataset() -> xr.Dataset:
    dims = ("time", "baseline", "frequency", "polarization")
    return xr.Dataset({"VISIBILITY": (dims, np.ones((2, 3, 4, 1), np.complex64))},
                      attrs={"data_groups": {}})


def test_a_file_is_flushed_then_renamed_then_its_folder_flushed(tmp_path, order):
    path = tmp_path / "new" / "a.json"
    with replacing(path) as temporary:
        temporary.write_text("{}")
    assert order == [("flush", str(temporary)), ("rename", str(path)), ("flush", str(path.parent))]
    assert [p.name for p in path.parent.iterdir()] == ["a.json"]


@pytest.mark.parametrize("again", [False, True], ids=["new", "replaced"])
def test_all_of_a_store_is_flushed_before_it_has_its_name(tmp_path, order, again):
    path = tmp_path / "a.zarr"
    if again:
        write_dataset(dataset(), path)
        order.clear()
    write_dataset(dataset(), path)
    named = order.index(("rename", str(path)))
    temporary = order[0][1].split("/.a.zarr.tmp.")[1].split("/")[0]
    before = {name.replace(f".a.zarr.tmp.{temporary}", "a.zarr")
              for what, name in order[:named] if what == "flush"}
    assert before == {str(path), *map(str, path.rglob("*"))}
    assert order[-1] == ("flush", str(tmp_path))
    assert [p.name for p in tmp_path.iterdir()] == ["a.zarr"]


def test_what_is_added_to_a_store_is_flushed(tmp_path, order):
    path = tmp_path / "a.zarr"
    write_dataset(dataset(), path)
    order.clear()
    ones = np.ones((2, 3, 4, 1))
    write_corrected(path, ones, ones, ones == 0)
    assert {name for what, name in order if what == "flush"} == {
        str(path), *map(str, path.rglob("*"))}


@pytest.mark.parametrize(("number", "told"), [(errno.EINVAL, False), (errno.EIO, True)])
def test_a_disk_that_fails_is_told_and_a_file_system_that_cannot_is_not(
    tmp_path, monkeypatch, number, told
):
    def fsync(opened: int) -> None:
        raise OSError(number, os.strerror(number))

    monkeypatch.setattr(os, "fsync", fsync)
    path: Path = tmp_path / "a"
    if told:
        with pytest.raises(OSError, match=os.strerror(number)), replacing(path) as temporary:
            temporary.write_text("x")
    else:
        with replacing(path) as temporary:
            temporary.write_text("x")
    assert [p.name for p in tmp_path.iterdir()] == ([] if told else ["a"])
