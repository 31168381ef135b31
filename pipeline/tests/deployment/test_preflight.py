"""Mistakes of a user end in one sentence, before anything is changed."""

from __future__ import annotations

import json
import re
import time
from pathlib import Path

import pytest
from ansible.module_utils import ical_host as host

ROOT = Path(__file__).resolve().parents[3]


@pytest.mark.parametrize(("wrong", "told"), [
    ("dask_wokers=3 result_dir=/srv", "No role knows dask_wokers, result_dir: misspelt?"),
    ("dask_workers=0", "dask_workers (0)"),
    ('{"dask_inputs": ["/srv", "/data/"]}', "dask_inputs names /data/, in whose place a container "
     "has something of its own: name a folder inside it, as /data/ms."),
    ("dask_worker_memory=100M dask_workers=4", "gives each of its 4 workers 100M of memory "
     "(dask_worker_memory), and 512M or more are needed: give it fewer dask_workers."),
    ("dask_workers=100000", "(dask_worker_memory, a share of what the host has), and 512M"),
    ("dask_workers=12 swarm_subnet=10.79.0.0/28 dask_worker_memory=512M", "The 12 workers of all "
     "hosts, and what runs beside them, want 24 addresses, and swarm_subnet (10.79.0.0/28) has 13: "
     "give fewer dask_workers, each more dask_threads, or a larger swarm_subnet."),
    ("dask_dashboard_port=99999", "dask_dashboard_port (99999) 1 to 65535."),
    ('{"dask_inputs": ["srv"]}', "dask_inputs (srv) must be absolute paths."),
    ('{"docker_daemon_options": {"data-root": "docker"}}', "The data-root of "
     "docker_daemon_options is docker; give an absolute path."),
    ("dask_inputs=/srv,/ms pipeline_stages=image", "dask_inputs, pipeline_stages are lists, which "
     """on the command line is typed as -e '{"dask_inputs": ["/srv", "/ms"], """
     """"pipeline_stages": ["image"]}'."""),
    ("swarm_subnet=10.79.0.0", "swarm_subnet (10.79.0.0)"),
    ("ical_run=no-such-run", "ical_run is 'no-such-run'"),
    ("ca_bundle=/no/such/file.pem", "ca_bundle names /no/such/file.pem"),
    ("docker_source=upstream", "docker_upstream_url"),
    ("arl_fetch=each", "give arl_tarball_url"),
    ("image_distribution=torrent", "must be one of: auto, load, registry"),
    ("ms_access=shard", "must be one of: auto, shared, distribute"),
    ("ms_acces=shared", "No role knows ms_acces"),
    ("fetch_visibilities=some", "fetch_visibilities is 'some'; give true (all of them), false"),
    ("image_registry=https://reg.example", "image_registry is https://reg.example; images are "
     "named by host, port and folder alone"),
    ("arl_tarball_url=gopher://x", "must be an http, https, ftp or file URL"),
])
def test_a_mistake_is_told_before_anything_is_changed(playbook, tmp_path, wrong, told):
    inventory = tmp_path / "hosts.yml"
    inventory.write_text("""
managers: {hosts: {localhost: {}}}
workers: {hosts: {localhost: {}}}
all: {vars: {ansible_connection: local}}
""")
    result = playbook("-i", str(inventory), "--check", "site.yml", "-e", wrong,
                      "-e", f"ical_state_dir={tmp_path / 'state'}")
    assert result.returncode != 0
    assert told in " ".join(result.stdout.split()), result.stdout
    assert "Traceback" not in result.stdout + result.stderr
    assert "changed=0" in result.stdout
    assert not (tmp_path / "state").exists()


@pytest.mark.parametrize("tls", [True, False])
def test_a_cluster_that_keeps_nobody_out_is_warned_of_once(playbook, pair, tmp_path, tls):
    result = playbook("-i", pair, "site.yml", "--tags", "render", "-e", f"dask_tls={tls}",
                      "-e", f"ical_render_dir={tmp_path}/out")
    assert result.returncode == 0, result.stdout
    told = " ".join(result.stdout.split())
    assert told.count("WARNING: dask_tls is false. Whoever reaches the") == (0 if tls else 1)


