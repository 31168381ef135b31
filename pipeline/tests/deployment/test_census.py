"""The census: what is new on a host, whose it is, and what a purge must not leave."""

from __future__ import annotations

import os
import re
import subprocess
from unittest import mock

import pytest
from ansible.module_utils import ical_census as census
from ansible.module_utils import ical_host as host
from ansible.module_utils.ical_census import Thing
from ansible.module_utils.ical_engine import SOCKET, EngineSilent

BEFORE = [Thing("listener", "tcp 22", "other", "sshd"), Thing("package", "bash", "docker"),
          Thing("setting", "net.ipv4.ip_forward=0", "docker")]
DOCKER = [Thing("package", "docker.io", "docker"),
          Thing("setting", "net.ipv4.ip_forward=1", "docker")]
IMAGE = [Thing("image", "ical-swarm:0123", "image")]
SAME = [thing for thing in BEFORE if thing.kind != "setting"]


def test_what_was_there_before_is_not_left():
    assert census.judge(BEFORE, BEFORE, False, False) == {
        "left": [], "kept": [], "others": [], "gone": []}


@pytest.mark.parametrize("leak", [
    Thing("listener", "tcp 8786", "ours", "docker-proxy"), Thing("network", "ical-leak", "ours"),
    Thing("process", "dask dask worker", "ours"), Thing("swarm", "abc", "ours")])
def test_a_leak_is_left_whether_docker_stays_or_goes(leak):
    for purge in (False, True):
        assert census.judge(BEFORE, [*BEFORE, leak], purge, False)["left"] == [leak.told()]
        assert census.judge(None, [*BEFORE, leak], purge, False)["left"] == [leak.told()]


def test_docker_and_image_are_kept_unless_the_host_is_purged():
    after = [*SAME, *DOCKER, *IMAGE]
    kept = census.judge(BEFORE, after, False, False)
    assert kept["left"] == []
    assert set(kept["kept"]) == {thing.told() for thing in [*DOCKER, *IMAGE]}
    purged = census.judge(BEFORE, after, True, False)
    assert set(purged["left"]) == {thing.told() for thing in [*DOCKER, *IMAGE]}
    assert purged["gone"] == ["setting net.ipv4.ip_forward=0"]


def test_without_a_census_nothing_of_dockers_is_told_apart():
    found = census.judge(None, [*BEFORE, *DOCKER, *IMAGE], False, False)
    assert found == {"left": [], "kept": [IMAGE[0].told()], "others": [BEFORE[0].told()],
                     "gone": []}


def test_what_others_made_meanwhile_is_told_apart():
    theirs = Thing("container", "web", "other", "running")
    found = census.judge(BEFORE, [*BEFORE, theirs], True, False)
    assert found["left"] == []
    assert found["others"] == [theirs.told()]


def test_only_what_docker_opened_for_us_is_a_listener_of_ours(monkeypatch):
    found = {"tcp 8786": "dask", "tcp 8787": "docker-proxy", "tcp 9999": "docker-proxy",
             "tcp 7946": "dockerd", "udp 4789": "kernel", "tcp 2377": "etcd"}
    monkeypatch.setattr(census, "listeners", lambda: found)
    theirs = census.published({"80/tcp": [{"HostIp": "::", "HostPort": "9999"}], "81/udp": None})
    assert theirs == {"tcp 9999"}
    ports = ["tcp 8786", "tcp 8787", "tcp 9999"]
    ours = {thing.name for thing in census.listener_things(ports, False, theirs)
            if thing.owner == "ours"}
    assert ours == {"tcp 8787", "tcp 7946", "udp 4789"}
    ours = {thing.name for thing in census.listener_things(ports, True, theirs)
            if thing.owner == "ours"}
    assert ours == {"tcp 8787"}


@pytest.mark.parametrize(("link", "owner"), [
    ("br-0123456789ab", "ours"), ("br-ba9876543210", "other"), ("vx-001001-kq3vx", "ours"),
    ("docker_gwbridge", "ours"), ("br-storage", "other"), ("vx-lan", "other"), ("eth0", "other")])
def test_a_bridge_is_ours_by_a_name_that_docker_gives(monkeypatch, link, owner):
    monkeypatch.setattr(census, "links", lambda: {link: "bridge"})
    found = census.link_things({"br-ba9876543210"}, False)
    assert [thing.owner for thing in found] == [owner]


def test_mounts_of_somebody_elses_container_are_theirs(monkeypatch):
    """The shared memory of any, the secrets of one of a service."""
    folders = [f"/data/containers/{name}/mounts/{kind}" for name in (OURS, THEIRS)
               for kind in ("shm", "secrets")]
    monkeypatch.setattr(census, "mounts", lambda: ["/home", *folders])
    found = census.mount_things("/data", {THEIRS})
    assert [thing.owner for thing in found] == ["ours", "ours", "other", "other"]


