"""What a single field can't tell: combinations, files, and the sky above the array.

Each check yields the problems it finds; `check` runs them all. Nothing is computed that the run
itself would compute, and the science is imported only where a layout must be looked at.
"""

from __future__ import annotations

import datetime
from collections.abc import Callable, Iterator
from pathlib import Path

import numpy as np

from arl.errors import InputError
from ical.parameters import MinorLoop, Observation, Parameters
from ical.problems import Problem, did_you_mean

Problems = Iterator[Problem]


def check(parameters: Parameters) -> list[Problem]:
    """All problems in the combination of parameters."""
    checks: tuple[Callable[[Parameters], Problems], ...] = (
        _source, _simulation_only, _observation, _noise, _imaging, _spectral, _selfcal,
        _solutions, _start_gains, _flux_scale, _measurement_set, _files)
    return [problem for one in checks for problem in one(parameters)]


def _source(p: Parameters) -> Problems:
    if p.observation is not None and p.input.measurement_set is not None:
        yield Problem("input.measurement_set", "is given and so is observation, but data are "
                      "either read or simulated; remove one of the two.")
    if p.observation is None and p.input.measurement_set is None:
        yield Problem("observation", "is missing and so is input.measurement_set; give one of "
                      "the two.")


def _simulation_only(p: Parameters) -> Problems:
    """Nothing that the user wrote may be ignored in silence."""
    if p.input.measurement_set is None:
        for name in sorted(p.input.model_fields_set - {"measurement_set"}):
            yield Problem(f"input.{name}", "acts only on a Measurement Set; give "
                          "input.measurement_set or remove it.", ("observation",))
        if p.quality.catalogue is not None:
            yield Problem("quality.catalogue", "acts only on a Measurement Set: simulated images "
                          "are compared with the simulated sky; remove it.", ("observation",))
        return
    for name in ("sky", "noise", "gains"):
        if name in p.model_fields_set and getattr(p, name) is not None:
            yield Problem(name, "acts only on a simulation, and a Measurement Set is given; "
                          "remove it.", ("observation", "input"))


def _axis(key: str, first: str, last: str, number: str, values: tuple[float, float, int],
          unit: str) -> Problems:
    """An axis must run forwards, and from one value to the same only with a single sample."""
    start, end, n = values
    needs = (f"{key}.{first}", f"{key}.{last}", f"{key}.{number}")
    if end < start:
        yield Problem(f"{key}.{last}", f"{end:g} {unit} comes before {first} {start:g} {unit}; "
                      "exchange them.", needs)
    elif end == start and n > 1:
        yield Problem(f"{key}.{number}", f"{n} samples need an end after their start; make "
                      f"{last} larger or {number} 1.", needs)
    elif end > start and n == 1:
        yield Problem(f"{key}.{number}", f"1 sample can't span {start:g} to {end:g} {unit}; make "
                      f"{number} larger or {last} equal to {first}.", needs)


def _observation(p: Parameters) -> Problems:
    o = p.observation
    if o is None:
        return
    f, t = o.frequency, o.time
    yield from _axis("observation.frequency", "start", "end", "channels",
                     (f.start, f.end, f.channels), "Hz")
    yield from _axis("observation.time", "start_hour_angle", "end_hour_angle", "samples",
                     (t.start_hour_angle, t.end_hour_angle, t.samples), "degrees")
    try:
        datetime.date.fromisoformat(t.date)
    except ValueError:
        yield Problem("observation.time.date", f"{t.date} is not a day of the calendar; give "
                      "yyyy-mm-dd.")
    yield from _array(o)


def _array(o: Observation) -> Problems:
    """Enough stations, and the field above them at least once."""
    from arl.telescope import elevation, load_layout, within

    try:
        layout = load_layout(o.layout)
    except InputError as error:
        yield Problem("observation.layout", str(error))
        return
    try:
        within(layout, o.r_max)
    except InputError as error:
        yield Problem("observation.r_max", str(error), ("observation.layout",))
    hour_angle = np.linspace(o.time.start_hour_angle, o.time.end_hour_angle, o.time.samples)
    highest = np.degrees(
        elevation(layout, np.radians(o.phase_centre.dec), np.radians(hour_angle)).max())
    if highest <= o.elevation_limit:
        limit = (f"the limit of {o.elevation_limit:g}°" if o.elevation_limit else "the horizon")
        yield Problem(
            "observation.phase_centre",
            f"the field at declination {o.phase_centre.dec:g}° gets no higher than {highest:.1f}°, "
            f"below {limit}, during the observation; choose another declination or other hour "
            f"angles.", ("observation.layout", "observation.time", "observation.elevation_limit"))


