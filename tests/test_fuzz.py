"""Random fields and arguments, good and bad: either it works, or the error is one of ours; data stay as they are.

Examples are the same in every run, so that a failure is that of a change. Other ones: set ``derandomize=False`` below
and type ``pytest tests/test_fuzz.py -m slow --hypothesis-seed=7``.
"""

from __future__ import annotations

import contextlib
import copy
import warnings
from typing import TYPE_CHECKING, Any, Self

import cftime
import matplotlib.pyplot as plt
import numpy as np
import pandas as pd
import pytest
import xarray as xr
import xgpfill
from hypothesis import HealthCheck, event, given, settings
from hypothesis import strategies as st
from xgpfill import masks, metrics
from xgpfill.errors import XgpfillError, XgpfillWarning
from xgpfill.fitting import fit

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator

QUICK = settings(
    max_examples=45, deadline=None, derandomize=True, database=None, suppress_health_check=list(HealthCheck)
)
LONG = settings(QUICK, max_examples=300)


# Fields, some of them no good


TIMES: dict[str, Callable[[int], Any]] = {
    "datetime64": lambda n: pd.date_range("2001-01-30", periods=n),
    "irregular": lambda n: np.datetime64("2001-01-01", "s") + np.cumsum(np.arange(1, n + 1)).astype("m8[h]"),
    "descending": lambda n: pd.date_range("2001-01-30", periods=n)[::-1],
    "cftime": lambda n: [cftime.datetime(2001, 1 + i, 1, calendar="360_day") for i in range(n)],
    "number": lambda n: ("time", np.arange(n), {"units": "hours since 2001-01-01"}),
    "bare number": lambda n: np.arange(n) ** 2.0,
    "timedelta": lambda n: pd.to_timedelta(np.arange(n), "h"),
    # no good
    "repeated": lambda n: np.zeros(n, "M8[ns]"),
    "steps": lambda n: ("time", np.arange(n), {"units": "step"}),
    "strings": lambda n: [f"day {i}" for i in range(n)],
    "coded": lambda n: ("time", 20010101.0 + np.arange(n), {"units": "day as %Y%m%d.%f"}),
    "not a time": lambda n: np.array(["2001-01-01", *["NaT"] * (n - 1)], "M8[ns]"),
    "calendars": lambda n: np.array(
        [cftime.datetime(2001, 1, 1 + i, calendar=("noleap", "360_day")[i % 2]) for i in range(n)]
    ),
}
LATITUDES: dict[str, Callable[[int], Any]] = {
    "rising": lambda n: 40.0 + np.arange(n),
    "falling": lambda n: 40.0 - 0.25 * np.arange(n),
    "poles": lambda n: np.linspace(-90.0, 90.0, n) if n > 1 else [90.0],
    "float32": lambda n: np.arange(n, dtype=np.float32) / 3,
    "radians": lambda n: ("lat", np.arange(n) / 10.0, {"units": "radians"}),
    "outside": lambda n: 89.5 + np.arange(n),
    "unsorted": lambda n: np.arange(n) * (-1.0) ** np.arange(n),
    "lost": lambda n: [np.nan, *range(1, n)],
    "words": lambda n: [f"row {i}" for i in range(n)],
    "huge": lambda n: 1e300 * np.arange(n),
}
LONGITUDES: dict[str, Callable[[int], Any]] = {
    "0..360": lambda n: 360.0 / n * np.arange(n),
    "-180..180": lambda n: -180.0 + 360.0 / n * np.arange(n),
    "region": lambda n: 3.0 + 0.5 * np.arange(n),
    "date line": lambda n: (178.0 + np.arange(n) + 180.0) % 360.0 - 180.0,
    "falling": lambda n: 10.0 - np.arange(n),
    "closed": lambda n: np.linspace(0.0, 360.0, n) if n > 1 else [0.0],
    "radians": lambda n: ("lon", np.arange(n) / 10.0, {"units": "radians"}),
    "repeated": np.zeros,
    "fill values": lambda n: [*range(n - 1), 9.96921e36],
    "complex": lambda n: np.arange(n) + 1j,
}


def as_grid(da: xr.DataArray) -> xr.DataArray:
    return da


