"""The notebooks of examples/, run from top to bottom; one needs a model, the other a GPU and what a network brings."""

import re
import subprocess
from pathlib import Path

import nbformat
import pytest
from nbclient import NotebookClient
from project import ROOT, Project

EXAMPLES = ROOT / "examples"


def run(notebook: nbformat.NotebookNode, folder: Path) -> str:
    """Run a notebook's cells in a folder; return all that they print and show as text."""
    NotebookClient(notebook, timeout=900, resources={"metadata": {"path": str(folder)}}).execute()
    outputs = [output for cell in notebook.cells for output in cell.get("outputs", [])]
    return "\n".join(output.get("text") or output.get("data", {}).get("text/plain", "") for output in outputs)


def tagged(cell: nbformat.NotebookNode, tag: str) -> bool:
    return tag in cell.metadata.get("tags", [])


@pytest.mark.parametrize("path", sorted(EXAMPLES.glob("*.ipynb")), ids=lambda path: path.stem)
def test_a_notebook_is_valid_and_holds_no_outputs(path):
    notebook = nbformat.read(path, as_version=4)
    nbformat.validate(notebook)
    assert notebook.cells[0].cell_type == "markdown"
    assert all(not cell.outputs and cell.execution_count is None for cell in notebook.cells if "outputs" in cell)


@pytest.mark.index
def test_the_example_finds_the_neuron_of_smollm2_and_what_drives_it(tmp_path):
    shown = run(nbformat.read(EXAMPLES / "an_neuron.ipynb", as_version=4), tmp_path)
    assert "<Neuron 25.1527, recovery 0.624, of <Sweep of 3 layers x 1536 neurons" in shown
    assert "0     23     0  1.10" in shown  # of the heads that drive it, by their recovery of its activation
    assert re.search(r"25\.1527 +0\.62 +0\.92\n", shown)  # of the circuit's nodes, in all and directly


@pytest.mark.workflow
def test_the_published_study_is_planned_by_the_notebook_for_a_rented_gpu(tmp_path):
    """All cells but those that fetch packages and weights; the repository is a copy of this one."""
    project = Project(tmp_path / "repository")
    git = ["git", "-c", "user.name=a", "-c", "user.email=a@b.c"]
    for arguments in (["init", "--quiet"], ["add", "--all"], ["commit", "--quiet", "--message", "copy"]):
        subprocess.run([*git, *arguments], cwd=project.folder, check=True)
    notebook = nbformat.read(EXAMPLES / "colab.ipynb", as_version=4)
    notebook.cells = [cell for cell in notebook.cells if not tagged(cell, "network")]
    (address,) = [cell for cell in notebook.cells if tagged(cell, "parameters")]
    address.source += f"\nREPOSITORY = {str(project.folder)!r}"
    shown = run(notebook, tmp_path)
    for rule in ("fetch_model", "patch_sites", "download_book", "record_provenance"):
        assert re.search(rf"^{rule} +1\s*$", shown, re.MULTILINE), shown