def _noise(p: Parameters) -> Problems:
    if p.noise.sefd is not None and p.noise.sigma is not None:
        yield Problem("noise", "sefd and sigma are both given; remove one of the two.")


def _imaging(p: Parameters) -> Problems:
    i = p.imaging
    for key, used in (("imaging", i.uv_range), ("selfcal", p.selfcal.uv_range)):
        if used.min_m and used.max_m and used.min_m >= used.max_m:
            yield Problem(f"{key}.uv_range", f"min_m {used.min_m:g} is not below max_m "
                          f"{used.max_m:g}, so no baseline is left; widen the range.")
    if i.weighting != "briggs" and i.robust != 0:
        yield Problem("imaging.robust", f"acts only with weighting briggs, not {i.weighting}; "
                      "change one of the two.", ("imaging.weighting",))
    if i.weighting == "natural" and i.joint_density:
        yield Problem("imaging.joint_density", "acts only with weighting uniform or briggs; "
                      "change one of the two.", ("imaging.weighting",))
    width = (i.npixel or 0) * (1 + 2 * i.clean_border)
    if i.cell_rad and width * i.cell_rad >= np.sqrt(2):
        yield Problem(
            "imaging.cell_rad", f"{width:.0f} pixels of {i.cell_rad:g} rad reach beyond the "
            f"horizon; make the cell smaller than {np.sqrt(2) / width:.3g} rad, or npixel or "
            f"clean_border smaller.", ("imaging.npixel", "imaging.clean_border"))
    yield from _minor_loop("imaging.clean", i.clean, i.clean.model_fields_set, i.npixel)
    own = p.selfcal.clean
    if own is not None:
        yield from _minor_loop("selfcal.clean", p.selfcal_clean, own.model_fields_set, i.npixel)


def _minor_loop(key: str, loop: MinorLoop, given: set[str], npixel: int | None) -> Problems:
    """`given`: what the section itself says, not what it takes over."""
    if loop.algorithm == "generic" and "scales" in given and loop.scales != (0,):
        yield Problem(f"{key}.scales", "acts only with algorithm multiscale, and generic cleans "
                      "with points; remove it or choose multiscale.", (f"{key}.algorithm",))
    scales = () if loop.algorithm == "generic" else loop.scales or ()
    for scale in scales:
        if npixel and scale > npixel / 4:
            yield Problem(f"{key}.scales", f"{scale} pixels are too many for an image of "
                          f"{npixel}; stay below {npixel // 4}.", ("imaging.npixel",))
    if len(set(scales)) < len(scales):
        yield Problem(f"{key}.scales", "a scale stands twice; remove one.")
    sigma = loop.threshold_sigma
    if loop.auto_mask is not None and sigma is not None and loop.auto_mask < sigma:
        yield Problem(f"{key}.auto_mask", f"{loop.auto_mask:g} is below auto_threshold "
                      f"{sigma:g}, so the mask would never end; make it larger.",
                      (f"{key}.auto_threshold",))


def _spectral(p: Parameters) -> Problems:
    """Channels bound the bands, and bands the spectral terms."""
    bands, channels = p.imaging.bands, _channels(p)
    on = ("observation.frequency.channels", "imaging.bands")
    if bands and channels and bands > channels:
        yield Problem("imaging.bands", f"{bands} bands can't be made of {channels} channels; give "
                      f"at most {channels}.", on)
    most = min([n for n in (bands, channels) if n], default=None)
    loops: list[tuple[str, MinorLoop]] = [("imaging.clean", p.imaging.clean)]
    if p.selfcal.clean is not None and "spectral_terms" in p.selfcal.clean.model_fields_set:
        loops.append(("selfcal.clean", p.selfcal_clean))
    for key, loop in loops:
        if most and loop.spectral_terms and loop.spectral_terms > most:
            yield Problem(f"{key}.spectral_terms", f"{loop.spectral_terms} terms can't be fitted "
                          f"to {most} bands; give at most {most}.", on)


