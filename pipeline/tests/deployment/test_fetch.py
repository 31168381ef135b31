"""What is fetched of a run: the limit that the options make, and what the script does with it."""

from __future__ import annotations

import json
import os
import re
import shlex
import subprocess
import tarfile
from pathlib import Path

import pytest

ROOT = Path(__file__).resolve().parents[3]
ROLE = ROOT / "roles" / "pipeline"
#: In place of docker: a volume is a folder of the test, a container a line of a file there; where
#: there is no such folder, the engine is stopped.
DOCKER = """#!/bin/sh
case $1 in
  info) test -d "$VOLUMES" ;;
  ps) cat "$VOLUMES/containers" 2>/dev/null || true ;;
  logs) echo "$4 $5" ;;
  inspect) echo true ;;
  volume) test -d "$VOLUMES/$3" ;;
  run)
    test -e "$VOLUMES/broken" && exit 125
    for word in "$@"; do
      case $word in type=volume,source=*) volume=${word#*source=}; volume=${volume%%,*} ;; esac
    done
    while [ "$1" != -c ]; do shift; done
    script=$(echo "$2" | sed "s,/volume,$VOLUMES/$volume,"); shift 2
    exec sh -c "$script" "$@" ;;
esac
"""

#: The head of a play that sees the variables of the role.
VARIABLES = f"""
- hosts: localhost
  connection: local
  gather_facts: false
  vars_files: [{ROLE}/defaults/main.yml, {ROLE}/vars/main.yml]
  tasks:"""


@pytest.mark.parametrize(("options", "limit"), [
    ([], str(2**30)), (["pipeline_fetch_limit=2M"], str(2 * 2**20)),
    (["fetch_visibilities=true"], ""), (["fetch_visibilities=True", "pipeline_fetch_limit=2M"], ""),
    (["fetch_visibilities=false"], "0"), (['{"fetch_visibilities": false}'], "0")])
def test_the_options_make_one_limit(playbook, tmp_path, options, limit):
    told = tmp_path / "play.yml"
    told.write_text(VARIABLES + """
    - command: {argv: [printf, "limit is <%s>", "{{ pipeline_fetch_bytes }}"]}
      register: printed
    - debug: {var: printed.stdout}
""")
    result = playbook(str(told), *(word for option in options for word in ("-e", option)))
    assert re.findall("limit is <(.*)>", result.stdout)[-1] == limit, result.stdout


@pytest.mark.parametrize("given", [
    {}, {"ical_run": "reference"}, {"ical_run": "my run's.yml", "dask_tls": False},
    {"swarm_use_existing": True, "results_dir": "/my results", "ms_access": "shared",
     "fetch_visibilities": "false", "pipeline_stages": ["model", "image"]},
    {"ical_state_dir": "/srv/ical", "dask_scheduler_memory": "8G", "pipeline_timeout": 60,
     "pipeline_fetch_limit": "2G", "dask_inputs": ["/lustre"]}, {"results_dir": "/it's"}])
def test_the_command_told_goes_on_with_the_same_run(playbook, tmp_path, given):
    told = tmp_path / "play.yml"
    told.write_text(VARIABLES + f"""
    - copy: {{dest: {tmp_path}/told, content: "{{{{ [seen, pipeline_again] | to_json }}}}"}}
      vars:
        seen:
          ical_run: "{{{{ ical_run | default('') }}}}"
          dask_tls: "{{{{ dask_tls | default(true) | bool }}}}"
          swarm_use_existing: "{{{{ swarm_use_existing | default(false) | bool }}}}"
          results_dir: "{{{{ results_dir | default('') }}}}"
          ms_access: "{{{{ ms_access }}}}"
          fetch_visibilities: "{{{{ fetch_visibilities }}}}"
          pipeline_stages: "{{{{ pipeline_stages }}}}"
          ical_state_dir: "{{{{ ical_state_dir | default('') }}}}"
          dask_scheduler_memory: "{{{{ dask_scheduler_memory | default('') }}}}"
          pipeline_timeout: "{{{{ pipeline_timeout }}}}"
          pipeline_fetch_limit: "{{{{ pipeline_fetch_limit }}}}"
          dask_inputs: "{{{{ dask_inputs | default([]) }}}}"
""")
    options = ["-e", json.dumps(given)] if given else []
    for _ in range(2):
        result = playbook(str(told), *options)
        assert result.returncode == 0, result.stdout
        found, command = json.loads((tmp_path / "told").read_text())
        assert {name: found[name] for name in given} == given
        options = shlex.split(command.removeprefix("ansible-playbook site.yml"))
        options = [word for word in options if word not in ("--tags", "pipeline")]
    # and the inventory
    assert len(options) == 2 * (len(given) + 1)


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


