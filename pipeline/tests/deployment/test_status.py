"""The status of a host that is reached over SSH, whose engine answers as if it had a scheduler."""

from __future__ import annotations

import pytest

ADDRESS = "10.79.0.5"
SERVICE = {"ID": "s", "Spec": {
    "Name": "ical-scheduler", "Mode": {"Replicated": {"Replicas": 1}},
    "TaskTemplate": {"ContainerSpec": {"Image": "ical-swarm:1"}}}}
TASK = {"CreatedAt": "2026", "DesiredState": "running", "Status": {"State": "running"},
        "Spec": SERVICE["Spec"]["TaskTemplate"], "NetworksAttachments": [
            {"Network": {"Spec": {"Name": "ical-net"}}, "Addresses": [f"{ADDRESS}/22"]}]}
NODE = {"ID": "n", "Spec": {"Role": "manager", "Availability": "active", "Labels": {}},
        "Status": {"State": "ready"}}
#: What the engine answers, by the beginning of what it is asked for.
ANSWERS = {
    "/info": {"ServerVersion": "28", "DockerRootDir": "/", "Swarm": {
        "LocalNodeState": "active", "ControlAvailable": True, "NodeID": "n"}},
    "/containers/json": [], "/nodes": [NODE], "/services/": SERVICE, "/services": [SERVICE],
    "/tasks": [TASK],
}


@pytest.fixture(name="engine")
def engine_fixture(fake_engine, monkeypatch):
    """The socket of the engine that every host has."""
    path = fake_engine(lambda path: next(
        (answer for start, answer in ANSWERS.items() if path.startswith(start)), {})).path
    monkeypatch.setenv("DOCKER_HOST", f"unix://{path}")
    return path


@pytest.fixture(name="commands")
def commands_fixture(tmp_path, monkeypatch):
    """A folder with an `ssh` that runs the command here and a `docker` that lists one thing."""
    folder = tmp_path / "bin"
    folder.mkdir()
    lines = {"ssh": 'for last; do :; done; exec sh -c "$last"', "docker": "echo 0123"}
    for name, line in lines.items():
        (folder / name).write_text(f"#!/bin/sh\n{line}\n")
        (folder / name).chmod(0o755)
    monkeypatch.setenv("PATH", str(folder), prepend=":")
    return folder


def status(playbook, tmp_path, engine, commands):
    """What status.yml tells, in one line."""
    inventory = tmp_path / "hosts.yml"
    inventory.write_text(f"""
managers:
  hosts: {{node1: {{ansible_host: 192.0.2.1, ansible_port: 2222, ansible_user: root}}}}
workers: {{hosts: {{node1: {{}}}}}}
all: {{vars: {{ansible_ssh_executable: {commands}/ssh}}}}
""")
    result = playbook("-i", str(inventory), "status.yml", "-e",
                      f"ical_state_dir={tmp_path / 'state'}")
    assert result.returncode == 0, result.stdout
    return " ".join(result.stdout.replace("'", "").split())


def test_the_status_tells_scheduler_dashboard_and_the_tunnel_to_it(playbook, tmp_path, engine,
                                                                   commands):
    told = status(playbook, tmp_path, engine, commands)
    assert f"scheduler: tls://{ADDRESS}:8786" in told
    assert ("dashboard: http://127.0.0.1:8787 on node1, from here by: "
            "ssh -N -L 8787:127.0.0.1:8787 -p 2222 root@192.0.2.1") in told


def test_of_the_managers_one_that_is_in_the_swarm_is_asked(playbook, tmp_path, engine, commands):
    lines = (commands / "ssh").read_text().replace(
        "exec", "export DOCKER_HOST=unix:///no.sock; exec")
    (commands / "off").write_text(lines)
    (commands / "off").chmod(0o755)
    inventory = tmp_path / "hosts.yml"
    inventory.write_text(f"""
managers:
  vars: {{ansible_ssh_executable: {commands}/ssh, ical_state_dir: {tmp_path}, ansible_user: root}}
  hosts: {{stopped: {{ansible_ssh_executable: {commands}/off}}, second: }}
workers: {{hosts: {{stopped: , second: }}}}
""")
    told = playbook("-i", str(inventory), "status.yml").stdout
    assert f"scheduler: tls://{ADDRESS}:8786" in told, told
    assert "scheduler: not running" not in told


@pytest.mark.parametrize(("broken", "told"), [
    ("ansible_ssh_executable: /usr/bin/ssh, ansible_host: 127.0.0.1, ansible_port: 1",
     "away does not answer: "),
    ("ansible_connection: local, ansible_python_interpreter: /no/python",
     "away answers, but no module of Ansible runs there: "),
    # an inventory that makes every host become root, one of which wants a password for it
    ("ansible_connection: local, ansible_become: true, ansible_become_user: them, "
     "ansible_become_exe: /bin/false", "away answers, but no module of Ansible runs there: ")])
def test_a_host_that_is_broken_does_not_hide_the_others(playbook, tmp_path, engine, commands,
                                                        broken, told):
    inventory = tmp_path / "hosts.yml"
    inventory.write_text(f"""
managers: {{hosts: {{node1: {{ansible_connection: local}}}}}}
workers: {{hosts: {{node1: , away: {{{broken}}}}}}}
""")
    result = playbook("-i", str(inventory), "status.yml", "-e",
                      f"ical_state_dir={tmp_path / 'state'}")
    assert f"scheduler: tls://{ADDRESS}:8786" in result.stdout, result.stdout
    assert told in " ".join(result.stdout.split())
    assert result.returncode == 0


def test_without_a_dashboard_the_status_says_so(playbook, tmp_path, engine, commands):
    (commands / "docker").write_text("#!/bin/sh\n")
    told = status(playbook, tmp_path, engine, commands)
    assert f"scheduler: tls://{ADDRESS}:8786" in told
    assert "dashboard: on no manager that answers" in told
