"""A teardown goes on without the hosts that it loses, and says last which, and what to type."""

from __future__ import annotations

import ctypes
import json
import socket
import sys
from pathlib import Path

import pytest
import yaml

ROOT = Path(__file__).resolve().parents[3]
VENV = Path(sys.executable).parent
#: In place of ssh: this machine, which falls silent when it is to take the census, or hangs.
SSH = """#!/bin/sh
for last; do :; done
case $last in *python*) cat >{folder}/module.$$ ;; *) exec sh -c "$last" </dev/null ;; esac
grep -q ical_census {folder}/module.$$ && {then}
exec sh -c "$last" <{folder}/module.$$
"""
PR_SET_NAME = 15
GATED = ["Wait until every host has let go of pipeline and Dask", "Leave the swarm",
         "End the swarm"]


@pytest.fixture(name="three")
def three_fixture(tmp_path):
    """An inventory of this machine, of a host that falls silent late, and of one that always is."""
    inventory = tmp_path / "hosts.yml"
    inventory.write_text(f"""
managers: {{hosts: {{here: {{ansible_connection: local}}}}}}
workers:
  hosts:
    late:
      ansible_host: 127.0.0.1
      ansible_user: root
      ansible_ssh_executable: {tmp_path}/ssh
    away: {{ansible_host: 127.0.0.1, ansible_port: 1}}
  vars: {{ansible_ssh_retries: 0}}
""")
    return str(inventory)


@pytest.fixture(name="one")
def one_fixture(tmp_path):
    """An inventory of this machine alone."""
    inventory = tmp_path / "hosts"
    inventory.write_text("[managers]\none ansible_connection=local\n[workers]\none\n")
    return str(inventory)


@pytest.fixture(name="leak")
def leak_fixture():
    """A listener as Docker's on the scheduler's port, by this process."""
    own = Path("/proc/self/comm").read_text(encoding="ascii").encode()
    rename = ctypes.CDLL(None).prctl
    with socket.create_server(("127.0.0.1", 8786)):
        rename(PR_SET_NAME, b"docker-proxy", 0, 0, 0)
        yield
        rename(PR_SET_NAME, own.strip(), 0, 0, 0)


@pytest.mark.usefixtures("leak")
@pytest.mark.parametrize(("then", "reason"), [
    ("exit 255", "fatal: [late]: UNREACHABLE!"),
    ("exec sleep 300", "Timed out after 30 second(s)")])
def test_every_host_that_is_not_released_is_told_in_the_end(playbook, three, tmp_path, then,
                                                            reason):
    (tmp_path / "ssh").write_text(SSH.format(folder=tmp_path, then=then))
    (tmp_path / "ssh").chmod(0o755)
    result = playbook("-i", three, "teardown.yml", "-e", f"ical_state_dir={tmp_path / 'state'}",
                      "-e", "teardown_timeout=30")
    told = " ".join(result.stdout.split())
    assert result.returncode != 0
    assert reason in told
    end = told.split("TASK [Fail with what to type]")[-1]
    assert "away, late, here could not be released; everything else is." in end
    assert "away does not answer: " in end
    assert "late failed or fell silent on the way: the reason is told above" in end
    assert "here is not released. Still there: " in end
    assert (f"type the same again: ansible-playbook teardown.yml -i {three} -e "
            f"ical_state_dir={tmp_path / 'state'}") in end


@pytest.mark.parametrize(("state", "purge", "installed", "stuck"), [
    ("docker.json", True, True, True), ("docker.json", False, True, False),
    ("docker.json", True, False, False), ("swarm.json", False, True, True),
    ("somebody_elses.json", True, True, False)])
def test_nothing_is_removed_from_an_engine_that_does_not_tell_what_it_carries(
        playbook, one, tmp_path, monkeypatch, state, purge, installed, stuck):
    monkeypatch.setenv("PATH", f"{tmp_path}:{VENV}")  # no other dockerd
    if installed:
        (tmp_path / "dockerd").write_text("#!/bin/sh\n")
        (tmp_path / "dockerd").chmod(0o755)
    (tmp_path / state).write_text('{"installed_by_us": true}')
    book = tmp_path / "stock.yml"
    book.write_text(f"""
- hosts: one
  gather_facts: false
  environment: {{DOCKER_HOST: "unix://{tmp_path}/docker.sock"}}
  tasks:
    - include_tasks: {ROOT}/playbooks/tasks/stock.yml
    - debug: {{msg: "stuck {{{{ teardown_absent }}}}"}}
""")
    result = playbook("-i", one, str(book), "-e",
                      json.dumps({"ical_state_dir": str(tmp_path), "teardown_purge": purge}))
    assert f"stuck {['one'] if stuck else []}" in result.stdout, result.stdout


def test_an_engine_elsewhere_is_left_alone(playbook, one, tmp_path, monkeypatch):
    """Its swarm would be left in place of that of the host."""
    monkeypatch.setenv("DOCKER_HOST", "tcp://192.0.2.1:2375")
    result = playbook("-i", one, "teardown.yml", "-e",
                      f"ical_state_dir={tmp_path}")
    assert result.returncode != 0
    assert ("docker asks another engine than that of the host (DOCKER_HOST is "
            "tcp://192.0.2.1:2375), and what is there would be removed: unset that. Nothing was "
            "changed.") in " ".join(result.stdout.split())


