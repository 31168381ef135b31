#!/usr/bin/python
# Copyright 2026 the ical-swarm maintainers. Licence: Apache-2.0.
"""Unpack a tarball of the library arl into a directory named by its digest."""

from __future__ import annotations

DOCUMENTATION = r"""
module: ical_arl_unpack
short_description: Unpack the library arl by digest and switch to it
description:
  - Compares the SHA-256, refuses members that are links, devices or leave the directory, unpacks beside
    the target, verifies, renames to C(ROOT/SHA256) and, where C(switch) is true, points the link
    C(ROOT/current) at it.
  - When anything is wrong nothing changes. The tarball is removed in any case.
  - On a switch, versions are removed that are neither this nor the one before nor mounted anywhere.
author: ical-swarm maintainers
options:
  archive:
    description: The tarball on the host; needed only when this version is not in place.
    type: path
    required: true
  sha256:
    description: SHA-256 it must have, as hexadecimal digits.
    type: str
    required: true
  root:
    description: Folder of the versions.
    type: path
    required: true
  switch:
    description: Whether to point the link at it, too.
    type: bool
    default: true
"""

EXAMPLES = r"""
- name: Put the library in place
  ical_arl_unpack:
    archive: /var/lib/ical-swarm/arl/incoming.tar
    sha256: 9f86d081884c7d659a2feaa0c55ad015a3bf4f1b2b0b822cd15d6c15b0f00a08
    root: /var/lib/ical-swarm/arl
"""

RETURN = r"""
directory:
  description: Directory of this version.
  returned: success
  type: str
removed:
  description: Versions that were removed.
  returned: success
  type: list
  elements: str
"""

import os
import shutil
from pathlib import Path

from ansible.module_utils.basic import AnsibleModule
from ansible.module_utils.ical_archive import ArchiveError, switch, unpack, unused
from ansible.module_utils.ical_host import process_ids, text


def mounted() -> str:
    """What every process, and so every container, has mounted."""
    return "".join(text(f"/proc/{pid}/mountinfo") for pid in process_ids())


def put(archive: Path, digest: str, root: Path) -> bool:
    """Make the version's directory if it is not there; True if it was made."""
    if (root / digest).is_dir():
        return False
    try:
        unpack(archive, digest, root)
    finally:
        archive.unlink(missing_ok=True)
    return True


def main() -> None:
    module = AnsibleModule(
        argument_spec={
            "archive": {"type": "path", "required": True},
            "sha256": {"type": "str", "required": True},
            "root": {"type": "path", "required": True},
            "switch": {"type": "bool", "default": True},
        },
        supports_check_mode=True,
    )
    root, digest = Path(module.params["root"]), module.params["sha256"]
    link = root / "current"
    right = not module.params["switch"] or (link.is_symlink() and os.readlink(link) == str(root / digest))
    result = {"directory": str(root / digest), "removed": []}
    if module.check_mode:
        module.exit_json(changed=not (right and (root / digest).is_dir()), **result)
    try:
        changed = put(Path(module.params["archive"]), digest, root)
    except ArchiveError as error:
        module.fail_json(msg=f"The tarball of the library was refused, and nothing was changed: {error}.")
    except OSError as error:
        module.fail_json(msg=f"The library was not unpacked into {root}, and the one in place stays: {error.strerror}. "
                             "When that is put right, type the same again.")
    if not right:
        before = switch(root, digest)
        for path in unused(root, {digest, before}, mounted()):
            shutil.rmtree(path)
            result["removed"].append(path.name)
    module.exit_json(changed=changed or not right, **result)


if __name__ == "__main__":
    main()
