"""The cluster that stages share."""

from contextlib import contextmanager

import pytest

from ical.context import SharedCluster


class Options:
    """Options that count how often they connect, and how often they let go."""

    def __init__(self):
        self.opened = self.closed = 0

    @contextmanager
    def connect(self):
        """One more connection."""
        self.opened += 1
        try:
            yield f"cluster {self.opened}"
        finally:
            self.closed += 1


def test_stages_share_one_cluster_that_outlives_them():
    options = Options()
    with SharedCluster(options) as shared:
        assert options.opened == 0  # a report needs none
        with shared.connect() as first:
            pass
        with shared.connect() as second:
            assert (options.opened, options.closed) == (1, 0)
        assert first == second == "cluster 1"
    assert (options.opened, options.closed) == (1, 1)


def test_a_stage_that_fails_leaves_no_cluster_behind():
    options = Options()

    def fail():
        with SharedCluster(options) as shared, shared.connect():
            raise RuntimeError("failed")

    with pytest.raises(RuntimeError, match="failed"):
        fail()
    assert options.closed == 1
