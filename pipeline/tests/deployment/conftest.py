"""The plugins of the deployment, importable as Ansible imports them."""

from __future__ import annotations

import importlib.util
import os
import subprocess
import sys
from pathlib import Path
from types import ModuleType

import pytest

pytest.importorskip("ansible", reason="the controller's environment has it")

ROOT = Path(__file__).resolve().parents[3]
#: In the order in which they import one another.
UTILITIES = ("ical_engine", "ical_host", "ical_archive", "ical_census")


def load(path: str, name: str) -> ModuleType:
    """A file of plugins/ as the module of that name."""
    spec = importlib.util.spec_from_file_location(name, ROOT / "plugins" / path)
    module = sys.modules[name] = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    return module


for utility in UTILITIES:
    load(f"module_utils/{utility}.py", f"ansible.module_utils.{utility}")


def run_playbook(*arguments: str, timeout: int = 300) -> subprocess.CompletedProcess:
    """ansible-playbook of this environment, run from the project with the project's settings."""
    command = [str(Path(sys.executable).with_name("ansible-playbook")), *arguments]
    environment = os.environ | {"ANSIBLE_CONFIG": str(ROOT / "ansible.cfg"), "ANSIBLE_NOCOLOR": "1",
                                "PATH": f"{Path(sys.executable).parent}:{os.environ['PATH']}"}
    return subprocess.run(command, cwd=ROOT, env=environment, text=True, capture_output=True,
                          timeout=timeout, check=False)


def pytest_collection_modifyitems(items):
    """Mark what runs a playbook, which takes seconds: `make check` leaves it out."""
    for item in items:
        if "playbook" in getattr(item, "fixturenames", ()):
            item.add_marker("playbook")


@pytest.fixture(name="playbook", scope="session")
def playbook_fixture():
    """The function that runs a playbook; returns the finished process."""
    return run_playbook


@pytest.fixture(name="load_plugin", scope="session")
def load_plugin_fixture():
    """The function that imports a file of plugins/."""
    return load