def test_a_subnet_that_the_host_has_a_route_to_is_refused(playbook):
    routes = host.parse_routes(host.text("/proc/net/route"))
    if not routes:
        pytest.skip("this machine has no route but the default one")
    result = playbook("--check", "site.yml", "--tags", "preflight",
                      "-e", f"swarm_subnet={routes[0]}")
    assert result.returncode != 0
    assert f"it has routes to {routes[0]}, which overlap" in " ".join(result.stdout.split())


@pytest.mark.parametrize("name", ["site.yml", "teardown.yml", "status.yml"])
def test_an_inventory_without_our_groups_is_refused(playbook, tmp_path, name):
    inventory = tmp_path / "hosts.yml"
    inventory.write_text("all: {hosts: {somewhere: {}}}\n")
    result = playbook("-i", str(inventory), name)
    assert result.returncode != 0
    told = " ".join(result.stdout.split())
    assert "must have one, three or five hosts in the group managers (it has 0)" in told


@pytest.fixture(name="two_managers")
def two_managers_fixture(tmp_path):
    """An inventory as it is left when one of three managers has gone; the others do not answer."""
    inventory = tmp_path / "hosts.yml"
    inventory.write_text("""
managers: {hosts: {one: , two: }}
workers: {hosts: {one: }}
all: {vars: {ansible_host: 127.0.0.1, ansible_port: 1, ansible_ssh_retries: 0}}
""")
    return str(inventory)


def test_an_even_number_of_managers_is_refused_with_what_to_do(playbook, two_managers):
    result = playbook("-i", two_managers, "site.yml")
    told = " ".join(result.stdout.split())
    assert result.returncode != 0
    assert "must have one, three or five hosts in the group managers (it has 2)" in told
    assert ("site.yml wants one, three or five managers, not 2 (one, two): move one of them from "
            "managers to workers, or put another host into managers.") in told
    assert "does not answer" not in told


@pytest.mark.parametrize("name", ["status.yml", "teardown.yml", "playbooks/remove_hosts.yml"])
def test_hosts_are_asked_and_released_whatever_the_number_of_managers(playbook, two_managers, name):
    result = playbook("-i", two_managers, name, "-e", "hosts=one")
    told = " ".join(result.stdout.split())
    assert result.returncode != 0
    assert "one does not answer, nor does any other host" in told


def test_a_manager_that_does_not_answer_is_named_with_what_becomes_of_the_others(
        playbook, tmp_path):
    inventory = tmp_path / "hosts.yml"
    inventory.write_text("""
managers:
  hosts:
    one: {ansible_connection: local}
    two: {ansible_connection: local}
    away: {ansible_host: 127.0.0.1, ansible_port: 1, ansible_ssh_retries: 0}
workers: {hosts: {one: }}
""")
    result = playbook("-i", str(inventory), "site.yml", "--tags", "preflight")
    told = " ".join(result.stdout.split())
    assert "back, or take it out of the inventory. site.yml wants one, three or five" in told
    assert "not 2 (one, two): move one of them" in told


def test_certificates_that_have_expired_are_told_before_a_run(playbook, tmp_path, monkeypatch):
    """Also where the controller's day begins earlier than that of its clock."""
    monkeypatch.setenv("TZ", "Asia/Tokyo")
    ended = int(time.time()) - 60
    book = tmp_path / "expired.yml"
    book.write_text(f"""
- hosts: one
  gather_facts: false
  vars:
    dask_scheduler_address: x
    dask_tls: true
    dask_tls_known: {{tls: a, expires: {ended}}}
  tasks: [{{include_role: {{name: {ROOT}/roles/pipeline}}}}]
""")
    result = playbook("-i", "one,", "-c", "local", str(book))
    told = " ".join(result.stdout.split())
    assert result.returncode != 0
    assert "The certificates of this deployment have expired" in told
    assert "To make new ones, type ansible-playbook site.yml" in told
    assert "--tags dask,pipeline" in told


