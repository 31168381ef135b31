#!/usr/bin/python
# Copyright 2026 the ical-swarm maintainers. Licence: Apache-2.0.
"""Make a certificate authority for one deployment, and a certificate for each of its roles."""

from __future__ import annotations

DOCUMENTATION = r"""
module: ical_certificates
short_description: Certificates of one deployment, for mutual TLS
description:
  - Makes an authority, signs one certificate per role with it and forgets the authority's key.
  - Runs on the controller; nothing is written to a disk. Use C(no_log).
author: ical-swarm maintainers
options:
  roles:
    description: Roles that get a certificate; C(client) may only connect, the others also listen.
    type: list
    elements: str
    required: true
  addresses:
    description: IP addresses that a role answers at, by role; for clients that check it.
    type: dict
    default: {}
  days:
    description: Days that the certificates are valid.
    type: int
    default: 90
"""

EXAMPLES = r"""
- name: Make certificates
  ical_certificates:
    roles: [scheduler, worker, client]
  no_log: true
"""

RETURN = r"""
authority:
  description: Certificate of the authority, PEM.
  returned: always
  type: str
certificates:
  description: Certificate and key of each role in one PEM.
  returned: always
  type: dict
id:
  description: First digits of the authority's SHA-256.
  returned: always
  type: str
made:
  description: When the certificates were made, seconds since 1970.
  returned: always
  type: int
expires:
  description: When they end, likewise.
  returned: always
  type: int
"""

import datetime
import ipaddress

from ansible.module_utils.basic import AnsibleModule, missing_required_lib

try:
    from cryptography import x509
    from cryptography.hazmat.primitives import hashes, serialization
    from cryptography.hazmat.primitives.asymmetric import ec
    from cryptography.x509.oid import ExtendedKeyUsageOID, NameOID
except ImportError:
    x509 = None

CLOCKS = datetime.timedelta(hours=1)  # hosts' clocks may differ by this


def named(name: str):
    """A distinguished name."""
    return x509.Name([x509.NameAttribute(NameOID.COMMON_NAME, name)])


def builder(subject: str, issuer: str, key, end: datetime.datetime):
    """A certificate that is valid from a little before now to `end`."""
    start = datetime.datetime.now(datetime.timezone.utc) - CLOCKS
    return (x509.CertificateBuilder().subject_name(named(subject)).issuer_name(named(issuer))
            .public_key(key.public_key()).serial_number(x509.random_serial_number())
            .not_valid_before(start).not_valid_after(end))


def usage(role: str) -> list:
    """What a role's certificate is for."""
    both = [ExtendedKeyUsageOID.CLIENT_AUTH, ExtendedKeyUsageOID.SERVER_AUTH]
    return both[:1] if role == "client" else both


def pem(certificate) -> str:
    """A certificate as text."""
    return certificate.public_bytes(serialization.Encoding.PEM).decode()


def pem_of_key(key) -> str:
    """A private key as text, without a password: it becomes a secret of the swarm."""
    return key.private_bytes(serialization.Encoding.PEM, serialization.PrivateFormat.PKCS8,
                             serialization.NoEncryption()).decode()


def named_at(certificate, addresses: list[str]):
    """The certificate to be, for a server at these addresses."""
    if not addresses:
        return certificate
    names = [x509.IPAddress(ipaddress.ip_address(address)) for address in addresses]
    return certificate.add_extension(x509.SubjectAlternativeName(names), critical=False)


def make(roles: list[str], days: int, addresses: dict[str, list[str]]) -> dict:
    """Authority, certificates, identity, begin and end."""
    begin = datetime.datetime.now(datetime.timezone.utc)
    end = begin + datetime.timedelta(days=days)
    issuer = "ical-swarm deployment"
    authority_key = ec.generate_private_key(ec.SECP256R1())
    authority = (builder(issuer, issuer, authority_key, end)
                 .add_extension(x509.BasicConstraints(ca=True, path_length=0), critical=True)
                 .sign(authority_key, hashes.SHA256()))
    certificates = {}
    for role in roles:
        key = ec.generate_private_key(ec.SECP256R1())
        signed = (named_at(builder(f"ical-{role}", issuer, key, end), addresses.get(role, []))
                  .add_extension(x509.ExtendedKeyUsage(usage(role)), critical=False)
                  .sign(authority_key, hashes.SHA256()))
        certificates[role] = pem(signed) + pem_of_key(key)
    return {"authority": pem(authority), "certificates": certificates, "made": int(begin.timestamp()),
            "expires": int(end.timestamp()), "id": authority.fingerprint(hashes.SHA256()).hex()[:12]}


def main() -> None:
    module = AnsibleModule(
        argument_spec={
            "roles": {"type": "list", "elements": "str", "required": True},
            "addresses": {"type": "dict", "default": {}},
            "days": {"type": "int", "default": 90},
        },
        supports_check_mode=True,
    )
    if x509 is None:
        module.fail_json(msg=missing_required_lib("cryptography"))
    given = module.params
    module.exit_json(changed=False, **make(given["roles"], given["days"], given["addresses"]))


if __name__ == "__main__":
    main()
