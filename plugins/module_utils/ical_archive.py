# Copyright 2026 the ical-swarm maintainers. Licence: Apache-2.0.
"""Tarballs of the library: packed so that equal sources give equal bytes, unpacked with distrust."""

from __future__ import annotations

import errno
import hashlib
import io
import os
import shutil
import tarfile
import tempfile
from pathlib import Path, PurePosixPath

CACHES = {"__pycache__", ".mypy_cache", ".ruff_cache", ".pytest_cache"}
LARGEST = 2 * 1024**3  # bytes that a tarball may unpack to
NEEDED = ("arl/__init__.py", "arl/data")


class ArchiveError(Exception):
    """The tarball cannot be used; the text is for the user."""


def sha256(path: str | Path) -> str:
    """SHA-256 of a file, as hexadecimal digits."""
    digest = hashlib.sha256()
    with open(path, "rb") as stream:
        while block := stream.read(1 << 20):
            digest.update(block)
    return digest.hexdigest()


def sources(folder: Path) -> list[Path]:
    """Every file of the library in a fixed order; raises ArchiveError for what a tarball may not hold."""
    found: list[Path] = []
    for path in sorted(folder.rglob("*"), key=lambda item: item.relative_to(folder).as_posix()):
        if CACHES & set(path.relative_to(folder).parts) or path.suffix == ".pyc":
            continue
        if path.is_symlink():
            raise ArchiveError(f"{path} is a link; the library may hold files alone")
        if path.is_file():
            found.append(path)
    return found


def pack(folder: Path) -> bytes:
    """The library as an uncompressed tar archive that depends on names and contents alone.

    Uncompressed, because compressors differ from one zlib to the next.
    """
    stream = io.BytesIO()
    with tarfile.open(fileobj=stream, mode="w", format=tarfile.USTAR_FORMAT) as archive:
        for path in sources(folder):
            content = path.read_bytes()
            member = tarfile.TarInfo(f"arl/{path.relative_to(folder).as_posix()}")
            member.size, member.mode = len(content), 0o644
            archive.addfile(member, io.BytesIO(content))
    return stream.getvalue()


def refuse(member: tarfile.TarInfo) -> None:
    """Raise ArchiveError for a member that is not a plain file or folder inside the directory."""
    path = PurePosixPath(member.name)
    if not (member.isreg() or member.isdir()):
        raise ArchiveError(f"its member {member.name} is a link or a device")
    if path.is_absolute() or ".." in path.parts or "\0" in member.name:
        raise ArchiveError(f"its member {member.name} leaves the directory")


def extract(archive: Path, folder: Path) -> None:
    """Unpack an archive into an empty folder, with our own modes; raises ArchiveError, or OSError for a full disk.

    Every member is looked at before the first is written.
    """
    try:
        with tarfile.open(archive, mode="r:*") as packed:
            members = packed.getmembers()
            for member in members:
                refuse(member)
            if sum(member.size for member in members) > LARGEST:
                raise ArchiveError(f"it would unpack to more than {LARGEST >> 30} GiB")
            for member in members:
                write(packed, member, folder)
    except (tarfile.TarError, EOFError, OSError) as error:
        if isinstance(error, OSError) and error.errno in (errno.ENOSPC, errno.EDQUOT):
            raise
        raise ArchiveError(f"it cannot be read or unpacked: {error}") from error


def write(packed: tarfile.TarFile, member: tarfile.TarInfo, folder: Path) -> None:
    """Write one member that was not refused; a name that occurs twice fails."""
    target = folder.joinpath(*PurePosixPath(member.name).parts)
    parent = target if member.isdir() else target.parent
    parent.mkdir(parents=True, exist_ok=True, mode=0o755)
    content = packed.extractfile(member)
    if content is not None:
        with open(target, "xb") as stream:
            shutil.copyfileobj(content, stream)
        target.chmod(0o644)


def check(folder: Path) -> None:
    """Raise ArchiveError unless the folder holds the library with its data."""
    missing = [name for name in NEEDED if not (folder / name).exists()]
    if missing:
        raise ArchiveError(f"it does not hold {' and '.join(missing)}")
    if not any((folder / "arl/data").iterdir()):
        raise ArchiveError("its arl/data is empty")


def unpack(archive: Path, digest: str, root: Path) -> Path:
    """Directory `root/digest` with the archive's content, complete from the moment it exists.

    Raises ArchiveError, and leaves nothing behind, when the checksum or the content is wrong.
    """
    if (found := sha256(archive)) != digest:
        raise ArchiveError(f"its SHA-256 is {found}, not {digest}")
    target = root / digest
    work = Path(tempfile.mkdtemp(prefix=".unpacking-", dir=root))
    try:
        extract(archive, work)
        check(work)
        for folder in (work, *(path for path in work.rglob("*") if path.is_dir())):
            folder.chmod(0o755)
        work.rename(target)
    except BaseException:
        shutil.rmtree(work)
        raise
    return target


def switch(root: Path, digest: str) -> str:
    """Point the link `root/current` at a version in one step; returns the digest it named before."""
    link = root / "current"
    before = Path(os.readlink(link)).name if link.is_symlink() else ""
    if before != digest:
        new = root / ".current-new"
        new.unlink(missing_ok=True)
        new.symlink_to(root / digest)
        new.replace(link)
    return before


def unused(root: Path, keep: set[str], mounted: str) -> list[Path]:
    """Versions to remove: not to be kept and in no process's mounts (the text of all mountinfo)."""
    versions = [path for path in root.iterdir() if path.is_dir() and not path.is_symlink()]
    return sorted(path for path in versions if path.name not in keep and path.name not in mounted)