def as_list(da: xr.DataArray) -> xr.DataArray:
    """All cells as a list of sites, some of them twice."""
    on = [d for d in ("lat", "lon") if d in da.dims]
    listed = da.stack(site=on, create_index=False) if on else da
    return listed.isel(site=[0, *range(listed.sizes["site"])]) if on else listed


def as_curvilinear(da: xr.DataArray) -> xr.DataArray:
    """Latitude and longitude of every cell, on axes without labels."""
    if not {"lat", "lon"} <= set(da.coords) & set(da.dims) or da.lat.dtype.kind not in "iuf":
        return da
    lat, lon = xr.broadcast(da.lat.drop_vars("lat"), da.lon.drop_vars("lon"))
    flat = da.drop_vars(["lat", "lon"]).rename(lat="j", lon="i")
    return flat.assign_coords(lat=lat.rename(lat="j", lon="i"), lon=lon.rename(lat="j", lon="i") + 0.1 * lat.values)


def as_projected(da: xr.DataArray) -> xr.DataArray:
    """Sites on a plane."""
    if not {"lat", "lon"} <= set(da.dims):
        return da
    listed = da.drop_vars(["lat", "lon"], errors="ignore").stack(site=["lat", "lon"], create_index=False)
    n = listed.sizes["site"]
    return listed.assign_coords(
        x=("site", 1e3 * np.arange(n), {"units": "m"}), y=("site", 1e3 * (np.arange(n) % 4), {"units": "m"})
    )


PLACES = [as_grid, as_grid, lambda da: da.stack(cell=da.dims[-2:]), as_list, as_curvilinear, as_projected, as_grid]
NUM_GOOD = 5
"""The first of each of these are good."""


@st.composite
def fields(draw: st.DrawFn) -> xr.DataArray:
    """A small field; three of four are good but for what they hold."""
    bad = draw(st.integers(0, 3)) == 0
    axes = draw(st.sampled_from([("time", "lat", "lon")] * 3 + [("lat", "lon"), ("time", "lon"), ("time",), ("lat",)]))
    extra = draw(st.sampled_from([(), (), (), ("level",), ("member", "level"), ("sample",)]))
    sizes = {d: draw(st.integers(1, 6 if d in axes else 2)) for d in (*axes, *extra)}
    coords: dict[str, Any] = {}
    for name, kinds in (("time", TIMES), ("lat", LATITUDES), ("lon", LONGITUDES)):
        kind = draw(st.sampled_from([*kinds, "none"] if bad else list(kinds)[:NUM_GOOD]))
        if name in axes and kind != "none":
            value = kinds[kind](sizes[name])
            coords[name] = value if isinstance(value, tuple) else (name, value)
    dims = draw(st.permutations(list(sizes)))
    da = xr.DataArray(_values(draw, tuple(sizes[d] for d in dims), bad=bad), dims=dims, coords=coords)
    da.name = draw(st.sampled_from(["sst", "sst", None, "time", ("a", 1), 3]))
    da.attrs = draw(st.sampled_from([{}, {"units": "K", "valid_min": 3}, {"units": 7}]))
    da.encoding = {"_FillValue": -9.0, "scale_factor": 0.1}
    da = draw(st.sampled_from(PLACES[:3] if bad else PLACES))(da)
    return da.chunk(dict.fromkeys(da.dims, draw(st.integers(1, 3)))) if draw(st.integers(0, 9)) == 0 else da


def _values(draw: st.DrawFn, shape: tuple[int, ...], *, bad: bool) -> Any:
    rng = np.random.default_rng(draw(st.integers(0, 9)))
    values = rng.normal(size=shape) * draw(st.sampled_from([1.0, 1.0, 1e-4, 1e9, *[0.0, 1e-200, 1e200] * bad]))
    values = values + draw(st.sampled_from([0.0, 0.0, 280.0, *[1e9, 1e15] * bad]))
    dtype = draw(st.sampled_from(["f8", "f8", "f4", "f2", "i4", "u1", "?", *["O", "c16", "M8[s]", "<U8"] * bad]))
    if dtype[0] not in "fOc":
        return np.abs(values % 200.0).astype("i8").astype(dtype)
    hidden = draw(st.sampled_from([0.0, 0.3, 0.3, 0.6, *[0.95, 1.0] * bad]))
    values[rng.uniform(size=shape) < hidden] = np.nan
    if bad and draw(st.booleans()):
        values.flat[0] = draw(st.sampled_from([np.inf, -np.inf]))
    with np.errstate(over="ignore"):
        return values.astype(dtype)


