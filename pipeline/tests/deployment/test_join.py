"""A host joins the swarm at the address of the inventory: the role's own tasks, a faked engine."""

from __future__ import annotations

import json
import shutil
from pathlib import Path

import pytest
import yaml

ROOT = Path(__file__).resolve().parents[3]
#: In place of plugins/modules/ical_probe.py: the manager that acts, which sees the worker as ready.
PROBE = """#!/usr/bin/python
from ansible.module_utils.basic import AnsibleModule
module = AnsibleModule({"state_dir": {}}, supports_check_mode=True)
nodes = [{"id": "n", "host": "worker", "state": "ready"}]
module.exit_json(engine={"swarm_acts": True, "swarm_nodes": nodes})
"""
#: In place of plugins/modules/ical_tasks.py: which stages of the pipeline run.
TASKS = """#!/usr/bin/python
from ansible.module_utils.basic import AnsibleModule
module = AnsibleModule({"services": {}, "network": {}, "timeout": {}}, supports_check_mode=True)
module.exit_json(tasks=%s)
"""
#: What the worker's engine says of itself.
MEMBER = {"swarm": "active", "swarm_ours": True, "swarm_manager": False, "node_id": "n",
          "node_address": "192.0.2.7", "swarm_managers": ["192.0.2.1"]}


@pytest.fixture(name="join")
def join_fixture(playbook, tmp_path):
    """What joining ends with, of a member that is to have an address; it notes that it joins."""
    def join(engine: dict, named: dict, stages: list[str], *options: str, probe: str = PROBE):
        shutil.copytree(ROOT / "roles/swarm", tmp_path / "roles/swarm")
        (tmp_path / "roles/swarm/tasks/join_now.yml").write_text("- debug: {msg: It joins anew.}\n")
        (tmp_path / "modules").mkdir()
        (tmp_path / "modules/ical_probe.py").write_text(probe)
        (tmp_path / "modules/ical_tasks.py").write_text(
            TASKS % [{"service": f"ical-pipeline-{stage}"} for stage in stages])
        (tmp_path / "hosts.yml").write_text(yaml.safe_dump({
            "managers": {"hosts": {"head": {"swarm_engine": {"node_address": "192.0.2.1"}}}},
            "workers": {"hosts": {"worker": named}},
            "all": {"vars": {"ansible_connection": "local", "ical_state_dir": str(tmp_path)}}}))
        facts = {"swarm_engine": MEMBER | engine, "swarm_active": True, "swarm_ours": True}
        (tmp_path / "join.yml").write_text(yaml.safe_dump([{
            "hosts": "worker", "gather_facts": True, "tasks": [
                {"set_fact": facts}, {"include_role": {"name": "swarm", "tasks_from": "join"}}]}]))
        return playbook("-i", str(tmp_path / "hosts.yml"), "-M", str(tmp_path / "modules"),
                        str(tmp_path / "join.yml"), *options)
    return join


HERE = {"swarm_advertise_address": "192.0.2.7"}
MOVED = {"swarm_advertise_address": "192.0.2.8"}
BOUND = "worker is in the swarm as 192.0.2.7, and its swarm_advertise_address is now 192.0.2.8."


@pytest.mark.parametrize(("engine", "named", "stages", "joins", "told"), [
    ({}, HERE, [], False, ""), ({}, MOVED, [], True, ""),
    ({"node_address": "127.0.0.1"}, {"swarm_advertise_address": "lo"}, [], False, ""),
    ({}, MOVED, ["image"], False, f"{BOUND} It was left alone, for a run is going on"),
    ({"swarm_manager": True}, MOVED, [], False,
     "worker is a manager of the swarm as 192.0.2.7, and its swarm_advertise_address is now "
     "192.0.2.8. It was left alone: type ansible-playbook playbooks/remove_hosts.yml -i ")])
def test_a_ready_member_joins_anew_where_it_is_to_have_another_address(
        join, engine, named, stages, joins, told):
    result = join(engine, named, stages)
    said = " ".join(result.stdout.split())
    assert ("It joins anew." in said) == joins, said
    assert (result.returncode != 0) == bool(told), said
    assert told in said


@pytest.mark.parametrize(("engine", "named", "told"), [
    ({}, MOVED, "Would join the swarm anew, as 192.0.2.8 in place of 192.0.2.7."),
    ({"node_id": "m"}, HERE, "Would leave the swarm and join it anew, as head does not see it")])
def test_check_mode_says_that_a_member_would_join_anew(join, engine, named, told):
    result = join(engine, named, [], "--check")
    assert result.returncode == 0, result.stdout
    assert told in " ".join(result.stdout.split())
    assert "It joins anew." not in result.stdout


