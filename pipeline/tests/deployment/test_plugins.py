"""The Ansible plugins of the deployment: lines for people, no line lost or shown twice, digests."""

import math
import re
import socketserver
import threading
from http.server import BaseHTTPRequestHandler
from pathlib import Path
from types import SimpleNamespace
from unittest import mock

import pytest
import yaml
from ansible.errors import AnsibleActionFail
from ansible.module_utils.ical_engine import (
    Engine,
    EngineError,
    EngineSilent,
    socket_of,
    spoken_version,
    strayed,
)

from ical import overlay


@pytest.fixture(name="follow", scope="module")
def follow_fixture(load_plugin):
    return load_plugin("action/ical_follow.py", "ical_follow")


@pytest.fixture(name="filters", scope="module")
def filters_fixture(load_plugin):
    return load_plugin("filter/ical_filters.py", "ical_filters")


@pytest.fixture(name="probe", scope="module")
def probe_fixture(load_plugin):
    return load_plugin("action/ical_probe.py", "ical_probe_action")


@pytest.fixture(name="write", scope="module")
def write_fixture(load_plugin):
    return load_plugin("action/ical_write.py", "ical_write")


def test_routes_that_share_addresses_with_a_subnet_are_found(filters):
    routes = ["10.0.0.0/8", "172.17.0.0/16", "10.79.2.0/24", "10.80.0.0/16"]
    assert filters.overlapping(routes, ["10.79.0.0/22"]) == ["10.0.0.0/8", "10.79.2.0/24"]
    assert filters.overlapping(routes, []) == []


@pytest.mark.parametrize(("first", "last", "offset"), [
    (100.5, 101, 0), (99, 99.5, -1), (103.5, 104, 2), (100, 102, 0),
    # what the probe takes on the host is no time in which the clock may be off
    (103, 105, 3)])
def test_a_clock_read_between_two_others_is_off_by_what_they_prove(probe, first, last, offset):
    assert probe.clock_offset(first, last, 100, 102) == offset


def act(plugin, check_mode: bool = False, **arguments) -> dict:
    """What the action plugin of a file makes of its arguments, and of what its module answers."""
    task = mock.MagicMock(async_val=0, check_mode=check_mode, args=arguments)
    action = plugin.ActionModule(task, mock.MagicMock(), mock.MagicMock(), None, None, None)
    return action.run(task_vars={})


def test_a_file_is_written_where_it_is_another_and_never_in_check_mode(write, tmp_path):
    path = tmp_path / "a.yml"
    for check_mode, content, changed, left in [
            (True, "a\n", True, None), (False, "a\n", True, "a\n"), (False, "a\n", False, "a\n"),
            (True, "b\n", True, "a\n"), (False, "b\n", True, "b\n")]:
        assert act(write, check_mode, content=content, dest=str(path))["changed"] == changed
        assert (path.read_text() if path.exists() else None) == left


def test_a_file_that_cannot_be_written_is_told_with_the_reason(write, tmp_path):
    with pytest.raises(AnsibleActionFail, match=r"/no/a[.]yml cannot be written: No such file or"):
        act(write, content="a", dest=str(tmp_path / "no" / "a.yml"))


def test_the_controllers_readings_enclose_the_probe_of_the_one_host(probe, monkeypatch):
    """It takes 4 s by the controller's clock, and ends when the host's says 4 s more."""
    now = [100.0]
    monkeypatch.setattr(probe, "time", SimpleNamespace(time=lambda: now[0]))

    def answer(self, task_vars):
        now[0] += 4
        return {"changed": False, "engine": {}, "host": {"clock": {"first": 105.5, "last": 108.0}}}

    monkeypatch.setattr(probe.ActionModule, "_execute_module", answer)
    assert act(probe) == {
        "changed": False, "engine": {}, "host": {"clock_offset": 4.0}}


@pytest.mark.parametrize(("read", "arguments", "offset"), [
    ("101.5", {"paths": ["/var/lib"]}, -2.5), ("101.5", {}, 0.0),
    ("Welcome!", {"paths": ["/var/lib"]}, 0.0)])