def _channels(p: Parameters) -> int | None:
    """How many channels there are, None where that can't be told."""
    if p.observation is not None:
        return p.observation.frequency.channels
    if p.input.measurement_set is None or not _is_table(p.input.measurement_set):
        return None
    from ical.stages.ingest import select

    try:
        return select(p.input).n_channel
    except InputError:
        return None  # said by _measurement_set


def _selfcal(p: Parameters) -> Problems:
    s = p.selfcal
    if len(set(s.terms)) < len(s.terms):
        yield Problem("selfcal.terms", f"{s.terms} names a term twice; name each once.")
    for term in dict.fromkeys(s.terms):
        first = getattr(s.first_cycle, term)
        if s.enabled and first > s.cycles and getattr(s.start_gains, term) is None:
            yield Problem(f"selfcal.first_cycle.{term}", f"term {term} would begin at cycle "
                          f"{first}, after the last one ({s.cycles}); begin earlier, raise "
                          f"selfcal.cycles, or take {term} out of selfcal.terms.",
                          ("selfcal.terms", "selfcal.cycles"))


def _solutions(p: Parameters) -> Problems:
    """Kinds, bandwidths, smoothing and flagging of solutions act on the terms that are solved."""
    s = p.selfcal
    for name in ("jones", "solution_bandwidth", "smoothing_time", "smoothing_frequency",
                 "interpolation"):
        for term in sorted(getattr(s, name).model_fields_set - set(s.terms)):
            if getattr(getattr(s, name), term) not in (None, "scalar", "nearest"):
                yield Problem(f"selfcal.{name}.{term}", f"acts on term {term}, which is not in "
                              f"selfcal.terms; add it there or remove this.", ("selfcal.terms",))
    for term in dict.fromkeys(s.robust_terms):
        if term not in s.terms or term in s.fixed_terms:
            yield Problem("selfcal.robust_terms", f"{term} is not solved: it is not in "
                          f"selfcal.terms, or it is in selfcal.fixed_terms; remove it here.",
                          ("selfcal.terms", "selfcal.fixed_terms"))
    if s.global_solution and (s.solution_bandwidth.T or s.solution_bandwidth.G):
        yield Problem("selfcal.global_solution", "makes one solution for all channels, and "
                      "selfcal.solution_bandwidth one for some Hz; remove one of the two.",
                      ("selfcal.solution_bandwidth",))
    if s.outlier_mad is not None and set(s.terms) <= {"T"}:
        yield Problem("selfcal.outlier_mad", "needs a term with amplitudes, and T has phases "
                      "alone; add G to selfcal.terms, or remove it.", ("selfcal.terms",))
    if p.receptors and p.simulated:
        yield Problem("selfcal.jones", "diagonal and full act only on a Measurement Set, and "
                      "Stokes I is simulated; change them to scalar.", ("observation",))
    if s.reference_antenna is not None and p.observation is not None:
        yield from _reference(s.reference_antenna, p.observation)


def _start_gains(p: Parameters) -> Problems:
    """Tables are of terms that are solved, and a fixed term has one and nothing to solve."""
    s = p.selfcal
    for term in s.start_gains.model_fields_set:
        if getattr(s.start_gains, term) is not None and term not in s.terms:
            yield Problem(f"selfcal.start_gains.{term}", f"acts on term {term}, which is not in "
                          f"selfcal.terms; add it there or remove this.", ("selfcal.terms",))
    for term in dict.fromkeys(s.fixed_terms):
        if term not in s.terms or getattr(s.start_gains, term) is None:
            yield Problem("selfcal.fixed_terms", f"{term} needs gains to be fixed to; name it in "
                          f"selfcal.terms and its table in selfcal.start_gains.{term}.",
                          ("selfcal.terms", "selfcal.start_gains"))
        for other in s.terms[:max(s.terms.find(term), 0)]:
            kinds = {getattr(s.jones, term), getattr(s.jones, other)}
            if other not in s.fixed_terms and "full" in kinds and "scalar" not in kinds:
                yield Problem("selfcal.terms", f"{other} is solved on data corrected by {term}, "
                              f"which is fixed, and their matrices can't change places: name "
                              f"{term} before {other}.", ("selfcal.fixed_terms", "selfcal.jones"))
        for name in ("solution_interval", "solution_bandwidth", "smoothing_time",
                     "smoothing_frequency", "interpolation"):
            if getattr(getattr(s, name), term) not in (None, "nearest"):
                yield Problem(f"selfcal.{name}.{term}", f"acts on solutions, and {term} is in "
                              f"selfcal.fixed_terms; remove one of the two.",
                              ("selfcal.fixed_terms",))
    for term in sorted(s.first_cycle.model_fields_set & set(s.terms)):
        if getattr(s.start_gains, term) is not None and getattr(s.first_cycle, term) > 1:
            yield Problem(f"selfcal.first_cycle.{term}", f"is late, and {term} has gains to start "
                          f"from in selfcal.start_gains; make it 1 or remove one of the two.",
                          ("selfcal.start_gains",))


