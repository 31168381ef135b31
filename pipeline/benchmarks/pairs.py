"""Ratios of paired runs: each pair is measured one right after the other, so that what else the
machine does at the time weighs on both."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from dataclasses import asdict, dataclass
from typing import Any, TypeVar

import numpy as np

One, Other = TypeVar("One"), TypeVar("Other")


@dataclass(frozen=True)
class Ratio:
    """The median of the ratios of some pairs, the lowest and the highest of them."""

    median: float
    low: float
    high: float
    pairs: int

    @classmethod
    def of(cls, ours: Sequence[float], theirs: Sequence[float]) -> Ratio:
        """Pair by pair ours over theirs."""
        ratio = np.asarray(ours, float) / np.asarray(theirs, float)
        return cls(float(np.median(ratio)), float(ratio.min()), float(ratio.max()), len(ratio))

    @property
    def spread(self) -> float:
        """Half the range, the tolerance of the ratio."""
        return (self.high - self.low) / 2

    def state(self, limit: float, *, least: bool = False) -> str:
        """Whether a bar holds: `met`, `within spread` or `MISSED`; `least`: it is a lower one."""
        excess = limit - self.median if least else self.median - limit
        if excess <= 0:
            return "met"
        return "within spread" if excess <= self.spread else "MISSED"

    def row(self, text: str, limit: float | None, *, least: bool = False) -> dict[str, Any]:
        """What the JSON keeps of it; `limit` None: there is no bar."""
        state = {} if limit is None else {
            "limit": limit, "least": least, "state": self.state(limit, least=least)}
        return {"bar": text, **asdict(self), "spread": self.spread, **state}


def in_words(row: dict[str, Any]) -> str:
    """One line of a table for a row of `Ratio.row`."""
    figure = f"  {row['bar']:<46} {row['median']:>7.3f} ({row['low']:.3f} to {row['high']:.3f})"
    if "limit" not in row:
        return figure
    sign = ">=" if row["least"] else "<="
    return f"{figure} {sign} {row['limit']:g} {row['state']}"


def alternate(
    count: int, ours: Callable[[int], One], theirs: Callable[[int], Other]
) -> Iterator[tuple[One, Other]]:
    """`count` pairs of runs, each given its number; who goes first changes from pair to pair."""
    for number in range(count):
        if number % 2:
            other = theirs(number)
            yield ours(number), other
        else:
            one = ours(number)
            yield one, theirs(number)