def test_a_clock_behind_by_less_than_python_takes_to_start_is_seen(
        probe, monkeypatch, read, arguments, offset):
    """The module's first reading is 4 s after it was sent, of a clock that is 2.5 s behind."""
    now = [100.0]
    monkeypatch.setattr(probe, "time", SimpleNamespace(time=lambda: now[0]))

    def answer(self, task_vars):
        now[0] += 4
        return {"changed": False, "host": {"clock": {"first": 101.5, "last": 101.5}}}

    monkeypatch.setattr(probe.ActionModule, "_execute_module", answer)
    monkeypatch.setattr(probe.ActionModule, "_low_level_execute_command",
                        lambda self, command, sudoable: {"stdout": f"{read}\n"})
    assert act(probe, **arguments)["host"]["clock_offset"] == offset


def test_a_probe_that_failed_is_passed_on(probe, monkeypatch):
    monkeypatch.setattr(probe.ActionModule, "_execute_module",
                        lambda self, task_vars: {"failed": True, "msg": "no Python"})
    assert act(probe) == {"failed": True, "msg": "no Python"}


@pytest.mark.parametrize(("leaving", "advice"), [
    (["a"], "site.yml wants one, three or five managers, not 2 (b, c): move one of them from "
            "managers to workers, or put another host into managers."),
    (["worker"], ""), (["a", "b"], ""), (["a", "b", "c"], "")])
def test_managers_that_are_left_in_an_even_number_come_with_advice(filters, leaving, advice):
    assert filters.managers_advice(["a", "b", "c"], leaving) == advice


def test_complaints_stand_beside_their_host_in_the_order_of_the_inventory(filters):
    complaints = {"b": ["one", "two"], "good": [], "long-name": ["three"]}
    assert filters.complaint_rows(complaints, ["long-name", "good", "b", "long-name"]) == [
        "  long-name  three", "  b          one", "             two"]
    assert filters.complaint_rows({"good": []}, ["good"]) == []


#: As Ansible tells them of a host.
FACTS = {"default_ipv4": {"address": "192.0.2.1"},
         "all_ipv4_addresses": ["192.0.2.1", "198.51.1.1"],
         "lo": {"ipv4": {"address": "127.0.0.1"}},
         "ib_0": {"ipv4": {"address": "198.51.1.1"}, "device": "ib-0"},
         "two": {"ipv4": {"address": "198.51.1.1"},
                 "ipv4_secondaries": [{"address": "198.51.1.2"}]}}
THEIRS = {"swarm": "active", "swarm_ours": False}


@pytest.mark.parametrize(("named", "facts", "engine", "address"), [
    ("", FACTS, {}, "192.0.2.1"), ("", {"default_ipv4": {}}, {}, "127.0.0.1"),
    ("198.51.1.9", FACTS, {}, "198.51.1.9"), ("ib-0", FACTS, {}, "198.51.1.1"),
    ("lo", FACTS, {}, "127.0.0.1"),
    # Docker refuses to choose between two, or says itself that there is none
    ("two", FACTS, {}, ""), ("none0", FACTS, {}, "none0"),
    ("", FACTS, THEIRS | {"node_address": "203.0.113.1"}, "203.0.113.1"),
    # what is no longer the address of the default route is one of the host still
    ("", FACTS, {"swarm": "active", "swarm_ours": True, "node_address": "198.51.1.1"},
     "198.51.1.1")])
def test_what_a_host_is_called_in_the_swarm(filters, named, facts, engine, address):
    assert filters.advertised(engine, named, facts) == address


@pytest.mark.parametrize(("named", "there", "engine", "moved"), [
    ("198.51.1.1", "192.0.2.1", {}, "198.51.1.1"), ("ib-0", "192.0.2.1", {}, "198.51.1.1"),
    ("192.0.2.1", "192.0.2.1", {}, ""), ("ib-0", "198.51.1.1", {}, ""),
    # a lease has ended
    ("", "192.0.2.77", {}, "192.0.2.1"), ("", "192.0.2.1", {}, ""), ("", "198.51.1.1", {}, ""),
    # made before there was another host
    ("", "127.0.0.1", {}, "192.0.2.1"),
    # what cannot be compared, and what is not ours
    ("198.51.1.1", "", {}, ""), ("198.51.1.1", "0.0.0.0", {}, ""), ("two", "192.0.2.1", {}, ""),
    ("none0", "192.0.2.1", {}, ""), ("fd00::1", "192.0.2.1", {}, ""),
    ("192.0.2.1:2377", "192.0.2.1", {}, ""),
    ("198.51.1.1", "192.0.2.1", THEIRS, ""), ("198.51.1.1", "", {"swarm": "inactive"}, "")])
