"""What site.yml would create for fifty hosts, none of which there is."""

from __future__ import annotations

import ipaddress
from pathlib import Path

import pytest
import yaml

HOSTS = [f"node{number:02d}.example" for number in range(50)]
#: The one host that differs.
FAT = "node07.example"


def render(playbook, folder: Path, managers: list[str], workers: dict[str, dict],
           *options: str) -> Path:
    """What would be created for an inventory, in a folder."""
    inventory = folder / "hosts.yml"
    inventory.write_text(yaml.safe_dump({
        "managers": {"hosts": {host: {} for host in managers}},
        "workers": {"hosts": workers},
        "all": {"vars": {"dask_workers": 4, "dask_worker_memory": "4G"}},
    }))
    result = playbook("-i", str(inventory), "site.yml", "--tags", "render", "-e",
                      f"ical_render_dir={folder}/out", "-e", "ical_run=tiny", *options,
                      timeout=600)
    assert result.returncode == 0, result.stdout
    return folder / "out"


@pytest.fixture(scope="module")
def rendered(playbook, tmp_path_factory: pytest.TempPathFactory) -> Path:
    workers = {host: {} for host in HOSTS}
    workers[FAT] = {"dask_workers": 8, "dask_threads": 2, "dask_worker_memory": "8G"}
    return render(playbook, tmp_path_factory.mktemp("render"), HOSTS[:1], workers)


