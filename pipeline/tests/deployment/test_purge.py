"""What a purge must not take: Docker goes with all that somebody else has in it."""

from __future__ import annotations

import json
import socket
import subprocess
from pathlib import Path

import pytest

ROOT = Path(__file__).resolve().parents[3]
NETWORKS = [{"Name": name, "Labels": {}, "Driver": "bridge", "Id": "0" * 64} for name in
            ("bridge", "host", "none", "docker_gwbridge", "ingress")]
#: Of the build's layers, by an old engine and by a new one, and of ours.
IMAGES = [{"RepoTags": tags} for tags in (["<none>:<none>"], [], None, ["ical-swarm:0123"])]


@pytest.fixture(name="engine")
def engine_fixture(fake_engine):
    """An engine that answers with `engine.answers`."""
    answers = {
        "/version": {"ApiVersion": "1.41", "MinAPIVersion": "1.12", "Version": "20.10"},
        "/info": {"Swarm": {"LocalNodeState": "inactive"}, "ServerVersion": "20.10",
                  "DockerRootDir": "/var/lib/docker"}, "/containers/json": [],
        "/networks": NETWORKS, "/volumes": {"Volumes": []}, "/images/json": IMAGES}
    engine = fake_engine(answers.get)
    engine.answers = answers
    return engine


@pytest.mark.parametrize(("added", "variables", "told"), [
    ({}, {}, ""),
    ({"/images/json": [*IMAGES, {"RepoTags": ["mine:1", "mine:2"]}]}, {},
     "image mine:1, image mine:2"),
    ({"/networks": [*NETWORKS, NETWORKS[0] | {"Name": "mine"}]}, {}, "network mine"),
    ({"/volumes": {"Volumes": [{"Name": "ingress", "Labels": None}]}}, {}, "volume ingress"),
    ({}, {"teardown_swarm_stays": True}, "membership of a swarm that ical-swarm did not make"),
])
def test_docker_is_not_removed_with_what_is_somebody_elses(playbook, engine, tmp_path, added,
                                                           variables, told, monkeypatch):
    engine.answers |= added
    book = tmp_path / "strangers.yml"
    book.write_text(f"""
- hosts: one
  gather_facts: false
  tasks: [{{include_role: {{name: {ROOT}/roles/docker, tasks_from: strangers}}}}]
""")
    monkeypatch.setenv("DOCKER_HOST", f"unix://{engine.path}")
    variables = {"ical_state_dir": str(tmp_path)} | variables
    result = playbook("-i", "one,", "-c", "local", str(book), "-e", json.dumps(variables))
    sentence = f"now carries {told}. Remove these, or tear down without teardown_purge."
    assert (result.returncode != 0) == bool(told), result.stdout
    assert (sentence in " ".join(result.stdout.split())) == bool(told), result.stdout


@pytest.mark.parametrize(("role", "tasks", "told"), [
    ("docker", "strangers", "nobody sees whether it carries what is somebody else's"),
    ("swarm", "leave", "does not answer, and cannot leave its swarm")])
def test_nothing_goes_or_is_forgotten_of_an_engine_that_falls_silent(
        playbook, tmp_path, command, role, tasks, told):
    """It answered when teardown took stock; what it has, and its swarm, is as it was."""
    command("dockerd", "#!/bin/sh\n")
    (tmp_path / "swarm.json").write_text('{"made_by_us": true}')
    book = tmp_path / "silent.yml"
    book.write_text(f"""
- hosts: one
  gather_facts: false
  tasks: [{{include_role: {{name: {ROOT}/roles/{role}, tasks_from: {tasks}}}}}]
""")
    variables = {"ical_state_dir": str(tmp_path), "docker_timeout": 1, "swarm_timeout": 1}
    result = playbook("-i", "one,", "-c", "local", str(book), "-e", json.dumps(variables))
    assert result.returncode != 0
    assert told in " ".join(result.stdout.split())
    assert (tmp_path / "swarm.json").exists()


def gossip() -> socket.socket:
    """A listener where an engine has that of its swarm."""
    try:
        return socket.create_server(("127.0.0.1", 7946))
    except OSError as error:
        pytest.skip(f"port 7946 of this machine, where the test wants a listener: {error}")


@pytest.mark.parametrize(("ours", "runs", "again"), [
    (True, "", True), (False, "", False), (True, "0123", False)])
