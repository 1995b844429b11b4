"""The yardstick: cases in, a table and JSON out; peers beside; failures told, not raised."""

from __future__ import annotations

import json
import subprocess
import sys
from importlib import import_module
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
import pytest
import xarray as xr
import xgpfill
from xgpfill.datasets import synthetic_sst

if TYPE_CHECKING:
    from types import ModuleType


BENCHMARKS = Path(__file__).parents[1] / "benchmarks"
NAMES = ("common", "ours", "peers", "dct", "muygps", "measure", "cases", "tiles", "scale", "same", "padding")
RECORDED = {"method": "pencil", "rmse": 3.25, "mae": 2.0, "crps": None, "cov95": None, "seconds": 86400}


class Benchmarks:
    """The modules of the folder, which is no package."""

    common: ModuleType
    ours: ModuleType
    peers: ModuleType
    dct: ModuleType
    muygps: ModuleType
    measure: ModuleType
    cases: ModuleType
    tiles: ModuleType
    scale: ModuleType
    same: ModuleType
    padding: ModuleType


@pytest.fixture(scope="module")
def bench() -> Any:
    found = Benchmarks()
    with pytest.MonkeyPatch.context() as patch:
        patch.syspath_prepend(str(BENCHMARKS))
        for name in NAMES:
            setattr(found, name, import_module(name))
        yield found
    for name in NAMES:
        sys.modules.pop(name, None)


@pytest.fixture(scope="module")
def tiny() -> xr.Dataset:
    return synthetic_sst(days=4, nlat=8, nlon=9).rename(sst="obs")


@pytest.fixture(scope="module")
def folder(tiny: xr.Dataset, tmp_path_factory: pytest.TempPathFactory) -> Path:
    path = tmp_path_factory.mktemp("cases")
    tiny.to_netcdf(path / "tiny.nc")
    (path / "peers.json").write_text(json.dumps({"cases": {"tiny": [RECORDED]}}))
    return path


@pytest.fixture
def case(bench: Any, tiny: xr.Dataset) -> Any:
    return bench.common.Case("tiny", tiny.obs, tiny.truth, tiny.valid)


def test_the_command_prints_and_saves_every_case_and_tells_of_the_broken_one(bench, tiny, folder, tmp_path, capsys):
    for name in ("peers.json", "tiny.nc"):
        (tmp_path / name).write_bytes((folder / name).read_bytes())
    tiny.drop_vars("truth").to_netcdf(tmp_path / "broken.nc")
    out = tmp_path / "results"
    bench.cases.main([str(tmp_path), "--method", "exact", "--threads", "1", "--save", "--results", str(out)])

    printed = capsys.readouterr().out
    assert "failed: ValueError: broken.nc has the variables ['obs', 'valid']" in printed
    (own,) = [line for line in printed.splitlines() if line.startswith("xgpfill exact")]
    assert len(own.split()) == 2 + 9  # the name in two words, then one number a column
    (peer,) = [line for line in printed.splitlines() if line.startswith("recorded: pencil")]
    assert peer.split()[2:] == ["3.25", "2", "-", "-", "-", "-", "-", "8.64e+04", "-"]

    results = json.loads((out / "exact.json").read_text())
    assert results["threads"] == 1
    assert results["packages"]["numpy"] == np.__version__
    assert results["peers"] == []
    broken, row = results["cases"]
    assert (broken["case"], row["case"]) == ("broken", "tiny")
    assert "needs ['obs', 'truth', 'valid']: ['truth'] missing" in broken["error"]
    assert row["total_seconds"] == pytest.approx(row["learn_seconds"] + row["solve_seconds"])
    assert row["peak_memory_gib"] > 0.05
    assert 0 < row["crps"] < row["mae"] < row["rmse"]


@pytest.mark.slow
def test_the_mean_alone_stands_beside_the_interpolator_with_its_ratio(bench, folder, tmp_path, capsys):
    bench.cases.main([
        str(folder), "--method", "exact", "--mean-only", "--threads", "1", "--repeat", "2", "--save",
        "--results", str(tmp_path),
    ])  # fmt: skip
    assert "xgpfill exact, mean alone took " in capsys.readouterr().out
    results = json.loads((tmp_path / "exact_mean.json").read_text())
    (own,), (peer,) = results["cases"], results["peers"]
    for row in (own, peer):
        assert row["crps"] is row["coverage95"] is row["learn_seconds"] is None
        assert row["total_seconds"] == min(row["all_seconds"])
        assert len(row["all_seconds"]) == 2


