"""Ten times as many frames need little more memory, in fresh processes."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from pathlib import Path

import pytest

pytestmark = pytest.mark.slow
SCRIPT = Path(__file__).with_name("report_memory.py")


@pytest.mark.parametrize(
    ("suffix", "rows", "columns"),
    [pytest.param(".pdf", 30, 40, id="images in a PDF"), pytest.param(".html", 1, 60, id="curves in HTML")],
)
def test_ten_times_as_many_frames_peak_below_one_and_a_half_times(suffix: str, rows: int, columns: int) -> None:
    one_arena = {**os.environ, "MALLOC_ARENA_MAX": "1"}  # arenas of threads hold what is no longer used
    found = []
    for count in (20, 200):
        command = [sys.executable, str(SCRIPT), str(count), suffix, str(rows), str(columns)]
        done = subprocess.run(command, capture_output=True, text=True, check=True, env=one_arena)
        found.append(json.loads(done.stdout))
    few, many = found
    assert many["bytes"] > 5 * few["bytes"]
    assert many["peak"] - many["before"] < 1.5 * (few["peak"] - few["before"])  # what writing adds, imports aside
