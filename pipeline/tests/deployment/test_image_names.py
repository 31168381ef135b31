"""One image has a name of its own and one by digest, and is the same image under both."""

from __future__ import annotations

import json
from pathlib import Path

import pytest
import yaml

ROOT = Path(__file__).resolve().parents[3]
TAG, PINNED = "ical-swarm:0123", "192.0.2.1:5000/ical-swarm@sha256:4567"
SCHEDULER, WORKER = "ical-scheduler", "ical-worker-one"


def said(playbook, folder: Path, role: str, tasks: list[dict], hosts: int, variables: dict):
    """What a play of these tasks ends with on the first of so many hosts, in a role's place."""
    names = ["one", "two", "three", "four"][:hosts]
    (folder / "hosts.yml").write_text(yaml.safe_dump({
        "managers": {"hosts": {"one": {}}}, "workers": {"hosts": dict.fromkeys(names)},
        "all": {"vars": {"ansible_connection": "local"}}}))
    files = [f"{ROOT}/roles/{role}/{kind}/main.yml" for kind in ("defaults", "vars")]
    (folder / "play.yml").write_text(yaml.safe_dump([{
        "hosts": "one", "gather_facts": False, "vars_files": files,
        # as facts, which is what they are: they do not hide what follows from them
        "tasks": [{"set_fact": variables}, *tasks]}]))
    return playbook("-i", str(folder / "hosts.yml"), str(folder / "play.yml"))


def values(playbook, folder: Path, role: str, names: list[str], hosts: int, variables: dict):
    """What variables of a role are."""
    task = {"copy": {"content": json.dumps({name: f"{{{{ {name} }}}}" for name in names}),
                     "dest": f"{folder}/values.json"}}
    result = said(playbook, folder, role, [task], hosts, variables)
    assert result.returncode == 0, result.stdout
    return json.loads((folder / "values.json").read_text())


@pytest.mark.parametrize("identity", ["sha256:aaaaaaaaaaaabbbb", "sha256:ccccccccccccdddd"])
def test_an_archive_is_of_one_image_not_of_all_that_were_made_from_the_same(playbook, tmp_path,
                                                                          identity):
    found = values(playbook, tmp_path, "image", ["image_archive"], 1, {
        "image_name": TAG, "image_id": identity, "image_cache_dir": "/cache"})
    assert found == {"image_archive": f"/cache/ical-swarm-0123-{identity[7:19]}.tar"}


def running(*images: str) -> dict:
    """A deployment in which scheduler and workers run these images."""
    tasks = [{"service": service, "image": image, "arl": "89ab"}
             for service, image in zip((SCHEDULER, WORKER), images, strict=False)]
    return {"dask_tasks": {"tasks": tasks}, "arl_digest": "89ab", "image_name": TAG,
            "image_pinned": PINNED}


@pytest.mark.parametrize(("images", "pinned", "used", "outdated"), [
    # nothing runs yet
    ((), PINNED, PINNED, False), ((), "", TAG, False),
    # a fourth host brought the registry
    ((TAG, TAG), PINNED, TAG, False),
    ((PINNED, PINNED), PINNED, PINNED, False),
    # of an interrupted change the scheduler decides
    ((PINNED, TAG), PINNED, PINNED, False),
    # another registry, another image
    ((PINNED, PINNED), "", TAG, True), (("ical-swarm:old", TAG), PINNED, TAG, True),
    (("ical-swarm:old", "ical-swarm:old"), PINNED, PINNED, True)])
def test_what_runs_the_image_keeps_its_name_for_it(playbook, tmp_path, images, pinned, used,
                                                   outdated):
    found = values(playbook, tmp_path, "dask", ["dask_image", "dask_outdated"], 1,
                   running(*images) | {"image_pinned": pinned})
    assert found == {"dask_image": used, "dask_outdated": str(outdated)}


@pytest.mark.parametrize(("images", "told"), [
    ((TAG, TAG), ""), ((PINNED, TAG), ""),
    (("ical-swarm:old", TAG), f"Scheduler and workers run ical-swarm:old, {TAG} with the library")])
def test_the_pipeline_goes_on_with_its_image_under_either_name(playbook, tmp_path, images, told):
    tasks = yaml.safe_load((ROOT / "roles/pipeline/tasks/main.yml").read_text())
    (check,) = (task for task in tasks
                if task["name"] == "Check that Dask runs what the pipeline would")
    result = said(playbook, tmp_path, "dask", [check], 1,
                  running(*images) | {"pipeline_redeploy": ""})
    assert (result.returncode != 0) == bool(told), result.stdout
    assert told in " ".join(result.stdout.split())


@pytest.mark.parametrize(("hosts", "known", "way"), [
    (3, {}, "load"), (4, {}, "registry"), (3, {"image": TAG, "pinned": ""}, "load"),
    # the fourth has gone: what runs by digest would be replaced
    (3, {"image": TAG, "pinned": PINNED}, "registry"),
    # a new image, another registry
    (3, {"image": "ical-swarm:old", "pinned": PINNED}, "load"),
    (3, {"image": TAG, "pinned": PINNED.replace("192", "193")}, "load")])
def test_a_host_that_leaves_takes_no_image_its_name(playbook, tmp_path, hosts, known, way):
    found = values(playbook, tmp_path, "image", ["image_way"], hosts, {
        "image_known": known, "image_name": TAG, "swarm_advertise_address": "192.0.2.1"})
    assert found == {"image_way": way}


@pytest.mark.parametrize(("registry", "repository"), [
    ("", "192.0.2.1:5000"), ("reg.example:5000/astro", "reg.example:5000/astro"),
    # as the engine calls them
    ("docker.io/astro", "astro"), ("index.docker.io/astro", "astro")])
def test_the_image_is_named_as_the_engine_names_it(playbook, tmp_path, registry, repository):
    found = values(playbook, tmp_path, "image", ["image_repository"], 1, {
        "image_registry": registry, "swarm_advertise_address": "192.0.2.1"})
    assert found == {"image_repository": f"{repository}/ical-swarm"}