@pytest.mark.slow
def test_peers_run_beside_xgpfill(bench, folder, tmp_path, capsys):
    pytest.importorskip("gpboost")
    pytest.importorskip("MuyGPyS")
    bench.cases.main([str(folder), "--method", "exact", "--peers", "--save", "--results", str(tmp_path)])
    assert capsys.readouterr().out.count(" x the seconds of ") == 5
    rows = json.loads((tmp_path / "exact.json").read_text())["peers"]
    assert [row["method"].split()[0] for row in rows] == ["GPBoost", "MuyGPyS,", "DCT-PLS", "scipy", "scipy"]
    assert all(row["rmse"] < 3 for row in rows)


def test_our_scores_are_those_of_the_reconstruction(bench, case):
    filled = bench.ours.full(case, bench.common.Request("xgpfill", "", engine="exact"))
    model = case.obs.gpfill.fit(method="exact", valid=case.valid, progress=False)
    field = model.reconstruct(progress=False)
    own, (lower, upper) = field.score(case.truth), field.interval(0.68)
    inside = (case.truth >= lower) & (case.truth <= upper)
    own["coverage68"] = inside.sum() / own.cells - (inside & case.obs.notnull()).sum() / own.cells
    for name, value in bench.common.scored(case, filled).items():
        assert value == pytest.approx(float(own[name]), rel=1e-6), name


def test_a_perfect_mean_without_a_spread_scores_zero_and_has_no_crps(bench, case):
    filled = bench.common.Filled("oracle", case.truth, None, None, 1.0)
    assert bench.common.scored(case, filled) == {
        "rmse": 0.0,
        "mae": 0.0,
        "crps": None,
        "coverage95": None,
        "coverage68": None,
    }


def test_a_normal_guess_scores_as_the_formulae_say(bench, case):
    one = case.truth * 0 + 1.0
    scores = bench.common.scored(case, bench.common.Filled("off by one", case.truth + 1.0, one, 1.0, 1.0))
    assert scores["rmse"] == pytest.approx(1.0, rel=1e-6)
    # CRPS of N(0, 1) at 1 (Gneiting & Raftery 2007, eq. 21)
    assert scores["crps"] == pytest.approx(0.602441, rel=1e-4)
    assert scores["coverage95"] == 1.0


@pytest.mark.parametrize("targets", ["hidden", "gaps"])
def test_peers_are_given_days_kilometres_and_the_cells_to_predict(bench, tiny, targets):
    truth = tiny.truth.where(tiny.lat < 42)
    table = bench.common.tabulated(bench.common.Case("tiny", tiny.obs, truth, tiny.valid), targets)
    wanted = tiny.obs.isnull() & (truth.notnull() if targets == "hidden" else tiny.valid)
    assert len(table.targets) == int(wanted.sum())
    assert len(table.values) == len(table.coordinates) == int(tiny.obs.notnull().sum())
    assert set(table.coordinates[:, 0]) == {0.0, 1.0, 2.0, 3.0}
    # a region of 8 by 12 degrees around 40 N, on its local plane
    assert np.ptp(table.coordinates[:, 2]) <= 8.0 * 111.2
    assert np.ptp(table.coordinates[:, 1]) <= 12.0 * 111.2 * np.cos(np.deg2rad(40)) * 1.001
    back = table.field(np.arange(len(table.targets), dtype=float))
    assert bool((back.notnull() == wanted.transpose(*back.dims)).all())


def test_large_regions_lie_on_the_sphere(bench, case):
    wide = case.obs.assign_coords(lon=np.linspace(-170, 150, case.obs.sizes["lon"]))
    valid = case.valid.assign_coords(lon=wide.lon)
    table = bench.common.tabulated(bench.common.Case("wide", wide, wide.fillna(0.0), valid))
    np.testing.assert_allclose(np.linalg.norm(table.coordinates[:, 1:], axis=1), 6371.0088)


def test_one_frame_has_no_column_of_days(bench, tiny):
    frame = tiny.isel(time=[0])
    table = bench.common.tabulated(bench.common.Case("frame", frame.obs, frame.truth, frame.valid))
    assert not table.has_time
    assert table.coordinates.shape[1] == table.targets.shape[1] == 2


