"""What speaks against a host is told before anything is changed: real checks, faked hosts."""

from __future__ import annotations

import copy
import json
import re
from pathlib import Path

import pytest
import yaml

#: In place of plugins/modules/ical_probe.py: what the host is to be lies in its state folder.
PROBE = """#!/usr/bin/python
import json, time
from ansible.module_utils.basic import AnsibleModule
module = AnsibleModule({"state_dir": {}, "paths": {}, "address": {}, "peers": {}},
                       supports_check_mode=True)
with open(module.params["state_dir"] + "/host.json") as file:
    answer = json.load(file)
now = time.time() + answer["host"].pop("ahead")
answer["host"]["clock"] = {"first": now, "last": now}
module.exit_json(**answer)
"""
#: In place of a host's sudo: what a look without Python tells, and what installs Python.
SUDO = """#!/bin/sh
if [ ! -s {folder}/bare ]; then echo "sudo: a password is required" >&2; exit 1; fi
echo "$*" | grep -o 'BECOME-SUCCESS-[a-z]*'
case "$*" in
  *os-release*) cat {folder}/bare ;;
  *apt-get*) touch {folder}/installed ;;
  *) while [ "$1" != /bin/sh ]; do shift; done; "$@" | grep -v BECOME-SUCCESS ;;
esac
"""
GIB = 1024**3
#: A host against which nothing speaks.
GOOD = {
    # of the inventory
    "vars": {"swarm_advertise_address": "192.0.2.7"},
    "host": {
        "ahead": 0, "routes": ["192.0.2.0/24"], "mtu": 1500, "sources": {},
        "kernel": "6.1.0-18-amd64", "vxlan": True,
        "system": {"id": "debian", "version": "12", "name": "Debian GNU/Linux 12 (bookworm)",
                   "codename": "bookworm"},
        "machine": "x86_64", "lacking": [], "strayed": "", "isolated": "", "memory": 8 * GIB,
        "free": {"/var/lib": 100 * GIB},
        "listeners": {"tcp 22": "sshd"},
        "state": {"docker": {}, "swarm": {}, "image": {}, "registry": {}},
    },
    "engine": {
        "version": "20.10.24", "rootless": False, "userns": False, "live_restore": False,
        "swarm": "inactive", "swarm_manager": False, "node_id": "", "node_address": "",
        "swarm_acts": False, "swarm_nodes": [], "swarm_managers": [], "containers": {},
    },
}
UBUNTU = {"id": "ubuntu", "version": "22.04", "name": "Ubuntu 22.04.4 LTS", "codename": "jammy"}
#: What is complained about -> the host, in what it differs for that, and the complaint.
CASES: dict[str, tuple[str, dict, str]] = {
    "system": ("poor", {"host.system": {"id": "centos", "version": "7", "name": "CentOS Linux 7"}},
               "CentOS Linux 7 is not supported (Debian 12 and 13, Ubuntu 22.04 and 24.04 are)"),
    "processor": ("poor", {"host.machine": "aarch64"},
                  "its processor is aarch64; the wheels of the lock are for x86_64"),
    "instructions": ("poor", {"host.lacking": ["avx2", "fma"]},
                     "its processor has no avx2, fma, which the libraries of the image need: give "
                     "a virtual machine the processor of its host"),
    "memory": ("poor", {"host.memory": 2 * GIB}, "it has 2.00 GB of memory; 3 GiB are needed"),
    "disk": ("poor", {"host.free": {"/var/lib": 7 * GIB}},
             "/var/lib has 7.00 GB free; 8 GiB are needed"),
    "disk of the engine": (
        "engine", {"host.free": {"/var/lib": 5 * GIB, "/data/docker": 6 * GIB}},
        "/data/docker has 6.00 GB free; 8 GiB are needed"),
    "overlap": ("poor", {"host.routes": ["10.79.2.0/24", "192.0.2.0/24"]},
                "it has routes to 10.79.2.0/24, which overlap with swarm_subnet or "
                "swarm_address_pool: give others"),
    "mtu": ("poor", {"host.mtu": 1329}, "the MTU of its network is 1329; overlay networks take 50 "
                                        "bytes of it and need 1330 or more"),
    "disk of a host with the image": (
        "again",
        {"host.free": {"/var/lib": GIB // 2}, "host.state.image": {"image_id": "sha256:0"}},
        "/var/lib has 512.00 MB free; 1 GiB are needed"),
    # a worker has no file of it
    "disk of a worker with the image": (
        "worker-again", {"host.free": {"/var/lib": GIB // 2}, "engine.image": True},
        "/var/lib has 512.00 MB free; 1 GiB are needed"),
    "disk of a member whose engine is stopped": (
        "stopped", {"host.free": {"/var/lib": GIB // 2}, "engine": {},
                    "host.state.swarm": {"made_by_us": True}},
        "/var/lib has 512.00 MB free; 1 GiB are needed"),
    "loopback": ("loop", {"vars.swarm_advertise_address": "lo"},
                 "the others would know it as 127.0.0.1, where none of them reaches it: give it "
                 "swarm_advertise_address, an IPv4 address or an interface that has one"),
    "IPv6": ("six", {"vars.swarm_advertise_address": "2001:db8::1"},
             "its swarm_advertise_address is 2001:db8::1, and between several hosts an IPv4 "
             "address without a port is needed, or an interface that has one"),
    "second address": (
        "second", {"host.sources": {"192.0.2.1": "192.0.2.7", "192.0.2.2": "192.0.2.6"}},
        "the others would know it as 192.0.2.7, and what it sends them comes from 192.0.2.6, which "
        "overlay networks do not take: give it swarm_advertise_address 192.0.2.6, or make that of "
        "its routes to them the other (ip route ... src 192.0.2.7)"),
    "namesake": ("twin.a", {}, "its services would be called as those of twin-a, "
                               "ical-worker-twin-a: give it another name in the inventory"),
    "its namesake": ("twin-a", {}, "its services would be called as those of twin.a, "
                                   "ical-worker-twin-a: give it another name in the inventory"),
    "port 2377": ("port-2377", {"host.listeners": {"tcp 2377": "x"}},
                  "something listens on tcp 2377, which the deployment needs"),
    "port 7946": ("port-7946", {"host.listeners": {"tcp 7946": "x", "udp 7946": "x"}},
                  "something listens on tcp 7946, udp 7946, which the deployment needs"),
    "port 4789": ("port-4789", {"host.listeners": {"udp 4789": "kernel"}},
                  "something listens on udp 4789, which the deployment needs"),
    # beyond three hosts the first manager has the registry
    "dashboard and registry": (
        "head", {"host.listeners": {"tcp 8787": "x", "tcp 5000": "x"}},
        "something listens on tcp 8787, tcp 5000, which the deployment needs"),
    "old engine": ("engine", {"engine.version": "19.03.8"},
                   "its Docker engine is 19.03.8; 20.10 or later is needed"),
    "context": ("poor", {"host.strayed": "the context in use is prod"},
                "docker asks another engine there than its own (the context in use is prod): unset "
                "that"),
    "interpreter": ("poor", {"host.isolated": "/opt/venv/bin/python"},
                    "its ansible_python_interpreter /opt/venv/bin/python does not see the packages "
                    "of the system, such as python3-docker, which modules of Docker need: leave it "
                    "out, or make it with --system-site-packages"),
    "rootless": ("engine", {"engine.rootless": True},
                 "its Docker engine is rootless, and overlay networks need root"),
    "snap": ("ahead", {"engine.root": "/var/snap/docker/common/var-lib-docker"},
             "its Docker engine is a snap, which sees none of the folders that containers of the "
             "deployment need: install docker.io in its place"),
    "userns-remap": ("engine", {"engine.userns": True},
                     "its Docker engine remaps users, and volumes are shared between containers "
                     "by user"),
    "live-restore": ("engine", {"engine.live_restore": True},
                     "its Docker engine has live-restore on, which swarm mode forbids"),
    "swarm of others": ("engine", {"engine.swarm": "active"},
                        "it is in a swarm that ical-swarm did not make: leave it, or on one of its "
                        "managers give -e swarm_use_existing=true"),
    "inputs of the host": ("engine", {"vars.dask_inputs": ["/srv", "/no/sets"]},
                           "it has no /no/sets, which is among its dask_inputs: mount it there"),
    "clock ahead": (
        "ahead", {"host.ahead": 36000},
        "its clock is N s off from that of this machine, and certificates and logs need the same "
        "time: run a time service"),
    "clock behind": (
        "behind", {"host.ahead": -36000},
        "its clock is -N s off from that of this machine, and certificates and logs need the same "
        "time: run a time service"),
    "vxlan on Debian": (
        "ahead", {"host.vxlan": False},
        "its kernel 6.1.0-18-amd64 has no vxlan, which overlay networks need: install "
        "linux-image-amd64 and start the host again with it"),
    "vxlan on Ubuntu": (
        "behind", {"host.vxlan": False, "host.kernel": "5.15.0-1-kvm", "host.system": UBUNTU},
        "its kernel 5.15.0-1-kvm has no vxlan, which overlay networks need: install "
        "linux-modules-extra-5.15.0-1-kvm"),
}
#: Hosts that differ in what is no reason to complain.
FINE: dict[str, dict] = {
    "worker": {"host.vxlan": None, "host.mtu": 1330,
               "host.listeners": {"tcp 8787": "x", "tcp 5000": "x"}},
    "no-engine": {"engine": {}, "host.mtu": 0},
}
NO_ROOT = "no root on it: run as root, with sudo, or add --ask-become-pass"
#: Hosts without Python or root: what they say to `raw`, and the complaints.
BARE: dict[str, tuple[str, list[str]]] = {
    "bare-poor": (
        "user=0\npython=\nid=alpine\nversion=3.19\nname=Alpine Linux v3.19\nmachine=aarch64\n"
        "memory=1048576 kB\nfree=/dev/vda1 10485760 8388608 2097152 80% /\n",
        ["Alpine Linux v3.19 is not supported (Debian 12 and 13, Ubuntu 22.04 and 24.04 are)",
         "its processor is aarch64; the wheels of the lock are for x86_64",
         "it has 1.00 GB of memory; 3 GiB are needed",
         "/var/lib has 2.00 GB free; 8 GiB are needed"]),
    "nobody": ("user=1000\npython=/usr/bin/python3\n", [NO_ROOT]),
    "no-sudo": ("", [f"{NO_ROOT} (Premature end of stream waiting for become success. "
                     ">>> Standard Error sudo: a password is required)"]),
}
GOOD_BARE = ("user=0\npython=\nid=debian\nversion=12\nname=Debian\nmachine=x86_64\n"
             "memory=8388608 kB\nfree=/dev/vda1 104857600 0 104857600 0% /\n")


def differing(changes: dict) -> dict:
    """A good host but for what is changed, by the names of nested keys."""
    host = copy.deepcopy(GOOD)
    for key, value in changes.items():
        *parents, last = key.split(".")
        section = host
        for parent in parents:
            section = section[parent]
        section[last] = value
    return host


class Hosts:
    """An inventory of faked hosts, all of them this machine."""

    def __init__(self, folder: Path) -> None:
        self.folder = folder
        self.hosts: dict[str, dict] = {}
        (folder / "modules").mkdir()
        (folder / "modules" / "ical_probe.py").write_text(PROBE)

    def add(self, name: str, changes: dict, bare: str | None = None) -> None:
        """Add a host that differs from a good one, and that may have no Python."""
        state = self.folder / name
        state.mkdir()
        answer = differing(changes)
        self.hosts[name] = answer.pop("vars") | {
            "ansible_connection": "local", "ical_state_dir": str(state)}
        (state / "host.json").write_text(json.dumps(answer))
        if bare is not None:
            (state / "bare").write_text(bare)
            (state / "sudo").write_text(SUDO.format(folder=state))
            (state / "sudo").chmod(0o755)
            # another user than who runs the tests, who may be root and then needs no sudo
            self.hosts[name] |= {"ansible_become_exe": str(state / "sudo"),
                                 "ansible_become_user": "them"}

    def preflight(self, playbook, managers: list[str], *arguments: str):
        """What site.yml's preflight tells about them."""
        inventory = self.folder / "hosts.yml"
        inventory.write_text(yaml.safe_dump({
            "managers": {"hosts": {name: {} for name in managers}},
            "workers": {"hosts": self.hosts}}))
        return playbook("-i", str(inventory), "-M", str(self.folder / "modules"), "site.yml",
                        *arguments)


def rows(output: str) -> dict[str, list[str]]:
    """The table of complaints, host -> complaints."""
    found: dict[str, list[str]] = {}
    lines = output.split("These hosts cannot carry the deployment:\n")[1].splitlines()
    indent = len(lines[0]) - len(lines[0].lstrip())
    for line in lines:
        match = re.match(rf" {{{indent}}}(\S*) +(.*)", line)
        if not match:
            break
        name = match[1] or list(found)[-1]
        found.setdefault(name, []).append(match[2])
    return found


@pytest.fixture(scope="module")
def told(playbook, tmp_path_factory: pytest.TempPathFactory):
    """What one preflight tells about all of the faked hosts, and one that does not answer."""
    hosts = Hosts(tmp_path_factory.mktemp("hosts"))
    faulty: dict[str, dict] = {}
    for name, changes, _ in CASES.values():
        faulty.setdefault(name, {}).update(changes)
    for name, changes in (faulty | FINE).items():
        hosts.add(name, changes)
    for name, (said, _) in BARE.items():
        hosts.add(name, {}, said)
    hosts.add("bare-good", {}, GOOD_BARE)
    hosts.hosts["away"] = {"ansible_host": "127.0.0.1", "ansible_port": 1, "ansible_ssh_retries": 0}
    result = hosts.preflight(playbook, ["head"], "--tags", "preflight")
    return result, hosts


@pytest.fixture(scope="module")
def table(told) -> dict[str, list[str]]:
    result, _ = told
    assert result.returncode != 0
    assert "These hosts cannot carry the deployment:" in result.stdout, result.stdout
    return rows(result.stdout)


def without_times(complaints: list[str]) -> list[str]:
    """Complaints with N for the ten hours that a clock is off, less what reading it takes."""
    return [re.sub(r"is (-?)(?:36000|359[0-9]{2})[.][0-9] s", r"is \1N s", told)
            for told in complaints]


@pytest.mark.parametrize("case", CASES)
def test_what_speaks_against_a_host_is_told(table, case):
    host, _, complaint = CASES[case]
    assert complaint in without_times(table[host])


def test_nothing_else_is_told(table):
    for host in {host for host, _, _ in CASES.values()}:
        assert sorted(without_times(table[host])) == sorted(
            complaint for name, _, complaint in CASES.values() if name == host)


@pytest.mark.parametrize("name", BARE)
def test_a_host_without_python_is_judged_by_what_can_be_seen_without_it(table, name):
    assert table[name] == BARE[name][1]


def test_there_is_one_table_and_it_has_every_host_that_something_speaks_against(told, table):
    result, _ = told
    assert set(table) == {host for host, _, _ in CASES.values()} | {*BARE, "away"}
    assert re.findall(r"failed=[1-9]", result.stdout) == ["failed=1"]
    assert re.fullmatch("does not answer: .*Connection refused", table["away"][0])
    told = " ".join(result.stdout.split())
    assert "Bring away back, or take it out of the inventory." in told


def test_nothing_is_changed_while_something_speaks_against_a_host(told):
    result, hosts = told
    assert "Nothing was changed. These hosts" in result.stdout
    assert not re.search("changed=[1-9]", result.stdout)
    assert not (hosts.folder / "bare-good" / "installed").exists()
    assert "Traceback" not in result.stdout + result.stderr


def test_python_is_installed_when_nothing_else_is_wrong_and_the_host_is_looked_at_again(
        playbook, tmp_path):
    hosts = Hosts(tmp_path)
    hosts.add("good", {})
    hosts.add("bare", {"host.mtu": 1280}, GOOD_BARE)
    run = tmp_path / "run.yml"
    run.write_text(f"input: {{measurement_set: {tmp_path}}}\n")
    result = hosts.preflight(playbook, ["good"], "--tags", "preflight", "-e", f"ical_run={run}",
                             "-e", "ms_access=shared")
    assert result.returncode != 0
    assert (tmp_path / "bare" / "installed").exists()
    assert ("Python was installed on hosts that had none, and nothing else was changed. "
            "These hosts cannot") in result.stdout
    assert rows(result.stdout) == {"bare": [CASES["mtu"][2].replace("1329", "1280")]}


def test_check_mode_says_that_it_cannot_look_at_a_host_without_python(playbook, tmp_path):
    hosts = Hosts(tmp_path)
    hosts.add("good", {})
    hosts.add("bare", {}, GOOD_BARE)
    result = hosts.preflight(playbook, ["good"], "--check")
    assert result.returncode == 0, result.stdout
    assert ("bare has no Python. site.yml installs it there first (package python3); what comes "
            "after cannot be told without it, so that --check ends here, for all hosts."
            ) in " ".join(result.stdout.split())
    assert not (tmp_path / "bare" / "installed").exists()
    assert not re.search("changed=[1-9]", result.stdout)
    # the stages behind did not begin
    assert "Bring the engine up" not in result.stdout


def test_a_host_without_the_shared_measurement_set_is_named(playbook, tmp_path):
    hosts = Hosts(tmp_path)
    hosts.add("good", {})
    run = tmp_path / "run.yml"
    run.write_text("input: {measurement_set: /no/target.ms}\n")
    result = hosts.preflight(playbook, ["good"], "--tags", "preflight", "-e", f"ical_run={run}",
                             "-e", "ms_access=shared")
    assert result.returncode != 0
    assert rows(result.stdout) == {"good": [
        "it has no /no/target.ms, which every host must have with ms_access shared: mount it there "
        "under the same path, or give ms_access distribute"]}


def test_members_of_the_managers_swarm_may_serve_and_those_of_another_may_not(playbook, tmp_path):
    hosts = Hosts(tmp_path)
    theirs = {"engine.swarm": "active", "engine.node_id": "n",
              "engine.swarm_managers": ["192.0.2.1"]}
    hosts.add("head", theirs | {"engine.swarm_manager": True, "engine.node_address": "192.0.2.1"})
    hosts.add("member", theirs | {"engine.node_address": "192.0.2.2"})
    hosts.add("elsewhere", theirs | {"engine.swarm_managers": ["192.0.2.9"]})
    hosts.add("free", {})
    result = hosts.preflight(playbook, ["head"], "--tags", "preflight",
                             "-e", "swarm_use_existing=true")
    assert rows(result.stdout) == {"elsewhere": [
        "it is in the swarm of 192.0.2.9, which is that of no host in the group managers: "
        "leave it"]}


def test_a_host_looked_at_by_itself_needs_no_manager(playbook, tmp_path):
    hosts = Hosts(tmp_path)
    hosts.add("head", {})
    hosts.add("one", {})
    result = hosts.preflight(playbook, ["head"], "--tags", "preflight", "--limit", "one")
    assert "without a manager nothing can go on" not in " ".join(result.stdout.split())
    assert result.returncode == 0, result.stdout


def test_the_folders_of_a_host_are_found_in_the_order_in_which_they_are_named(playbook, tmp_path):
    """Workers are labelled with them: another order would start them anew at every play."""
    folders = [str(tmp_path / f"set{number}") for number in range(8)]
    hosts = Hosts(tmp_path)
    hosts.add("head", {"vars.dask_inputs": folders})
    result = hosts.preflight(playbook, ["head"], "--tags", "preflight")
    assert rows(result.stdout) == {"head": [
        f"it has no {', '.join(folders)}, which is among its dask_inputs: mount it there"]}


@pytest.mark.parametrize("acts", [False, True])
def test_a_swarm_that_its_engine_cannot_use_is_mended_by_another_manager_or_made_anew(
        playbook, tmp_path, acts):
    hosts = Hosts(tmp_path)
    hosts.add("broken", {"engine.swarm": "error", "engine.swarm_ours": True,
                         "engine.swarm_error": "certificate has expired"})
    ours = {"engine.swarm": "active", "engine.swarm_ours": True, "engine.swarm_acts": acts,
            "engine.swarm_acted": acts}
    hosts.add("second", ours)
    hosts.add("third", ours)
    result = hosts.preflight(playbook, ["broken", "second", "third"], "--tags", "preflight")
    complaint = ["its engine cannot use the swarm that it is in (certificate has expired), and no "
                 "other manager answers for that: type ansible-playbook teardown.yml -i "
                 f"{tmp_path}/hosts.yml, then site.yml again"]
    assert (result.returncode == 0) == acts, result.stdout
    assert acts or rows(result.stdout) == {"broken": complaint}


@pytest.mark.parametrize(("swarm", "advice"), [
    ({}, "take it out of the inventory."),
    ({"engine.swarm": "active", "engine.swarm_ours": True},
     "where it is lost for good type ansible-playbook teardown.yml -i {hosts}, take it out of the "
     "inventory, and type site.yml."),
    ({"engine.swarm": "active", "engine.swarm_ours": True, "engine.swarm_acts": True},
     "take it out: ansible-playbook playbooks/remove_hosts.yml -i {hosts} -e hosts=away, and then "
     "out of the inventory.")], ids=["bare", "without its managers", "at work"])
def test_what_is_told_to_do_about_a_host_that_does_not_answer_can_be_done(
        playbook, tmp_path, swarm, advice):
    hosts = Hosts(tmp_path)
    hosts.add("head", swarm | {"engine.swarm_acted": "engine.swarm_acts" in swarm})
    hosts.hosts["away"] = {"ansible_host": "127.0.0.1", "ansible_port": 1, "ansible_ssh_retries": 0}
    result = hosts.preflight(playbook, ["head"], "--tags", "preflight")
    wanted = f"Bring away back, or {advice.format(hosts=tmp_path / 'hosts.yml')}"
    assert wanted in " ".join(result.stdout.split()), result.stdout


#: Of the only manager, once it has made a swarm.
MADE = {"engine.swarm": "active", "engine.swarm_ours": True, "engine.swarm_manager": True,
        "engine.swarm_acts": True, "engine.swarm_acted": False,
        "engine.node_address": "192.0.2.7"}


def test_the_port_of_the_registry_is_wanted_where_a_manager_acts(playbook, tmp_path):
    hosts = Hosts(tmp_path)
    for name in ("one", "two", "three"):
        hosts.add(name, MADE | {"engine.swarm_acted": name == "two",
                                "host.listeners": {"tcp 5000": "x"}})
    result = hosts.preflight(playbook, ["one", "two", "three"], "--tags", "preflight",
                             "-e", "image_distribution=registry")
    assert rows(result.stdout) == {
        "two": ["something listens on tcp 5000, which the deployment needs"]}


@pytest.mark.parametrize(("named", "workers", "told"), [
    ("192.0.2.7", 1, False), ("192.0.2.8", 1, True), ("192.0.2.8", 0, False)])
def test_a_manager_whose_address_is_changed_is_told_how_before_anything_is(
        playbook, tmp_path, named, workers, told):
    hosts = Hosts(tmp_path)
    hosts.add("head", MADE | {"vars.swarm_advertise_address": named})
    for number in range(workers):
        hosts.add(f"worker{number}", {})
    result = hosts.preflight(playbook, ["head"], "--tags", "preflight")
    said = " ".join(result.stdout.split())
    assert ("head made the swarm as 192.0.2.7, and swarm_advertise_address is now 192.0.2.8. The "
            "swarm was left as it is, for it keeps the address of its manager: type "
            f"ansible-playbook teardown.yml -i {tmp_path}/hosts.yml, then site.yml again."
            in said) == told
    assert (result.returncode != 0) == told, said


def test_several_bare_hosts_have_nothing_against_them(playbook, tmp_path):
    hosts = Hosts(tmp_path)
    hosts.add("one", {"engine": {}})
    hosts.add("two", {"engine": {}})
    result = hosts.preflight(playbook, ["one"], "--tags", "preflight")
    assert result.returncode == 0, result.stdout