@pytest.fixture(scope="module")
def unlike(playbook, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Three managers, one of which works too, and hosts that differ in their links and folders."""
    return render(playbook, tmp_path_factory.mktemp("unlike"), ["node00", "node01", "node02"], {
        "node00": {"preflight_host": {"mtu": 0}},
        "node03": {"preflight_host": {"mtu": 1450}, "dask_inputs": ["/lustre"]},
        "node04": {"preflight_host": {"mtu": 9000}, "dask_inputs": ["/nfs"]}})


def load(path: Path) -> dict:
    return yaml.safe_load(path.read_text())


def services(folder: Path) -> dict[str, dict]:
    return {path.stem: load(path) for path in (folder / "services").iterdir()}


def test_there_is_a_service_for_scheduler_gate_stages_and_each_host(rendered):
    stages = {f"ical-pipeline-{stage}" for stage in ("model", "image", "selfcal", "report")}
    workers = {"ical-worker-" + host.replace(".", "-") for host in HOSTS}
    assert set(services(rendered)) == {"ical-scheduler", "ical-probe"} | stages | workers


def test_each_host_gets_its_workers_pinned_to_it_and_labelled(rendered):
    found = services(rendered)
    for host in HOSTS:
        service = found["ical-worker-" + host.replace(".", "-")]
        assert service["replicas"] == (8 if host == FAT else 4)
        assert service["limits"]["memory"] == ("8G" if host == FAT else "4G")
        assert service["env"]["OMP_NUM_THREADS"] == ("2" if host == FAT else "1")
        assert f"--resources=data@{host}=1000" in service["args"]
        (constraint,) = service["placement"]["constraints"]
        assert constraint.endswith(host)
        assert service["labels"] == {"org.ical-swarm": "1"}


def test_no_container_is_privileged_and_each_has_its_own_certificate(rendered):
    roles = {"ical-scheduler": "scheduler", "ical-probe": "client", "ical-pipeline": "client",
             "ical-worker": "worker"}
    for name, service in services(rendered).items():
        (role,) = (role for prefix, role in roles.items() if name.startswith(prefix))
        assert service["user"] == "10001:10001"
        assert service["read_only"]
        assert service["cap_drop"] == ["ALL"]
        assert [secret["secret_name"] for secret in service["secrets"]] == [
            "ical-tls-ID-ca", f"ical-tls-ID-{role}"]
    assert load(rendered / "secrets.yml") == [
        f"ical-tls-ID-{part}" for part in ("ca", "scheduler", "worker", "client")]


def test_the_gate_counts_every_worker(rendered):
    arguments = services(rendered)["ical-probe"]["args"]
    assert int(arguments[arguments.index("--expect-workers") + 1]) == 49 * 4 + 8


def test_the_overlay_holds_all_containers_and_no_pool_overlaps_it(rendered):
    network, swarm = load(rendered / "network.yml"), load(rendered / "swarm.yml")
    subnet = ipaddress.ip_network(network["ipam_config"][0]["subnet"])
    # an address each for scheduler, gate, stage, dashboard and workers, and two for each host
    assert subnet.num_addresses > 49 * 4 + 8 + 4 + 50 + 50
    assert not any(ipaddress.ip_network(pool).overlaps(subnet) for pool in swarm["address_pool"])
    assert swarm["subnet_size"] == 24
    assert {host["host"]: host["role"] for host in swarm["hosts"]} == {
        host: "manager" if host == HOSTS[0] else "worker" for host in HOSTS}


def test_each_node_has_its_labels_and_each_service_its_place(rendered):
    label = "org.ical-swarm."
    nodes = {host["host"]: host["labels"] for host in load(rendered / "swarm.yml")["hosts"]}
    assert nodes == {host: {label + "host": host, label + "workers": "1"} for host in HOSTS} | {
        HOSTS[0]: {label + "host": HOSTS[0], label + "workers": "1", label + "control": "1",
                   label + "acting": "1"}}
    placed = {name: service["placement"]["constraints"]
              for name, service in services(rendered).items()}
    assert placed.pop("ical-scheduler") == [f"node.labels.{label}control == 1"]
    for host in HOSTS:
        assert placed.pop("ical-worker-" + host.replace(".", "-")) == [f"node.id == NODE-OF-{host}"]
    assert set(map(tuple, placed.values())) == {(f"node.id == NODE-OF-{HOSTS[0]}",)}


def test_the_overlay_fits_the_narrowest_link_between_the_hosts(rendered, unlike):
    assert load(rendered / "network.yml")["driver_options"] == {}
    assert load(unlike / "network.yml")["driver_options"] == {
        "com.docker.network.driver.mtu": "1450"}


def heirs(folder: Path) -> str:
    """Who gets a copy of the run."""
    return services(folder)["ical-pipeline-selfcal"]["env"]["ICAL_MIRROR"]


@pytest.mark.parametrize(("workers", "copies"), [
    # managers write the copy themselves, where they can
    (["node00", "node01", "node02", "node03"], "node01,node02"),
    (["node03", "node04"], "node03"),
])
def test_of_several_managers_any_finds_a_copy_of_the_run(playbook, tmp_path, workers, copies):
    folder = render(playbook, tmp_path, ["node00", "node01", "node02"],
                    {worker: {} for worker in workers})
    assert heirs(folder) == copies


def test_so_does_one_where_the_manager_that_acts_works_alone_of_them(unlike):
    assert heirs(unlike) == "node03"


def test_a_manager_that_is_the_only_one_keeps_no_copies(rendered):
    assert "ICAL_MIRROR" not in services(rendered)["ical-pipeline-selfcal"]["env"]


def test_each_host_shows_its_workers_its_own_folders(unlike):
    seen = {name: [mount["source"] for mount in service["mounts"] if mount["type"] == "bind"]
            for name, service in services(unlike).items()}
    for name, inputs in (("ical-worker-node00", []), ("ical-worker-node03", ["/lustre"]),
                         ("ical-worker-node04", ["/nfs"]), ("ical-scheduler", []),
                         ("ical-probe", [])):
        assert [path for path in seen[name] if path in ("/lustre", "/nfs")] == inputs


@pytest.mark.parametrize(("access", "mounted"), [("shared", True), ("distribute", False)])
def test_a_shared_measurement_set_is_mounted_on_every_host(playbook, tmp_path, access, mounted):
    run = tmp_path / "run.yml"
    run.write_text("input: {measurement_set: /lustre/target.ms}\n")
    folder = render(playbook, tmp_path, ["node00"], {"node00": {}, "node01": {}},
                    "-e", f"ical_run={run}", "-e", f"ms_access={access}")
    mount = {"type": "bind", "source": "/lustre/target.ms", "target": "/lustre/target.ms",
             "readonly": True}
    found = services(folder)
    for worker in ("ical-worker-node00", "ical-worker-node01"):
        assert found[worker]["mounts"].count(mount) == int(mounted)
    # what reads it in any case sees it once
    assert found["ical-pipeline-model"]["mounts"].count(mount) == 1
    assert found["ical-pipeline-model"]["env"]["ICAL_MS_ACCESS"] == access
