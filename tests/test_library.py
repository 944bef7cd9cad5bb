import os
import subprocess
import sys
from pathlib import Path

import an_neuron
from an_neuron.library import put_on_python_path


def test_processes_started_from_here_find_the_library(monkeypatch, tmp_path):
    monkeypatch.setenv("PYTHONPATH", str(tmp_path))
    put_on_python_path()
    put_on_python_path()
    source = str(Path(an_neuron.__file__).resolve().parents[1])
    assert os.environ["PYTHONPATH"].split(os.pathsep) == [source, str(tmp_path)]
    command = [sys.executable, "-S", "-c", "import an_neuron; print(an_neuron.__file__)"]  # -S: nothing installed
    ran = subprocess.run(command, capture_output=True, text=True, cwd=tmp_path, check=True)
    assert ran.stdout.strip().startswith(source)