def test_a_run_does_not_go_on_while_no_manager_answers(playbook, tmp_path):
    inventory = tmp_path / "hosts.yml"
    inventory.write_text("""
managers: {hosts: {away: {ansible_host: 127.0.0.1, ansible_port: 1, ansible_ssh_retries: 0}}}
workers: {hosts: {here: {ansible_connection: local}}}
""")
    result = playbook("-i", str(inventory), "site.yml", "--tags", "pipeline")
    assert result.returncode != 0
    assert ("Nothing was changed. away does not answer, and without a manager nothing can go on. "
            "Bring it back, then type the same again.") in " ".join(result.stdout.split())


@pytest.fixture(name="pair")
def pair_fixture(tmp_path):
    """An inventory of this machine under one name and of one that answers nobody under another."""
    inventory = tmp_path / "hosts.yml"
    inventory.write_text("""
managers: {hosts: {here: {ansible_connection: local}}}
workers: {hosts: {away: {ansible_host: 127.0.0.1, ansible_port: 1, ansible_ssh_retries: 0}}}
""")
    return str(inventory)


def test_this_machine_becomes_nobody_else_whatever_holds_for_all_hosts(playbook, pair, tmp_path):
    """A variable `ansible_become` counts before the `become: false` of a task."""
    inventory = Path(pair)
    inventory.write_text(inventory.read_text() + "all: {vars: {ansible_become: true, "
                         "ansible_become_user: nobody, ansible_become_exe: /no/sudo}}\n")
    book = tmp_path / "this.yml"
    book.write_text(f"""
- import_playbook: {ROOT}/playbooks/hosts.yml
- hosts: away
  gather_facts: false
  tasks:
    - command: echo stayed
      delegate_to: localhost
      become: false
      register: said
    - debug: {{msg: "<{{{{ said.stdout }}}}>"}}
""")
    result = playbook("-i", pair, str(book), "--tags", "all,render")
    assert "<stayed>" in result.stdout, result.stdout


@pytest.mark.parametrize("name", ["site.yml", "teardown.yml"])
def test_a_part_of_the_hosts_is_refused(playbook, pair, name):
    result = playbook("-i", pair, name, "--limit", "here")
    assert result.returncode != 0
    assert "--limit leaves out away, and a part of the hosts" in " ".join(result.stdout.split())
    assert not re.search("changed=[1-9]", result.stdout)


def test_a_host_that_does_not_answer_is_named_before_anything_is_changed(playbook, pair):
    result = playbook("-i", pair, "site.yml")
    told = " ".join(result.stdout.split())
    assert result.returncode != 0
    assert "Nothing was changed. These hosts cannot carry the deployment: " in told
    assert " away does not answer: " in told
    assert "Bring away back, or take it out of the inventory." in told
    assert not re.search("changed=[1-9]", result.stdout)


@pytest.mark.parametrize(("tag", "stopped", "kept"), [
    ("pipeline", {"Stop the pipeline"}, {"Stop Dask", "Leave the swarm"}),
    ("dask", {"Stop the pipeline", "Stop Dask"}, {"Remove the overlay", "Leave the swarm"}),
])
def test_teardown_of_a_part_stops_that_part_alone(playbook, pair, tag, stopped, kept):
    """Tags of a play hold for all its tasks, also for those with tags of their own."""
    listed = playbook("-i", pair, "teardown.yml", "--list-tasks", "--tags", tag).stdout
    tasks = {line.split("TAGS:")[0].strip() for line in listed.splitlines()}
    assert stopped <= tasks
    assert not kept & tasks


def test_nobody_who_answers_is_not_success(playbook, pair):
    result = playbook("-i", pair, "teardown.yml", "--limit", "away")
    assert result.returncode != 0
    assert "away does not answer, nor does any other host" in " ".join(result.stdout.split())