@pytest.mark.parametrize("method", ["rbf", "rbf_tuned"])
@pytest.mark.parametrize("frames", [1, 4])
def test_interpolators_reproduce_a_constant_and_only_at_the_targets(bench, tiny, method, frames):
    cube = tiny.isel(time=slice(frames))
    flat = bench.common.Case("flat", cube.obs * 0 + 7.0, cube.truth * 0 + 7.0, cube.valid)
    filled = getattr(bench.peers, method)(flat, bench.common.Request(method, ""))
    assert filled.std is None
    np.testing.assert_allclose(filled.mean.where(flat.hidden, 7.0), 7.0, rtol=1e-6)
    assert bool((filled.mean.notnull() == flat.hidden).all())


def test_a_tuned_interpolator_prefers_the_kernel_that_fits_a_plane(bench, tiny):
    plane = tiny.obs * 0 + 3.0 * tiny.lat + 2.0 * tiny.lon
    truth = tiny.truth * 0 + 3.0 * tiny.lat + 2.0 * tiny.lon
    filled = bench.peers.rbf_tuned(bench.common.Case("plane", plane, truth, tiny.valid), bench.common.Request("", ""))
    assert filled.notes["kernel"] in {"thin_plate_spline", "cubic"}  # these carry a linear trend, "linear" does not
    assert float(abs(filled.mean - truth).max()) < 1e-3


@pytest.mark.parametrize("frames", [1, 4])
def test_cosine_transforms_reproduce_a_constant_and_only_at_the_targets(bench, tiny, frames, monkeypatch):
    shorten(bench, monkeypatch)
    cube = tiny.isel(time=slice(frames))
    flat = bench.common.Case("flat", cube.obs * 0 + 7.0, cube.truth * 0 + 7.0, cube.valid)
    filled = bench.dct.dct_pls(flat, bench.common.Request("dct_pls", ""))
    assert filled.std is None
    np.testing.assert_allclose(filled.mean.where(flat.hidden, 7.0), 7.0, rtol=1e-6)
    assert bool((filled.mean.notnull() == flat.hidden).all())


def shorten(bench: Any, monkeypatch: pytest.MonkeyPatch) -> None:
    """Run sixty iterations instead of six hundred."""
    monkeypatch.setattr(bench.dct, "ITERATIONS", 60)
    monkeypatch.setattr(bench.dct, "PATH", np.geomspace(1e3, 1e-6, 60))


def test_cosine_transforms_recover_a_cosine_of_their_basis_from_a_part(bench):
    t, y, x = (np.cos(np.pi * k * (np.arange(n) + 0.5) / n) for n, k in ((8, 1), (16, 2), (16, 1)))
    wave = (5.0 + t[:, None, None] + y[:, None] * x).astype(np.float32)
    seen = np.random.default_rng(1).random(wave.shape) < 0.6
    *_, found = bench.dct._iterations(np.where(seen, wave, np.nan), (1.0, 1.0, 1.0), 2, bench.dct.PATH)
    assert (found - wave)[~seen].std() < 0.05 * wave.std()


def test_a_smoothed_cosine_shrinks_by_its_eigenvalue(bench):
    # with no gaps and no relaxation z = y / (1 + s λ²), λ = Σ (2 − 2 cos(π k / n)) / h²
    wave = np.cos(np.pi * 2 * (np.arange(10) + 0.5) / 10) * np.ones((4, 3, 1))
    eigenvalue = (2 - 2 * np.cos(np.pi * 2 / 10)) / 0.5**2
    (found,) = bench.dct._iterations(wave, (3.0, 1.0, 0.5), 2, np.array([0.7]))
    relaxed = 2 / (1 + 0.7 * eigenvalue**2) - 1
    np.testing.assert_allclose(found, relaxed * wave, atol=1e-5)


def test_a_missing_day_is_a_gap_in_the_axis_of_time(bench, tiny):
    days = tiny.isel(time=[0, 1, 3])
    table = bench.common.tabulated(bench.common.Case("days", days.obs, days.truth, days.valid))
    values, frames = bench.dct._cube(table)
    assert frames.tolist() == [0, 1, 3]
    assert np.isnan(values[2]).all()
    np.testing.assert_array_equal(values[frames], table.like.values.astype(np.float32))