def _reference(name: str, o: Observation) -> Problems:
    from arl.telescope import load_layout, within

    try:
        names = within(load_layout(o.layout), o.r_max).names
    except InputError:
        return  # said by _array
    if name not in names:
        yield Problem("selfcal.reference_antenna", f"there is no {name} in this layout within "
                      f"r_max; its stations are {names[0]} to {names[-1]}.",
                      ("observation.layout", "observation.r_max"))


def _flux_scale(p: Parameters) -> Problems:
    """The start model is what the amplitudes must be solved against first."""
    s = p.selfcal
    if s.flux_scale == "data":
        return
    solved = [t for t in s.terms if t != "T" and t not in s.fixed_terms]
    if s.start_model is None:
        yield Problem("selfcal.flux_scale", "model needs selfcal.start_model, whose fluxes it "
                      "takes; give one, or change it to data.")
    elif set(s.terms) <= {"T"}:
        yield Problem("selfcal.flux_scale", "model needs a term with amplitudes, and T has phases "
                      "alone; add G to selfcal.terms, or change it to data.", ("selfcal.terms",))
    elif not solved:
        yield Problem("selfcal.flux_scale", "model needs a term whose amplitudes are solved, and "
                      "all that have some are in selfcal.fixed_terms; take one out there, or "
                      "change it to data.", ("selfcal.terms", "selfcal.fixed_terms"))
    elif getattr(s.start_gains, solved[0]) is not None:
        yield Problem("selfcal.flux_scale", f"model needs amplitudes of {solved[0]} that have no "
                      f"scale yet, and they keep that of selfcal.start_gains.{solved[0]}; remove "
                      f"that, or change this to data.", ("selfcal.terms", "selfcal.start_gains"))
    elif getattr(s.first_cycle, solved[0]) > 1:
        yield Problem(f"selfcal.first_cycle.{solved[0]}", "must be 1 with selfcal.flux_scale "
                      "model, because only the first cycle calibrates on the start model.",
                      ("selfcal.flux_scale", "selfcal.terms"))


def _is_table(path: str) -> bool:
    return (Path(path) / "table.dat").is_file()


def _measurement_set(p: Parameters) -> Problems:
    """It is there, and has the field, spectral window, column and correlations that are asked."""
    path = p.input.measurement_set
    if path is None or p.observation is not None:  # of which _source speaks
        return
    if not Path(path).exists():
        yield Problem("input.measurement_set", f"there is no {path}; give the path of a "
                      "Measurement Set.")
    elif not _is_table(path):
        yield Problem("input.measurement_set", f"{path} is not a Measurement Set (a folder "
                      "with a table.dat); give the path of one.")
    else:
        from ical.stages.ingest import select

        try:
            found = select(p.input)
        except InputError as error:
            yield Problem("input", str(error))
            return
        full = any(getattr(p.selfcal.jones, t) == "full" for t in p.selfcal.terms)
        if p.receptors and len(found.products) < (4 if full else 2):
            yield Problem("selfcal.jones", f"{'full needs four' if full else 'diagonal needs two'} "
                          f"correlations of two receptors, and {path} has not so many; change it.",
                          ("input.measurement_set",))


