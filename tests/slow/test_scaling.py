"""A global lattice of which 98 % is hidden, in a process of its own: steps, memory, truth of the intervals."""

import json
import subprocess
import sys
from pathlib import Path

import pytest

BENCHMARKS = Path(__file__).parents[2] / "benchmarks"


@pytest.mark.slow
def test_a_global_lattice_nearly_all_hidden_takes_few_steps_and_little_memory():
    command = [sys.executable, "scaling.py", "--one", json.dumps([110, 64, 128, 0.98])]
    found = subprocess.run(command, cwd=BENCHMARKS, capture_output=True, text=True, check=True)
    row = json.loads(found.stdout.splitlines()[-1])
    assert row["engine"] == "iterative"
    assert row["cells"] == 901_120
    assert row["residual"] <= 1.0
    assert row["steps"] <= 100
    assert row["peak_memory_gib"] * 1.073741824 <= 2.0
    assert 0.93 <= row["coverage95"] <= 0.97