# Arguments, some of them no good

ANYTHING = (None, True, False, 0, 1, -1, 2.5, np.nan, np.inf, "", "foo", b"x", (), [], {}, ["time"], object(), 1j, len)


class OneOf(tuple):
    """Good values of an argument, and `bad` ones."""

    def __new__(cls, *good: Any, bad: tuple[Any, ...] = ()) -> Self:
        self = super().__new__(cls, good)
        self.bad = (*bad, *bad, *ANYTHING)
        return self


@st.composite
def arguments(draw: st.DrawFn, known: dict[str, OneOf], share: int = 4) -> dict[str, Any]:
    """At most four of these keywords, all good but in one case of `share`."""
    names = draw(st.lists(st.sampled_from(sorted(known)), unique=True, max_size=4))
    found = {name: draw(st.sampled_from(known[name])) for name in names}
    if names and draw(st.integers(1, share)) == 1:
        found[names[0]] = draw(st.sampled_from(known[names[0]].bad))
    return found


SIZES = OneOf("auto", {"time": 1}, {"time": 2, "lat": 2}, {"lon": 3}, {"lat": 100}, bad=({"depth": 1}, {"lat": 0}, 3))
HALOS = OneOf("auto", 0, 1, 100, {"time": 1}, {"lat": 2}, bad=({"time": -1}, {"depth": 1}))
YES = OneOf(True, False)
FIT = {
    "dims": OneOf(
        None,
        ("time", "lat", "lon"),
        ("lon", "lat"),
        "time",
        {"y": "lat", "x": "lon"},
        bad=(["lon", "lon"], {"z": "lat"}),
    ),
    "time_kernel": OneOf(
        "matern12",
        "rbf",
        "auto",
        "brownian",
        "periodic",
        "constant",
        None,
        xgpfill.Matern(0.5, 2.0),
        xgpfill.RBF(3.0, fixed=True),
        lambda x, y: np.exp(-np.abs(x - y.T)),
        bad=(xgpfill.Matern, lambda x: x, lambda x, y: x - y.T, "walk"),
    ),
    "space_kernel": OneOf(
        "matern52",
        "rational_quadratic",
        "constant",
        None,
        "periodic",
        xgpfill.RBF(300.0),
        xgpfill.Matern(0.5) + "rbf",
        bad=("brownian", xgpfill.RBF, lambda x, y: -np.ones((len(x), len(y)))),
    ),
    "combine": OneOf(None, "anova", "product", "sum"),
    "scales": OneOf(1, 2, 3, np.int64(2), bad=(0, 1.5)),
    "noise": OneOf(None, 0.1, 1, 0, "errors", bad=(-1.0, 1e300, "small errors", "no errors", "cut", "data")),
    "method": OneOf(
        "exact",
        "exact",
        xgpfill.Exact(max_observations=500),
        "auto",
        xgpfill.Iterative(num_samples=2),
        xgpfill.Variational(num_inducing=5),
        bad=("krige", xgpfill.Exact, xgpfill.Exact(max_observations=1)),
    ),
    "geometry": OneOf("auto", "sphere", "cylinder", "plane", bad=("globe",)),
    "valid": OneOf(True, None, "valid", bad=("nowhere", "numbers", "cut")),
    "tile": SIZES,
    "halo": HALOS,
    "check": OneOf("blocks", "full"),
    "device": OneOf("cpu", "auto", bad=("gpu", "cuda:99")),
    "dtype": OneOf("float64", "float32", bad=("float16", np.float32)),
    "seed": OneOf(0, 1, 2**40),
    "progress": OneOf(False, None),
}
RECONSTRUCT = {
    "include_noise": YES,
    "variance": OneOf(True, True, False),
    "tile": OneOf(None, *SIZES, bad=SIZES.bad),
    "halo": OneOf(None, *HALOS, bad=HALOS.bad),
}
TARGETS = OneOf(
    {"lat": [40.2, 41.0]},
    {"lon": 3.1},
    {"time": np.datetime64("2001-02-01")},
    {"time": [3.5, 4.5]},
    {"lat": [], "lon": []},
    "itself",
    bad=(
        {"lat": [np.nan]},
        {"lat": [120.0]},
        {"lat": "north"},
        {"lat": [[1.0, 2.0]]},
        {"depth": [1.0]},
        {"lat": [1, [2, 3]]},
        {"time": [cftime.datetime(2001, 1, 3, calendar="360_day")]},
        np.zeros(3),
        {"lon": 1e300},
        {"time": [np.inf]},
        {"lat": xr.DataArray([1.0, 2.0], dims="p"), "lon": xr.DataArray([1.0], dims="p")},
        xr.Dataset(coords={"lat": ("lat", [1.0, 2.0], {"units": "m"}), "lon": [1.0]}),
    ),
)
OTHERS = OneOf(
    lambda da: da,
    lambda da: da.isel({da.dims[0]: slice(1)}),
    lambda da: da.where(da.isnull()),
    bad=(
        lambda da: da.values,
        lambda da: da.rename({da.dims[0]: "elsewhere"}),
        lambda da: da.astype(str),
        lambda da: None,
        lambda da: da.to_dataset(name="unheard of"),
        lambda da: da.drop_vars(da.indexes),
        lambda da: da.isel({da.dims[0]: slice(0)}),
    ),
)
PICTURES = {
    "sel": OneOf({"lat": 40.0, "lon": 3.0}, {"level": 0}, None, bad=({"lat": "north"}, {"depth": 1})),
    "time": OneOf("2001-01-30", 0, None),
    "what": OneOf("std", "mean", bad=("error",)),
}


