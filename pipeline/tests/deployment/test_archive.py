"""The library's tarball: equal sources give equal bytes, and one that is wrong changes nothing."""

from __future__ import annotations

import errno
import io
import os
import tarfile
import time
from pathlib import Path

import pytest
from ansible.module_utils import ical_archive as archive

ROOT = Path(__file__).resolve().parents[3]
GOOD = {"arl/__init__.py": b"", "arl/data/layout.csv": b"1,2,3\n"}


@pytest.fixture(name="sources")
def sources_fixture(tmp_path):
    folder = tmp_path / "sources" / "arl"
    for name, content in GOOD.items():
        path = folder.parent / name
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_bytes(content)
    return folder


@pytest.fixture(name="root")
def root_fixture(tmp_path):
    folder = tmp_path / "root"
    folder.mkdir()
    return folder


def make(path, files, extra=()):
    """A tarball of plain files, and of members that are given whole."""
    with tarfile.open(path, "w:gz") as packed:
        for name, content in files.items():
            member = tarfile.TarInfo(name)
            member.size = len(content)
            packed.addfile(member, io.BytesIO(content))
        for member in extra:
            packed.addfile(member)
    return path


def member(name, kind=tarfile.REGTYPE, link=""):
    info = tarfile.TarInfo(name)
    info.type, info.linkname = kind, link
    return info


def test_equal_sources_give_equal_bytes_whatever_their_times(sources):
    first = archive.pack(sources)
    os.utime(sources / "__init__.py", (1, 1))
    (sources / "__pycache__").mkdir()
    (sources / "__pycache__/x.pyc").write_bytes(b"cache")
    assert archive.pack(sources) == first


def test_a_full_disk_is_not_the_tarballs_fault(sources, root, tmp_path, monkeypatch):
    tarball = tmp_path / "arl.tar"
    tarball.write_bytes(archive.pack(sources))

    def full(*_):
        raise OSError(errno.ENOSPC, "No space left on device")

    monkeypatch.setattr(archive, "write", full)
    with pytest.raises(OSError, match="No space left on device"):
        archive.unpack(tarball, archive.sha256(tarball), root)
    assert not list(root.iterdir())


def test_a_version_unpacks_to_what_was_packed(sources, root, tmp_path):
    tarball = tmp_path / "arl.tar"
    tarball.write_bytes(archive.pack(sources))
    digest = archive.sha256(tarball)
    folder = archive.unpack(tarball, digest, root)
    assert folder == root / digest
    assert {str(p.relative_to(folder)): p.read_bytes() for p in folder.rglob("*")
            if p.is_file()} == GOOD


@pytest.mark.parametrize("extra", [
    member("arl/link", tarfile.SYMTYPE, "/etc/passwd"),
    member("arl/hard", tarfile.LNKTYPE, "arl/__init__.py"),
    member("arl/device", tarfile.CHRTYPE),
    member("../outside"),
    member("/absolute"),
    member("arl/../../outside"),
], ids=lambda info: info.name)
def test_a_member_that_is_a_link_or_leaves_the_directory_is_refused(extra, root, tmp_path):
    tarball = make(tmp_path / "bad.tar.gz", GOOD, [extra])
    with pytest.raises(archive.ArchiveError, match=r"link or a device|leaves the directory"):
        archive.unpack(tarball, archive.sha256(tarball), root)
    assert list(root.iterdir()) == []
    assert not (tmp_path / "outside").exists()


@pytest.mark.parametrize("files", [{"arl/__init__.py": b""}, {"other/__init__.py": b""}])
def test_a_tarball_without_the_library_or_its_data_is_refused(files, root, tmp_path):
    tarball = make(tmp_path / "bad.tar.gz", files)
    with pytest.raises(archive.ArchiveError, match="does not hold"):
        archive.unpack(tarball, archive.sha256(tarball), root)
    assert list(root.iterdir()) == []