@pytest.mark.parametrize("options", [(), ("--limit", "all")])
@pytest.mark.parametrize(("broken", "told"), [
    ("ansible_host: 127.0.0.1, ansible_port: 1, ansible_ssh_retries: 0", "away does not answer: "),
    ("ansible_connection: local, ansible_python_interpreter: /no/python",
     "away answers, but no module of Ansible runs there: "),
    # as one whose login fails, or hangs until a limit
    ("ansible_host: 127.0.0.1, ansible_ssh_executable: /bin/false", "away does not answer: "),
])
def test_one_host_that_cannot_be_worked_on_does_not_keep_the_others(playbook, tmp_path, broken,
                                                                    told, options):
    inventory = tmp_path / "hosts.yml"
    inventory.write_text(f"""
managers: {{hosts: {{here: {{ansible_connection: local}}}}}}
workers: {{hosts: {{away: {{{broken}}}}}}}
""")
    # without the proof, which looks at whatever else this machine does
    result = playbook("-i", str(inventory), "teardown.yml", "--skip-tags", "proof", *options,
                      "-e", f"ical_state_dir={tmp_path / 'state'}")
    said = " ".join(result.stdout.split())
    assert result.returncode != 0
    # said last, once every other host has come through all plays
    assert "away could not be released; everything else is." in said
    assert told in said


@pytest.mark.parametrize(("asked", "told"), [
    ("nowhere,here", "nowhere is not in the inventory."),
    ("here", "No manager would be left: run site.yml first with two more hosts"),
    ("away", "No worker would be left"), ("", "Say which hosts are to leave")])
def test_hosts_that_may_not_leave_are_refused(playbook, pair, tmp_path, asked, told):
    result = playbook("-i", pair, "playbooks/remove_hosts.yml", "-e", f"hosts={asked}",
                      "-e", f"ical_state_dir={tmp_path / 'state'}")
    assert result.returncode != 0
    assert told in " ".join(result.stdout.split()), result.stdout
    assert not re.search("changed=[1-9]", result.stdout)


@pytest.mark.parametrize(("managers", "answering", "leaving", "refused"), [
    ("abc", "abc", "c", False), ("abc", "ab", "c", False), ("abc", "ab", "b", True),
    ("abc", "abc", "bc", True), ("ab", "ab", "b", False), ("ab", "a", "b", True)])
def test_as_many_managers_stay_as_decide(playbook, tmp_path, managers, answering, leaving, refused):
    inventory = tmp_path / "hosts.yml"
    inventory.write_text(json.dumps({"managers": {"hosts": dict.fromkeys(managers)},
                                     "workers": {"hosts": {"a": None}},
                                     "ical_present": {"hosts": dict.fromkeys(answering)}}))
    probe = {"engine": {"swarm_acts": True, "swarm_acted": False, "swarm_nodes": [],
                        "containers": {}}}
    book = tmp_path / "leaving.yml"
    book.write_text(f"""
- hosts: a
  gather_facts: false
  tasks: [{{include_tasks: {ROOT}/playbooks/tasks/leaving.yml}}]
""")
    variables = {"hosts": ",".join(leaving), "teardown_probe": probe, "teardown_swarm_stays": False}
    result = playbook("-i", str(inventory), str(book), "-e", json.dumps(variables))
    told = " ".join(result.stdout.split())
    assert (result.returncode != 0) == refused, told
    assert (f"Of {len(managers)} managers only" in told) == refused


@pytest.mark.parametrize("there", [True, False])
def test_hosts_without_the_image_are_told_before_the_swarm_is_changed(playbook, tmp_path, there,
                                                                      command):
    command("docker", f"#!/bin/sh\nexit {0 if there else 1}\n")
    inventory = tmp_path / "hosts.yml"
    inventory.write_text("""
ical_manager: {hosts: {one: {image_name: "ical-swarm:0123"}}}
workers: {hosts: {one: {}, two: {}}}
all: {vars: {ansible_connection: local}}
""")
    book = tmp_path / "carried.yml"
    book.write_text(f"""
- hosts: workers
  gather_facts: false
  tasks: [{{include_tasks: {ROOT}/playbooks/tasks/carried.yml}}]
""")
    result = playbook("-i", str(inventory), str(book))
    told = " ".join(result.stdout.split())
    sentence = "Nothing of the swarm was changed. one, two does not have the image ical-swarm:0123"
    assert (result.returncode == 0, sentence in told) == (there, not there), result.stdout


