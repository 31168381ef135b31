"""Certificates of a deployment: its own roles are let in, strangers are not."""

from __future__ import annotations

import socket
import ssl
import threading
import time

import pytest

ROLES = ["scheduler", "worker", "client"]


@pytest.fixture(name="make", scope="module")
def make_fixture(load_plugin):
    return load_plugin("modules/ical_certificates.py", "ical_certificates").make


@pytest.fixture(name="deployment", scope="module")
def deployment_fixture(make):
    return make(ROLES, 30, {})


def context(made, role, purpose, folder):
    """As Dask does: both sides show a certificate, and want one of this authority."""
    path = folder / f"{made['id']}-{role}.pem"
    path.write_text(made["certificates"][role])
    found = ssl.SSLContext(purpose)
    found.check_hostname = False
    found.verify_mode = ssl.CERT_REQUIRED
    found.load_verify_locations(cadata=made["authority"])
    found.load_cert_chain(path)
    return found


def shake(server, client, name=None):
    """Whether a byte of the server reaches the client, which may look for a name."""
    here, there = socket.socketpair()

    def serve():
        try:
            with server.wrap_socket(there, server_side=True) as stream:
                stream.sendall(b"x")
        except (ssl.SSLError, OSError):
            there.close()

    thread = threading.Thread(target=serve)
    thread.start()
    try:
        with client.wrap_socket(here, server_hostname=name) as stream:
            return stream.recv(1) == b"x"
    except (ssl.SSLError, OSError):
        return False
    finally:
        here.close()
        thread.join(10)


@pytest.mark.parametrize(("server", "client", "meant"), [
    ("scheduler", "client", True), ("scheduler", "worker", True), ("worker", "worker", True),
    # a client's certificate is for connecting alone
    ("client", "worker", False)])
def test_roles_of_one_deployment_trust_each_other(deployment, tmp_path, server, client, meant):
    sides = (context(deployment, server, ssl.PROTOCOL_TLS_SERVER, tmp_path),
             context(deployment, client, ssl.PROTOCOL_TLS_CLIENT, tmp_path))
    assert shake(*sides) == meant


def test_another_deployment_is_refused(make, deployment, tmp_path):
    other = make(ROLES, 30, {})
    server = context(deployment, "scheduler", ssl.PROTOCOL_TLS_SERVER, tmp_path)
    stranger = context(other, "client", ssl.PROTOCOL_TLS_CLIENT, tmp_path)
    stranger.verify_mode = ssl.CERT_NONE
    assert not shake(server, stranger)


def test_one_without_a_certificate_is_refused(deployment, tmp_path):
    server = context(deployment, "scheduler", ssl.PROTOCOL_TLS_SERVER, tmp_path)
    stranger = ssl.SSLContext(ssl.PROTOCOL_TLS_CLIENT)
    stranger.check_hostname, stranger.verify_mode = False, ssl.CERT_NONE
    assert not shake(server, stranger)


def test_the_end_is_as_asked_and_identities_differ(make, deployment):
    assert abs(deployment["expires"] - time.time() - 30 * 86400) < 60
    assert make(["client"], 1, {})["id"] != deployment["id"]


@pytest.mark.parametrize(("address", "meant"), [("192.0.2.10", True), ("192.0.2.11", False)])
def test_a_server_is_believed_at_its_own_addresses_alone(make, tmp_path, address, meant):
    made = make(["registry", "client"], 1, {"registry": ["192.0.2.10"]})
    server = context(made, "registry", ssl.PROTOCOL_TLS_SERVER, tmp_path)
    client = context(made, "client", ssl.PROTOCOL_TLS_CLIENT, tmp_path)
    client.check_hostname = True
    assert shake(server, client, address) == meant