@pytest.mark.usefixtures("leak")
def test_in_check_mode_what_is_there_is_no_failure(playbook, one, tmp_path):
    result = playbook("-i", one, "teardown.yml", "--check", "-e",
                      f"ical_state_dir={tmp_path / 'state'}")
    assert result.returncode == 0, result.stdout
    assert "one: what would go of the deployment" in result.stdout
    assert "tcp 8786" in result.stdout


@pytest.mark.parametrize(("manager", "lost", "stops"), [
    ("one", "two", False), ("one", "one", True), ("", "one", False), ("one", "nobody", False)])
def test_nobody_goes_on_without_the_manager_that_acts(playbook, tmp_path, manager, lost, stops):
    book = tmp_path / "acting.yml"
    book.write_text(f"""
- hosts: all
  gather_facts: false
  any_errors_fatal: false
  tasks: [{{fail: {{msg: lost}}, when: inventory_hostname == '{lost}'}}]
- hosts: all
  gather_facts: false
  any_errors_fatal: false
  tasks:
    - include_tasks: {ROOT}/playbooks/tasks/acting.yml
    - debug: {{msg: goes on}}
  vars: {{teardown_manager: '{manager}', teardown_again: ansible-playbook teardown.yml}}
""")
    result = playbook("-i", "one,two,three", "-c", "local", str(book))
    told = " ".join(result.stdout.split())
    assert ("goes on" in told) != stops, result.stdout
    sentence = "one, which acts for all hosts, failed or fell silent on the way, as told above"
    assert (sentence in told) == stops, result.stdout


def test_a_play_goes_on_without_a_host_but_not_without_what_it_builds_on():
    """Of all hosts each: a play whose every host fails is the last of the playbook."""
    plays = yaml.safe_load((ROOT / "playbooks/teardown.yml").read_text())
    names = [play["name"] for play in plays]
    middle = plays[names.index("Take stock") + 1:-1]
    assert {play["hosts"] for play in middle} == {"ical_present"}
    assert not any(play["any_errors_fatal"] for play in middle)
    assert all("teardown_timeout" in play["timeout"] for play in middle)
    gated = [play["name"] for play in middle if "acting.yml" in str(play["tasks"][0])]
    assert gated == GATED


LEAVING = """#!/bin/sh
echo "$@" >>{asked}
[ $(wc -l <{asked}) -gt {refusals} ] || {{ echo "{says}" >&2; exit 1; }}
"""


@pytest.mark.parametrize(("says", "refusals", "left", "attempts"), [
    ("Error response from daemon: context deadline exceeded", 1, True, 2),
    ("Error response from daemon: This node is not part of a swarm", 1, True, 1),
    ("Error response from daemon: not today", 1, False, 1), ("", 0, True, 1)])
def test_a_slow_engine_is_asked_to_leave_again(playbook, tmp_path, command, says, refusals,
                                               left, attempts):
    asked = tmp_path / "asked"
    asked.touch()
    command("docker", LEAVING.format(asked=asked, refusals=refusals, says=says))
    (tmp_path / "ical_released.py").write_text("#!/usr/bin/python\nprint('{}')\n")
    book = tmp_path / "exit.yml"
    book.write_text(f"""
- hosts: one
  gather_facts: false
  tasks: [{{include_tasks: {ROOT}/roles/swarm/tasks/exit.yml}}]
""")
    result = playbook("-i", "one,", "-c", "local", "-M", str(tmp_path), str(book),
                      "-e", "swarm_timeout=60")
    assert (result.returncode == 0) == left, result.stdout
    assert asked.read_text().splitlines() == ["swarm leave --force"] * attempts


#: In place of plugins/modules/ical_released.py: the first who asks has not let go.
KEEPS = """#!/bin/sh
mkdir {folder}/kept 2>/dev/null || {{ echo '{{}}'; exit; }}
echo '{{"failed": true, "msg": "Still there.", "left": ["a listener on TCP port 7946"]}}'
"""
PROBE = """#!/bin/sh
echo '{"host": {"clock": {"first": 0, "last": 0}, "state": {"docker": {"installed_by_us": true}}}}'
"""
SYSTEMCTL = """#!/bin/sh
[ "$1" = show ] && printf 'LoadState=loaded\\nActiveState=active\\n'
exit 0
"""


def test_an_engine_that_is_started_again_takes_no_other_host_with_it(playbook, tmp_path, command):
    command("docker", "#!/bin/sh\nexit 0\n")
    command("systemctl", SYSTEMCTL)
    (tmp_path / "ical_released.py").write_text(KEEPS.format(folder=tmp_path))
    (tmp_path / "ical_probe.py").write_text(PROBE)
    book = tmp_path / "exit.yml"
    book.write_text(f"""
- hosts: all
  gather_facts: false
  any_errors_fatal: true
  tasks:
    - include_tasks: {ROOT}/roles/swarm/tasks/exit.yml
    - debug: {{msg: "{{{{ inventory_hostname }}}} goes on"}}
""")
    variables = {"swarm_timeout": 1, "swarm_state_dir": "x",
                 "ansible_facts": {"service_mgr": "systemd"}}
    result = playbook("-i", "one,two", "-c", "local", "-M", str(tmp_path), str(book), "-e",
                      json.dumps(variables))
    assert "TASK [Start it again]" in result.stdout
    assert "one goes on" in result.stdout
    assert "two goes on" in result.stdout
    assert result.returncode == 0, result.stdout