def test_a_member_at_another_address_than_the_inventory_says_is_known(filters, named, there, engine,
                                                                      moved):
    member = {"swarm": "active", "swarm_ours": True, "node_address": there} | engine
    assert filters.moved_to(member, named, FACTS) == moved


def test_the_addresses_of_the_others_are_those_that_their_variables_tell(filters):
    others = [{"ansible_facts": FACTS, "swarm_advertise_address": "192.0.2.9"},
              {"ansible_facts": {"default_ipv4": {"address": "192.0.2.1"}}},
              {"ansible_facts": {}, "swarm_advertise_address": "192.0.2.3"}, {},
              {"ansible_facts": FACTS, "swarm_advertise_address": "2001:db8::1"}]
    assert filters.peer_addresses(others) == ["192.0.2.1", "192.0.2.9"]


@pytest.mark.parametrize(("record", "engine", "ours"), [
    ({}, {"swarm": "active", "node_id": "n"}, False),
    ({"status": "member", "node_id": "n"}, {"swarm": "active", "node_id": "n"}, True),
    ({"status": "member", "node_id": "n"}, {"swarm": "active", "node_id": "other"}, False),
    ({"status": "joining", "node_id": ""}, {"swarm": "active", "node_id": "n"}, True),
    ({"status": "failed", "node_id": ""}, {"swarm": "active", "node_id": "n"}, False),
    # its certificate has run out: it does not know any more who it was
    ({"status": "member", "node_id": "n"}, {"swarm": "error", "node_id": ""}, True),
    ({"status": "failed", "node_id": ""}, {"swarm": "error", "node_id": ""}, False),
    ({"status": "member", "node_id": "n"}, {"swarm": "inactive", "node_id": ""}, False)])
def test_which_swarm_is_ours(load_plugin, record, engine, ours):
    probe = load_plugin("modules/ical_probe.py", "ical_probe")
    made = {"made_by_us": True} if record else {}
    assert probe.is_ours(engine, record | made) == ours


@pytest.mark.parametrize(("swarm", "state", "error"), [
    ({}, "inactive", ""), ({"LocalNodeState": "active", "NodeID": "n"}, "active", ""),
    ({"LocalNodeState": "pending", "NodeID": ""}, "pending", ""),
    ({"LocalNodeState": "error", "NodeID": "", "Error": "expired"}, "error", "expired"),
    # what an engine of Debian 12 said that had answered "context deadline exceeded" to its leave
    ({"LocalNodeState": "active", "NodeID": "", "NodeAddr": "192.0.2.1", "ControlAvailable": False},
     "error", "it was leaving it, and did not come to an end")])
def test_an_engine_that_stopped_while_it_left_is_known(load_plugin, swarm, state, error):
    probe = load_plugin("modules/ical_probe.py", "ical_probe")
    assert probe.swarm_state(swarm) == (state, error)


def test_a_command_names_the_inventory_again_and_the_folder_that_was_typed(filters):
    named = " -i '/home/me/my hosts' -i hosts"
    sources = ["/home/me/my hosts", "hosts"]
    assert filters.inventory_options(sources, {"one": {}, "two": {}}) == named
    typed = {"ical_state_dir": "/srv/a b"}
    assert filters.inventory_options(sources, {"one": typed, "two": typed}) == (
        named + """ -e '{"ical_state_dir": "/srv/a b"}'""")
    # of the inventory, as it differs
    assert filters.inventory_options(sources, {"one": typed, "two": {}}) == named