@pytest.mark.parametrize("frames", [1, 4])
def test_observations_are_held_out_in_the_shape_of_the_gaps(bench, tiny, frames):
    cube = tiny.isel(time=slice(frames))
    case = bench.common.Case("tiny", cube.obs, cube.truth, cube.valid)
    seen, gaps = cube.obs.notnull().values, (cube.obs.isnull() & cube.valid).transpose(*cube.obs.dims).values
    held = bench.common.held_out(case, cube.obs, np.random.default_rng(0))
    assert held.any()
    assert not (held & ~seen).any()
    for frame in np.flatnonzero(held.any((1, 2))):
        assert held[frame].sum() <= 0.75 * seen[frame].sum()
        if frames > 1:
            assert any((held[frame] == seen[frame] & other).all() for other in np.delete(gaps, frame, 0))


def test_frames_that_share_no_cell_hold_out_a_tenth_at_random(bench, case):
    apart = case.truth.where(np.arange(case.truth[0].size).reshape(case.truth[0].shape) % 4 == np.ogrid[:4, :1, :1][0])
    held = bench.common.held_out(bench.common.Case("", apart, case.truth, case.valid), apart, np.random.default_rng(0))
    seen = apart.notnull().values
    assert 0 < held.sum() < 0.25 * seen.sum()
    assert not (held & ~seen).any()


@pytest.mark.parametrize("frames", [1, 4])
def test_muygps_fills_with_a_spread_that_fits_its_errors(bench, tiny, frames, monkeypatch):
    pytest.importorskip("MuyGPyS")
    monkeypatch.setattr(bench.muygps, "TIME_SCALES", (1.0,))
    monkeypatch.setattr(bench.muygps, "STEPS", 2)
    cube = tiny.isel(time=slice(frames))
    case = bench.common.Case("tiny", cube.obs, cube.truth, cube.valid)
    filled = bench.muygps.muygps(case, bench.common.Request("muygps", ""))
    for part in (filled.mean, filled.std):
        assert bool((part.notnull() == case.hidden).all())
    scores = bench.common.scored(case, filled)
    assert scores["rmse"] < float(case.truth.std())
    assert scores["coverage95"] > 0.7


def test_muygps_that_is_not_installed_says_what_to_type(bench, case, monkeypatch):
    for name in ("MuyGPyS", "MuyGPyS.optimize"):
        monkeypatch.setitem(sys.modules, name, None)
    with pytest.raises(bench.peers.MissingPeerError, match=r"MuyGPyS is not installed. Type `pip install -e"):
        bench.muygps.muygps(case, bench.common.Request("muygps", ""))


@pytest.mark.parametrize("frames", [1, 4])
def test_gpboost_answers_alike_when_it_learned_on_a_part(bench, tiny, frames, monkeypatch):
    pytest.importorskip("gpboost")
    cube = tiny.isel(time=slice(frames))
    case = bench.common.Case("tiny", cube.obs, cube.truth, cube.valid)
    request = bench.common.Request("gpboost", "")
    full = bench.peers.gpboost_vecchia(case, request)
    assert ("space_time" in full.label) == (frames > 1)
    assert bool((full.std.notnull() == case.hidden).all())
    monkeypatch.setattr(bench.peers, "LEARN_ON", int(0.9 * int(cube.obs.notnull().sum())))
    part = bench.peers.gpboost_vecchia(case, request)
    assert part.notes["learned on"] < full.notes["learned on"]
    assert float(abs(part.mean - full.mean).mean()) < float(full.std.mean())


def test_a_peer_that_is_not_installed_says_what_to_type(bench, case, monkeypatch):
    monkeypatch.setitem(sys.modules, "gpboost", None)
    with pytest.raises(bench.peers.MissingPeerError, match=r'not installed. Type `pip install -e "\.\[peers\]"`'):
        bench.peers.gpboost_vecchia(case, bench.common.Request("gpboost", ""))


def test_peak_memory_sees_an_array_that_was_freed_and_nothing_of_the_parent():
    code = "import numpy as np; from measure import peak_memory as p; a = p(); np.ones(25 * 2**20); print(a, p())"
    done = subprocess.run([sys.executable, "-c", code], cwd=BENCHMARKS, capture_output=True, text=True, check=True)
    before, after = (int(text) / 2**20 for text in done.stdout.split())
    assert before < 200 < after < before + 250  # MiB; the array has 200


