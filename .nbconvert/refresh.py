"""Run the notebooks as "Restart & Run All" would, and write their outputs and figures.

    python .nbconvert/refresh.py

First every notebook runs twice, the second time as another processor would calculate, and so do the
solutions of its exercises (tests/solutions.py), which are then written into their folds. Where the
texts of a cell differ, or a check does not accept its solution, the cell is named and nothing is
written: a number that depends on the last bit does not belong on a page. The figure of a cell with
the tag "figure:NAME" becomes images/NAME.png.
"""

import base64
import copy
import io
import os
import sys
import tempfile
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import nbformat
from execution import ENVIRONMENT, OTHER_PROCESSOR, PATHS, ROOT, workspace
from folds import CHECK, fold, printed_by, solved
from nbclient import NotebookClient
from nbconvert.preprocessors import CoalesceStreamsPreprocessor
from PIL import Image

VIEW = "application/vnd.jupyter.widget-view+json"


def run(notebook, environment):
    """A copy of the notebook with the outputs that it gets in this environment."""
    notebook = copy.deepcopy(notebook)
    with workspace() as folder:
        client = NotebookClient(
            notebook,
            timeout=600,
            record_timing=False,
            store_widget_state=False,
            resources={"metadata": {"path": str(folder)}},
        )
        client.execute(env={**os.environ, **environment})
    notebook, _ = CoalesceStreamsPreprocessor().preprocess(notebook, {})
    for cell in notebook.cells:
        for output in cell.get("outputs", []):
            output.get("data", {}).pop(VIEW, None)  # differs from run to run
    return notebook


def run_twice(notebook):
    """The notebook as it runs here and, at the same time, as it would on another processor."""
    with ThreadPoolExecutor() as pool:
        return pool.map(lambda e: run(notebook, e), (ENVIRONMENT, ENVIRONMENT | OTHER_PROCESSOR))


def texts(cell):
    """What nbval compares of a cell's outputs."""
    if "nbval-ignore-output" in cell.metadata.get("tags", []):
        return []
    return [
        output.text
        if output.output_type == "stream"
        else [content for kind, content in output.data.items() if kind.startswith("text/")]
        for output in cell.get("outputs", [])
    ]


def figures(notebook):
    """The tagged figures, by name, as encoded pictures."""
    for cell in notebook.cells:
        for tag in cell.metadata.get("tags", []):
            if tag.startswith("figure:"):
                (picture,) = (
                    content
                    for output in cell.outputs
                    for kind, content in output.get("data", {}).items()
                    if kind.startswith("image/")
                )
                yield tag.removeprefix("figure:"), base64.b64decode(picture)


def write(path, content):
    """Write ``content`` to ``path``: all of it, or nothing."""
    with tempfile.TemporaryDirectory(dir=path.parent) as folder:
        part = Path(folder, path.name)
        part.write_bytes(content)
        os.replace(part, path)


def main():
    finished, differences = {}, []
    for path in PATHS:
        print(f"running {path.name}", flush=True)
        notebook = nbformat.read(path, as_version=4)
        answers, other = run_twice(solved(notebook))
        for cell, elsewhere in zip(answers.cells, other.cells, strict=True):
            here, there = printed_by(cell), printed_by(elsewhere)
            if CHECK.search(cell.source) and not here.endswith(": right."):
                differences.append(f"{path.name}: the solution is not accepted. {here}")
            elif "result" in cell.metadata and here != there:
                result = f"{path.name}, result of {cell.metadata['result']}"
                differences.append(f"{result}: here {here}, on another processor {there}")
        fold(notebook, answers)
        finished[path], other = run_twice(notebook)
        for here, there in zip(finished[path].cells, other.cells, strict=True):
            if texts(here) != texts(there):
                differences.append(
                    f"{path.name}, cell {here.id}: here {texts(here)}, "
                    f"on another processor {texts(there)}"
                )
    if differences:
        sys.exit("\n".join([*differences, "Nothing was written."]))
    for path, notebook in finished.items():
        write(path, (nbformat.writes(notebook) + "\n").encode())
        for name, picture in figures(notebook):
            png = io.BytesIO()
            Image.open(io.BytesIO(picture)).save(png, "png", optimize=True)
            write(ROOT / "images" / f"{name}.png", png.getvalue())


if __name__ == "__main__":
    main()