def test_an_engine_that_runs_and_does_not_answer_has_what_it_had(monkeypatch):
    engine = mock.MagicMock(path=SOCKET)
    engine.get.side_effect = EngineSilent("busy")
    monkeypatch.setattr(census, "engine_runs", lambda: False)
    assert census.view(engine) == census.EngineView([], [], [], [], {}, {})
    monkeypatch.setattr(census, "engine_runs", lambda: True)
    with pytest.raises(EngineSilent):
        census.view(engine)
    # silent in the middle of it
    engine.get.side_effect = [{"Swarm": {}}, EngineSilent("busy")]
    with pytest.raises(EngineSilent):
        census.view(engine)


def test_an_engine_runs_whose_process_is_there(tmp_path):
    pid = tmp_path / "docker.pid"
    assert not census.engine_runs(str(pid))
    pid.write_text(str(os.getpid()))
    assert census.engine_runs(str(pid))
    pid.write_text("4194305")  # more than a kernel gives
    assert not census.engine_runs(str(pid))


def test_packages_are_ours_only_if_a_deployment_installed_them(monkeypatch):
    monkeypatch.setattr(census, "packages", lambda: ["chromium", "docker.io"])
    monkeypatch.setattr(census, "chains", lambda: {"ipv4 nat DOCKER": "", "ipv4 filter KUBE": ""})
    owners = {thing.key: thing.owner for thing in census.docker_things(["docker.io"])}
    assert owners["package docker.io"] == owners["chain ipv4 nat DOCKER"] == "docker"
    assert owners["package chromium"] == owners["chain ipv4 filter KUBE"] == "other"


def test_somebody_elses_swarm_stays():
    swarm = Thing("swarm", "theirs", "ours", "active")
    assert census.judge(BEFORE, [*BEFORE, swarm], False, True)["left"] == []


@pytest.mark.parametrize(("name", "labels", "active", "owner"), [
    ("bridge", {}, False, "docker"), ("docker_gwbridge", {}, False, "ours"),
    ("docker_gwbridge", {}, True, "other"), ("ical-net", {}, True, "ours"),
    ("net", {"org.ical-swarm": "1"}, True, "ours"), ("web_default", None, False, "other")])
def test_owner_of_a_network(name, labels, active, owner):
    network = {"Name": name, "Labels": labels, "Driver": "bridge"}
    assert census.network_thing(network, active).owner == owner


OURS, THEIRS, LOST, HOST = ("0" * 64, "1" * 64, "2" * 64, "3" * 64)
SHIM = "/usr/bin/containerd-shim-runc-v2 -namespace {} -id {} -address /run/containerd.sock"


@pytest.mark.parametrize(("group", "own", "inside"), [
    ("0::/user.slice/user-10001.slice", "0::/init.scope", []),
    (f"0::/system.slice/docker-{OURS}.scope", "0::/", [OURS]),
    (f"12:memory:/docker/{OURS}\n1:cpu:/docker/{OURS}", "12:memory:/user.slice", [OURS]),
    # a host that is a container, and a container in a container
    (f"4:memory:/docker/{HOST}/user.slice", f"4:memory:/docker/{HOST}/system.slice", []),
    (f"4:memory:/docker/{HOST}/docker/{OURS}", f"4:memory:/docker/{HOST}", [OURS]),
    (f"0::/docker/{THEIRS}/docker/{OURS}", "0::/", [THEIRS, OURS]),
    (f"0::/kubepods.slice/cri-containerd-{OURS}.scope", "0::/", []),
])
def test_containers_of_a_process_are_read_from_its_control_group(group, own, inside):
    assert host.parse_containers(group, own) == inside


@pytest.mark.parametrize(("name", "user", "group", "command", "owner"), [
    ("dask", 10001, f"0::/system.slice/docker-{OURS}.scope", "dask worker", "ours"),
    # its container, or the whole engine, is gone
    ("dask", 10001, f"0::/docker/{LOST}", "dask worker", "ours"),
    ("loki", 10001, f"0::/system.slice/docker-{THEIRS}.scope", "loki", "other"),
    ("python3", 10001, f"0::/docker/{THEIRS}/docker/{LOST}", "python3", "other"),
    ("bash", 10001, "0::/user.slice/user-10001.slice/session-1.scope", "-bash", None),
    ("dask", 1000, f"0::/docker/{LOST}", "dask worker", None),
    ("dockerd", 0, "0::/system.slice/docker.service", "dockerd", "docker"),
    ("docker-proxy", 0, "0::/system.slice/docker.service", "docker-proxy", "other"),
    ("containerd-shim", 0, "0::/", SHIM.format("moby", LOST), "ours"),
    ("containerd-shim", 0, "0::/", SHIM.format("moby", THEIRS), "other"),
    ("containerd-shim", 0, "0::/", SHIM.format("k8s.io", LOST), "other"),
])
def test_a_process_is_ours_by_its_container_not_by_its_user(monkeypatch, name, user, group, command,
                                                            owner):
    files = {"/proc/self/cgroup": "0::/", "/proc/7/comm": name, "/proc/7/cgroup": group,
             "/proc/7/status": f"Uid:\t{user}\t{user}",
             "/proc/7/cmdline": command.replace(" ", "\0")}
    monkeypatch.setattr(host, "process_ids", lambda: [7])
    monkeypatch.setattr(host, "text", files.__getitem__)
    found = [thing.owner for thing in census.process_things({THEIRS})]
    assert found == ([owner] if owner else [])


