"""The plugins of the deployment, importable as Ansible imports them."""

from __future__ import annotations

import importlib.util
import json
import os
import socketserver
import subprocess
import sys
import threading
from contextlib import ExitStack
from http.server import BaseHTTPRequestHandler
from pathlib import Path
from types import ModuleType
from urllib.parse import unquote

import pytest

pytest.importorskip("ansible", reason="the controller's environment has it")

from tests.deployment.forked import run_forked

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
    environment = os.environ | {"ANSIBLE_CONFIG": str(ROOT / "ansible.cfg"), "ANSIBLE_NOCOLOR": "1",
                                "PATH": f"{Path(sys.executable).parent}:{os.environ['PATH']}"}
    return run_forked(arguments, ROOT, environment, timeout)


def pytest_collection_modifyitems(items):
    """Mark what runs a playbook, which takes seconds: `make check` leaves it out."""
    for item in items:
        if "playbook" in getattr(item, "fixturenames", ()):
            item.add_marker("playbook")


@pytest.fixture(autouse=True, scope="session")
def no_engine(tmp_path_factory):
    """A test has the engine that it brings, or none, and the hosts that it names."""
    with pytest.MonkeyPatch.context() as patch:
        patch.delenv("ANSIBLE_INVENTORY", raising=False)
        patch.setenv("DOCKER_HOST", f"unix://{tmp_path_factory.mktemp('engine')}/none.sock")
        yield


@pytest.fixture(name="playbook", scope="session")
def playbook_fixture():
    """The function that runs a playbook; returns the finished process."""
    return run_playbook


@pytest.fixture(name="command")
def command_fixture(tmp_path, monkeypatch):
    """The function that puts a script in place of a command, in the folder of the test."""
    def put(name: str, script: str):
        (tmp_path / name).write_text(script)
        (tmp_path / name).chmod(0o755)
        monkeypatch.setenv("PATH", str(tmp_path), prepend=":")
    return put


@pytest.fixture(name="load_plugin", scope="session")
def load_plugin_fixture():
    """The function that imports a file of plugins/."""
    return load


class Answer(BaseHTTPRequestHandler):
    """One request to a faked engine."""

    def do_GET(self):  # the names are those of the base class
        path = "/" + unquote(self.path).removeprefix("/v1.41").split("?")[0].lstrip("/")
        self.answer(self.server.find(path))

    def do_DELETE(self):
        self.server.removed.append(unquote(self.path).split("/images/")[1].split("?")[0])
        self.answer([])

    def answer(self, content):
        body = json.dumps({} if content is None else content).encode()
        self.send_response(404 if content is None else 200)
        self.send_header("Content-Type", "application/json")
        self.send_header("Content-Length", str(len(body)))
        self.end_headers()
        self.wfile.write(body)

    def address_string(self):
        return "engine"

    def log_message(self, *arguments):
        """Say nothing."""


@pytest.fixture(name="fake_engine")
def fake_engine_fixture(tmp_path):
    """The function that starts an engine, which answers what `find(path)` gives, None for 404.

    `path` of what it returns is its socket, `removed` the images that it was told to remove.
    """
    with ExitStack() as stack:
        def start(find):
            path = str(tmp_path / "docker.sock")
            server = stack.enter_context(socketserver.ThreadingUnixStreamServer(path, Answer))
            server.path, server.find, server.removed = path, find, []
            threading.Thread(target=server.serve_forever, daemon=True).start()
            stack.callback(server.shutdown)
            return server

        yield start
