"""The notebook of the documents runs from the first cell to the last. MODELGATE_UPDATE=1 keeps its outputs."""

import os

import nbclient
import nbformat

from conftest import ROOT

NOTEBOOK = ROOT / "docs/notebooks/serving.ipynb"
SECONDS = 120
"""For a cell; all of them take some 15 s."""


def test_the_notebook():
    notebook = nbformat.read(NOTEBOOK, as_version=4)
    written = [outputs(cell) for cell in notebook.cells]
    nbclient.NotebookClient(notebook, timeout=SECONDS, kernel_name="python3").execute()
    if os.environ.get("MODELGATE_UPDATE"):
        for cell in notebook.cells:
            cell.metadata.pop("execution", None)
        notebook.metadata["language_info"] = {"name": "python"}
        nbformat.write(notebook, NOTEBOOK)
        return
    now = [outputs(cell) for cell in notebook.cells]
    # What is written beside a cell is of the same kinds as what it gives now.
    assert written == now


def outputs(cell: dict) -> list:
    kinds = {kind for output in cell.get("outputs", []) for kind in output.get("data", {"text": None})}
    return sorted(kinds)