def test_listeners_are_read_from_the_kernels_table():
    table = """  sl  local_address rem_address   st tx_queue rx_queue tr tm->when uid timeout inode
   0: 0100007F:2253 00000000:0000 0A 00000000:00000000 00:00000000 00000000 0 0 4711 1
   1: 0100007F:1F90 0100007F:0050 01 00000000:00000000 00:00000000 00000000 0 0 4712 1
"""
    assert host.parse_sockets(table, "tcp") == [(8787, "4711")]


def test_chains_and_policy_are_read_from_a_saved_firewall():
    saved = """*nat
:PREROUTING ACCEPT [0:0]
:DOCKER - [0:0]
COMMIT
*filter
:FORWARD DROP [0:0]
:DOCKER-USER - [0:0]
COMMIT
"""
    assert host.parse_chains(saved) == ["filter DOCKER-USER", "nat DOCKER"]
    assert host.parse_forward_policy(saved) == "DROP"
    assert host.parse_forward_policy("") == "ACCEPT"


def test_routes_of_the_kernel_are_networks_without_the_default_one():
    head = "Iface Destination Gateway Flags RefCnt Use Metric Mask MTU Window IRTT\n"
    table = head + ("eth0 00000000 010200C0 0003 0 0 0 00000000 0 0 0\n"
                    "docker0 000011AC 00000000 0001 0 0 0 0000FFFF 0 0 0\n"
                    "eth0 000200C0 00000000 0001 0 0 0 00FFFFFF 0 0 0\n")
    assert host.parse_routes(table) == ["172.17.0.0/16", "192.0.2.0/24"]


ROUTES = ("Iface Destination Gateway Flags RefCnt Use Metric Mask MTU Window IRTT\n"
          "eth0 00000000 010200C0 0003 0 0 0 00000000 0 0 0\n"
          "wg0 0000A8C0 00000000 0001 0 0 0 00FFFFFF 0 0 0\n")
ADDRESSES = ("1: lo    inet 127.0.0.1/8 scope host lo\\       valid_lft forever\n"
             "4: eth0    inet 192.0.2.2/24 brd 192.0.2.255 scope global eth0\\  valid_lft forever\n"
             "5: wg0    inet 192.168.0.7/24 scope global wg0\\       valid_lft forever\n"
             "5: wg0    inet6 fd00::7/64 scope global \\       valid_lft forever\n")


@pytest.mark.parametrize(("address", "mtu"), [
    ("", 1500), ("192.0.2.2", 1500), ("192.168.0.7", 1280), ("fd00::7", 1280), ("wg0", 1280),
    ("wg0:2377", 1500), ("203.0.113.9", 1500)])
def test_the_mtu_is_that_of_the_link_which_the_others_are_told(tmp_path, address, mtu):
    for link, size in (("lo", 65536), ("eth0", 1500), ("wg0", 1280)):
        (tmp_path / link).mkdir()
        (tmp_path / link / "mtu").write_text(f"{size}\n")
    assert host.link_mtu(address, ROUTES, ADDRESSES, str(tmp_path)) == mtu


def test_a_host_without_a_route_has_no_mtu():
    assert host.link_mtu("", ROUTES.splitlines()[0], "") == 0


def test_from_where_a_host_sends_is_what_its_routes_say():
    told = subprocess.run(["ip", "-4", "-oneline", "route", "get", "192.0.2.1"], check=False,
                          capture_output=True, text=True).stdout
    found = re.search(r" src (\S+)", told)
    wanted = {"127.0.0.2": "127.0.0.1"} | ({"192.0.2.1": found[1]} if found else {})
    assert host.sources(["127.0.0.2", "192.0.2.1", "no address"]) == wanted


@pytest.mark.parametrize(("files", "has"), [
    ({}, None),
    ({"sys/module/vxlan/parameters/udp_port": "0"}, True),
    ({"lib/modules/6.1/modules.dep": "net/vxlan/vxlan.ko.zst: net/ip_tunnel.ko"}, True),
    ({"lib/modules/6.1/modules.dep": "net/geneve.ko: net/vxlan.ko"}, False),
    ({"lib/modules/6.1/modules.dep": "", "lib/modules/6.1/modules.builtin": "net/vxlan.ko"}, True),
    # of another kernel than the one that runs
    ({"lib/modules/6.2/modules.dep": "net/geneve.ko:"}, None),
])
def test_a_module_of_the_kernel_is_loaded_built_in_or_can_be_loaded(tmp_path, files, has):
    for path, content in files.items():
        (tmp_path / path).parent.mkdir(parents=True, exist_ok=True)
        (tmp_path / path).write_text(content)
    assert host.has_kernel_module("vxlan", "6.1", str(tmp_path)) is has