def test_no_member_leaves_because_the_manager_does_not_answer(join):
    answer = PROBE.splitlines()[-1]
    silent = PROBE.replace(answer, "module.exit_json(engine={})")
    result = join({}, HERE, [], "-e", "swarm_timeout=6", probe=silent)
    assert result.returncode != 0
    assert ("head does not tell which nodes there are, asked 2 times. worker was left as it is"
            in " ".join(result.stdout.split())), result.stdout
    assert "It joins anew." not in result.stdout


def test_containers_that_no_swarm_removes_go_by_their_state(playbook, tmp_path, command):
    command("docker", f'#!/bin/sh\necho "$@" >>{tmp_path}/asked\n'
            '[ "$1" = ps ] && printf "one\\ntwo\\n"\n[ "$3" != one ]\n')
    book = tmp_path / "sweep.yml"
    book.write_text(f"""
- hosts: one
  gather_facts: false
  vars: {{swarm_swept: [exited, dead]}}
  tasks: [{{include_tasks: {ROOT}/roles/swarm/tasks/sweep.yml}}]
""")
    # that the first is gone already is no failure
    assert playbook("-i", "one,", "-c", "local", str(book)).returncode == 0
    asked = (tmp_path / "asked").read_text().splitlines()
    assert asked == ["ps --all --quiet --filter=label=org.ical-swarm=1 "
                     "--filter=status=exited --filter=status=dead",
                     "rm --force one", "rm --force two"]


def node(identity: str, host: str, role: str = "manager", state: str = "ready") -> dict:
    """A node of our swarm."""
    return {"id": identity, "host": host, "role": role, "state": state, "labelled": True}


@pytest.mark.parametrize(("nodes", "dropped"), [
    ([node("n1", "one"), node("n2", "two"), node("n3", "three")], []),
    # called otherwise in another inventory, the one that acts, too
    ([node("n1", "alpha"), node("n2", "beta")], []),
    ([node("n1", "one"), node("n4", "four", "worker"), node("n5", "five")], ["n5"]),
    # while a lost one is a manager no other can cease to be one
    ([node("n1", "one"), node("n5", "five"), node("n6", "six", state="down")], ["n6", "n5"])])
def test_managers_that_left_the_inventory_are_known_by_their_nodes(playbook, tmp_path, nodes,
                                                                   dropped):
    (tmp_path / "hosts.yml").write_text(yaml.safe_dump({
        "managers": {"hosts": {
            "one": {"swarm_engine": {"node_id": "n1", "swarm_nodes": nodes}},
            "two": {"swarm_engine": {"node_id": "n2"}}, "three": {"swarm_engine": {}}}},
        "workers": {"hosts": {"one": {}}}, "all": {"vars": {"ansible_connection": "local"}}}))
    (tmp_path / "play.yml").write_text(f"""
- hosts: one
  gather_facts: false
  vars_files: [{ROOT}/roles/swarm/vars/main.yml]
  tasks:
    - copy:
        dest: {tmp_path}/ids
        content: "{{{{ swarm_dropped | map(attribute='id') | to_json }}}}"
""")
    result = playbook("-i", str(tmp_path / "hosts.yml"), str(tmp_path / "play.yml"))
    assert result.returncode == 0, result.stdout
    assert json.loads((tmp_path / "ids").read_text()) == dropped


#: In place of docker: an entry that was removed is not found.
ENTRIES = """#!/bin/sh
echo "$4" >>{folder}/removed
[ $(grep -c "$4" {folder}/removed) = 1 ] && exit
echo "Error: No such node: node $4 not found" >&2
exit 1
"""


def test_of_hosts_that_are_called_alike_none_removes_the_node_of_another(playbook, tmp_path,
                                                                         command):
    """Engines of two may just be starting; the old entry of the third is stale."""
    command("docker", ENTRIES.format(folder=tmp_path))
    nodes = [node(identity, "debian", "worker", "down") for identity in ("n1", "n2", "n9")]
    (tmp_path / "hosts.yml").write_text(yaml.safe_dump({
        "managers": {"hosts": {"head": {}}},
        "workers": {"hosts": {name: {"swarm_engine": {"node_id": identity}} for name, identity in
                              (("one", "n1"), ("two", "n2"), ("three", ""))}},
        "all": {"vars": {"ansible_connection": "local", "swarm_timeout": 4,
                         "swarm_asked": {"engine": {"swarm_nodes": nodes}}}}}))
    book = tmp_path / "stale.yml"
    book.write_text(f"""
- hosts: workers
  gather_facts: false
  vars_files: [{ROOT}/roles/swarm/vars/main.yml]
  vars: {{swarm_manager: head, swarm_current: "{{{{ swarm_engine.node_id }}}}"}}
  tasks: [{{include_tasks: {ROOT}/roles/swarm/tasks/stale.yml}}]
""")
    result = playbook("-i", str(tmp_path / "hosts.yml"), str(book), "-e",
                      '{"ansible_facts": {"nodename": "debian"}}')
    assert result.returncode == 0, result.stdout
    assert (tmp_path / "removed").read_text().split() == ["n9"] * 3
