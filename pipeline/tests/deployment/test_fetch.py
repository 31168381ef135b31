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


@pytest.mark.parametrize(("limit", "fetched"), [("", True), ("100000000", True), ("2000", False),
                                                ("0", False)])
def test_visibilities_up_to_the_limit_come_with_the_results(tmp_path, limit, fetched):
    (tmp_path / "bin").mkdir()
    (tmp_path / "bin" / "docker").write_text(DOCKER)
    (tmp_path / "bin" / "docker").chmod(0o755)
    for volume, name in (("ical-results", "report.json"), ("ical-data", "band.zarr")):
        folder = tmp_path / "volumes" / volume / "run-1"
        folder.mkdir(parents=True)
        (folder / name).write_bytes(bytes(10000))
    environment = os.environ | {"PATH": f"{tmp_path}/bin:{os.environ['PATH']}",
                                "VOLUMES": str(tmp_path / "volumes")}
    subprocess.run(["sh", str(ROLE / "files/collect.sh"), "run-1", "2026-01-01T00:00:00Z", "image",
                    str(tmp_path / "fetch"), limit], check=True, env=environment)
    with tarfile.open(tmp_path / "fetch" / "run.tar", ignore_zeros=True) as stream:
        files = {member.name for member in stream.getmembers() if member.isfile()}
    visibilities = {"run-1/visibilities/band.zarr"} if fetched else set()
    assert files == {"run-1/report.json"} | visibilities
