#!/usr/bin/python
# Copyright 2026 the ical-swarm maintainers. Licence: Apache-2.0.
"""Pack the library arl."""

from __future__ import annotations

DOCUMENTATION = r"""
module: ical_arl_pack
short_description: Pack the library arl
description:
  - Writes the sources of the library as C(arl-SHA256.tar). Equal sources give an equal file.
author: ical-swarm maintainers
options:
  sources:
    description: Folder of the package arl.
    type: path
    required: true
  folder:
    description: Folder the tarball is written to; others that no play has asked for in a week are removed.
    type: path
    required: true
"""

EXAMPLES = r"""
- name: Pack the library
  ical_arl_pack:
    sources: pipeline/src/arl
    folder: .cache
"""

RETURN = r"""
path:
  description: Path of the tarball.
  returned: success
  type: str
sha256:
  description: Its SHA-256, as hexadecimal digits.
  returned: success
  type: str
"""

import contextlib
import hashlib
import os
import time
from pathlib import Path

from ansible.module_utils.basic import AnsibleModule
from ansible.module_utils.ical_archive import ArchiveError, pack

#: A week, in seconds: a play that waits for the end of a run copies to its hosts what it packed before, while others
#: pack other sources.
KEPT = 7 * 86400.0


def prune(folder: Path, now: float) -> None:
    """Remove the tarballs that no play has asked for lately."""
    for packed in folder.glob("arl-*.tar"):
        # another play may be doing the same
        with contextlib.suppress(FileNotFoundError):
            if packed.stat().st_mtime < now - KEPT:
                packed.unlink()


def write(content: bytes, path: Path) -> None:
    """Write a tarball in place of those that are old."""
    path.parent.mkdir(parents=True, exist_ok=True)
    prune(path.parent, time.time())
    # another play may be packing the same
    partial = path.with_suffix(f".{os.getpid()}")
    partial.write_bytes(content)
    partial.rename(path)


def keep(content: bytes, path: Path) -> None:
    """Have a tarball there, and young."""
    try:
        os.utime(path)
    except FileNotFoundError:  # never packed, or this moment removed by another play
        write(content, path)
    except PermissionError:  # what is somebody else's is theirs to keep
        pass


def main() -> None:
    module = AnsibleModule(
        argument_spec={
            "sources": {"type": "path", "required": True},
            "folder": {"type": "path", "required": True},
        },
        supports_check_mode=True,
    )
    try:
        content = pack(Path(module.params["sources"]))
    except ArchiveError as error:
        module.fail_json(msg=f"The library was not packed: {error}.")
    digest = hashlib.sha256(content).hexdigest()
    path = Path(module.params["folder"]) / f"arl-{digest}.tar"
    changed = not path.exists()
    if not module.check_mode:
        keep(content, path)
    module.exit_json(changed=changed, path=str(path), sha256=digest)


if __name__ == "__main__":
    main()
