"""Real observations beside the checkout, unpacked for a test."""

from __future__ import annotations

import os
import subprocess
import tarfile
from pathlib import Path

import pytest


def unpacked(name: str, place: Path) -> Path:
    """Unpack `<name>.tar.xz` of ../shared/testdata, or $ICAL_TESTDATA; skips where it is not."""
    found = next((p for folder in _places() if (p := folder / f"{name}.tar.xz").is_file()), None)
    if found is None:
        pytest.skip(f"{name}.tar.xz is neither in ../shared/testdata nor in $ICAL_TESTDATA")
    with tarfile.open(found) as packed:
        packed.extractall(place, filter="data")
    return place / name


def _places() -> list[Path]:
    """The variable's folder, and those beside the checkout: the project's, and a worktree's."""
    here = Path(__file__).parents[3]
    git = subprocess.run(["git", "rev-parse", "--path-format=absolute", "--git-common-dir"],
                         cwd=here, capture_output=True, text=True, check=False).stdout.strip()
    checkouts = [here, *([Path(git).parent] if git else [])]
    named = os.environ.get("ICAL_TESTDATA")
    return [*([Path(named)] if named else []),
            *(c.parent / "shared" / "testdata" for c in checkouts)]
