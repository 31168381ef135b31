"""What a purge must not take: Docker goes with all that somebody else has in it."""

from __future__ import annotations

import json
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
    variables = {"docker_known": {"packages": ["docker.io", "iptables", "gone"]},
                 "docker_probe": {"host": {"packages": ["iptables", "docker.io", "ufw"]}}}
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
    monkeypatch.setenv("DOCKER_HOST", f"unix://{engine.path}")
    book = tmp_path / "images.yml"
    book.write_text("""
- hosts: one
  gather_facts: false
  tasks: [{include_role: {name: image, tasks_from: teardown}}]
""")
    variables = {"image_docker_socket": engine.path, "ical_state_dir": str(tmp_path),
                 "image_trust_root": str(tmp_path), "image_registry_unit": str(tmp_path / "unit"),
                 "teardown_purge": True, "image_base": "auto"}
    result = playbook("-i", "one,", "-c", "local", str(book), "-e", json.dumps(variables))
    assert sorted(engine.removed) == sorted(ours + bases), result.stdout
    assert not (tmp_path / "pulled").exists()


@pytest.mark.parametrize(("known", "manager", "started"), [
    ("direct", "systemd", "direct"), ("", "systemd", "systemd"), ("", "sysvinit", "direct")])
def test_an_engine_of_which_nobody_noted_how_it_started_is_stopped_too(playbook, tmp_path, known,
                                                                       manager, started):
    book = tmp_path / "started.yml"
    book.write_text(f"""
- hosts: one
  gather_facts: false
  vars_files: [{ROOT}/roles/docker/vars/main.yml]
  tasks: [{{debug: {{msg: "by {{{{ docker_started }}}}."}}}}]
""")
    variables = {"docker_known": {"started_by": known}, "ansible_facts": {"service_mgr": manager}}
    result = playbook("-i", "one,", "-c", "local", str(book), "-e", json.dumps(variables))
    assert f"by {started}." in result.stdout, result.stdout