def test_of_managers_that_answer_the_one_that_acted_comes_first(filters):
    told = {"one": {"swarm_acts": True, "swarm_acted": False}, "two": {"swarm_acts": False},
            "three": {"swarm_acts": True, "swarm_acted": True}, "four": {}}
    hosts = [{"inventory_hostname": name, "probe": {"engine": told[name]}} for name in told]
    hosts += [{"inventory_hostname": "silent"}, {"inventory_hostname": "skipped", "probe": {}}]
    assert filters.acting_managers(hosts, "probe.engine") == ["three", "one"]
    assert filters.acting_managers(hosts, "other") == []


@pytest.mark.parametrize(("asked", "acted"), [("one", False), ("two", True)])
def test_the_manager_that_acted_is_known_by_the_label_of_its_own_node(load_plugin, asked, acted):
    probe = load_plugin("modules/ical_probe.py", "ical_probe")

    class Engine:
        """That of one of two managers, of which the second acted."""

        def get(self, resource, **_):
            nodes = [{"ID": name, "Spec": {"Role": "manager", "Availability": "active",
                                           "Labels": labels}, "Status": {"State": "ready"}}
                     for name, labels in (("one", {}), ("two", {"org.ical-swarm.acting": "1"}))]
            info = {"ServerVersion": "28", "DockerRootDir": "/", "Swarm": {
                "LocalNodeState": "active", "ControlAvailable": True, "NodeID": asked}}
            return {"/info": info, "/containers/json": [], "/nodes": nodes}[resource]

    found = probe.describe_engine(Engine())
    assert (found["swarm_acts"], found["swarm_acted"]) == (True, acted)


@pytest.mark.parametrize(("answer", "there"), [
    ([{"Id": "sha256:0"}], True), ([], False), (EngineSilent("busy"), False)])
def test_an_image_of_ours_is_looked_for_and_never_waited_for(load_plugin, answer, there):
    probe = load_plugin("modules/ical_probe.py", "ical_probe")
    engine = mock.MagicMock()
    engine.get.side_effect = [answer]
    assert probe.has_image(engine) is there
    engine.get.assert_called_once_with("/images/json", {"reference": ["ical-swarm:*"]})


@pytest.mark.parametrize(("told", "spoken"), [
    ({}, "1.41"), ({"ApiVersion": "1.41", "MinAPIVersion": "1.12"}, "1.41"),
    ({"ApiVersion": "1.52", "MinAPIVersion": "1.44"}, "1.44")])
def test_an_engine_is_spoken_to_in_a_version_that_it_knows(told, spoken):
    assert spoken_version(told) == spoken


@pytest.mark.parametrize(("environment", "config", "told", "path"), [
    ({}, {}, "", "/var/run/docker.sock"),
    ({"DOCKER_HOST": "unix:///run/other.sock"}, {}, "", "/run/other.sock"),
    ({"DOCKER_HOST": "unix:///run/other.sock"}, {"currentContext": "prod"}, "", "/run/other.sock"),
    ({"DOCKER_HOST": "ssh://prod"}, {}, "DOCKER_HOST is ssh://prod", "/var/run/docker.sock"),
    ({"DOCKER_CONTEXT": "prod"}, {}, "the context in use is prod", "/var/run/docker.sock"),
    ({"DOCKER_CONTEXT": "default"}, {"currentContext": "prod"}, "", "/var/run/docker.sock"),
    ({}, {"currentContext": "prod"}, "the context in use is prod", "/var/run/docker.sock")])
def test_dockers_commands_are_to_act_on_the_engine_that_is_read(environment, config, told, path):
    assert strayed(environment, config) == told
    assert socket_of(environment) == path


@pytest.mark.parametrize(("status", "kind"), [(400, EngineError), (503, EngineSilent)])
def test_an_engine_that_refuses_is_not_taken_for_none(tmp_path, status, kind, load_plugin):
    class Answer(BaseHTTPRequestHandler):
        def do_GET(self):  # the name is that of the base class
            self.send_response(status)
            self.send_header("Content-Length", "7")
            self.end_headers()
            self.wfile.write(b"too old")

        def address_string(self):
            return "engine"

        def log_message(self, *arguments):
            """Say nothing."""

    path = str(tmp_path / "docker.sock")
    with socketserver.ThreadingUnixStreamServer(path, Answer) as server:
        threading.Thread(target=server.serve_forever, daemon=True).start()
        with pytest.raises(EngineError, match="too old") as caught:
            Engine(path).get("/info")
        assert type(caught.value) is kind
        probe = load_plugin("modules/ical_probe.py", "ical_probe")
        if kind is EngineSilent:
            assert probe.describe_engine(Engine(path)) == {}
        else:
            with pytest.raises(EngineError):
                probe.describe_engine(Engine(path))
        server.shutdown()