def test_every_library_that_counts_threads_is_told(bench):
    told = bench.measure.with_threads({"HOME": "/x", "OMP_NUM_THREADS": "7"}, 3)
    assert told["HOME"] == "/x"
    assert {told[name] for name in ("OMP_NUM_THREADS", "MKL_NUM_THREADS", "OPENBLAS_NUM_THREADS")} == {"3"}


def test_ratios_skip_what_failed(bench):
    own = [{"method": "ours", "total_seconds": 6.0}]
    peers = [{"method": "fast", "total_seconds": 2.0}, {"method": "gone", "error": "no"}]
    assert bench.cases.ratios(own, peers) == ["ours took 3.00 x the seconds of fast"]


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        (["{tmp}/nowhere"], r"There is no folder '.*nowhere'; expected one of cases.*python benchmarks/cases.py"),
        (["{tmp}"], r"The folder '.*' holds no case; expected netCDF files"),
        (["{folder}", "--case", "big"], r"No case \['big'\] in '.*', which has \['tiny'\]. Type e.g. `--case tiny`"),
    ],
)
def test_a_folder_that_cannot_serve_says_what_to_type(bench, folder, tmp_path, arguments, message):
    with pytest.raises(SystemExit, match=message):
        bench.cases.main([text.format(tmp=tmp_path, folder=folder) for text in arguments])


def test_zero_threads_are_refused(bench, folder, capsys):
    with pytest.raises(SystemExit):
        bench.cases.main([str(folder), "--threads", "0"])
    assert "'0' is no whole number of at least 1; type e.g. 2" in capsys.readouterr().err


# Tiles


def test_tiles_are_measured_against_one(bench, tiny: xr.Dataset, tmp_path: Path, monkeypatch, capsys) -> None:
    parts = tiny["obs"], tiny["truth"], tiny["valid"]
    monkeypatch.setitem(bench.tiles.CASES, "tas_dynamic90", (lambda: parts, ({"time": 100}, {"time": 2})))
    monkeypatch.setattr(bench.tiles, "HERE", tmp_path)
    (tmp_path / "results").mkdir()
    bench.tiles.main(["--case", "tas_dynamic90"])
    same, cut = json.loads((tmp_path / "results" / "tiles.json").read_text())["tiles"]
    assert same["rms"] == 0.0 and same["sd_ratio"] == same["rmse_ratio"] == 1.0
    assert 0.0 <= cut["rms"] < 0.2 and cut["coverage95_of_one"] == same["coverage95"]
    assert capsys.readouterr().out.count("tas_dynamic90 {'time'") == 2


def test_a_case_as_large_sees_no_farther_than_observations_matter(bench, tmp_path: Path, monkeypatch) -> None:
    observed, truth, valid = bench.tiles.region(clouds=False)
    part = {"time": slice(0, 5), "lat": slice(0, 16), "lon": slice(0, 24)}
    parts = observed.isel(part), truth.isel(part), valid
    name = "region" + bench.tiles.AS_LARGE
    monkeypatch.setitem(bench.tiles.CASES, name, (lambda: parts, ({"lat": 8, "lon": 8},)))
    monkeypatch.setattr(bench.tiles, "HERE", tmp_path)
    (tmp_path / "results").mkdir()
    bench.tiles.main(["--case", name])
    (cut,) = json.loads((tmp_path / "results" / "tiles.json").read_text())["tiles"]
    assert 0.0 < cut["rms"] < 0.2 and 0.95 < cut["sd_ratio"] < 1.05


def test_a_field_is_written_learned_and_filled_on_workers(bench, tmp_path: Path, monkeypatch, capsys) -> None:
    monkeypatch.setitem(bench.scale.SIZES, "1e5", (6, 12, 16))
    monkeypatch.setattr(bench.scale, "CHUNKS", {"time": 3, "lat": 6, "lon": 8})
    monkeypatch.setattr(bench.scale, "RESULTS", tmp_path / "scale.json")
    monkeypatch.setattr(bench.scale, "PROCESSES", False)
    bench.scale.main(["--cells", "1e5", "--workers", "1", "--folder", str(tmp_path)])
    (row,) = json.loads((tmp_path / "scale.json").read_text())["scale"]
    assert row["cells"] == 6 * 12 * 16 and row["tiles"] == [1, 1, 1]
    assert row["rmse"] < 0.6 and 0.8 < row["coverage95"] <= 1.0
    assert row["peak_memory_of_a_worker_gb"] > 0
    assert json.loads(capsys.readouterr().out) == row
    truth = xr.open_zarr(tmp_path / "raw-1e5.zarr", consolidated=False).truth.values
    assert 0.3 < truth.std() < 3.0