def collect(state: Path, *arguments: str) -> int:
    """The exit code of the script, for a run that began at noon."""
    return subprocess.run(["sh", str(ROLE / "files/collect.sh"), str(state), "run-1", "noon",
                           *arguments], check=False).returncode


def collected(state: Path) -> set[str]:
    """Files of the stream that was collected."""
    with tarfile.open(state / "fetch" / "run.tar", ignore_zeros=True) as stream:
        return {member.name for member in stream.getmembers() if member.isfile()}


@pytest.mark.parametrize(("limit", "fetched"), [("", True), ("100000000", True), ("2000", False),
                                                ("0", False)])
def test_visibilities_up_to_the_limit_come_with_the_results(
    tmp_path, monkeypatch, volumes, limit, fetched
):
    monkeypatch.setenv("VOLUMES", str(volumes("one", bytes(10000))))
    assert collect(tmp_path, "image", limit) == 0
    visibilities = {"run-1/visibilities/one.zarr"} if fetched else set()
    assert collected(tmp_path) == {"run-1/report.json"} | visibilities


def test_logs_of_containers_that_are_gone_by_the_end_come_too(tmp_path, monkeypatch, volumes):
    root = volumes("one", b"")
    monkeypatch.setenv("VOLUMES", str(root))
    (root / "containers").write_text("0a ical-pipeline-selfcal.1.abcdefghij\n")
    # as a play that goes on with a run does, before it removes what died
    assert collect(tmp_path) == 0
    assert not (tmp_path / "fetch").exists()
    (root / "containers").write_text("0b ical-pipeline-selfcal.1.klmnopqrst\n")
    assert collect(tmp_path, "image", "0") == 0
    first, second = "ical-pipeline-selfcal.1.abcdef.log", "ical-pipeline-selfcal.1.klmnop.log"
    assert {f"run-1/logs/{name}" for name in (first, second)} < collected(tmp_path)
    assert (tmp_path / "runs/run-1/logs" / first).read_text() == "noon 0a\n"


def test_a_host_on_which_nothing_was_deployed_yet_has_nothing_and_that_is_no_failure(
    tmp_path, monkeypatch, volumes
):
    root = volumes("one", b"").parent / "bare"
    root.mkdir()
    (root / "broken").touch()  # as it would be told without the image
    monkeypatch.setenv("VOLUMES", str(root))
    assert collect(tmp_path, "image", "") == 0
    assert collected(tmp_path) == set()


def test_a_copy_that_fails_is_no_success_and_frees_the_disk(tmp_path, monkeypatch, volumes):
    root = volumes("one", b"")
    monkeypatch.setenv("VOLUMES", str(root))
    (root / "broken").touch()
    assert collect(tmp_path, "image", "0") not in (0, 3)
    assert not (tmp_path / "fetch").exists()
    monkeypatch.setenv("VOLUMES", str(tmp_path / "none"))
    assert collect(tmp_path, "image", "0") == 3