def test_an_engine_that_keeps_its_port_is_started_again_if_it_is_ours_and_idle(
        playbook, engine, tmp_path, command, monkeypatch, ours, runs, again):
    """It was busy while it left the swarm, and its gossip did not end."""
    monkeypatch.setenv("DOCKER_HOST", f"unix://{engine.path}")
    command("docker", f"#!/bin/sh\n[ $1 = ps ] || exit 0\necho {runs}\n")
    command("systemctl", "#!/bin/sh\nexit 1\n")
    (tmp_path / "docker.json").write_text(json.dumps({"installed_by_us": ours}))
    book = tmp_path / "leave.yml"
    book.write_text(f"""
- hosts: one
  gather_facts: false
  tasks: [{{include_tasks: {ROOT}/roles/swarm/tasks/exit.yml}}]
""")
    variables = {"swarm_timeout": 1, "swarm_state_dir": str(tmp_path),
                 "ansible_facts": {"service_mgr": "systemd"}}
    with gossip():
        result = playbook("-i", "one,", "-c", "local", str(book), "-e", json.dumps(variables))
    told = " ".join(result.stdout.split())
    assert result.returncode != 0
    assert "Still there after 1 s: a listener on TCP port 7946." in told
    assert ("TASK [Start it again]" in told) == again
    assert ("systemctl restart docker on one" in told) != again


def probe(engine: dict, host: dict) -> str:
    """A module in place of plugins/modules/ical_probe.py, which tells this."""
    told = {"engine": engine, "host": host | {"clock": {"first": 0, "last": 0}}}
    return f"#!/usr/bin/python3\nprint({json.dumps(told)!r})\n"


def test_a_purge_ends_where_there_is_no_engine_to_stop(playbook, tmp_path, command):
    """An installation failed, or a purge was cut short; in check mode: it is this machine's."""
    record = {"status": "installing", "installed_by_us": True, "packages": [],
              "packages_asked": ["docker.io"]}
    host = {"dockerd": "", "packages": ["docker.io"], "state": {"docker": record}}
    (tmp_path / "ical_probe.py").write_text(probe({}, host))
    command("apt-get", "#!/bin/sh\nexit 0\n")
    command("systemctl", "#!/bin/sh\nexit 1\n")
    book = tmp_path / "purge.yml"
    book.write_text(f"""
- hosts: one
  gather_facts: false
  tasks: [{{include_role: {{name: {ROOT}/roles/docker, tasks_from: teardown}}}}]
""")
    variables = {"ical_state_dir": str(tmp_path), "teardown_purge": True,
                 "ansible_facts": {"service_mgr": "systemd"}}
    result = playbook("-i", "one,", "-c", "local", "-M", str(tmp_path), "--check", str(book),
                      "-e", json.dumps(variables))
    assert result.returncode == 0, result.stdout
    assert ": Remove the group of the engine]" in result.stdout
    assert ": Remove the packages that came]" in result.stdout


def test_no_image_is_looked_for_where_no_module_could(playbook, tmp_path):
    """Docker was there, and site.yml failed before it brought what its modules need."""
    (tmp_path / "ical_probe.py").write_text(
        probe({"swarm": "inactive"}, {"packages": [], "state": {"docker": {}}}))
    book = tmp_path / "images.yml"
    book.write_text("""
- hosts: one
  gather_facts: false
  tasks: [{include_role: {name: image, tasks_from: teardown}}]
""")
    variables = {"ical_state_dir": str(tmp_path), "image_trust_root": str(tmp_path),
                 "image_registry_unit": str(tmp_path / "unit"), "teardown_purge": True}
    result = playbook("-i", "one,", "-c", "local", "-M", str(tmp_path), str(book), "-e",
                      json.dumps(variables))
    assert result.returncode == 0, result.stdout
    assert "Find our images" not in result.stdout


def role_variables(playbook, tmp_path, variables, shown):
    """What a play tells of an expression of the role docker's variables."""
    book = tmp_path / "variables.yml"
    book.write_text(f"""
- hosts: one
  gather_facts: false
  vars_files: [{ROOT}/roles/docker/defaults/main.yml, {ROOT}/roles/docker/vars/main.yml]
  tasks: [{{debug: {{msg: "{{{{ {shown} }}}}"}}}}]
""")
    return playbook("-i", "one,", "-c", "local", str(book), "-e", json.dumps(variables)).stdout


@pytest.mark.parametrize(("packages", "goes"), [
    (["docker.io", "containerd"], True), (["docker-ce", "containerd.io"], True),
    (["docker.io"], False)])
def test_what_a_containerd_of_others_has_mounted_stays(playbook, tmp_path, packages, goes):
    """The root filesystems of its containers are in that folder."""
    told = role_variables(playbook, tmp_path, {"docker_known": {"packages": packages},
                                               "docker_probe": {"host": {"packages": packages}}},
                          "docker_paths")
    assert "/run/docker" in told
    assert ("/run/containerd" in told) == goes