@pytest.mark.parametrize(("variables", "told"), [
    ({}, ", from here by: ssh -N -L 8787:127.0.0.1:8787 node1"),
    ({"ansible_host": "192.0.2.1", "ansible_user": "me", "ansible_port": 2222},
     ", from here by: ssh -N -L 8787:127.0.0.1:8787 -p 2222 me@192.0.2.1"),
    ({"ansible_ssh_private_key_file": "/home/me/my key", "ansible_ssh_common_args": "-J gate"},
     ", from here by: ssh -N -L 8787:127.0.0.1:8787 -i '/home/me/my key' -J gate node1"),
    ({"ansible_ssh_extra_args": None, "ansible_ssh_common_args":
      "-o ProxyCommand='sshpass -p SECRET ssh -W %h:%p gate'"},
     ", from here by: ssh -N -L 8787:127.0.0.1:8787 node1"),
    ({"ansible_connection": "local"}, ""),
])
def test_the_tunnel_to_a_host_is_told_as_it_is_typed(filters, variables, told):
    assert filters.ssh_tunnel({"inventory_hostname": "node1"} | variables, 8787) == told


def test_so_is_that_to_an_address_of_the_host(filters):
    assert filters.ssh_tunnel({"inventory_hostname": "node1"}, 8787, "192.0.2.1") == (
        ", from here by: ssh -N -L 8787:192.0.2.1:8787 node1, and then http://127.0.0.1:8787")


def test_progress_reads_like_a_sentence(follow):
    event = {"event": "progress", "stage": "selfcal", "fraction": 0.42, "cycle": 3, "cycles": 5,
             "eta_s": 120}
    assert follow.sentence(event) == "ICAL cycle 3 of 5, 42 %, about 2 min left"


def test_the_forecast_is_shown_before_the_work_begins(follow):
    event = {"event": "forecast", "stage": "model", "message": "1.3 GB of memory, 304 tasks"}
    assert follow.sentence(event) == "Model: forecast: 1.3 GB of memory, 304 tasks"


@pytest.mark.parametrize(("seconds", "told"), [(0.2, "1 s"), (89, "89 s"), (600, "10 min"),
                                               (7200, "2.0 h")])
def test_durations(follow, seconds, told):
    assert follow.duration(seconds) == told


def test_only_the_last_progress_of_one_poll_is_shown_but_every_cycle_is(follow):
    def line(cycle, fraction):
        return (f'{{"event": "progress", "stage": "selfcal", "cycle": {cycle}, '
                f'"fraction": {fraction}}}')

    log = follow.Log(keep=5)
    lines = [line(1, 0.1), line(1, 0.2), "noise of a library", line(2, 0.3)]
    assert follow.readable(lines, log, events=True) == ["ICAL cycle 1, 20 %", "ICAL cycle 2, 30 %"]
    assert follow.readable(lines, log, events=False) == lines


def test_no_line_is_lost_or_repeated_when_since_is_inclusive_and_streams_interleave(follow):
    log = follow.Log(keep=3)
    early = "2026-01-01T00:00:01.000000100Z one"
    last = "2026-01-01T00:00:01.500000000Z two"
    assert log.add([early, last]) == ["one", "two"]
    # the other stream's line carries an earlier time than the last one shown
    late = "2026-01-01T00:00:01.400000000Z three"
    assert log.since <= late.split(" ")[0]
    assert log.add([early, late, last, "2026-01-01T00:00:02.000000000Z four"]) == ["three", "four"]
    assert log.tail == ["two", "three", "four"]


