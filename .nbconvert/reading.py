"""How nbconvert makes the reading edition: web pages whose sliders need neither Python nor network.

    jupyter nbconvert --config .nbconvert/reading.py

runs what the explorers of the notebooks need, and writes the folder site/, whose index.html is the
start page.
"""

import os
import re
import sys
from pathlib import Path

import nbformat
from nbconvert.preprocessors import (
    CoalesceStreamsPreprocessor,
    ExecutePreprocessor,
    Preprocessor,
)

sys.path.insert(0, str(Path(__file__).parent))

from execution import ENVIRONMENT, PATHS, ROOT, needed_by_explorers, workspace

HERE = ROOT / ".nbconvert"
CREDITS = ROOT / "images" / "photos" / "README.md"
STATE = "application/vnd.jupyter.widget-state+json"
VIEW = "application/vnd.jupyter.widget-view+json"

os.environ.update(ENVIRONMENT)
os.environ["READING_EDITION"] = "1"  # helpers.widgets computes all that can be chosen


def _title(path):
    """The first heading of a notebook, or its name."""
    cells = nbformat.read(path, as_version=4).cells
    text = "\n".join(cell.source for cell in cells if cell.cell_type == "markdown")
    heading = re.search(r"^# +(.+)$", text, re.MULTILINE)
    return heading[1].strip() if heading else path.stem


PAGES = [{"file": f"{path.stem}.html", "title": _title(path)} for path in PATHS]


class Execute(ExecutePreprocessor):
    """Run the explorers, and the cells that they build on; the others have their outputs."""

    def preprocess(self, nb, resources, km=None):
        self._needed = needed_by_explorers(nb.cells)
        if not self._needed:
            return nb, resources
        with workspace() as folder:
            where = {**resources["metadata"], "path": str(folder)}
            nb, _ = super().preprocess(nb, {**resources, "metadata": where}, km)
        return nb, resources

    def preprocess_cell(self, cell, resources, index):
        if index in self._needed:
            return super().preprocess_cell(cell, resources, index)
        return cell, resources


class Links(Preprocessor):
    """Tell the template where the page stands, and let its links lead to pages.

    The start page gets the credits of the photographs, which the site has to carry.
    """

    def preprocess(self, nb, resources):
        name = resources["metadata"]["name"]
        here = [path.stem for path in PATHS].index(name)
        resources["pages"], resources["here"] = PAGES, here
        nb.metadata.title = PAGES[here]["title"] + (f" · {PAGES[0]['title']}" if here else "")
        if here == 0:
            text = re.sub(r"\[([^]]*)\]\((?!https?:)[^)]*\)", r"\1", CREDITS.read_text("utf-8"))
            text = re.sub(r"^#", "##", text, flags=re.MULTILINE)
            nb.cells.append(nbformat.v4.new_markdown_cell(text, id="credits"))
        for cell in nb.cells:
            if cell.cell_type == "markdown":
                text = cell.source.replace("](../images/photos/README.md)", "](#cell-id=credits)")
                text = re.sub(r"\]\(([\w-]+)\.ipynb(#[^)]*)?\)", r"](\1.html\2)", text)
                # Pictures go beside the page.
                for image in re.findall(r"\]\(\.\./images/([\w.-]+)\)", text):
                    data = (ROOT / "images" / image).read_bytes()
                    resources.setdefault("outputs", {})[image] = data
                cell.source = text.replace("](../images/", "](")
        return nb, resources


class NeededWidgets(Preprocessor):
    """Keep the state of the widgets that a page shows and of the links between them."""

    def preprocess(self, nb, resources):
        state = nb.metadata.get("widgets", {}).get(STATE, {}).get("state", {})
        shown = {
            output.data[VIEW]["model_id"]
            for cell in nb.cells
            for output in cell.get("outputs", [])
            if VIEW in output.get("data", {})
        }
        needed = set()
        while shown:
            needed |= shown
            shown = {ref for model in shown for ref in _mentioned(state[model]["state"])} - needed
        for model, content in state.items():
            ends = [content["state"].get(end) for end in ("source", "target")]
            if all(ends) and set(_mentioned(ends)) <= needed:
                needed.add(model)
        for model in state.keys() - needed:
            del state[model]
        for content in state.values():  # what is None is so by default
            content["state"] = {k: v for k, v in content["state"].items() if v is not None}
        return nb, resources


def _mentioned(value):
    if isinstance(value, str) and value.startswith("IPY_MODEL_"):
        yield value.removeprefix("IPY_MODEL_")
    elif isinstance(value, (list, tuple)):
        for item in value:
            yield from _mentioned(item)
    elif isinstance(value, dict):
        yield from _mentioned(list(value.values()))


c = get_config()  # noqa: F821
c.NbConvertApp.notebooks = [str(path) for path in PATHS]
c.NbConvertApp.export_format = "html"
c.Execute.enabled = True
c.Execute.timeout = 600
c.Execute.record_timing = False
c.CoalesceStreamsPreprocessor.enabled = True
c.HTMLExporter.preprocessors = [Execute, CoalesceStreamsPreprocessor, Links, NeededWidgets]
c.HTMLExporter.extra_template_basedirs = [str(HERE)]
c.HTMLExporter.template_name = "reading"
c.HTMLExporter.exclude_anchor_links = True
# The scripts lie beside the pages; nothing comes from a network.
c.HTMLExporter.require_js_url = ""
c.HTMLExporter.widget_renderer_url = "embed.js"
c.HTMLExporter.mathjax_url = "tex-svg-full.js"
c.FilesWriter.files = [str(HERE / "vendor" / "*")]
c.FilesWriter.relpath = str(HERE / "vendor")
c.FilesWriter.build_directory = str(ROOT / "site")
