"""Every picture is drawn on Agg, offline: any use of the network fails the test."""

from __future__ import annotations

import socket
from typing import TYPE_CHECKING, Any

import pytest

matplotlib = pytest.importorskip("matplotlib")
cartopy = pytest.importorskip("cartopy")
matplotlib.use("Agg")

import matplotlib.pyplot as plt  # noqa: E402

if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path


@pytest.fixture(autouse=True)
def offline(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> Iterator[None]:
    """No network, no Natural Earth on disk, no figure left open."""

    def refuse(*_: Any, **__: Any) -> None:
        raise AssertionError("a map tried to use the network")

    monkeypatch.setattr(socket, "socket", refuse)
    monkeypatch.setattr(socket, "create_connection", refuse)
    monkeypatch.setitem(cartopy.config, "data_dir", tmp_path / "none")
    monkeypatch.setitem(cartopy.config, "pre_existing_data_dir", tmp_path / "none")
    yield
    plt.close("all")