@pytest.fixture(name="over_ssh")
def over_ssh_fixture(follow):
    """The plugin on a host whose answers come as from a terminal, SSH's own words beside them."""
    def action(*said):
        action = follow.ActionModule.__new__(follow.ActionModule)
        answers = iter(said)
        action._low_level_execute_command = lambda command: {
            "rc": 0, "stdout": next(answers).replace("\n", "\r\n"),
            "stderr": "Shared connection to 127.0.0.1 closed.\r\n"}
        return action

    return action


def test_what_ssh_and_sudo_say_is_no_container(over_ssh):
    identity = "5944fbdf0e1e68a204b026ea454124071f7741a43e8027570ba8aefb524c2064"
    sudo = "sudo: unable to resolve host one: Name or service not known\n"
    assert over_ssh(sudo + identity + "\n" + identity[::-1] + "\n")._find("x", 1) == identity
    # no container yet, nor a task that tells why; then there is one
    assert over_ssh("", "Preparing 1 second ago\n", identity + "\n")._find("x", 5) == identity


@pytest.mark.parametrize(("container", "meant"), [
    ("/ical-worker-node1", True), ("/ical-worker-node1.2.xyz", True),
    ("/ical-worker-node10.1.xyz", False), ("/my-ical-worker-node1", False)])
def test_a_container_is_found_by_its_whole_name(follow, container, meant):
    assert bool(re.search(follow.named("ical-worker-node1").strip("'"), container)) == meant


def test_an_engine_that_hangs_is_given_up(follow):
    """Each question ends by itself: a command without a limit would keep the play for ever."""
    asked = []
    action = follow.ActionModule.__new__(follow.ActionModule)
    action._low_level_execute_command = lambda command: (
        asked.append(command) or {"rc": 124, "stdout": "", "stderr": ""})
    with pytest.raises(follow.AnsibleActionFail):
        action._find("x", 0.1)
    assert action._poll("c", follow.Log(keep=5)) == (None, [])
    questions = re.findall(r"(\S+ \S+) docker ", " ".join(asked))
    assert len(questions) == 5
    assert all(re.fullmatch(r"[(]?timeout \d+", question) for question in questions), questions


def test_a_service_that_cannot_start_is_told_without_what_ssh_says(over_ssh, follow):
    with pytest.raises(follow.AnsibleActionFail) as told:
        over_ssh("", 'Rejected 1 second ago "no such image"\n')._find("ical-probe", 5)
    assert str(told.value) == (
        'No container of ical-probe started: Rejected 1 second ago "no such image".')


def test_what_ssh_and_sudo_say_is_neither_state_nor_log(over_ssh, follow):
    log = follow.Log(keep=5)
    said = ('sudo: a warning\n{"Status": "running"}\n2026-01-01T00:00:01.5Z one {two}\n'
            "Connection to 127.0.0.1 closed.\n")
    assert over_ssh(said)._poll("c", log) == ({"Status": "running"}, ["one {two}"])
    assert log.since == "2026-01-01T00:00:00Z"
    assert over_ssh("sudo: a warning\n")._poll("c", log) == (None, [])


@pytest.mark.parametrize(("takes", "pause"), [(0.1, 1.0), (5.0, 10.0)])
def test_a_slow_host_is_asked_less_often(follow, monkeypatch, takes, pause):
    now, pauses = [0.0], []
    monkeypatch.setattr(follow, "time", SimpleNamespace(
        monotonic=lambda: now[0], sleep=pauses.append))
    states = iter([{"Status": "running"}, {"Status": "exited"}])
    action = follow.ActionModule.__new__(follow.ActionModule)

    def poll(*_):
        now[0] += takes
        return next(states), []

    action._poll = poll
    action._follow("c", follow.Log(keep=5),
                   {"name": "x", "timeout": 60, "interval": 1.0, "events": True})
    assert pauses == [pause]


def test_a_line_that_is_no_event_is_not_parsed(follow):
    assert follow.parse("{broken") is None
    assert follow.parse('{"no": "event"}') is None
    assert follow.parse('{"event": "error"}') == {"event": "error"}


