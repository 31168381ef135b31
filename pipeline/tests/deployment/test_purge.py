"""What a purge must not take: Docker goes with all that somebody else has in it."""

from __future__ import annotations

import json
import socketserver
import threading
from http.server import BaseHTTPRequestHandler
from pathlib import Path

import pytest

ROOT = Path(__file__).resolve().parents[3]
NETWORKS = [{"Name": name, "Labels": {}, "Driver": "bridge", "Id": "0" * 64} for name in
            ("bridge", "host", "none", "docker_gwbridge", "ingress")]
#: Of the build's layers, by an old engine and by a new one, and of ours.
IMAGES = [{"RepoTags": tags} for tags in (["<none>:<none>"], [], None, ["ical-swarm:0123"])]


@pytest.fixture(name="engine")
def engine_fixture(tmp_path):
    """An engine that answers with `engine.answers`; `engine.path` is its socket."""
    class Answer(BaseHTTPRequestHandler):
        def do_GET(self):  # the name is that of the base class
            path = "/" + self.path.split("?")[0].split("/", 2)[-1]
            body = json.dumps(self.server.answers.get(path, {})).encode()
            self.send_response(200)
            self.send_header("Content-Length", str(len(body)))
            self.end_headers()
            self.wfile.write(body)

        def address_string(self):
            return "engine"

        def log_message(self, *arguments):
            """Say nothing."""

    path = str(tmp_path / "docker.sock")
    with socketserver.ThreadingUnixStreamServer(path, Answer) as server:
        server.path = path
        server.answers = {
            "/info": {"Swarm": {"LocalNodeState": "inactive"}}, "/containers/json": [],
            "/networks": NETWORKS, "/volumes": {"Volumes": []}, "/images/json": IMAGES}
        threading.Thread(target=server.serve_forever, daemon=True).start()
        yield server
        server.shutdown()


@pytest.mark.parametrize(("added", "variables", "told"), [
    ({}, {}, ""),
    ({"/images/json": [*IMAGES, {"RepoTags": ["mine:1", "mine:2"]}]}, {},
     "image mine:1, image mine:2"),
    ({"/networks": [*NETWORKS, NETWORKS[0] | {"Name": "mine"}]}, {}, "network mine"),
    ({"/volumes": {"Volumes": [{"Name": "ingress", "Labels": None}]}}, {}, "volume ingress"),
    ({}, {"teardown_swarm_stays": True}, "membership of a swarm that ical-swarm did not make"),
])
def test_docker_is_not_removed_with_what_is_somebody_elses(playbook, engine, tmp_path, added,
                                                           variables, told):
    engine.answers |= added
    book = tmp_path / "strangers.yml"
    book.write_text(f"""
- hosts: one
  gather_facts: false
  tasks: [{{include_tasks: {ROOT}/roles/docker/tasks/strangers.yml}}]
""")
    variables = {"docker_state_dir": str(tmp_path), "docker_socket": engine.path} | variables
    result = playbook("-i", "one,", "-c", "local", str(book), "-e", json.dumps(variables))
    sentence = f"now carries {told}. Remove these, or tear down without teardown_purge."
    assert (result.returncode != 0) == bool(told), result.stdout
    assert (sentence in " ".join(result.stdout.split())) == bool(told), result.stdout
