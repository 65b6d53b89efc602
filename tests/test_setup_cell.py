"""The notebooks' first cells: the same everywhere, wherever a kernel starts."""

import json
import os
import sys
from pathlib import Path

import pytest
from execution import PATHS
from IPython.core.inputtransformer2 import TransformerManager

ADDRESS = "github.com/the_authors/adversarial-examples"


def cells(path, kind):
    notebook = json.loads(path.read_text(encoding="utf-8"))
    return ["".join(cell["source"]) for cell in notebook["cells"] if cell["cell_type"] == kind]


(SETUP,) = {cells(path, "code")[0] for path in PATHS[1:]}
FIND_THE_COURSE, _, _ = SETUP.partition("import torch")


@pytest.fixture
def start(monkeypatch):
    """Run the part of the setup cell that looks for the course; returns its shell commands."""
    monkeypatch.setattr(sys, "path", sys.path.copy())

    def start(folder):
        monkeypatch.chdir(folder)
        commands = []

        class Shell:
            def system(self, command):
                commands.append(command)
                for part in ("helpers", "notebooks"):
                    Path("course", part).mkdir(parents=True, exist_ok=True)

        namespace = {"get_ipython": Shell}
        exec(TransformerManager().transform_cell(FIND_THE_COURSE), namespace)
        assert Path("../helpers").is_dir()
        assert Path.cwd().name == "notebooks"
        assert sys.path[0] == ".."
        return commands

    yield start
    monkeypatch.undo()  # back to the old folder, before others remove this one


@pytest.mark.parametrize("where", ["", "notebooks"])
def test_beside_the_helpers_nothing_is_fetched(start, tmp_path, where):
    for part in ("helpers", "notebooks"):
        (tmp_path / part).mkdir()
    assert start(tmp_path / where) == []
    assert start(os.curdir) == []  # the cell runs again


def test_a_lone_notebook_fetches_the_course(start, tmp_path):
    clone, install = start(tmp_path)
    assert clone.endswith(f"git clone -q https://{ADDRESS} course")
    assert "--no-deps -r course/.binder/hosted.txt" in install
    assert start(os.curdir) == []


@pytest.mark.parametrize("path", PATHS, ids=lambda path: path.stem)
def test_every_notebook_can_be_opened_on_colab(path):
    address = ADDRESS.replace("github.com", "https://colab.research.google.com/github")
    badge = f"[![Open in Colab](../images/colab.svg)]({address}/blob/main/notebooks/{path.name})"
    assert badge in cells(path, "markdown")[0]