def _of(da: xr.DataArray, value: Any) -> Any:
    """Fields on the grid of the data, where an argument names one."""
    if not isinstance(value, str):
        return value
    ones = xr.ones_like(da, dtype=float) if da.dtype.kind in "iufb" else xr.DataArray(1.0)
    known = {
        "errors": 0.2 * ones,
        "small errors": 1e-300 * ones,
        "no errors": np.nan * ones,
        "valid": ones > 0,
        "numbers": ones,
        "nowhere": ones < 0,
        "itself": da,
        "truth": ones,
        "cut": ones.isel({d: slice(1) for d in ones.dims}),
        "data": da,
    }
    return known.get(value, value)


# The properties


@contextlib.contextmanager
def only_our_errors(where: str) -> Iterator[None]:
    """Errors of ours are fine; others, and warnings that are not ours, are not."""
    try:
        with warnings.catch_warnings():
            warnings.simplefilter("ignore", XgpfillWarning)
            yield
    except XgpfillError as error:
        said = len(str(error))
        event(f"{where}: {type(error).__name__}")
        if not 20 < said < 1000:
            pytest.fail(f"An error of {said} characters is too short to help or too long to read.")
    else:
        event(f"{where}: works")


def state(da: Any) -> Any:
    """All of a field, to compare bit by bit."""
    parts = {"": da.variable} | {str(k): v.variable for k, v in da.coords.items()}
    return (
        da.name,
        da.dims,
        {
            k: (v.dims, v.dtype, copy.deepcopy(v.attrs), copy.deepcopy(v.encoding), v.chunks, _bytes(v))
            for k, v in parts.items()
        },
    )


def _bytes(variable: xr.Variable) -> Any:
    values = variable.values
    return repr(values.tolist()) if values.dtype == object else values.tobytes()


def sensible(da: xr.DataArray, exists: Any, *, lowest: float | None = None) -> None:
    """Finite within `valid`, NaN outside, variance at least zero."""
    values = da.astype(float).compute()
    inside = (
        xr.ones_like(values, dtype=bool) if exists is None else exists.broadcast_like(values).transpose(*values.dims)
    )
    assert np.isfinite(values.values[inside.values]).all()
    assert np.isnan(values.values[~inside.values]).all()
    if lowest is not None and inside.any():
        assert float(values.min()) >= lowest


