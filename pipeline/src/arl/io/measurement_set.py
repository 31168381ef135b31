"""Measurement Sets (version 2): what one holds, and any part of it as a Visibility dataset.

UVW is taken as it stands, never computed from positions, whose sign differs between instruments;
with it V = S exp(+2 pi i (ul + vm + w(n-1))), as `arl.conventions` has it. Rows may come in any
order: they are put on the regular grid (time, baseline), and what is missing there is flagged.

casacore is not thread-safe: no two threads of a process may be in here at once.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import numpy as np

from arl.errors import InputError
from arl.telescope import in_uv_range
from arl.visibility import PARALLEL_HANDS, Frame, combine_hands, make_visibility

if TYPE_CHECKING:
    import xarray as xr

#: Correlations by their number in POLARIZATION::CORR_TYPE (casacore's Stokes::StokesTypes).
CORRELATIONS = {1: "I", 2: "Q", 3: "U", 4: "V", 5: "RR", 6: "RL", 7: "LR", 8: "LL", 9: "XX",
                10: "XY", 11: "YX", 12: "YY"}
#: Frames by their number in SPECTRAL_WINDOW::MEAS_FREQ_REF (casacore's MFrequency::Types), as
#: xradio names them.
FREQUENCY_FRAMES = ("REST", "lsrk", "lsrd", "BARY", "gcrs", "TOPO", "GALACTO", "LGROUP", "CMB")
NEEDED = ("TIME", "INTERVAL", "ANTENNA1", "ANTENNA2", "UVW", "FLAG", "FLAG_ROW", "FIELD_ID",
          "DATA_DESC_ID", "SCAN_NUMBER")
#: UTC seconds from the modified Julian date 0 to 1970.
UNIX_EPOCH = 40587 * 86400.0
#: Times nearer than this share of the shortest integration are one.
SAME_TIME = 0.1
CHUNK_ROWS = 1_000_000
#: What can be done about a phase centre that can't be read.
SHIFT_FIRST = "shift it to a fixed J2000 direction first (phaseshift or mstransform of CASA)"


@dataclass(frozen=True)
class Selection:
    """One field and one spectral window of one data column.

    Attributes
    ----------
    field, spectral_window, data_description: row numbers of the subtables.
    hands: numbers of the correlations whose mean is Stokes I.
    products: names of the correlations of two receptors, such as XX, XY, YX, YY, or XX and YY
        where the file has no others; empty where it has Stokes I. numbers: theirs in the file.
    """

    path: str
    column: str
    field: int
    field_name: str
    spectral_window: int
    data_description: int
    hands: tuple[int, ...]
    n_channel: int
    products: tuple[str, ...]
    numbers: tuple[int, ...]

    @property
    def query(self) -> str:
        """The rows of cross-correlations, in TaQL."""
        return (f"FIELD_ID == {self.field} && DATA_DESC_ID == {self.data_description} && "
                f"ANTENNA1 != ANTENNA2")


@dataclass(frozen=True)
class Contents:
    """What a selection holds, on a regular grid.

    Attributes
    ----------
    time: UTC s since 1970, (time,), rising.
    integration_time: s, the median over the rows. Where dumps differ in length it is that of most
        of them: it goes into the stores as theirs, and neither weights (the file's) nor the
        forecast (which takes the spacing of the times) nor smearing (simulated data only) follow
        from it.
    frequency: Hz, (chan,), rising; `descending` where the file has it falling.
    channel_width: Hz, the mean. frequency_frame: such as TOPO.
    antenna_names: of those with a baseline; antenna_numbers: theirs in the file, (antenna,).
    positions: of the antennas, ITRF, m (antenna, 3).
    antenna1, antenna2: indices into these, antenna1 < antenna2, (baseline,).
    phase_centre: right ascension and declination, rad.
    diameters: of the antennas, m (antenna,); 0 where the file does not know one.
    longest: the largest |u|, |v| and |w| of the baselines, m (3,).
    """

    selection: Selection
    telescope: str
    time: np.ndarray
    integration_time: float
    frequency: np.ndarray
    descending: bool
    channel_width: float
    frequency_frame: str
    antenna_names: tuple[str, ...]
    antenna_numbers: np.ndarray
    positions: np.ndarray
    antenna1: np.ndarray
    antenna2: np.ndarray
    phase_centre: tuple[float, float]
    diameters: np.ndarray
    longest: np.ndarray

    @property
    def diameter(self) -> float:
        """The median of those that are known, m; 0: none is."""
        known = self.diameters[self.diameters > 0]
        return float(np.median(known)) if known.size else 0.0


@contextmanager
def _opened(path: str, subtable: str = "") -> Iterator[Any]:
    """A table opened for reading without waiting for a writer's lock; casacore's errors in short.

    Raises
    ------
    InputError: casacore can't read it.
    """
    from casacore.tables import table

    name = f"{path}::{subtable}" if subtable else path
    try:
        with table(name, ack=False, lockoptions={"option": "usernoread"}) as opened:
            yield opened
    except (RuntimeError, IndexError) as error:  # a row of a subtable that is not there
        first = str(error).splitlines()[0].strip().rstrip(".")
        raise InputError(f"{name} can't be read as a Measurement Set: {first}.") from error


def select(
    path: str, column: str, field: str | None, spectral_window: int | None
) -> Selection:
    """Find one field and one spectral window; None chooses the only one that there is.

    `field` is a name, or a number in digits.

    Raises
    ------
    InputError: it is no Measurement Set, or the choice is not there or not clear; the message
    says what there is.
    """
    with _opened(path) as main:
        _require_columns(path, main, column)
        fields, descriptions = main.getcol("FIELD_ID"), main.getcol("DATA_DESC_ID")
    if not fields.size:
        raise InputError(f"{path} has no rows.")
    number, name = _find_field(path, field, np.unique(fields))
    window, candidates = _find_window(
        path, spectral_window, np.unique(descriptions[fields == number]))
    description, hands, names = _find_hands(path, window, candidates)
    with _opened(path, "SPECTRAL_WINDOW") as windows:
        n_channel = int(windows.getcell("CHAN_FREQ", window).size)
    return Selection(path, column, number, name, window, description, hands, n_channel,
                     *_products(names))


def _require_columns(path: str, main: Any, column: str) -> None:
    columns = main.colnames()
    missing = [name for name in NEEDED if name not in columns]
    if missing:
        raise InputError(f"{path} is a table but not a Measurement Set: it has no column "
                         f"{', '.join(missing)}.")
    if column not in columns:
        complex_ones = [name for name in columns if main.coldatatype(name) == "complex"]
        raise InputError(f"{path} has no data column {column}; it has "
                         f"{', '.join(complex_ones) or 'none'}.")


def _find_field(path: str, wanted: str | None, present: np.ndarray) -> tuple[int, str]:
    with _opened(path, "FIELD") as fields:
        names = list(fields.getcol("NAME"))
    there = {int(k): names[k] for k in present}
    listed = ", ".join(f"{k} ({name})" for k, name in there.items())
    if wanted is None:
        if len(there) > 1:
            raise InputError(f"{path} has several fields; choose one of {listed}.")
        return next(iter(there.items()))
    found = [k for k, name in there.items() if name == wanted]
    if not found and wanted.isdigit():
        found = [k for k in there if k == int(wanted)]
    if len(found) != 1:
        raise InputError(f"{path} has {'several fields' if found else 'no data of a field'} "
                         f"{wanted}; choose one of {listed}.")
    return found[0], there[found[0]]


def _find_window(
    path: str, wanted: int | None, present: np.ndarray
) -> tuple[int, list[tuple[int, int]]]:
    """The spectral window and its (data description, polarisation setup) numbers."""
    with _opened(path, "DATA_DESCRIPTION") as table:
        windows, setups = table.getcol("SPECTRAL_WINDOW_ID"), table.getcol("POLARIZATION_ID")
    there = sorted({int(windows[k]) for k in present})
    if wanted is None and len(there) == 1:
        wanted = there[0]
    if wanted not in there:
        problem = ("has several spectral windows" if wanted is None
                   else f"has no data of spectral window {wanted} in this field")
        listed = ", ".join(_window_in_words(path, k) for k in there)
        raise InputError(f"{path} {problem}; choose one of {listed}.")
    return wanted, [(int(k), int(setups[k])) for k in present if windows[k] == wanted]


def _window_in_words(path: str, number: int) -> str:
    with _opened(path, "SPECTRAL_WINDOW") as windows:
        frequency = windows.getcell("CHAN_FREQ", number) / 1e6
    return (f"{number} ({frequency.size} channels, {frequency.min():.6g} to "
            f"{frequency.max():.6g} MHz)")


def _find_hands(
    path: str, window: int, candidates: list[tuple[int, int]]
) -> tuple[int, tuple[int, ...], list[str]]:
    """The data description whose correlations make Stokes I, which of them do, and all names."""
    with _opened(path, "POLARIZATION") as table:
        named = {k: [CORRELATIONS.get(int(c), str(c)) for c in table.getcell("CORR_TYPE", setup)]
                 for k, setup in candidates}
    able = {k: hands for k, names in named.items() if (hands := _hands_of(names))}
    if not able:
        listed = "; ".join(", ".join(names) for names in named.values())
        raise InputError(f"{path}: Stokes I can't be made from the correlations {listed} of "
                         f"spectral window {window}; both XX and YY, or RR and LL, are needed.")
    if len(able) > 1:
        raise InputError(f"{path} has spectral window {window} in {len(able)} polarisation "
                         f"setups; split it by data description first.")
    chosen, hands = next(iter(able.items()))
    return chosen, hands, named[chosen]


def _products(names: list[str]) -> tuple[tuple[str, ...], tuple[int, ...]]:
    """The correlations of two receptors and their numbers, all four or the parallel hands."""
    for first, last in PARALLEL_HANDS:
        four = (first, first[0] + last[0], last[0] + first[0], last)
        for wanted in (four, (first, last)):
            if set(wanted) <= set(names) and "I" not in names:
                return wanted, tuple(names.index(n) for n in wanted)
    return (), ()


def _hands_of(names: Sequence[str]) -> tuple[int, ...]:
    """Numbers of the correlations whose mean is Stokes I, () where there are none."""
    for hands in (("I",), *PARALLEL_HANDS):
        if set(hands) <= set(names):
            return tuple(list(names).index(hand) for hand in hands)
    return ()


def describe(
    selection: Selection, min_baseline: float | None = None, max_baseline: float | None = None
) -> Contents:
    """Look through the rows of a selection for its times, baselines and their lengths.

    Baselines shorter than `min_baseline` or longer than `max_baseline` (m) do not count in
    `longest`, which is 0 where none is left.

    Raises
    ------
    InputError: there are no cross-correlations, two rows of the same time and baseline, or
    channels in no order.
    """
    with _opened(selection.path) as main:
        rows = main.query(selection.query)
        if not rows.nrows():
            raise InputError(f"{selection.path} has nothing but autocorrelations of field "
                             f"{selection.field_name or selection.field}.")
        time = rows.getcol("TIME")
        interval, shortest = _integrations(time, rows.getcol("INTERVAL"))
        first, second = rows.getcol("ANTENNA1"), rows.getcol("ANTENNA2")
        longest = _extent(rows, min_baseline, max_baseline)
    grid = _group_times(time, shortest)
    numbers = np.unique(np.concatenate([first, second]))
    pairs = np.unique(_codes(first, second))
    _refuse_doubles(selection, _nearest(grid, time) * pairs.size
                    + np.searchsorted(pairs, _codes(first, second)))
    frequency, width, frame = _channels(selection)
    order = np.argsort(frequency)
    return Contents(
        selection, _telescope(selection.path), grid - UNIX_EPOCH, interval, frequency[order],
        bool(order[0] > order[-1]), width, frame, _names(selection.path, numbers), numbers,
        _positions(selection.path, numbers),
        np.searchsorted(numbers, pairs >> 32), np.searchsorted(numbers, pairs & 0xFFFFFFFF),
        _phase_centre(selection), _diameters(selection.path, numbers), longest)


def has_baseline(selection: Selection, shortest: float | None, longest: float | None) -> bool:
    """Whether some cross-correlation is of a baseline of these lengths, m."""
    with _opened(selection.path) as main:
        rows = main.query(selection.query)
        return any(in_uv_range(rows.getcol("UVW", start, CHUNK_ROWS), shortest, longest).any()
                   for start in range(0, rows.nrows(), CHUNK_ROWS))


def _extent(rows: Any, shortest: float | None, longest: float | None) -> np.ndarray:
    """The largest |u|, |v| and |w| of baselines in a range, m (3,); 0 where none is."""
    largest = np.zeros(3)
    for start in range(0, rows.nrows(), CHUNK_ROWS):
        uvw = np.abs(rows.getcol("UVW", start, CHUNK_ROWS))
        uvw = uvw[in_uv_range(uvw, shortest, longest)]
        largest = np.maximum(largest, uvw.max(axis=0, initial=0.0))
    return largest


def _codes(first: np.ndarray, second: np.ndarray) -> np.ndarray:
    """One number for each pair of antennas, whichever comes first."""
    low, high = np.minimum(first, second), np.maximum(first, second)
    return (low.astype(np.int64) << 32) | high


def _integrations(time: np.ndarray, interval: np.ndarray) -> tuple[float, float]:
    """The median and the shortest integration of those that are known, s.

    Where the file knows none, both are the shortest step between times; of a single time a second.
    """
    known = interval[interval > 0]
    if known.size:
        return float(np.median(known)), float(known.min())
    distinct = np.unique(time)
    step = float(np.diff(distinct).min()) if distinct.size > 1 else 1.0
    return step, step


def _group_times(time: np.ndarray, shortest: float) -> np.ndarray:
    """The distinct times, those that differ by a small part of the shortest integration as one.

    Of scans with dumps of 20 s and of 1 s a part of the usual dump would hold several short ones.
    """
    distinct = np.unique(time)
    starts = np.flatnonzero(np.diff(distinct, prepend=-np.inf) > SAME_TIME * shortest)
    counts = np.diff(np.append(starts, distinct.size))
    return np.add.reduceat(distinct - distinct[0], starts) / counts + distinct[0]


def _nearest(grid: np.ndarray, time: np.ndarray) -> np.ndarray:
    """The index of the grid's time nearest to each time."""
    return np.searchsorted((grid[1:] + grid[:-1]) / 2, time)


def _refuse_doubles(selection: Selection, cell: np.ndarray) -> None:
    doubles = cell.size - np.unique(cell).size
    if doubles:
        raise InputError(
            f"{selection.path} has {doubles} rows of a time and baseline that another row has "
            f"too (subarrays, feeds, several processors, or averaged by baseline); split or "
            f"expand it so that each comes once.")


def _channels(selection: Selection) -> tuple[np.ndarray, float, str]:
    """Frequencies as in the file and the mean channel width, Hz; and the frame."""
    with _opened(selection.path, "SPECTRAL_WINDOW") as windows:
        frequency = np.asarray(windows.getcell("CHAN_FREQ", selection.spectral_window), float)
        width = np.abs(windows.getcell("CHAN_WIDTH", selection.spectral_window)).mean()
        frame = windows.getcell("MEAS_FREQ_REF", selection.spectral_window)
    _refuse_disorder(selection, frequency)
    return frequency, float(width), FREQUENCY_FRAMES[frame] if 0 <= frame < 9 else "TOPO"


def _refuse_disorder(selection: Selection, frequency: np.ndarray) -> None:
    """Channels are read as blocks, forwards or backwards: any other order would mix them up."""
    step = np.diff(frequency)
    if (step > 0).all() or (step < 0).all():
        return
    turn = int(np.flatnonzero(~(step * np.sign(step[0]) > 0))[0])
    here, there = frequency[turn:turn + 2] / 1e6
    raise InputError(
        f"{selection.path}: the channels of spectral window {selection.spectral_window} neither "
        f"rise nor fall in frequency throughout (channel {turn} is at {here:.9g} MHz, {turn + 1} "
        f"at {there:.9g} MHz); put them in order and each once, with their data, or correct its "
        f"CHAN_FREQ.")


def _telescope(path: str) -> str:
    with _opened(path, "OBSERVATION") as observations:
        return str(observations.getcell("TELESCOPE_NAME", 0)) if observations.nrows() else ""


def _names(path: str, numbers: np.ndarray) -> tuple[str, ...]:
    """Names of the antennas; with their numbers where names are empty or not unique."""
    with _opened(path, "ANTENNA") as antennas:
        everyone = list(antennas.getcol("NAME"))
    names = [everyone[k] for k in numbers]
    if "" in names or len(set(names)) < len(names):
        names = [f"{everyone[k] or 'ANT'}_{k}" for k in numbers]
    return tuple(names)


def _positions(path: str, numbers: np.ndarray) -> np.ndarray:
    with _opened(path, "ANTENNA") as antennas:
        return np.asarray(antennas.getcol("POSITION")[numbers], float)


def _diameters(path: str, numbers: np.ndarray) -> np.ndarray:
    with _opened(path, "ANTENNA") as antennas:
        found = np.asarray(antennas.getcol("DISH_DIAMETER")[numbers], float)
    return np.where(found > 0, found, 0.0)


def _phase_centre(selection: Selection) -> tuple[float, float]:
    """Right ascension in [0, 2 pi) and declination of the field, rad.

    Raises
    ------
    InputError: they are in another frame than J2000 and ICRS, or change with time.
    """
    path, row = selection.path, selection.field
    with _opened(path, "FIELD") as fields:
        frame = _direction_frame(fields, row)
        direction = fields.getcell("PHASE_DIR", row)
        columns = fields.colnames()
        order = int(fields.getcell("NUM_POLY", row)) if "NUM_POLY" in columns else 0
        ephemeris = int(fields.getcell("EPHEMERIS_ID", row)) if "EPHEMERIS_ID" in columns else -1
    if frame not in ("J2000", "ICRS"):
        raise InputError(f"{path} gives its phase centre in {frame}; J2000 and ICRS are read: "
                         f"{SHIFT_FIRST}, or correct its FIELD table.")
    if ephemeris >= 0:
        raise InputError(f"{path} has a phase centre that follows an ephemeris (EPHEMERIS_ID "
                         f"{ephemeris}), and one that stays is read: {SHIFT_FIRST}.")
    if direction[1:order + 1].any():
        raise InputError(f"{path} has a phase centre that moves (NUM_POLY {order}, PHASE_DIR has "
                         f"rates), and one that stays is read: {SHIFT_FIRST}.")
    return float(np.mod(direction[0, 0], 2 * np.pi)), float(direction[0, 1])


def _direction_frame(fields: Any, row: int) -> str:
    """The frame of a row's PHASE_DIR, in words where it has no name.

    Where it may differ from row to row (VarRefCol) a column holds its name, or a code that the
    keywords name, as casacore's TableMeasRefDesc writes them.
    """
    keywords = fields.getcolkeywords("PHASE_DIR").get("MEASINFO", {})
    if "VarRefCol" not in keywords:
        return str(keywords.get("Ref", "J2000"))
    code = fields.getcell(keywords["VarRefCol"], row)
    if isinstance(code, str):
        return code
    names = keywords.get("TabRefTypes", ())
    named = dict(zip(keywords.get("TabRefCodes", ()), names, strict=False))
    return str(named.get(code, f"a frame of code {code}, which it does not name"))


def read(
    contents: Contents, times: tuple[int, int], channels: tuple[int, int],
    receptors: bool = False,
) -> xr.Dataset:
    """Stokes I of a block of times and channels (start, stop), on the grid (time, baseline).

    With `receptors` the correlations of both of them stay (see `Selection.products`), and a sample
    of which one is bad is bad in all. Where a row is missing, flagged, without weight or not
    finite (its UVW, too), the weight is 0 and the sample is flagged; UVW is 0 where the row is
    missing or it is not finite.
    """
    products = contents.selection.products if receptors else ("I",)
    shape = (times[1] - times[0], contents.antenna1.size)
    vis = np.zeros((*shape, channels[1] - channels[0], len(products)), np.complex64)
    weight, uvw = np.zeros(vis.shape, np.float32), np.zeros((*shape, 3))
    scan = np.zeros(shape[0], int)
    with _opened(contents.selection.path) as main:
        rows = main.query(_block(contents, times))
        if rows.nrows():
            where = _cells(contents, rows, times)
            swapped = (rows.getcol("ANTENNA1") > rows.getcol("ANTENNA2"))
            row_vis, row_weight = _row_values(contents, rows, channels, receptors)
            # of the reversed baseline: the conjugate transpose, XY and YX exchanged
            turned = [0, 2, 1, 3] if len(products) == 4 else slice(None)
            vis[where] = np.where(swapped[:, None, None], row_vis[..., turned].conj(), row_vis)
            weight[where] = np.where(swapped[:, None, None], row_weight[..., turned], row_weight)
            scan[where[0]] = rows.getcol("SCAN_NUMBER")
            uvw[where] = rows.getcol("UVW") * np.where(swapped, -1.0, 1.0)[:, None]
            nowhere = ~np.isfinite(uvw).all(axis=-1)
            weight[nowhere], vis[nowhere], uvw[nowhere] = 0, 0, 0
    frame = Frame(
        contents.time[slice(*times)], contents.integration_time,
        contents.frequency[slice(*channels)], contents.channel_width, uvw, contents.antenna1,
        contents.antenna2, contents.antenna_names, contents.phase_centre,
        contents.selection.field_name, scan, contents.frequency_frame, contents.telescope)
    return make_visibility(frame, vis, weight, weight == 0, products)


def _block(contents: Contents, times: tuple[int, int]) -> str:
    """The rows of a block of times, in TaQL."""
    margin = contents.integration_time / 2
    grid = contents.time + UNIX_EPOCH
    edges = np.concatenate([[grid[0] - margin], (grid[1:] + grid[:-1]) / 2, [grid[-1] + margin]])
    low, high = edges[times[0]], edges[times[1]]
    return f"{contents.selection.query} && TIME > {low:.6f} && TIME <= {high:.6f}"


def _cells(
    contents: Contents, rows: Any, times: tuple[int, int]
) -> tuple[np.ndarray, np.ndarray]:
    """Time (within the block) and baseline of every row."""
    time = _nearest(contents.time + UNIX_EPOCH, rows.getcol("TIME")) - times[0]
    numbers = contents.antenna_numbers
    pairs = _codes(numbers[contents.antenna1], numbers[contents.antenna2])
    return time, np.searchsorted(pairs, _codes(rows.getcol("ANTENNA1"), rows.getcol("ANTENNA2")))


def _row_values(
    contents: Contents, rows: Any, channels: tuple[int, int], receptors: bool
) -> tuple[np.ndarray, np.ndarray]:
    """Stokes I or the receptors' correlations and weights, (row, chan, pol), channels rising."""
    first, last = channels[0], channels[1] - 1
    if contents.descending:
        n = contents.frequency.size
        first, last = n - 1 - last, n - 1 - first
    hands = contents.selection.numbers if receptors else contents.selection.hands
    step = -1 if contents.descending else 1

    def column(name: str) -> np.ndarray:
        cube = rows.getcolslice(name, [first, min(hands)], [last, max(hands)])
        return cube[:, ::step, [h - min(hands) for h in hands]]

    flag = column("FLAG") | rows.getcol("FLAG_ROW")[:, None, None]
    weight = (column("WEIGHT_SPECTRUM") if _has_spectrum(rows)
              else rows.getcol("WEIGHT")[:, None, list(hands)])
    vis = column(contents.selection.column)
    if not receptors:
        stokes_i, combined = combine_hands(vis, weight, flag)
        return stokes_i[..., None], combined[..., None]
    used = np.where(flag, 0.0, weight)
    good = np.all((used > 0) & np.isfinite(used) & np.isfinite(vis), axis=-1, keepdims=True)
    return (np.where(good, vis, 0).astype(np.complex64),
            np.where(good, used, 0).astype(np.float32))


def _has_spectrum(rows: Any) -> bool:
    """Whether WEIGHT_SPECTRUM is there and filled; some writers make it and leave it empty."""
    return "WEIGHT_SPECTRUM" in rows.colnames() and rows.iscelldefined("WEIGHT_SPECTRUM", 0)