#: One host has no space, one is off, the engine of one is stopped.
HOSTS = """
managers: {hosts: {one: }}
workers:
  hosts:
    one:
    two:
    full: {ical_state_dir: /dev/null}
    stopped:
    away: {ansible_connection: ssh, ansible_host: 127.0.0.1, ansible_port: 1}
ical_manager: {hosts: {one: }}
all: {vars: {ansible_connection: local, ical_state_dir: "FOLDER/state/{{ inventory_hostname }}"}}
"""
#: As playbooks/pipeline.yml has it.
FETCH = f"""
- hosts: managers:workers
  gather_facts: false
  any_errors_fatal: false
  environment: {{VOLUMES: "FOLDER/volumes/{{{{ inventory_hostname }}}}"}}
  tasks:
    - include_role: {{name: {ROLE}, tasks_from: fetch}}
      vars: {{pipeline_from: {{pipeline_run_id: run-1, pipeline_started: now, image_name: image}}}}
"""
#: After a stage that failed.
GATHER = f"""
- hosts: ical_manager
  gather_facts: false
  tasks:
    - set_fact: {{pipeline_failure: selfcal ended}}
    - include_role: {{name: {ROLE}, tasks_from: gather}}
      vars: {{pipeline_run_id: run-1, pipeline_services: []}}
    - vars: {{away: "{{{{ pipeline_silent | join(', ') }}}}"}}
      debug: {{msg: "silent <{{{{ away }}}}> failure <{{{{ pipeline_failure }}}}>"}}
"""


def play(playbook, folder: Path, hosts: str, text: str) -> tuple[int, str]:
    """Exit code and words of plays on hosts."""
    for name, content in (("hosts.yml", hosts), ("play.yml", text)):
        (folder / name).write_text(content.replace("FOLDER", str(folder)))
    result = playbook("-i", str(folder / "hosts.yml"), str(folder / "play.yml"), "-e",
                      f"results_dir={folder}/results")
    return result.returncode, " ".join(result.stdout.replace("''", "'").split())


def test_what_hosts_have_is_put_together_and_the_others_are_told(playbook, tmp_path, volumes):
    for host in ("one", "two", "full"):
        volumes(host, host.encode())
    _, told = play(playbook, tmp_path, HOSTS, FETCH + GATHER)
    assert ("silent <away, stopped> failure <selfcal ended; and then the task 'Collect results and "
            "logs' failed on full: mkdir: cannot create directory") in told, told
    # who does not answer is not waited for again
    assert told.count("UNREACHABLE!") == 1
    assert [path.name for path in (tmp_path / "results").iterdir()] == ["run-1"]
    run = tmp_path / "results" / "run-1"
    # both have it: the manager's counts
    assert (run / "report.json").read_text() == "one"
    assert {path.name for path in (run / "visibilities").iterdir()} == {"one.zarr", "two.zarr"}
    assert not list((tmp_path / "state").glob("*/fetch"))


#: A run whose stages have all ended well.
FINISH = f"""
- hosts: ical_manager
  gather_facts: false
  tasks:
    - set_fact: {{pipeline_failure: "", pipeline_left: []}}
    - include_role: {{name: {ROLE}, tasks_from: finish}}
      vars:
        pipeline_run_id: run-1
        pipeline_services: []
        pipeline_runs: []
        pipeline_inputs: x
        pipeline_started: noon
"""


def test_a_run_whose_results_did_not_come_is_not_done(playbook, tmp_path, volumes):
    volumes("two", b"")
    (tmp_path / "volumes/two/ical-results/run-1/report.json").unlink()
    (tmp_path / "state" / "one").mkdir(parents=True)
    hosts = HOSTS.replace("{hosts: {one: }}", "{hosts: {one: , two: }}", 1)
    hosts = hosts.replace("all:", "ical_answering: {hosts: {one: , two: }}\nall:")
    code, told = play(playbook, tmp_path, hosts, FETCH + FINISH)
    assert code != 0
    assert ("The run run-1 did not end well: its stages have ended, but no report came from one, "
            "which did not answer.") in told, told
    state = json.loads((tmp_path / "state/one/pipeline.json").read_text())
    assert [run["status"] for run in state["runs"]] == ["unfinished"]


