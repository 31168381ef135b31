"""Solution intervals: which times and channels share one gain."""

from __future__ import annotations

import numpy as np


def time_blocks(time: np.ndarray, interval: float | None) -> np.ndarray:
    """The interval number of each time (s), shape (time,).

    None means one solution per time; otherwise intervals of that many seconds are counted from
    the first time, and numbered without gaps.
    """
    if interval is None:
        return np.arange(time.size)
    _, number = np.unique(np.floor((time - time[0]) / interval + 1e-6), return_inverse=True)
    return number


def channel_blocks(n_channel: int, joint: bool) -> np.ndarray:
    """One solution per channel, or one over all of them, shape (chan,)."""
    return np.zeros(n_channel, int) if joint else np.arange(n_channel)


def is_inside(block: np.ndarray, pieces: list[tuple[int, int]]) -> bool:
    """Whether every interval lies inside one of the (start, stop) pieces of its axis."""
    return all(np.unique(block[stop:]).size == 0 or block[stop - 1] != block[stop]
               for _, stop in pieces if stop < block.size)