def test_instructions_that_a_processor_lacks_are_named(load_plugin):
    lacking = load_plugin("modules/ical_probe.py", "ical_probe_module").lacking_instructions
    assert lacking("processor\t: 0\nflags\t\t: fpu avx avx512bw fma bmi1 bmi2\n") == ["avx2"]
    assert lacking("flags\t\t: fma avx2 bmi2\n") == []
    assert lacking("processor : 0\n") == []


def test_digest_follows_names_and_contents_and_nothing_else(filters, tmp_path):
    (tmp_path / "a.py").write_text("1")
    (tmp_path / "__pycache__").mkdir()
    before = filters.files_digest([str(tmp_path)])
    (tmp_path / "__pycache__" / "a.pyc").write_text("cache")
    (tmp_path / "a.py").touch()
    assert filters.files_digest([str(tmp_path)]) == before
    (tmp_path / "a.py").rename(tmp_path / "b.py")
    assert filters.files_digest([str(tmp_path)]) != before


def test_a_host_name_makes_a_name_that_a_service_may_have(filters):
    assert filters.worker_service("node1.example.org") == "ical-worker-node1-example-org"


@pytest.mark.parametrize("length", [50, 51, 52, 63, 200])
def test_a_long_host_name_makes_names_that_docker_and_dns_may_have(filters, length):
    for name in (filters.worker_service, filters.echo_name):
        made = name("h" * length)
        assert re.fullmatch("[a-zA-Z0-9](-*[a-zA-Z0-9]+)*", made)
        assert len(made) <= 63
        assert made != name("h" * length + "b")
    # what fits stays as it was, or the services of a cluster would be others
    assert filters.worker_service("h" * 51) == "ical-worker-" + "h" * 51
    assert filters.echo_name("h" * 50) == "ical-overlay-" + "h" * 50


def test_hosts_whose_names_come_out_equal_are_found(filters):
    hosts = ["a.b", "a-b", "A_B", "ab", "h" * 60 + "1", "h" * 60 + "2"]
    assert filters.namesakes("a.b", hosts) == ["a-b", "A_B"]
    assert [filters.namesakes(host, hosts) for host in hosts[3:]] == [[], [], []]


@pytest.mark.parametrize(("step", "cause"), [
    ("resolve", "TCP and UDP port 7946"), ("connect", "UDP port 4789"),
    ("small", "checksum offload"), ("large", "MTU"),
])
def test_a_pair_that_the_overlay_does_not_carry_is_named_with_its_cause(filters, step, cause):
    failure = {"step": step, "reason": "so"}
    answers = {"a.example": {}, "b.example": {"ical-overlay-a-example": failure}}
    (told,) = filters.overlay_failures(answers)
    assert told.startswith("b.example to a.example: so; ")
    assert cause in told


def test_every_step_of_the_proof_has_a_cause(filters):
    text = Path(overlay.__file__).read_text()
    steps = set(re.findall(r'(?:Failure|_round_trip)\("([a-z]+)"', text))
    assert steps == set(filters.CAUSES)


def test_every_option_of_a_role_is_found(filters):
    assert "dask_workers" in filters.role_options(["dask"])
    assert not any(name.startswith("dask_") for name in filters.role_options(["arl", "swarm"]))
    assert filters.role_options(["dask"], "list") == ["dask_inputs"]


def test_files_that_a_run_file_names_are_found_and_placed_anew(filters, tmp_path):
    (tmp_path / "layout.csv").write_text("0,0,0\n")
    run = tmp_path / "run.yml"
    run.write_text("observation: {layout: layout.csv}\nsky: {catalogue: gleam}\n"
                   "selfcal: {start_gains: {T: t.h5}}\n"
                   "input: {measurement_set: /data/a.ms}\n")
    named = {item["key"]: (item["path"], item["here"]) for item in filters.run_inputs(str(run))}
    assert named == {"observation.layout": (str(tmp_path / "layout.csv"), True),
                     "input.measurement_set": ("/data/a.ms", False),
                     "selfcal.start_gains.T": (str(tmp_path / "t.h5"), False)}
    placed = yaml.safe_load(filters.with_paths(str(run), {
        "observation.layout": "/run-file/x.csv", "selfcal.start_gains.T": "/run-file/t.h5"}))
    assert placed["selfcal"]["start_gains"]["T"] == "/run-file/t.h5"
    assert placed["observation"]["layout"] == "/run-file/x.csv"
    assert placed["sky"]["catalogue"] == "gleam"


