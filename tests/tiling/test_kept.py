"""What was solved for a lazy field is kept, within a bound, for the next piece that is asked for."""

from __future__ import annotations

from collections import Counter
from dataclasses import dataclass, replace
from typing import TYPE_CHECKING, Any

import dask
import numpy as np
import pytest
from xgpfill.errors import XgpfillWarning
from xgpfill.kernels.outside import FromFunction
from xgpfill.kernels.spec import Matern
from xgpfill.tiling import assemble
from xgpfill.tiling.kept import KeptAnswers, fingerprint
from xgpfill.tiling.solve import TileSolver

if TYPE_CHECKING:
    from collections.abc import Iterator

    import xarray as xr
    from xgpfill.model import FittedModel

TILES = {"tile": {"time": 4}, "halo": 2}


@pytest.fixture
def solves(monkeypatch: pytest.MonkeyPatch) -> Iterator[Counter[str]]:
    """How often anything is conditioned on observations for answers."""
    counted: Counter[str] = Counter()
    posterior = TileSolver.posterior

    def counting(self: TileSolver, *args: Any) -> Any:
        counted["solves"] += 1
        return posterior(self, *args)

    monkeypatch.setattr(TileSolver, "posterior", counting)
    with dask.config.set(scheduler="synchronous"):
        yield counted


@pytest.mark.parametrize(("tiles", "number"), [({}, 1), (TILES, 2)], ids=["one tile", "tiles"])
def test_a_lazy_field_asked_for_piece_by_piece_is_solved_once(ds, model: FittedModel, solves, tiles, number) -> None:
    lazy = model.condition(ds.sst.chunk(time=3))
    found = lazy.reconstruct(**tiles)
    mean = found.mean.compute()
    for ask in (found.variance, found.std(), found.filled, found.mean.isel(time=0), found.score(ds.truth)):
        ask.compute()
    observed = lazy.reconstruct(include_noise=True, **tiles).compute()
    assert solves["solves"] == number
    np.testing.assert_array_equal(mean, observed.mean)


def test_lazy_predictions_asked_for_piece_by_piece_are_solved_once(ds: xr.Dataset, model: FittedModel, solves) -> None:
    lazy = model.condition(ds.sst.chunk(time=3)).predict({"lat": [40.0, 41.0], "lon": [3.0]})
    lazy.mean.compute(), lazy.variance.compute()
    assert solves["solves"] == 1


def test_other_data_of_the_same_model_are_not_taken_for_them(ds: xr.Dataset, model: FittedModel, solves) -> None:
    one, other = (model.condition((ds.sst + k).chunk(time=3)).reconstruct().mean.compute() for k in (0.0, 1.0))
    assert solves["solves"] == 2
    np.testing.assert_allclose(other, one + 1.0, rtol=1e-6)


def test_members_are_told_apart_by_their_data(ds: xr.Dataset, model: FittedModel, solves) -> None:
    both = np.stack([ds.sst, ds.sst + 1.0])
    members = ds.sst.expand_dims(member=[0, 1]).copy(data=both)
    found = model.condition(members.chunk(time=3)).reconstruct()
    found.mean.compute(), found.variance.compute()
    assert solves["solves"] == 2


def test_what_was_computed_can_be_written_to(ds: xr.Dataset, model: FittedModel) -> None:
    lazy = model.condition(ds.sst.chunk(time=-1))
    for made in (*lazy.reconstruct().compute(), *lazy.predict({"lat": 40.0, "lon": 3.0}).compute()):
        made[0] = 0.0


def test_answers_beyond_the_bound_are_made_again_with_a_warning_that_says_what_to_do() -> None:
    kept, made = KeptAnswers(most_bytes=100), Counter[str]()

    def answer(key: str, size: int) -> np.ndarray[Any, Any]:
        def make() -> np.ndarray[Any, Any]:
            made[key] += 1
            return np.zeros(size)

        return kept.get(key, make)

    for _ in range(3):
        answer("small", 8)
    assert made == {"small": 1}
    answer("other", 8)
    with pytest.warns(XgpfillWarning, match=r"solved for again.*`r = r\.compute\(\)`, `r\.persist\(\)`.*to_zarr"):
        answer("small", 8)
    answer("large", 80)
    with pytest.warns(XgpfillWarning, match="solved for again"):
        answer("large", 80)
    kept.clear()
    answer("large", 80)


def test_a_bound_that_is_too_small_for_a_field_is_told(ds: xr.Dataset, model: FittedModel, monkeypatch) -> None:
    monkeypatch.setattr(assemble, "KEPT", KeptAnswers(most_bytes=10))
    found = model.condition(ds.sst.chunk(time=3)).reconstruct()
    with dask.config.set(scheduler="synchronous"):
        found.mean.compute()
        with pytest.warns(XgpfillWarning, match="solved for again"):
            found.variance.compute()


def test_fingerprints_tell_arrays_and_words_apart() -> None:
    a = np.arange(6.0)
    prints = [fingerprint(*p) for p in ((a,), (a.reshape(2, 3),), (a, None), (a.astype("f4"),), ("a", "b"), ("ab",))]
    assert len(set(prints)) == len(prints)
    assert fingerprint(a[::2]) == fingerprint(a[::2].copy())


def test_fingerprints_are_those_of_what_is_held_and_functions_are_only_themselves() -> None:
    def made(constant: float) -> Any:
        return FromFunction(lambda x, y: constant * np.exp(-np.abs(x - y.T)), name="mine")

    first, same, other = made(1.0), made(1.0), made(2.0)
    assert fingerprint(first) == fingerprint(first) == fingerprint(replace(first))
    assert len({fingerprint(kernel) for kernel in (first, same, other)}) == 3
    assert fingerprint(Matern(1.5, 3.0)) == fingerprint(Matern(1.5, 3.0)) != fingerprint(Matern(1.5, 3.1))
    assert fingerprint((1, [np.arange(3)])) != fingerprint((1, [np.arange(3.0)]))
    assert fingerprint(("a", "b")) != fingerprint(("a",), "b")


def test_what_is_called_is_known_by_itself_whatever_it_is() -> None:
    @dataclass
    class Ours:
        scale: float

        def __call__(self, x: Any, y: Any) -> Any:
            return np.exp(-self.scale * np.abs(x - y.T))

    class Slots:
        __slots__ = ()
        __hash__ = None

        def __call__(self, x: Any, y: Any) -> Any:
            return np.exp(-np.abs(x - y.T))

    for each in (Ours(1.0), Slots(), np.subtract):
        assert fingerprint(each) == fingerprint(each)
    assert fingerprint(Ours(1.0)) != fingerprint(Ours(1.0))
