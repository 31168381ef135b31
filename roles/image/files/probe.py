"""Print what a base image offers: Python, C library, machine, OpenMP."""

import ctypes.util
import json
import platform

print(
    json.dumps(
        {
            "python": ".".join(platform.python_version_tuple()[:2]),
            "glibc": platform.libc_ver()[1],
            "machine": platform.machine(),
            "openmp": ctypes.util.find_library("gomp") is not None,
        }
    )
)
