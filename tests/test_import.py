"""Importing xgpfill: what it may not load, how little it may cost, and the names it offers."""

from __future__ import annotations

import statistics
import subprocess
import sys

import pytest
import xgpfill

HEAVY = ("torch", "gpytorch", "matplotlib", "scipy", "dask.array")


def fresh(code: str) -> str:
    """What a new interpreter prints when it runs `code`."""
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    return done.stdout.strip()


def loaded_after(code: str) -> set[str]:
    return set(fresh(f"{code}\nimport sys; print(*sys.modules)").splitlines()[-1].split())


@pytest.fixture(scope="module")
def modules() -> set[str]:
    return loaded_after("import xgpfill")


@pytest.mark.parametrize("heavy", HEAVY)
def test_import_xgpfill_leaves_a_heavy_module_alone(heavy: str, modules: set[str]) -> None:
    assert heavy not in modules


def test_import_xgpfill_adds_less_than_a_third_of_a_second_to_xarray() -> None:
    code = "import xarray; from time import perf_counter as now; t = now(); import xgpfill; print(now() - t)"
    assert statistics.median(float(fresh(code)) for _ in range(5)) < 0.3


@pytest.mark.parametrize(
    "line",
    [
        "xgpfill.Matern(1.5, lengthscale=30.0) + xgpfill.Periodic(365.25)",
        "xgpfill.Exact(), xgpfill.Variational(num_inducing=64)",
        "xgpfill.errors.XgpfillError",
        "xgpfill.Reconstruction",
        "xgpfill.select_method(xgpfill.datasets.synthetic_sst(days=2, nlat=4, nlon=4).sst)",
    ],
)
def test_specs_settings_and_small_data_need_no_torch(line: str) -> None:
    assert not {"torch", "gpytorch"} & loaded_after(f"import xgpfill; {line}")


def test_importing_registers_both_accessors() -> None:
    code = "import xgpfill, xarray; print(hasattr(xarray.DataArray, 'gpfill'), hasattr(xarray.Dataset, 'gpfill'))"
    assert fresh(code) == "True True"


@pytest.mark.parametrize("name", xgpfill.__all__)
def test_every_public_name_can_be_reached_and_is_listed(name: str) -> None:
    assert getattr(xgpfill, name) is not None
    assert name in dir(xgpfill)


def test_an_unknown_name_is_an_attribute_error() -> None:
    with pytest.raises(AttributeError, match="module 'xgpfill' has no attribute 'Krige'"):
        xgpfill.Krige  # noqa: B018
