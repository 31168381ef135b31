"""The peers: WSClean from Debian, DP3 from PyPI in an environment of its own."""

from __future__ import annotations

import os
import shutil
import subprocess
import sys
from dataclasses import dataclass
from pathlib import Path

DP3_VERSION = "6.6.0"
CASACORE_VERSION = "3.8.1"


@dataclass(frozen=True)
class Peers:
    """Where the programs are, and the environment that they run in."""

    wsclean: str
    dp3: str
    environment: dict[str, str]


def ensure(scratch: Path) -> Peers:
    """Install what is missing: WSClean for the whole machine, the rest in `scratch`."""
    if shutil.which("wsclean") is None:
        _apt_install("wsclean")
    home = scratch / f"dp3-{DP3_VERSION}"
    if not (home / "installed").exists():
        shutil.rmtree(home, ignore_errors=True)
        subprocess.run([sys.executable, "-m", "venv", str(home)], check=True)
        subprocess.run([str(home / "bin" / "python"), "-m", "pip", "install", "--quiet",
                        "--disable-pip-version-check", "--only-binary=:all:",
                        f"dp3=={DP3_VERSION}", f"python-casacore=={CASACORE_VERSION}"], check=True)
        (home / "installed").touch()
    return Peers(str(shutil.which("wsclean")), str(home / "bin" / "DP3.py"), _environment(home))


def _apt_install(package: str) -> None:
    """As root, or with sudo."""
    root = [] if os.geteuid() == 0 else ["sudo"]
    apt = [*root, "env", "DEBIAN_FRONTEND=noninteractive", "apt-get"]
    print(f"installing {package}", flush=True)
    subprocess.run([*apt, "update", "-qq"], check=True)
    subprocess.run([*apt, "install", "-y", "-qq", "--no-install-recommends", package],
                   stdout=subprocess.DEVNULL, check=True)


def _environment(home: Path) -> dict[str, str]:
    """casacore finds its measures tables in python-casacore's wheel; BLAS keeps to one thread."""
    (data,) = home.glob("lib/python*/site-packages/casacore/data")
    casarc = home / "casarc"
    casarc.write_text(f"measures.directory: {data}\n", encoding="utf-8")
    return {**os.environ, "CASARCFILES": str(casarc), "OPENBLAS_NUM_THREADS": "1"}


def versions(peers: Peers) -> dict[str, str]:
    """What the programs say of themselves."""
    said = subprocess.run([peers.wsclean, "--version"], capture_output=True, text=True, check=False)
    named = [line for line in said.stdout.splitlines() if "version" in line.lower()]
    return {"wsclean": named[0] if named else "", "dp3": DP3_VERSION}
