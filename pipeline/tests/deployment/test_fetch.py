"""What is fetched of a run: the limit that the options make, and what the script does with it."""

from __future__ import annotations

import os
import re
import subprocess
import tarfile
from pathlib import Path

import pytest

ROOT = Path(__file__).resolve().parents[3]
ROLE = ROOT / "roles" / "pipeline"
#: In place of docker: no container was started, and a volume is a folder of the test.
DOCKER = """#!/bin/sh
case $1 in
  ps) ;;
  run)
    for word in "$@"; do
      case $word in type=volume,source=*) volume=${word#*source=}; volume=${volume%%,*} ;; esac
    done
    while [ "$1" != -c ]; do shift; done
    script=$(echo "$2" | sed "s,/volume,$VOLUMES/$volume,"); shift 2
    exec sh -c "$script" "$@" ;;
esac
"""


@pytest.mark.parametrize(("options", "limit"), [
    ([], str(2**30)), (["pipeline_fetch_limit=2M"], str(2 * 2**20)),
    (["fetch_visibilities=true"], ""), (["fetch_visibilities=True", "pipeline_fetch_limit=2M"], ""),
    (["fetch_visibilities=false"], "0"), (['{"fetch_visibilities": false}'], "0")])
def test_the_options_make_one_limit(playbook, tmp_path, options, limit):
    told = tmp_path / "play.yml"
    told.write_text(f"""
- hosts: localhost
  connection: local
  gather_facts: false
  vars_files: [{ROLE}/defaults/main.yml, {ROLE}/vars/main.yml]
  tasks:
    - command: {{argv: [printf, "limit is <%s>", "{{{{ pipeline_fetch_bytes }}}}"]}}
      register: printed
    - debug: {{var: printed.stdout}}
""")
    result = playbook(str(told), *(word for option in options for word in ("-e", option)))
    assert re.findall("limit is <(.*)>", result.stdout)[-1] == limit, result.stdout


@pytest.fixture(name="volumes")
def volumes_fixture(tmp_path, monkeypatch):
    """The function that fills a host's volumes, where docker is a script that reads them."""
    (tmp_path / "bin").mkdir()
    (tmp_path / "bin" / "docker").write_text(DOCKER)
    (tmp_path / "bin" / "docker").chmod(0o755)
    monkeypatch.setenv("PATH", f"{tmp_path}/bin:{os.environ['PATH']}")

    def fill(host: str, content: bytes) -> Path:
        root = tmp_path / "volumes" / host
        for volume, name in (("ical-results", "report.json"), ("ical-data", f"{host}.zarr")):
            folder = root / volume / "run-1"
            folder.mkdir(parents=True)
            (folder / name).write_bytes(content)
        return root

    return fill


@pytest.mark.parametrize(("limit", "fetched"), [("", True), ("100000000", True), ("2000", False),
                                                ("0", False)])
def test_visibilities_up_to_the_limit_come_with_the_results(
    tmp_path, monkeypatch, volumes, limit, fetched
):
    monkeypatch.setenv("VOLUMES", str(volumes("one", bytes(10000))))
    subprocess.run(["sh", str(ROLE / "files/collect.sh"), "run-1", "2026-01-01T00:00:00Z", "image",
                    str(tmp_path / "fetch"), limit], check=True)
    with tarfile.open(tmp_path / "fetch" / "run.tar", ignore_zeros=True) as stream:
        files = {member.name for member in stream.getmembers() if member.isfile()}
    visibilities = {"run-1/visibilities/one.zarr"} if fetched else set()
    assert files == {"run-1/report.json"} | visibilities


#: One host has no space, one is off.
HOSTS = """
managers: {hosts: {one: }}
workers:
  hosts:
    one:
    two:
    full: {ical_state_dir: /dev/null}
    away: {ansible_connection: ssh, ansible_host: 127.0.0.1, ansible_port: 1}
ical_manager: {hosts: {one: }}
all: {vars: {ansible_connection: local, ical_state_dir: "FOLDER/state/{{ inventory_hostname }}"}}
"""
#: As playbooks/pipeline.yml has it, after a stage that failed.
PLAY = f"""
- hosts: managers:workers
  gather_facts: false
  any_errors_fatal: false
  environment: {{VOLUMES: "FOLDER/volumes/{{{{ inventory_hostname }}}}"}}
  tasks:
    - include_role: {{name: {ROLE}, tasks_from: fetch}}
      vars: {{pipeline_from: {{pipeline_run_id: run-1, pipeline_started: now, image_name: image}}}}
- hosts: ical_manager
  gather_facts: false
  tasks:
    - set_fact: {{pipeline_failure: selfcal ended}}
    - include_role: {{name: {ROLE}, tasks_from: gather}}
      vars: {{pipeline_run_id: run-1, pipeline_services: []}}
    - debug: {{msg: "silent <{{{{ pipeline_silent }}}}> failure <{{{{ pipeline_failure }}}}>"}}
"""


def test_what_hosts_have_is_put_together_and_the_others_are_told(playbook, tmp_path, volumes):
    for host in ("one", "two"):
        volumes(host, host.encode())
    for name, text in (("hosts.yml", HOSTS), ("play.yml", PLAY)):
        (tmp_path / name).write_text(text.replace("FOLDER", str(tmp_path)))
    result = playbook("-i", str(tmp_path / "hosts.yml"), str(tmp_path / "play.yml"), "-e",
                      f"results_dir={tmp_path}/results")
    told = " ".join(result.stdout.replace("''", "'").split())
    assert ("silent <away> failure <selfcal ended; and then the task 'Collect results and logs' "
            "failed on full: mkdir: cannot create directory") in told, told
    # who does not answer is not waited for again
    assert told.count("UNREACHABLE!") == 1
    assert [path.name for path in (tmp_path / "results").iterdir()] == ["run-1"]
    run = tmp_path / "results" / "run-1"
    # both have it: the manager's counts
    assert (run / "report.json").read_text() == "one"
    assert {path.name for path in (run / "visibilities").iterdir()} == {"one.zarr", "two.zarr"}
    assert not list((tmp_path / "state").glob("*/fetch"))