def test_what_memory_does_not_hold_is_recorded_as_refused(bench, tmp_path: Path, monkeypatch) -> None:
    def refuse(*_: object) -> None:
        raise xgpfill.errors.TooManyPointsError("Even the smallest tiles see too much.")

    monkeypatch.setattr(bench.scale, "measured", refuse)
    monkeypatch.setattr(bench.scale, "RESULTS", tmp_path / "scale.json")
    bench.scale.main(["--cells", "3e7"])
    (row,) = json.loads((tmp_path / "scale.json").read_text())["scale"]
    assert row == {"cells": 30 * 720 * 1440, "workers": 2, "refused": "Even the smallest tiles see too much."}


def test_known_fields_have_the_covariance_that_they_are_said_to(bench) -> None:
    lat, edge = np.linspace(-3.0, 3.0, 2), ((0, 2), (0, 400), (0, 2), (0, 2))
    found = bench.scale.block(lat, block_info={None: {"array-location": edge}})
    expected = sum(variance for variance, *_ in bench.scale.TERMS)
    assert found[0].var() == pytest.approx(expected, rel=0.4)
    noise = (found[1] - found[0])[np.isfinite(found[1])]
    assert noise.std() == pytest.approx(bench.scale.NOISE, rel=0.1)
    assert np.isfinite(found[1]).mean() == pytest.approx(bench.scale.SEEN, abs=0.05)


def test_numbers_of_two_versions_are_compared(bench, tmp_path, capsys):
    before = {"mean": np.array([1.0, np.nan, -2.0]), "error": np.array("none"), "gone": np.zeros(2)}
    after = {"mean": np.array([1.0, np.nan, -2.0 + 1e-8]), "error": np.array("some"), "new": np.zeros(2)}
    assert bench.same.compared(before, before) == []
    assert bench.same.compared(before, after) == [
        "gone: only before", "new: only after", "error: none became some", "mean: 5e-09 of the largest",
    ]  # fmt: skip
    assert bench.same.compared(before, after | {"mean": np.zeros(2)})[-1].startswith("mean: [ 1. nan -2.] became")


def test_the_same_code_finds_the_same_numbers(bench, tmp_path, capsys, monkeypatch):
    monkeypatch.setattr(bench.same.regimes, "REGIMES", {})
    path = str(tmp_path / "before.npz")
    bench.same.main(["--problems", "2", "--save", path])
    with pytest.raises(SystemExit, match="0"):
        bench.same.main(["--problems", "2", "--against", path])
    assert "arrays are the same within 1e-10" in capsys.readouterr().out


def test_edges_are_hidden_and_continued_into_by_every_mode(bench, tmp_path: Path, monkeypatch, capsys) -> None:
    line = xr.DataArray(np.add.outer(np.arange(8.0), 2 * np.arange(9.0))[None], dims=("field", "y", "x"))
    monkeypatch.setitem(bench.padding.FIELDS, "synthetic", lambda: line)
    monkeypatch.setattr(bench.padding, "HERE", tmp_path)
    modes = ["zero", "zero of anomalies", "replicate", "lp2x1 cov_stab"]
    bench.padding.main(["--field", "synthetic", "--width", "1", "--mode", *modes, "--no-images"])
    found = {
        row["mode"]: row["rmse"]["1"]
        for row in json.loads((tmp_path / "results" / "padding.json").read_text())["edges"]
    }
    assert found["replicate"] == pytest.approx(np.sqrt((18 * 1**2 + 16 * 2**2) / 34))
    assert found["lp2x1 cov_stab"] < 0.5 < found["replicate"] < found["zero of anomalies"] < found["zero"]
    assert capsys.readouterr().out.count("\n") == 5


def test_synthetic_fields_to_pad_are_standardised_and_smooth(bench) -> None:
    field = bench.padding.synthetic(fields=2, size=16)
    np.testing.assert_allclose(field.std(("y", "x")), 1.0)
    assert float((field.diff("x") ** 2).mean()) < 0.2
