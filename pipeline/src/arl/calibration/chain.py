"""A chain of gain terms solved one after the other from normal matrices alone.

The matrices of `arl.calibration.normal` are made once, on the common refinement of the solution
intervals of all terms. To correct the data by a term that has been solved, and to average to the
longer interval of the next, is then arithmetic on the matrices and touches no visibility: with
V' = V / (g_p conj(g_q)) and w' = w |g_p|^2 |g_q|^2,

    A'_pq = sum w' V' conj(M) = conj(g_p) g_q A_pq,     B'_pq = |g_p|^2 |g_q|^2 B_pq,

and with Jones matrices V' = J_p^-1 V J_q^-H, w' = w |det J_p| |det J_q|,

    A'_pq = |det J_p| |det J_q| J_p^-1 A_pq J_q^-H,     B'_pq = |det J_p| |det J_q| B_pq.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass

import numpy as np

from arl.calibration.apply import invert_jones
from arl.calibration.normal import reduce
from arl.calibration.solver import Solution, solve

#: The mode of a term that is applied and not solved.
FIXED = "fixed"


@dataclass(frozen=True)
class TermBlocks:
    """One gain term and its solution interval of every time and channel of the data at hand.

    Attributes
    ----------
    name: T, G or B.
    mode: "phase", "amplitude_phase", or FIXED, whose gains are known.
    time_block: shape (time,), the number of the solution interval each time belongs to.
    channel_block: shape (chan,), likewise for channels.
    jones: "scalar", "diagonal" or "full"; all but the first need data of two receptors.
    robust: whether it is solved with robust weights (see `arl.calibration.robust`).
    free_amplitude: whether the data may differ in amplitude from the model (see `solver.solve`).
    """

    name: str
    mode: str
    time_block: np.ndarray
    channel_block: np.ndarray
    jones: str = "scalar"
    robust: bool = False
    free_amplitude: bool = False


@dataclass(frozen=True)
class SolverOptions:
    """When a solution has converged, and after how many iterations it is given up."""

    tolerance: float = 1e-7
    max_iterations: int = 200


@dataclass(frozen=True)
class TermSolution:
    """Gains of one term on its solution intervals.

    Attributes
    ----------
    time_blocks, channel_blocks: global numbers of the intervals, shapes (tb,) and (cb,).
    gain: shape (tb, cb, ant), complex128, NaN where flagged; (tb, cb, ant, 2, 2) where the data
        are of two receptors. snr: (tb, cb, ant); 0 where an antenna had no data.
    """

    name: str
    time_blocks: np.ndarray
    channel_blocks: np.ndarray
    gain: np.ndarray
    snr: np.ndarray


@dataclass(frozen=True)
class Refinement:
    """The cells on which every term is constant, along one axis.

    Attributes
    ----------
    index: shape (n,), the cell of every sample.
    blocks: shape (term, cell), the block of each term that a cell lies in.
    """

    index: np.ndarray
    blocks: np.ndarray

    @property
    def size(self) -> int:
        """How many cells there are."""
        return self.blocks.shape[1]


def refine(blocks: Sequence[np.ndarray]) -> Refinement:
    """The common refinement of several numberings of the same samples, each shape (n,)."""
    cells, index = np.unique(np.stack(blocks), axis=1, return_inverse=True)
    return Refinement(index.reshape(-1), cells)


def correct_matrices(
    a: np.ndarray, b: np.ndarray, gain: np.ndarray
) -> tuple[np.ndarray, np.ndarray]:
    """The matrices of data corrected by `gain`; shapes (..., ant, ant) and (..., ant).

    Both `a` and `gain` have another (2, 2) with two receptors. A gain that is not finite or zero is
    a flagged one: its rows and columns become zero.
    """
    if a.ndim > b.ndim:
        return _correct_jones(a, b, gain)
    usable = np.isfinite(gain) & (gain != 0)
    g = np.where(usable, gain, 0.0)
    power = np.abs(g) ** 2
    corrected_a = a * np.conj(g)[..., :, None]
    corrected_a *= g[..., None, :]
    corrected_b = b * power[..., :, None]
    corrected_b *= power[..., None, :]
    return corrected_a, corrected_b


def _correct_jones(
    a: np.ndarray, b: np.ndarray, gain: np.ndarray
) -> tuple[np.ndarray, np.ndarray]:
    inverse, det = invert_jones(gain)
    left = inverse * det[..., None, None]
    right = np.conj(np.swapaxes(left, -1, -2))
    corrected = left[..., :, None, :, :] @ a @ right[..., None, :, :, :]
    return corrected, b * det[..., :, None] * det[..., None, :]


def sum_cells(cells: np.ndarray, time_of: np.ndarray, channel_of: np.ndarray) -> np.ndarray:
    """Add the matrices (time cell, channel cell, ...) that fall in the same larger cells.

    Those that are alone in theirs are not copied.
    """
    if all(np.array_equal(of, np.arange(n))
           for of, n in zip((time_of, channel_of), cells.shape, strict=False)):
        return cells
    shape = (time_of.max() + 1, channel_of.max() + 1, *cells.shape[2:])
    total = np.zeros(shape, cells.dtype)
    np.add.at(total, (time_of[:, None], channel_of[None, :]), cells)
    return total


@dataclass(frozen=True)
class CellMatrices:
    """Normal matrices on the cells of some terms, and which blocks of those terms they are.

    Attributes
    ----------
    a, b: shape (time cell, channel cell, ant, ant); a with another (2, 2) for two receptors.
    times, channels: the cells; row k of `blocks` belongs to term k of the terms at hand.
    robust: a and b of robust weights, where only some of the terms are solved with those.
    """

    a: np.ndarray
    b: np.ndarray
    times: Refinement
    channels: Refinement
    robust: tuple[np.ndarray, np.ndarray] | None = None


def reduce_terms(
    vis: np.ndarray, model: np.ndarray, weight: np.ndarray, antenna1: np.ndarray,
    antenna2: np.ndarray, n_antenna: int, terms: Sequence[TermBlocks],
) -> CellMatrices:
    """The normal matrices of visibilities on the cells of some terms; see `normal.reduce`."""
    times, channels = refine([t.time_block for t in terms]), refine(
        [t.channel_block for t in terms])
    a, b = reduce(vis, model, weight, antenna1, antenna2, n_antenna, times.index, channels.index)
    return CellMatrices(a, b, times, channels)


def solve_chain(
    matrices: CellMatrices,
    terms: Sequence[TermBlocks],
    start: Mapping[str, np.ndarray],
    finish: Callable[[TermBlocks, Solution], np.ndarray],
    options: SolverOptions,
) -> tuple[dict[str, TermSolution], CellMatrices | None]:
    """Solve terms in order, each on the data corrected by those before it.

    Parameters
    ----------
    terms: in the order in which they are solved, those of the rows of the matrices' cells.
    start: gains to start from by term name, shape (time block, channel block, ant), with another
        (2, 2) for two receptors; may be empty. Those of a fixed term are its solution.
    finish: flags, references and normalises a solution; returns the gains, NaN where flagged.

    Returns
    -------
    The solution of every term, and the matrices of the data corrected by all of them; None where
    those have no further term.
    """
    plain, robust = (matrices.a, matrices.b), matrices.robust
    last = len(matrices.times.blocks) - 1
    solved: dict[str, TermSolution] = {}
    for k, term in enumerate(terms):
        time_blocks, time_of = np.unique(matrices.times.blocks[k], return_inverse=True)
        channel_blocks, channel_of = np.unique(matrices.channels.blocks[k], return_inverse=True)
        if term.mode == FIXED:
            solved[term.name] = given(term.name, time_blocks, channel_blocks, start[term.name])
        else:
            a, b = robust if robust is not None and term.robust else plain
            solution = solve(
                sum_cells(a, time_of, channel_of), sum_cells(b, time_of, channel_of),
                mode=term.mode, start=start.get(term.name), tolerance=options.tolerance,
                max_iterations=options.max_iterations, jones=term.jones,
                free_amplitude=term.free_amplitude,
            )
            solved[term.name] = TermSolution(term.name, time_blocks, channel_blocks,
                                             finish(term, solution), np.asarray(solution.snr))
        if k < last:
            cells = solved[term.name].gain[time_of][:, channel_of]
            plain = correct_matrices(*plain, cells)
            robust = None if robust is None else correct_matrices(*robust, cells)
    if len(terms) > last:
        return solved, None
    return solved, CellMatrices(*plain, matrices.times, matrices.channels, robust)


def given(
    name: str, time_blocks: np.ndarray, channel_blocks: np.ndarray, gain: np.ndarray
) -> TermSolution:
    """Gains that are taken as they are: of infinite signal-to-noise, and NaN where they are
    flagged (NaN), for whether there are data to solve one from has not been looked at."""
    good = np.isfinite(gain).all(axis=tuple(range(3, gain.ndim)))
    return TermSolution(name, time_blocks, channel_blocks, gain, np.where(good, np.inf, np.nan))


def restrict(solution: TermSolution, term: TermBlocks) -> TermSolution:
    """A solution on those of its intervals that the times and channels of a term lie in."""
    times, channels = np.unique(term.time_block), np.unique(term.channel_block)
    rows = np.searchsorted(solution.time_blocks, times)
    columns = np.searchsorted(solution.channel_blocks, channels)
    return TermSolution(solution.name, times, channels, solution.gain[rows][:, columns],
                        solution.snr[rows][:, columns])


def assemble(parts: Sequence[TermSolution]) -> TermSolution:
    """One term's solution on all intervals that partitions have, from that of each of them.

    An interval that several have is taken from the last; what none has is flagged, and 0 in snr.
    """
    times, channels = (np.unique(np.concatenate(blocks)) for blocks in (
        [p.time_blocks for p in parts], [p.channel_blocks for p in parts]))
    gain = np.full((times.size, channels.size, *parts[0].gain.shape[2:]), np.nan, complex)
    snr = np.zeros(gain.shape[:3])
    for part in parts:
        own = np.ix_(np.searchsorted(times, part.time_blocks),
                     np.searchsorted(channels, part.channel_blocks))
        gain[own], snr[own] = part.gain, part.snr
    return TermSolution(parts[0].name, times, channels, gain, snr)


def keep_terms(matrices: CellMatrices, first: int) -> CellMatrices:
    """Matrices on the larger cells of the terms from `first` on."""
    times = refine(list(matrices.times.blocks[first:]))
    channels = refine(list(matrices.channels.blocks[first:]))

    def larger(cells: np.ndarray) -> np.ndarray:
        return sum_cells(cells, times.index, channels.index)

    robust = matrices.robust and (larger(matrices.robust[0]), larger(matrices.robust[1]))
    return CellMatrices(larger(matrices.a), larger(matrices.b), times, channels, robust)


def merge(parts: Sequence[CellMatrices]) -> CellMatrices:
    """Add the matrices of several partitions, cell by cell, in their order."""
    times = refine(list(np.concatenate([p.times.blocks for p in parts], axis=1)))
    channels = refine(list(np.concatenate([p.channels.blocks for p in parts], axis=1)))

    def whole(cells: Sequence[np.ndarray]) -> np.ndarray:
        total = np.zeros((times.size, channels.size, *cells[0].shape[2:]), cells[0].dtype)
        time_start = channel_start = 0
        for own, part in zip(cells, parts, strict=True):
            rows = times.index[time_start:time_start + part.times.size]
            columns = channels.index[channel_start:channel_start + part.channels.size]
            np.add.at(total, (rows[:, None], columns[None, :]), own)
            time_start += part.times.size
            channel_start += part.channels.size
        return total

    robust = [p.robust for p in parts if p.robust is not None]
    return CellMatrices(
        whole([p.a for p in parts]), whole([p.b for p in parts]), times, channels,
        (whole([r[0] for r in robust]), whole([r[1] for r in robust])) if robust else None)


def expand(solution: TermSolution, term: TermBlocks) -> np.ndarray:
    """The gains of the times and channels of a term, shape (time, ant, chan), or (..., 2, 2)."""
    return _at_samples(solution.gain, solution, term)


def without_data(solution: TermSolution, term: TermBlocks) -> np.ndarray:
    """Where no visibility was left to solve a gain from, bool (time, ant, chan) of a term's times
    and channels: all were flagged, not selected, or taken by a gain that was flagged before."""
    return _at_samples(solution.snr == 0, solution, term)


def _at_samples(values: np.ndarray, solution: TermSolution, term: TermBlocks) -> np.ndarray:
    """Values of a solution's intervals (tb, cb, ant, ...) as (time, ant, chan, ...)."""
    rows = np.searchsorted(solution.time_blocks, term.time_block)
    columns = np.searchsorted(solution.channel_blocks, term.channel_block)
    return np.swapaxes(values[rows][:, columns], 1, 2)