def test_how_a_run_ended_is_told_where_it_cannot_be_kept(playbook, tmp_path, volumes):
    """As where the disk is full, on one manager of two."""
    volumes("one", b"")
    volumes("two", b"")
    (tmp_path / "state/one").mkdir(parents=True)
    (tmp_path / "state/two/pipeline.json").mkdir(parents=True)
    hosts = HOSTS.replace("{hosts: {one: }}", "{hosts: {one: , two: }}", 1)
    hosts = hosts.replace("all:", "ical_answering: {hosts: {one: , two: }}\nall:")
    named = "pipeline_state_file: FOLDER/state/{{ item | default('one') }}/pipeline.json"
    state = FINISH.replace("pipeline_run_id:", f"{named}\n        pipeline_run_id:")
    code, told = play(playbook, tmp_path, hosts, FETCH + state)
    assert code != 0
    assert "The run run-1 did not end well: how it ended could not be kept: two (" in told, told
    assert "To go on where it stopped, type: ansible-playbook site.yml" in told, told
    assert (tmp_path / "state/one/pipeline.json").is_file()


#: A manager that works, and nobody else.
ALONE = """
managers: {hosts: {one: }}
workers: {hosts: {one: }}
ical_manager: {hosts: {one: }}
all: {vars: {ansible_connection: local, ical_state_dir: "FOLDER/state/{{ inventory_hostname }}"}}
"""
#: In place of the module that asks the engine for tasks.
TASKS = "#!/usr/bin/python3\nprint('{}')\n"
FOLLOW = f"""
- hosts: ical_manager
  gather_facts: false
  tasks:
    - set_fact: {{pipeline_failure: "", pipeline_left: [selfcal]}}
    - include_role: {{name: {ROLE}, tasks_from: stage}}
      vars:
        pipeline_stage: selfcal
        pipeline_live: selfcal
        pipeline_timeout: 1
{FETCH}
- hosts: ical_manager
  gather_facts: false
  tasks:
    - include_role: {{name: {ROLE}, tasks_from: gather}}
      vars: {{pipeline_run_id: run-1, pipeline_services: [ical-pipeline-selfcal]}}
    - debug: {{msg: "failure <{{{{ pipeline_failure }}}}> running <{{{{ pipeline_running }}}}>"}}
"""
RUNNING = """#!/bin/sh
case $* in
  "ps "*) printf '%064d\n' 1 ;;
  "inspect "*) echo '{"Status": "running"}' ;;
esac
"""


def test_a_stage_that_is_followed_no_more_goes_on(playbook, tmp_path, volumes):
    volumes("one", b"")
    (tmp_path / "bin" / "docker").write_text(RUNNING)
    (tmp_path / "library").mkdir()
    (tmp_path / "library" / "ical_tasks.py").write_text(
        TASKS.format('{"tasks": [{"service": "ical-pipeline-selfcal"}]}'))
    _, told = play(playbook, tmp_path, ALONE, FOLLOW)
    assert ("failure <selfcal was not seen to its end: ical-pipeline-selfcal did not end within "
            "1 s; it still runs.> running <['ical-pipeline-selfcal']>") in told, told


LOST = f"""
- hosts: ical_manager
  gather_facts: false
  any_errors_fatal: true
  tasks:
    - set_fact: {{pipeline_failure: "", pipeline_live: ""}}
    - include_role: {{name: {ROLE}, tasks_from: stages}}
      vars: {{pipeline_left: [model, image], pipeline_run_id: run-1, pipeline_timeout: 1}}
    - debug: {{msg: "failure <{{{{ pipeline_failure }}}}>"}}
"""


def test_a_manager_that_is_lost_in_whatever_task_ends_no_play_without_a_word(playbook, tmp_path):
    hosts = """
managers: {hosts: {one: {ansible_host: 127.0.0.1, ansible_port: 1, ansible_ssh_retries: 0}}}
workers: {hosts: {one: }}
ical_manager: {hosts: {one: }}
ical_answering: {hosts: {one: }}
all:
  vars: {image_name: "ical-swarm:0", image_pinned: "", arl_digest: "0", arl_directory: /x,
         dask_tls: false, dask_scheduler_address: "tcp://x", pipeline_shared: []}
"""
    _, told = play(playbook, tmp_path, hosts, LOST)
    assert "failure <model was not seen to its end: " in told, told
    assert "Connection refused" in told.split("failure <")[1], told


