"""One cluster for the runs of a session."""

from __future__ import annotations

import pytest

from ical.context import ClusterOptions, SharedCluster


@pytest.fixture(scope="session")
def one_worker():
    """A worker that lives as long as the session: what it compiled and imported stays."""
    with SharedCluster(ClusterOptions(None, 1, 1, None)) as shared:
        yield shared