def test_packages_that_others_installed_meanwhile_are_not_ours(playbook, tmp_path):
    """An installation was interrupted; an administrator repaired the host, and it goes on."""
    there = subprocess.run(["dpkg-query", "-W", "-f", "${Package}\n"], text=True, check=True,
                           capture_output=True).stdout.split()
    ours, theirs = there[:2]
    state = tmp_path / "docker.json"
    state.write_text(json.dumps({
        "status": "installing", "installed_by_us": True, "packages": [],
        "packages_before": there[2:], "packages_asked": [ours]}))
    book = tmp_path / "install.yml"
    book.write_text(f"""
- hosts: one
  gather_facts: false
  tasks:
    - include_role: {{name: {ROOT}/roles/docker, tasks_from: probe}}
    - include_role: {{name: {ROOT}/roles/docker, tasks_from: install}}
""")
    variables = {"ical_state_dir": str(tmp_path), "docker_missing": []}
    result = playbook("-i", "one,", "-c", "local", str(book), "-e", json.dumps(variables))
    assert result.returncode == 0, result.stdout
    assert json.loads(state.read_text())["packages"] == [ours], theirs


@pytest.mark.parametrize(("also", "told"), [
    ("", ""), ("Remv certbot [2.1]\nPurg ufw [0.36]\n",
               "On one certbot, ufw came since and would go with the packages")])
def test_packages_that_somebody_needs_now_are_not_removed(playbook, tmp_path, command, also,
                                                          told):
    command("apt-get", f'#!/bin/sh\necho "$@" > {tmp_path}/asked\ncat {tmp_path}/goes\n')
    (tmp_path / "goes").write_text(f"Reading state information...\nPurg docker.io [20]\n{also}")
    book = tmp_path / "needed.yml"
    book.write_text(f"""
- hosts: one
  gather_facts: false
  tasks: [{{include_tasks: {ROOT}/roles/docker/tasks/needed.yml}}]
""")
    variables = {"docker_probe": {"host": {"packages": ["iptables", "docker.io", "ufw"]}},
                 "docker_brought": ["docker.io", "iptables", "gone"]}
    result = playbook("-i", "one,", "-c", "local", str(book), "-e", json.dumps(variables))
    *asked, one, other = (tmp_path / "asked").read_text().split()
    assert (asked, {one, other}) == (["--simulate", "purge"], {"docker.io", "iptables"})
    assert (result.returncode != 0) == bool(told), result.stdout
    assert told in " ".join(result.stdout.split())


def test_images_go_by_their_names_and_with_every_base_that_we_pulled(playbook, engine, tmp_path,
                                                                    monkeypatch):
    """All of these have our label: the user's was built on ours, and has it from there."""
    ours = ["ical-swarm:0123", "ical-swarm-base:0123", "192.0.2.1:5000/ical-swarm:0123"]
    bases = ["python:3.11-slim-bookworm", "debian:13", "python:3.12"]
    images = [{"Id": f"sha256:{number:064}", "RepoTags": [name], "RepoDigests": []}
              for number, name in enumerate([*ours, *bases, "mine:1"])]
    engine.answers |= {"/images/json": images}
    engine.answers |= {f"/images/{known}/json": image for image in images
                       for known in (image["Id"], image["RepoTags"][0])}
    # the last was pulled by an earlier version, which kept it elsewhere
    (tmp_path / "pulled").write_text("\n".join(bases[:2]) + "\n")
    (tmp_path / "image.json").write_text(json.dumps({"base": bases[2], "pulled": True}))
    (tmp_path / "docker.json").write_text('{"status": "ready"}')
    monkeypatch.setenv("DOCKER_HOST", f"unix://{engine.path}")
    book = tmp_path / "images.yml"
    book.write_text("""
- hosts: one
  gather_facts: false
  tasks: [{include_role: {name: image, tasks_from: teardown}}]
""")
    variables = {"ical_state_dir": str(tmp_path),
                 "image_trust_root": str(tmp_path), "image_registry_unit": str(tmp_path / "unit"),
                 "teardown_purge": True, "image_base": "auto"}
    result = playbook("-i", "one,", "-c", "local", str(book), "-e", json.dumps(variables))
    assert sorted(engine.removed) == sorted(ours + bases), result.stdout
    assert not (tmp_path / "pulled").exists()


@pytest.mark.parametrize(("known", "manager", "started"), [
    ("direct", "systemd", "direct"), ("", "systemd", "systemd"), ("", "sysvinit", "direct")])
def test_an_engine_of_which_nobody_noted_how_it_started_is_stopped_too(playbook, tmp_path, known,
                                                                       manager, started):
    variables = {"docker_known": {"started_by": known}, "ansible_facts": {"service_mgr": manager}}
    told = role_variables(playbook, tmp_path, variables, "'by ' ~ docker_started ~ '.'")
    assert f"by {started}." in told