def _files(p: Parameters) -> Problems:
    from arl.sky import CATALOGUES

    for key, path, kinds in (
        ("selfcal.start_model", p.selfcal.start_model, "a CSV of components or of a FITS image"),
        ("imaging.start_model", p.imaging.start_model, "a FITS image or of a CSV of components"),
    ):
        if path is not None and Path(path).is_file():
            yield from _start_model(p, key, path)
        elif path is not None:
            yield Problem(key, f"there is no file {path}; give the path of {kinds}, or null.")
    yield from _gain_files(p)
    if p.imaging.mask is not None:
        yield from _mask(p.imaging.mask)
    if p.imaging.primary_beam is not None:
        yield from _named("imaging.primary_beam", p.imaging.primary_beam, ("airy", "none"), _beam)
    if p.quality.catalogue is not None and not p.simulated:
        yield from _named("quality.catalogue", p.quality.catalogue, tuple(CATALOGUES), _catalogue)
    if p.simulated:
        yield from _named("sky.catalogue", p.sky.catalogue, tuple(CATALOGUES), _catalogue)
        yield from _named("sky.primary_beam", p.sky.primary_beam, ("airy", "none"), _beam)


def _named(
    key: str, value: str, names: tuple[str, ...], look: Callable[[str, str], Problems]
) -> Problems:
    """A name that is known, or the path of a file that is fit to be read (by `look`)."""
    if value in names:
        return
    if Path(value).is_file():
        yield from look(key, value)
    else:
        near = did_you_mean(value, names)
        yield Problem(key, f"there is no {value}{near or ';'} give {', '.join(names)} or a file's "
                      "path.")


def _catalogue(key: str, path: str) -> Problems:
    from arl.sky import load_catalogue

    try:
        load_catalogue(path)
    except InputError as error:
        yield Problem(key, str(error))


def _gain_files(p: Parameters) -> Problems:
    """They are gain tables; whether they fit the data is seen when those are known."""
    for term in dict.fromkeys(p.selfcal.terms):
        path, key = getattr(p.selfcal.start_gains, term), f"selfcal.start_gains.{term}"
        if path is None:
            continue
        if Path(path).exists():
            yield from _gain_file(path, term, key)
        else:
            yield Problem(key, f"there is no {path}; give the path of an h5parm or of a "
                          f"gains_{term}.zarr, or null.")


def _gain_file(path: str, term: str, key: str) -> Problems:
    from arl.io.gains import read_gains  # with xarray, which is slow to come

    try:
        read_gains(path, term)
    except InputError as error:
        yield Problem(key, str(error))


def _start_model(p: Parameters, key: str, path: str) -> Problems:
    """A catalogue or an image."""
    from arl.io.fits import is_image
    from arl.sky import form_of

    if is_image(path):
        yield from _model_image(p, key, path)
    elif form_of(Path(path)) is not None:
        yield from _catalogue(key, path)
    else:
        yield Problem(key, f"{path} is neither a FITS image nor a CSV of components (a name in "
                      ".csv); give one of the two, or null.")


def _model_image(p: Parameters, key: str, path: str) -> Problems:
    """A model image, on the grid and of the frequencies of the images where those are known."""
    from arl.gridding import good_size
    from arl.io.fits import place_model, read_model

    i, o = p.imaging, p.observation
    try:
        model = read_model(path)
        if o is not None and i.npixel and i.cell_rad:
            centre = (np.radians(o.phase_centre.ra), np.radians(o.phase_centre.dec))
            reach = i.npixel if not i.clean_border else good_size(
                i.npixel * (1 + 2 * i.clean_border))
            place_model(model, reach, i.cell_rad, centre,
                        np.array([[o.frequency.start, o.frequency.end]]))
    except InputError as error:
        yield Problem(key, str(error), ("observation.phase_centre", "observation.frequency",
                                        "imaging.npixel", "imaging.cell_rad"))


def _mask(path: str) -> Problems:
    """It is an image of the sky; whether it covers the field is seen when that is known."""
    from arl.io.fits import read_sky_plane

    if not Path(path).is_file():
        yield Problem("imaging.mask", f"there is no file {path}; give the path of a FITS image, or "
                      "null to clean anywhere.")
        return
    try:
        plane, _ = read_sky_plane(path)
    except InputError as error:
        yield Problem("imaging.mask", str(error))
        return
    if not np.nan_to_num(plane).any():
        yield Problem("imaging.mask", f"every pixel of {path} is 0 or NaN, so nothing could be "
                      "cleaned; give an image that is 1 where there are sources.")


def _beam(key: str, path: str) -> Problems:
    from arl.beam import read_profile

    try:
        read_profile(path)
    except InputError as error:
        yield Problem(key, str(error))