def test_the_link_names_the_new_version_and_unused_ones_are_found(root):
    for name in ("a" * 64, "b" * 64, "c" * 64):
        (root / name).mkdir()
    assert archive.switch(root, "a" * 64) == ""
    assert archive.switch(root, "b" * 64) == "a" * 64
    assert os.readlink(root / "current") == str(root / ("b" * 64))
    mounted = f"... {root}/{'a' * 64} /opt/arl ro"
    assert archive.unused(root, {"b" * 64}, mounted) == [root / ("c" * 64)]


PLAY = """
- hosts: localhost
  connection: local
  gather_facts: false
  tasks:
    - ansible.builtin.include_role:
        name: arl
"""


def test_tarballs_stay_that_other_plays_may_be_waiting_with(load_plugin, tmp_path):
    pack = load_plugin("modules/ical_arl_pack.py", "ical_arl_pack")
    now = time.time()
    for name, age in (("arl-used.tar", pack.KEPT - 60), ("arl-old.tar", pack.KEPT + 60),
                      ("other.tar", 2 * pack.KEPT)):
        (tmp_path / name).write_bytes(b"")
        os.utime(tmp_path / name, (now - age, now - age))
    pack.write(b"new", tmp_path / "arl-new.tar")
    assert sorted(path.name for path in tmp_path.iterdir()) == [
        "arl-new.tar", "arl-used.tar", "other.tar"]
    assert (tmp_path / "arl-new.tar").read_bytes() == b"new"


def test_a_tarball_that_another_play_removes_meanwhile_is_packed_again(load_plugin, tmp_path):
    pack = load_plugin("modules/ical_arl_pack.py", "ical_arl_pack")
    path = tmp_path / "cache" / "arl-new.tar"
    for there in (False, True):
        assert path.exists() == there
        pack.keep(b"new", path)
        assert path.read_bytes() == b"new"


def deploy(playbook, tmp_path, **variables):
    """The role arl alone, on this machine, with its state in a temporary folder."""
    play = tmp_path / "play.yml"
    play.write_text(PLAY)
    settings = {"ical_state_dir": tmp_path / "state", "arl_cache_dir": tmp_path / "cache"}
    given = [f"{name}={value}" for name, value in (settings | variables).items()]
    options = [word for item in given for word in ("-e", item)]
    return playbook("-i", "localhost,", *options, str(play))


def test_the_role_builds_the_tarball_and_a_second_run_changes_nothing(playbook, tmp_path):
    first, second = (deploy(playbook, tmp_path) for _ in range(2))
    assert first.returncode == 0, first.stdout
    assert "changed=0" in second.stdout, second.stdout
    folder = (tmp_path / "state/arl/current").resolve()
    assert len(folder.name) == 64
    assert (folder / "arl/conventions.py").read_bytes() == (
        ROOT / "pipeline/src/arl/conventions.py").read_bytes()
    assert any((folder / "arl/data/layouts").iterdir())


def test_what_a_play_uses_is_not_old(playbook, tmp_path):
    deploy(playbook, tmp_path)
    (packed,) = (tmp_path / "cache").iterdir()
    os.utime(packed, (1, 1))
    used = deploy(playbook, tmp_path)
    assert used.returncode == 0, used.stdout
    assert packed.stat().st_mtime > time.time() - 600


def test_a_url_is_fetched_and_a_wrong_checksum_changes_nothing(playbook, tmp_path):
    tarball = make(tmp_path / "arl.tar.gz", GOOD)
    right = archive.sha256(tarball)
    url = f"file://{tarball}"
    wrong = deploy(playbook, tmp_path, arl_tarball_url=url,
                   arl_tarball_checksum="sha256:" + "0" * 64)
    assert wrong.returncode != 0
    assert "nothing was changed" in wrong.stdout.replace("\n", " ")
    assert not (tmp_path / "state").exists()
    good = deploy(playbook, tmp_path, arl_tarball_url=url, arl_tarball_checksum=f"sha256:{right}")
    assert good.returncode == 0, good.stdout
    assert (tmp_path / "state/arl/current").resolve().name == right


def test_a_url_without_a_checksum_is_refused(playbook, tmp_path):
    result = deploy(playbook, tmp_path, arl_tarball_url="https://example.org/arl.tar")
    assert result.returncode != 0
    assert "arl_tarball_checksum (not given)" in " ".join(result.stdout.split())