def test_a_run_file_without_files_is_passed_on_as_it_is(filters, tmp_path):
    run = tmp_path / "run.json"
    run.write_text('{"comment":  "kept"}')
    assert filters.run_inputs(str(run)) == []
    assert filters.with_paths(str(run), {}) == '{"comment":  "kept"}'


@pytest.mark.parametrize(("text", "told"), [("a: 1", ""), ("- 1", "it holds no mapping"),
                                            ("a: [1", "while parsing")])
def test_a_run_file_that_cannot_be_read_is_told(filters, tmp_path, text, told):
    path = tmp_path / "run.yml"
    path.write_text(text)
    assert filters.yaml_problem(str(path)).startswith(told)
    assert bool(told) == bool(filters.yaml_problem(str(path)))


def test_the_deployment_ships_the_files_of_the_same_keys_as_ical_reads(filters):
    from ical import runfile

    assert (filters.PATHS, filters.NAMES_OR_PATHS) == (runfile.PATHS, runfile.NAMES_OR_PATHS)


def test_the_certificates_of_the_scheduler_are_found_or_those_made_last(filters):
    lines = ["ical-tls-00aa-ca 100 ", "ical-tls-00aa-client 100", "ical-tls-11bb-ca 200 ",
             "ical-tls-11bb-worker 200", "ical-tls-22cc-ca "]
    assert filters.current_certificates(lines, []) == {"tls": "11bb", "expires": 200}
    shorter = ["ical-tls-33dd-ca 300 10", "ical-tls-44ee-ca 150 11"]
    assert filters.current_certificates([*lines, *shorter], []) == {"tls": "44ee", "expires": 150}
    assert filters.current_certificates(["ical-tls-22cc-ca", ""], []) == {}
    # the newer ones nobody has yet
    used = ["ical-tls-11bb-ca", "ical-tls-11bb-scheduler"]
    assert filters.current_certificates([*lines, *shorter], used) == {"tls": "11bb", "expires": 200}


@pytest.mark.parametrize(("known", "brought"), [
    ({}, []), ({"packages": ["docker.io", "a"]}, ["a", "docker.io"]),
    ({"status": "installing", "packages": ["a"], "packages_asked": ["docker.io", "runc"]},
     ["a", "docker.io"]),
    # of one that has ended all was written down: somebody else brought the rest
    ({"status": "ready", "packages": ["a"], "packages_asked": ["docker.io"]}, ["a"])])
def test_packages_of_an_installation_that_was_cut_short_are_known(filters, known, brought):
    assert filters.brought_packages(known, ["docker.io", "b"]) == brought


@pytest.mark.parametrize(("path", "hides"), [
    ("/data", True), ("/data/", True), ("/", True), ("/opt", True), ("/run", True),
    ("/data/ms", False), ("/database", False), ("/opt/ms", False), ("/srv/ms", False)])
def test_inputs_do_not_hide_what_a_container_has(filters, path, hides):
    own = ["/data", "/opt/arl", "/run/secrets"]
    assert filters.hiding(["/srv", path], own) == [path] * hides


@pytest.mark.parametrize(("name", "answer", "done"), [
    ("ical_released", ["container x"], []),
    ("ical_tasks", ([], ["service x"]), ([{"service": "x"}], []))])
def test_an_engine_that_is_silent_for_a_while_ends_no_wait(load_plugin, monkeypatch, name, answer,
                                                           done):
    module = load_plugin(f"modules/{name}.py", name)
    told = [EngineSilent("busy"), answer, EngineSilent("busy"), done]

    def say(*_):
        said = told.pop(0)
        if isinstance(said, Exception):
            raise said
        return said

    monkeypatch.setattr(module, "look", say)
    monkeypatch.setattr(module.time, "sleep", lambda _: None)
    wanted = {"services": ["x"], "network": "n"}
    assert module.watch(None, wanted, math.inf) == done
    told[:] = [EngineSilent("busy")]
    with pytest.raises(module.EngineError, match="busy"):
        module.watch(None, wanted, 0.0)