#: In place of docker: it fails so often with what the engine says, and notes each attempt.
SLOW_DOCKER = """#!/bin/sh
echo "$*" >>{attempts}
test "$(wc -l <{attempts})" -gt {fails} && exit 0
echo 'docker: Error response from daemon: {says}.' >&2
echo "See 'docker run --help'." >&2
exit 125
"""
LATE = "attaching to network failed: context deadline exceeded"


@pytest.mark.parametrize(("fails", "says", "attempts", "told"), [
    (0, LATE, 1, ""),
    (2, LATE, 3, ""),
    (9, LATE, 4, "one starts no container on the overlay ical-net: docker: Error response from"),
    (9, "no such image", 1, "no such image. The engine's log on that host says more: journalctl")])
def test_a_host_that_gets_the_network_late_is_asked_again(playbook, tmp_path, command, fails,
                                                          says, attempts, told):
    seen = tmp_path / "attempts"
    command("docker", SLOW_DOCKER.format(attempts=seen, fails=fails, says=says))
    book = tmp_path / "echo.yml"
    book.write_text(f"""
- hosts: one
  gather_facts: false
  vars: {{swarm_network: ical-net, swarm_echo: echo, swarm_image: i, swarm_echo_port: "7777"}}
  tasks: [{{include_tasks: {ROOT}/roles/swarm/tasks/echo.yml}}]
""")
    result = playbook("-i", "one,", "-c", "local", str(book), "-e", "swarm_timeout=60")
    assert (result.returncode == 0) == (not told), result.stdout
    assert told in " ".join(result.stdout.split())
    assert seen.read_text().count("run --detach --rm") == attempts


#: A host that has tried to join.
TRIED = f"""
- hosts: one
  gather_facts: false
  tasks: [{{include_tasks: {ROOT}/roles/swarm/tasks/tried.yml}}]
"""


def test_why_a_host_does_not_join_is_told_without_the_token(playbook, tmp_path):
    book = tmp_path / "tried.yml"
    book.write_text(TRIED)
    variables = {"swarm_attempt": "join the swarm of head at 192.0.2.1:2377", "swarm_hint": "x",
                 "swarm_state_dir": str(tmp_path),
                 "swarm_tried": {"msg": "refused SWMTKN-1-4abc-9xyz: connection timed out."}}
    result = playbook("-i", "one,", "-c", "local", str(book), "-e", json.dumps(variables))
    told = " ".join(result.stdout.split())
    assert result.returncode != 0
    assert ("one could not join the swarm of head at 192.0.2.1:2377: refused SWMTKN-...: "
            "connection timed out. Note that x.") in told
    assert "4abc" not in told
    variables["swarm_tried"] = {"actions": ["joined"]}
    assert playbook("-i", "one,", "-c", "local", str(book), "-e",
                    json.dumps(variables)).returncode == 0


@pytest.mark.parametrize(("engine", "told"), [
    ({"swarm_nodes": [{"host": "two", "id": "2", "state": "ready", "role": "worker"}]},
     "one was asked 2 times, and it does not see two leave. docker node ls on one"),
    ({}, "one was asked 2 times, and")])
def test_who_did_not_see_what_was_waited_for_is_told(playbook, tmp_path, engine, told):
    (tmp_path / "ical_probe.py").write_text(f"""#!/usr/bin/python
from ansible.module_utils.basic import AnsibleModule
AnsibleModule({{"state_dir": {{}}}}).exit_json(engine={engine})
""")
    book = tmp_path / "remove.yml"
    book.write_text("""
- hosts: one
  gather_facts: false
  tasks: [{include_role: {name: swarm, tasks_from: remove}}]
""")
    result = playbook("-i", "one,", "-c", "local", "-M", str(tmp_path), str(book), "-e", json.dumps(
        {"swarm_removed": ["two"], "swarm_lost": [], "swarm_timeout": 2}))
    assert result.returncode != 0
    assert told in " ".join(result.stdout.split())
    assert "TASK [swarm : Remove the" not in result.stdout


