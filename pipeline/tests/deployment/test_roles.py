"""The deployment as text: what a role takes is what it says, and every playbook can be read."""

from __future__ import annotations

from pathlib import Path

import pytest
import yaml

ROOT = Path(__file__).resolve().parents[3]
ROLES = sorted(path.parent.parent for path in ROOT.glob("roles/*/tasks/main.yml"))
PLAYBOOKS = sorted([*ROOT.glob("*.yml"), *ROOT.glob("playbooks/*.yml")])
STAGES = {"preflight", "docker", "arl", "image", "swarm", "dask", "pipeline"}

each_role = pytest.mark.parametrize("role", ROLES, ids=lambda path: path.name)


def read(path: Path):
    """The YAML in a file; an empty dictionary for an empty or a missing one."""
    return (yaml.safe_load(path.read_text()) if path.exists() else None) or {}


def options(role: Path) -> dict:
    """The options of a role's entry point main."""
    return read(role / "meta/argument_specs.yml")["argument_specs"]["main"].get("options", {})


def test_every_stage_is_a_playbook_and_all_but_preflight_are_roles():
    assert {path.stem for path in PLAYBOOKS} >= STAGES
    assert STAGES - {"preflight"} == {role.name for role in ROLES}


@each_role
def test_a_role_owns_its_set_up_and_its_teardown(role):
    missing = [name for name in ("validate", "main", "teardown")
               if not (role / f"tasks/{name}.yml").exists()]
    assert not missing


@each_role
def test_every_default_is_specified_and_every_option_has_a_default(role):
    given = set(read(role / "defaults/main.yml"))
    specified = {name for name, option in options(role).items() if not option.get("required")}
    assert given == specified


@each_role
def test_specified_defaults_are_the_real_ones(role):
    given = read(role / "defaults/main.yml")
    # a computed default is described in words
    literal = {name: value for name, value in given.items() if "{{" not in str(value)}
    specified = {name: option.get("default") for name, option in options(role).items()}
    assert {name: specified[name] for name in literal} == literal
    assert all(specified[name] is not None for name in given)


#: What users ask of a run, by the names of the requirements.
PLAIN = {"pipeline": {"ms_access", "fetch_visibilities"}}


@each_role
def test_every_option_is_typed_described_and_named_after_its_role(role):
    for name, option in options(role).items():
        assert name.startswith(f"{role.name}_") or name in PLAIN.get(role.name, ()), name
        assert option.get("type"), name
        assert str(option.get("description", "")).strip(), name


@pytest.mark.parametrize("path", PLAYBOOKS, ids=lambda path: str(path.relative_to(ROOT)))
def test_the_playbook_can_be_read(playbook, path):
    result = playbook("--syntax-check", str(path))
    assert result.returncode == 0, result.stdout + result.stderr


def test_the_role_readmes_are_those_of_the_specs(playbook):
    result = playbook("--check", "--diff", "playbooks/role_readmes.yml")
    assert result.returncode == 0, result.stdout + result.stderr
    stale = [line for line in result.stdout.splitlines() if line.startswith("+++")]
    assert "changed=0" in result.stdout, f"make docs writes them again: {stale}"


def test_every_variable_of_a_role_is_shown_in_the_inventory():
    """What a user may change is in inventory/local, commented; a name that no role knows is not."""
    text = (ROOT / "inventory/local/group_vars/all.yml").read_text()
    shown = {line.lstrip("# ").split(":")[0] for line in text.splitlines() if ":" in line}
    known = {name for role in ROLES for name in options(role)}
    assert known - shown == set()


@pytest.mark.parametrize("lock", ["controller", "image"])
def test_every_locked_package_has_a_hash_and_no_index_is_named(lock):
    text = (ROOT / f"requirements/{lock}.txt").read_text()
    entries = [entry for entry in text.replace("\\\n", " ").splitlines() if "==" in entry]
    assert len(entries) > 50
    assert all("--hash=sha256:" in entry for entry in entries)
    assert "http" not in text
    assert not any(entry.split("==")[0] == "arl" for entry in entries)


def test_both_locks_hold_the_same_versions():
    def versions(lock):
        lines = (ROOT / f"requirements/{lock}.txt").read_text().splitlines()
        return {line.split("==")[0]: line.split()[0] for line in lines if "==" in line}
    image, controller = versions("image"), versions("controller")
    assert image == {name: controller[name] for name in image}