def check_fit(da: xr.DataArray, how: dict[str, Any], then: dict[str, Any]) -> None:
    """Fit, and do everything with the model."""
    how = {"method": "exact", "valid": True} | {key: _of(da, value) for key, value in how.items()}
    before = state(da)
    with only_our_errors("fit"):
        model = fit(da, **how)
        check_model(model, da, how, then)
    assert state(da) == before


def check_model(model: Any, da: xr.DataArray, how: dict[str, Any], then: dict[str, Any]) -> None:
    """Everything that can be asked of a model; errors in one do not hide the others."""
    exists = how["valid"] if isinstance(how["valid"], xr.DataArray) else None
    repr(model), model._repr_html_()
    with only_our_errors("reconstruct"):
        found = model.reconstruct(**then["reconstruct"])
        sensible(found.mean, exists)
        if found.variance is not None:
            sensible(found.variance, exists, lowest=0.0)
        check_reconstruction(found, da, then)
    with only_our_errors("predict"):
        answer = model.predict(_of(da, then["target"]), **then["predict"])
        sensible(answer[0], None)
    with only_our_errors("sample"):
        sensible(model.sample(**then["sample"]), exists)
    with only_our_errors("condition"):
        other = then["other"](da)
        sensible(model.condition(other).reconstruct().mean, exists)
    with only_our_errors("covariance"):
        model.covariance(**then["covariance"])
    with only_our_errors("fit again"):
        fit(da, **how | {"hyperparameters": model.hyperparameters.isel(then["terms"])})


def check_reconstruction(found: Any, da: xr.DataArray, then: dict[str, Any]) -> None:
    """Everything that can be asked of a reconstruction."""
    for where, call in {
        "score": lambda: found.score(_of(da, then["truth"]), **{k: _of(da, v) for k, v in then["score"].items()}),
        "interval": lambda: found.interval(then["level"]),
        "to_dataset": lambda: found.to_dataset().compute(),
        "filled": lambda: found.filled.compute(),  # noqa: PLW0108
        "plot": lambda: plt.close(getattr(found.plot, then["plot"])(**then["picture"]).figure),
    }.items():
        if where != "plot" or then["draws"]:
            with only_our_errors(where):
                call()


def one_of(values: OneOf) -> st.SearchStrategy[Any]:
    return st.integers(0, 3).flatmap(lambda i: st.sampled_from(values if i else values.bad))


THEN = st.fixed_dictionaries(
    {
        "reconstruct": arguments(RECONSTRUCT),
        "target": one_of(TARGETS),
        "predict": arguments({"include_noise": YES, "covariance": OneOf(False, False, True)}),
        "sample": arguments({"n": OneOf(1, 2), "seed": OneOf(0, 1), "include_noise": YES}),
        "other": st.integers(0, 3).flatmap(lambda i: st.sampled_from(OTHERS if i else OTHERS.bad[:14])),
        "covariance": arguments({"time": OneOf(None, [0.0, 1.0], 3), "distance": OneOf(None, [0.0, 100.0])}),
        "terms": st.sampled_from([{}, {}, {"term": [0]}]),
        "truth": one_of(OneOf("truth", "data", bad=("cut", "valid"))),
        "score": arguments(
            {
                "dim": OneOf(None, "time", ("lat",), []),
                "weights": OneOf(None, "cos_lat", "truth", "valid", bad=("cut", "no errors")),
            }
        ),
        "level": one_of(OneOf(0.95, 0.5, np.float32(0.9))),
        "draws": st.integers(0, 7).map(lambda i: i == 0),
        "plot": st.sampled_from(["map", "facets", "comparison", "series"]),
        "picture": arguments(PICTURES),
    }
)


def answers_or_refuses(da: xr.DataArray, how: dict[str, Any], then: dict[str, Any]) -> None:
    takes = {
        "map": ("sel", "time", "what"),
        "facets": ("sel", "what"),
        "comparison": ("sel", "time"),
        "series": ("sel",),
    }
    picture = {key: value for key, value in then["picture"].items() if key in takes[then["plot"]]}
    check_fit(da, how, then | {"picture": picture})


@QUICK
@given(fields(), arguments(FIT), THEN)
def test_fitting_anything_with_anything_answers_or_refuses_and_changes_nothing(da, how, then) -> None:
    answers_or_refuses(da, how, then)


