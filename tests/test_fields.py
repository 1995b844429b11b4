"""Independent fields of different sizes: each its own scale and intervals, and new data known by their labels."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import numpy as np
import pytest
import xarray as xr
from numpy.testing import assert_allclose
from xgpfill.errors import AlignmentError

from tests import reference as ref

if TYPE_CHECKING:
    from xgpfill.model import FittedModel

DIMS = ("level", "time", "y", "x")
SIZES = (1.0, 5.0)
TABLE = xr.Dataset(
    {
        "variance": ("term", [0.9]),
        "time_lengthscale": ("term", [3.0]),
        "space_lengthscale": ("term", [200.0]),
        "noise": 0.1,
    },
    {"term": ["product"]},
)


def drawn(seed: int = 0, *, days: int = 12, width: int = 8, labels: Any = (10, 50)) -> xr.DataArray:
    """Two draws of one law, of standard deviations one and five, whole."""
    rng = np.random.default_rng(seed)
    coords = {"time": np.arange(float(days))} | {d: (d, 50.0 * np.arange(width), {"units": "km"}) for d in ("y", "x")}
    x, y = np.meshgrid(50.0 * np.arange(width), 50.0 * np.arange(width))
    sites = np.stack([x.ravel(), y.ravel()], 1)
    chol = [np.linalg.cholesky(ref.matern(ref.distance(a, a), ell, 1.5) + 1e-9 * np.eye(len(a)))
            for a, ell in ((coords["time"], 3.0), (sites, 200.0))]  # fmt: skip
    f = [size * (chol[0] @ rng.standard_normal((days, width**2)) @ chol[1].T) for size in SIZES]
    f = [g + size * 0.3 * rng.standard_normal(g.shape) for g, size in zip(f, SIZES, strict=True)]
    da = xr.DataArray(np.reshape(f, (2, days, width, width)), coords, DIMS, "field")
    return da if labels is None else da.assign_coords(level=list(labels))


def hidden(da: xr.DataArray, seed: int = 1) -> xr.DataArray:
    return da.where(np.random.default_rng(seed).random(da.shape) < 0.6)


def fitted(da: xr.DataArray, **arguments: Any) -> FittedModel:
    how: dict[str, Any] = {"valid": True, "dims": ("time", "y", "x"), "combine": "product", "method": "exact"}
    return da.gpfill.fit(**how | {"amplitude": False} | arguments)


@pytest.fixture(scope="module")
def truth() -> xr.DataArray:
    return drawn()


@pytest.fixture(scope="module")
def gappy(truth: xr.DataArray) -> xr.DataArray:
    return hidden(truth)


@pytest.fixture(scope="module")
def small(gappy: xr.DataArray) -> xr.DataArray:
    return gappy.isel(time=slice(6), y=slice(5), x=slice(5))


@pytest.fixture(scope="module")
def model(small: xr.DataArray) -> FittedModel:
    """Learned."""
    return fitted(small)


def coverage(model: FittedModel, truth: xr.DataArray, level: float) -> xr.DataArray:
    """Share of what was hidden within its interval, of each field."""
    lower, upper = model.reconstruct().interval(level)
    gaps = model.layout.template.isnull()
    return ((truth >= lower) & (truth <= upper)).where(gaps).mean(("time", "y", "x"))


# Each field its own


def test_intervals_of_fields_of_different_sizes_hold_alike() -> None:
    truth = drawn(days=30)
    model = known(hidden(truth), calibrate=True)
    for level in (0.95, 0.68):
        found = coverage(model, truth, level).values
        assert abs(found[0] - found[1]) < 0.03
        assert_allclose(found, level, atol=0.05)


def test_each_field_is_scaled_by_its_own_standard_deviation(small: xr.DataArray, model: FittedModel) -> None:
    relative = model.hyperparameters.field_amplitude
    own = small.std(("time", "y", "x"))
    assert_allclose(relative, own / (own**2).mean() ** 0.5, rtol=1e-9)
    assert relative.level.values.tolist() == [10, 50]
    assert_allclose(model.amplitude.isel(y=0, x=0), relative, rtol=1e-9)


def test_each_field_has_the_posterior_of_its_own_scale(gappy: xr.DataArray) -> None:
    found = fitted(gappy, hyperparameters=TABLE.assign(field_amplitude=("level", list(SIZES), {}))
                   .assign_coords(level=[10, 50]), calibrate=False)  # fmt: skip
    both, noisy = found.reconstruct(), found.reconstruct(include_noise=True)
    for number, size in enumerate(SIZES):
        own = gappy.isel(level=number)
        flat = own.stack(cell=("time", "y", "x"), create_index=False)
        t, s, y = flat.time.values, np.stack([flat.x, flat.y], 1), flat.values
        seen = np.isfinite(y)
        K = 0.9 * size**2 * ref.matern(ref.distance(t, t), 3.0, 1.5) * ref.matern(ref.distance(s, s), 200.0, 1.5)
        ones = np.ones((y.size, 1))
        law = ref.posterior(
            K[np.ix_(seen, seen)], K[seen], np.diag(K), y[seen], 0.1 * size**2, ones[seen], ones
        )  # fmt: skip
        assert_allclose(both.mean[number].values.ravel(), law.mean, rtol=1e-6, atol=1e-6)
        assert_allclose(both.variance[number].values.ravel(), law.variance, rtol=1e-6)
        assert_allclose(noisy.variance[number] - both.variance[number], 0.1 * size**2, rtol=1e-6)


def test_fields_have_widths_of_intervals_of_their_own(model: FittedModel) -> None:
    assert len(model.intervals.ratios) == 2 and min(model.intervals.counts) > 60


def test_lazy_fields_are_as_those_in_memory(small: xr.DataArray, model: FittedModel) -> None:
    lazy = fitted(small.chunk(time=5, level=1))
    xr.testing.assert_allclose(lazy.hyperparameters, model.hyperparameters)
    assert lazy.intervals == model.intervals
    for found, expected in zip(lazy.reconstruct(), model.reconstruct(), strict=True):
        assert found.chunks is not None
        xr.testing.assert_allclose(found.compute(), expected, rtol=1e-6)
    for found, expected in zip(lazy.reconstruct().interval(0.8), model.reconstruct().interval(0.8), strict=True):
        xr.testing.assert_allclose(found.compute(), expected, rtol=1e-6)


# New data by their labels


def known(da: xr.DataArray, *, calibrate: bool = False) -> FittedModel:
    """Of given numbers, nothing learned."""
    table = TABLE.assign(field_amplitude=("level", list(SIZES)))
    if "level" in da.coords:
        table = table.assign_coords(level=da.level.values)
    return fitted(da, hyperparameters=table, calibrate=calibrate)


@pytest.mark.parametrize("labels", [[50], [50, 10], 50, [10, 10, 50]], ids=str)
def test_selected_fields_have_the_scale_of_their_label(gappy: xr.DataArray, labels: Any) -> None:
    whole, part = known(gappy), gappy.sel(level=labels)
    found, expected = whole.condition(part).reconstruct(), whole.reconstruct()
    for one, other in zip(found, expected, strict=True):
        xr.testing.assert_allclose(one, other.sel(level=labels).transpose(*one.dims), rtol=1e-6)


@pytest.mark.parametrize(
    "change",
    [lambda da: da.assign_coords(level=[10, 70]), lambda da: da.isel(level=[0]).drop_vars("level"),
     lambda da: da.isel(level=0, drop=True)],
    ids=["another label", "one without a label", "no such dimension"],
)  # fmt: skip
def test_fields_that_are_not_known_are_refused(gappy: xr.DataArray, change: Any) -> None:
    match = (
        r"knows each of 'level' by its label, and their standard deviations differ by a factor of 5; some of the new "
        r"data are none of these\. Give fields that were fitted, with their labels, e\.g\. `da\.sel\(level=\.\.\.\)`"
    )
    with pytest.raises(AlignmentError, match=match):
        known(gappy).condition(change(gappy))


def test_fields_that_are_not_known_are_taken_where_all_are_alike(gappy: xr.DataArray) -> None:
    level = gappy.isel(level=[0])
    alike = xr.concat([level, level], "level").assign_coords(level=[1, 2])
    table = TABLE.assign(field_amplitude=("level", [1.0, 1.1])).assign_coords(level=[1, 2])
    model = fitted(alike, hyperparameters=table, calibrate=False)
    other = model.condition(alike.assign_coords(level=[3, 4])).reconstruct()
    alone = fitted(level.isel(level=0, drop=True), hyperparameters=TABLE, calibrate=False).reconstruct()
    assert_allclose(other.variance[0], alone.variance, rtol=1e-6)


def test_fields_without_labels_are_known_by_their_place(gappy: xr.DataArray) -> None:
    bare = gappy.drop_vars("level")
    model = known(bare)
    later = bare.isel(time=slice(3, 9))
    assert_allclose(model.condition(bare).reconstruct().mean, model.reconstruct().mean, rtol=1e-9)
    sd = model.condition(later).reconstruct().std()
    assert float(sd[1].mean() / sd[0].mean()) == pytest.approx(5.0, rel=0.1)
    with pytest.raises(AlignmentError, match=r"some of the new data are none of these"):
        model.condition(bare.isel(level=[0, 1, 1]))


def test_members_of_one_field_have_its_scale(gappy: xr.DataArray) -> None:
    members = gappy.expand_dims(member=2).transpose("member", ...)
    found, expected = known(gappy).condition(members).reconstruct(), known(gappy).reconstruct()
    for one, other in zip(found, expected, strict=True):
        xr.testing.assert_allclose(one.isel(member=1), other.transpose(*one.dims[1:]), rtol=1e-6)


# What fields are known by


@pytest.mark.parametrize("kind", [object, str])
def test_names_of_fields_are_labels_whatever_their_type(small: xr.DataArray, kind: type) -> None:
    named = small.assign_coords(level=np.array(["low", "high"], dtype=kind))
    fitted_once = fitted(named, calibrate=False)
    swapped = fitted_once.condition(named.isel(level=[1, 0]), calibrate=False)
    scales = fitted_once.hyperparameters.field_amplitude
    assert_allclose(swapped.hyperparameters.field_amplitude, scales[::-1], rtol=1e-9)
    one = fitted_once.condition(named.sel(level="high"), calibrate=False)
    assert_allclose(one.amplitude.isel(y=0, x=0), scales[1], rtol=1e-9)


def test_repeated_labels_tell_nothing_and_fields_are_known_by_their_place(small: xr.DataArray) -> None:
    twice = small.assign_coords(level=[7, 7])
    first = fitted(twice, calibrate=False)
    again = first.condition(twice, calibrate=False)
    xr.testing.assert_identical(again.hyperparameters, first.hyperparameters)


def test_lazy_fields_keep_the_intervals_of_their_labels(small: xr.DataArray, model: FittedModel) -> None:
    assert model.intervals is not None
    swapped = model.condition(small.isel(level=[1, 0]).chunk(time=3))
    assert swapped.intervals is not None
    assert swapped.intervals.ratios == model.intervals.ratios[::-1]
    alone = model.condition(small.isel(level=1).chunk(time=3))
    assert alone.intervals is not None and alone.intervals.ratios == model.intervals.ratios[1:]


def test_the_joint_covariance_of_one_field_has_its_scale(small: xr.DataArray, model: FittedModel) -> None:
    one = model.condition(small.isel(level=1))
    target = {"time": ("p", [1.0, 2.0]), "y": ("p", [60.0, 110.0]), "x": ("p", [30.0, 170.0])}
    mean, joint = one.predict(xr.Dataset(coords=target), covariance=True)
    alone = one.predict(xr.Dataset(coords=target))
    assert_allclose(mean, alone.mean, rtol=1e-9)
    assert_allclose(np.diag(joint), alone.variance, rtol=1e-9)


@pytest.mark.parametrize("left", [0, 12])
def test_a_field_of_few_observations_varies_as_the_others_do(small: xr.DataArray, left: int) -> None:
    """Not as much as the means of the fields differ."""
    few = (small.isel(level=0) + 500.0).values.copy()
    few.ravel()[np.flatnonzero(np.isfinite(few.ravel()))[left:]] = np.nan
    third = small.isel(level=[0]).copy(data=few[None]).assign_coords(level=[90])
    scaling = fitted(xr.concat([small, third], "level"), calibrate=False).scaling
    assert scaling.fields[2][1] == pytest.approx(scaling.reference)
    if left:
        assert scaling.fields[2][0] == pytest.approx(np.nanmean(few))
