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
    description: Folder the tarball is written to; older ones that were made here are removed.
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

import hashlib
import os
from pathlib import Path

from ansible.module_utils.basic import AnsibleModule
from ansible.module_utils.ical_archive import ArchiveError, pack


def main() -> None:
    module = AnsibleModule(
        argument_spec={
            "sources": {"type": "path", "required": True},
            "folder": {"type": "path", "required": True},
        },
        supports_check_mode=True,
    )
    folder = Path(module.params["folder"])
    try:
        content = pack(Path(module.params["sources"]))
    except ArchiveError as error:
        module.fail_json(msg=f"The library was not packed: {error}.")
    digest = hashlib.sha256(content).hexdigest()
    path = folder / f"arl-{digest}.tar"
    changed = not path.exists()
    if changed and not module.check_mode:
        folder.mkdir(parents=True, exist_ok=True)
        for old in folder.glob("arl-*.tar"):
            old.unlink(missing_ok=True)
        # another play may be packing the same
        partial = path.with_suffix(f".{os.getpid()}")
        partial.write_bytes(content)
        partial.rename(path)
    module.exit_json(changed=changed, path=str(path), sha256=digest)


if __name__ == "__main__":
    main()