ENDED = f"""
- hosts: ical_manager
  gather_facts: false
  tasks:
    - set_fact:
        pipeline_failure: selfcal ended badly
        pipeline_end: {{rc: CODE}}
        pipeline_ended: [ical-pipeline-image, ical-pipeline-selfcal]
        pipeline_left: [image, selfcal, report]
{FETCH}
- hosts: ical_manager
  gather_facts: false
  tasks:
    - include_role: {{name: {ROLE}, tasks_from: gather}}
      vars: {{pipeline_run_id: run-1, pipeline_services: []}}
    - debug: {{msg: "running <{{{{ pipeline_running }}}}>"}}
"""


@pytest.mark.parametrize(("code", "running"), [(2, "[]"), (0, "['ical-pipeline-report']")])
def test_of_a_silent_engine_no_stage_is_thought_to_run_that_cannot(playbook, tmp_path, volumes,
                                                                   code, running):
    volumes("one", b"")
    (tmp_path / "library").mkdir()
    (tmp_path / "library" / "ical_tasks.py").write_text(TASKS.format('{"failed": true}'))
    _, told = play(playbook, tmp_path, ALONE, ENDED.replace("CODE", str(code)))
    assert f"running <{running}>" in told, told


PLACES = f"""
- hosts: one
  gather_facts: false
  vars_files: {ROLE}/vars/main.yml
  tasks:
    - set_fact: {{pipeline_found: [FOLDER/run.yml]}}
    - copy: {{dest: FOLDER/places.json, content: "{{{{ pipeline_places | to_json }}}}"}}
"""


def test_files_of_one_name_are_kept_apart(playbook, tmp_path):
    for name in ("phase", "both"):
        (tmp_path / name).mkdir()
        (tmp_path / name / "gains.h5").touch()
    (tmp_path / "run.yml").write_text(
        "selfcal: {start_gains: {T: phase/gains.h5, G: both/gains.h5}}\n")
    hosts = "managers: {hosts: {one: {ansible_connection: local}}}\nworkers: {hosts: {one: }}\n"
    play(playbook, tmp_path, hosts, PLACES)
    assert json.loads((tmp_path / "places.json").read_text()) == {
        f"selfcal.start_gains.{term}": f"/run-file/inputs/selfcal.start_gains.{term}-gains.h5"
        for term in "TG"}


EARLIER = f"""
- hosts: one
  gather_facts: false
  tasks:
    - include_role: {{name: {ROLE}, tasks_from: earlier}}
      vars: {{pipeline_state_file: "FOLDER/{{{{ item | default('none') }}}}.json"}}
    - copy: {{dest: FOLDER/runs.json, content: "{{{{ pipeline_runs | to_json }}}}"}}
"""


@pytest.mark.parametrize(("known", "runs"), [
    ({}, []), ({"one": (None, "a")}, ["a"]),
    ({"one": ("2026-01-01T10:00:00.5Z", "stale"), "two": ("2026-01-01T11:00:00.0Z", "new"),
      "three": (None, "older")}, ["new"]),
    # away is not asked
    ({"one": ("2026-01-01T10:00:00.5Z", "a"), "away": ("2026-01-01T11:00:00.0Z", "b")}, ["a"])])
def test_the_runs_are_those_of_the_manager_that_was_told_last(playbook, tmp_path, known, runs):
    for host, (written, run) in known.items():
        (tmp_path / f"{host}.json").write_text(json.dumps(
            {"runs": [run]} | ({"written": written} if written else {})))
    code, told = play(playbook, tmp_path, """
managers: {hosts: {one: , two: , three: , away: }}
ical_answering: {hosts: {one: , two: , three: }}
all: {vars: {ansible_connection: local}}
""", EARLIER)
    assert code == 0, told
    assert json.loads((tmp_path / "runs.json").read_text()) == runs