@pytest.mark.slow
@LONG
@given(fields(), arguments(FIT), THEN)
def test_fitting_much_more_answers_or_refuses_and_changes_nothing(da, how, then) -> None:
    answers_or_refuses(da, how, then)


# Masks and metrics

MASKS: dict[str, dict[str, OneOf]] = {
    "random": {"kind": OneOf("dynamic", "fixed", bad=("static",))},
    "blocks": {"size": OneOf({"time": 2}, {"lat": 3, "lon": -1}, {"lon": 1000}, bad=({"lat": 0}, {"depth": 1}, 3))},
    "clouds": {
        "lengthscale": OneOf(100.0, 1, 1e300, 1e-300, bad=(-1.0,)),
        "duration": OneOf(2.0, np.inf, 1e-300, bad=(0,)),
    },
    "tracks": {
        "inclination": OneOf(98.7, 0.0, 180, bad=(200.0,)),
        "orbits_per_day": OneOf(14.2, 1, bad=(40,)),
        "window": OneOf(None, 1.0, 1e-9, bad=(100.0, 0)),
    },
    "other_days": {},
}
COMMON = {"dims": FIT["dims"], "seed": OneOf(0, 3)}
SCORES = (
    "mae",
    "rmse",
    "bias",
    "crps_gaussian",
    "nlpd",
    "interval_coverage",
    "reduced_chi2",
    "variance_error_correlation",
)
PARTS = OneOf("data", "truth", "errors", "no errors", 0.0, 1.0, -1.0, bad=("cut",))


def masks_answer_or_refuse(da: xr.DataArray, name: str, data: st.DataObject) -> None:
    before = state(da)
    needed = {"blocks": {"size": {}}, "clouds": {"lengthscale": 50.0}}.get(name, {})
    how = needed | data.draw(arguments(MASKS[name] | COMMON))
    share = () if name == "other_days" else (data.draw(one_of(OneOf(0.0, 0.5, 1.0, 0.3, bad=(1.1, "half")))),)
    with only_our_errors(name):
        mask = getattr(masks, name)(da, *share, **how)
        assert mask.dtype == bool
        assert mask.dims == da.dims
        assert mask.chunks == da.chunks
        assert mask.compute().values.shape == da.shape
    assert state(da) == before


def metrics_answer_or_refuse(da: xr.DataArray, name: str, data: st.DataObject) -> None:
    before = state(da)
    parts = [_of(da, data.draw(one_of(PARTS))) for _ in range(1 if name in SCORES[:3] else 2)]
    good = {
        "dim": OneOf(None, "time", ("lat",), []),
        "weights": OneOf(None, "truth", "valid", bad=("cut", "no errors")),
    }
    good |= {"skipna": YES, "keep_attrs": YES} | ({"level": OneOf(0.9)} if name == "interval_coverage" else {})
    how = {k: _of(da, v) for k, v in data.draw(arguments(good)).items()}
    with only_our_errors(name):
        score = getattr(metrics, name)(da, *parts, **how)
        assert score.compute().dtype == np.float64
    with only_our_errors("cos_lat_weights"):
        weights = metrics.cos_lat_weights(da)
        assert bool(((weights >= 0) & (weights <= 1)).all())
    assert state(da) == before


@QUICK
@given(fields(), st.sampled_from(sorted(MASKS)), st.data())
def test_a_mask_of_anything_hides_or_refuses_and_changes_nothing(da, name: str, data) -> None:
    masks_answer_or_refuse(da, name, data)


@QUICK
@given(fields(), st.sampled_from(SCORES), st.data())
def test_a_score_of_anything_is_a_number_or_refused_and_changes_nothing(da, name: str, data) -> None:
    metrics_answer_or_refuse(da, name, data)


@pytest.mark.slow
@LONG
@given(fields(), st.sampled_from(sorted(MASKS)), st.sampled_from(SCORES), st.data())
def test_many_more_masks_and_scores_answer_or_refuse_and_change_nothing(da, mask: str, score: str, data) -> None:
    masks_answer_or_refuse(da, mask, data)
    metrics_answer_or_refuse(da, score, data)