@pytest.mark.parametrize(("swarm", "answer", "told"), [
    ("inactive", "fail_json(msg='no swarm')", ""),
    ("active", "fail_json(msg='the swarm does not answer')",
     "one does not tell whether a run is going on: the swarm does not answer."),
    ("active", "exit_json(tasks=[])", ""),
    ("active", "exit_json(tasks=[{'service': 'ical-pipeline-model'}])",
     "ical-pipeline-model is going on, and would not survive another library: it was left alone. "
     "Give -e dask_upgrade=wait to wait for its end,")])
def test_nothing_is_changed_under_a_run_or_where_it_is_not_known(
        playbook, tmp_path, swarm, answer, told):
    for name, said in (("ical_probe", f"exit_json(engine={{'swarm': '{swarm}'}})"),
                       ("ical_tasks", answer)):
        (tmp_path / f"{name}.py").write_text(f"""#!/usr/bin/python
from ansible.module_utils.basic import AnsibleModule
AnsibleModule({{"services": {{"type": "list"}}, "network": {{}}, "timeout": {{}}}}).{said}
""")
    book = tmp_path / "idle.yml"
    book.write_text("""
- hosts: one
  gather_facts: false
  tasks: [{include_role: {name: dask, tasks_from: idle}, vars: {dask_change: another library}}]
""")
    result = playbook("-i", "one,", "-c", "local", "-M", str(tmp_path), str(book), "-e",
                      json.dumps({"ical_state_dir": str(tmp_path)}))
    assert (result.returncode != 0) == bool(told), result.stdout
    assert told in " ".join(result.stdout.split())


#: In place of plugins/modules/ical_probe.py: an engine that is joining, and what becomes of it.
TRYING = """#!/usr/bin/python
from pathlib import Path
from ansible.module_utils.basic import AnsibleModule
module = AnsibleModule({"state_dir": {}})
asked = Path("ASKED")
states = asked.read_text().split()
asked.write_text(" ".join(states[1:] or states))
module.exit_json(engine={"swarm": states[0]})
"""
GOES_ON = "Timeout was reached before node joined. The attempt will continue in the background."


@pytest.mark.parametrize(("says", "states", "left", "joined"), [
    (GOES_ON, "pending pending active", "active", True),
    (GOES_ON, "pending error", "error", False), (GOES_ON, "pending", "pending", False),
    ("connection timed out", "active", "active", False),
    ("", "pending active", "pending active", True)])
def test_an_engine_that_goes_on_joining_is_waited_for(playbook, tmp_path, says, states, left,
                                                      joined):
    (tmp_path / "asked").write_text(states)
    (tmp_path / "ical_probe.py").write_text(TRYING.replace("ASKED", str(tmp_path / "asked")))
    book = tmp_path / "tried.yml"
    book.write_text(TRIED)
    variables = {"swarm_attempt": "join the swarm of head", "swarm_hint": "x", "swarm_timeout": 3,
                 "swarm_state_dir": "", "swarm_tried": {"msg": says}}
    result = playbook("-i", "one,", "-c", "local", "-M", str(tmp_path), str(book), "-e",
                      json.dumps(variables))
    assert (result.returncode == 0) == joined, result.stdout
    assert (tmp_path / "asked").read_text() == left


@pytest.mark.parametrize(("state", "status"), [("inactive", "failed"), ("active", None)])
def test_a_swarm_that_a_host_did_not_get_into_is_not_taken_for_ours_later(playbook, tmp_path, state,
                                                                          status):
    (tmp_path / "asked").write_text(state)
    (tmp_path / "ical_probe.py").write_text(TRYING.replace("ASKED", str(tmp_path / "asked")))
    book = tmp_path / "tried.yml"
    book.write_text(TRIED)
    record = tmp_path / "swarm.json"
    variables = {"swarm_attempt": "join the swarm of head", "swarm_hint": "x", "swarm_timeout": 3,
                 "swarm_state_dir": str(tmp_path),
                 "swarm_state_file": str(record), "swarm_engine": {"node_id": ""},
                 "swarm_tried": {"msg": "connection timed out"}}
    playbook("-i", "one,", "-c", "local", "-M", str(tmp_path), str(book), "-e",
             json.dumps(variables))
    assert (json.loads(record.read_text())["status"] if record.exists() else None) == status
