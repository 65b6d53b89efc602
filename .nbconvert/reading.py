"""How nbconvert makes the reading edition: web pages that need neither Python nor a network.

    jupyter nbconvert --config .nbconvert/reading.py

runs what the explorers of the notebooks need, and writes the folder site/, whose index.html is the
start page.
"""

import base64
import io
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
from nbconvert.utils.base import NbConvertBase
from PIL import Image

sys.path.insert(0, str(Path(__file__).parent))
sys.path.insert(0, str(Path(__file__).parent.parent))

import pages
from execution import ENVIRONMENT, PATHS, ROOT, needed_by_explorers, workspace
from folds import CHECK

from helpers.data import ASSETS, load_mnist
from helpers.models import load_mlp
from helpers.widgets import DigitPad, Explorer

HERE = ROOT / ".nbconvert"
CREDITS = ROOT / "images" / "photos" / "README.md"

os.environ.update(ENVIRONMENT)


def _title(path):
    """The first heading of a notebook, or its name."""
    cells = nbformat.read(path, as_version=4).cells
    text = "\n".join(cell.source for cell in cells if cell.cell_type == "markdown")
    heading = re.search(r"^# +(.+)$", text, re.MULTILINE)
    return heading[1].strip() if heading else path.stem


SHOW_IN_PAGES = f"""
import sys
sys.path[:0] = ["..", {str(HERE)!r}]
import pages
pages.show_in_pages()
"""
WORDS = re.compile(r"<details>\n<summary>In words</summary>\n\n(.*?)\n\n</details>\n*", re.DOTALL)
TRY_IT = """**Try it here.** Draw a digit with the mouse or a finger: a network, running in this \
page, reads it as you draw. Then move the slider: every pixel changes by at most epsilon, and the \
network reads something else. *Random signs* of the same size hardly disturb it."""
PAGES = [{"file": f"{path.stem}.html", "title": _title(path)} for path in PATHS]


class Execute(ExecutePreprocessor):
    """Run the explorers, and the cells that they build on; the others have their outputs.

    What the explorers display is what pages.py makes of them.
    """

    def preprocess(self, nb, resources, km=None):
        self._needed = needed_by_explorers(nb.cells)
        if not self._needed:
            return nb, resources
        with workspace() as folder:
            where = {**resources["metadata"], "path": str(folder)}
            nb.cells.insert(0, nbformat.v4.new_code_cell(SHOW_IN_PAGES))
            self._needed = {0, *(index + 1 for index in self._needed)}
            nb, _ = super().preprocess(nb, {**resources, "metadata": where}, km)
            del nb.cells[0]
        return nb, resources

    def preprocess_cell(self, cell, resources, index):
        if index in self._needed:
            return super().preprocess_cell(cell, resources, index)
        return cell, resources


def webp(picture, **options):
    buffer = io.BytesIO()
    Image.open(io.BytesIO(picture)).convert("RGB").save(buffer, "webp", **options)
    return buffer.getvalue()


class SmallFigures(Preprocessor):
    """Store figures without loss in less than half of a PNG's size."""

    def preprocess_cell(self, cell, resources, index):
        for output in cell.get("outputs", []):
            if picture := output.get("data", {}).get("image/png"):
                small = webp(base64.b64decode(picture), lossless=True)
                output.data["image/png"] = base64.b64encode(small).decode()
        return cell, resources


class Checks(Preprocessor):
    """Leave out what the checks of exercises say: in a page nobody has tried them."""

    def preprocess_cell(self, cell, resources, index):
        if cell.cell_type == "code" and CHECK.search(cell.source):
            cell.outputs = []
        return cell, resources


class Answers(Preprocessor):
    """Put what an answer means into the fold of its output: a click shows both."""

    def preprocess(self, nb, resources):
        for cell, text in zip(nb.cells, nb.cells[1:], strict=False):
            words = WORDS.match(text.source)
            if words and "guess" in cell.metadata.get("tags", []):
                output = nbformat.v4.new_output("display_data", {"text/markdown": words[1]})
                cell.outputs.append(output)
                text.source = text.source[words.end() :]
        nb.cells = [cell for cell in nb.cells if cell.source]
        return nb, resources


class Explorers(Preprocessor):
    """Put a pad on top of the start page, and every network's weights beside the pages, once."""

    def preprocess(self, nb, resources):
        if resources["metadata"]["name"] == PATHS[0].stem:
            pad = nbformat.v4.new_output("display_data", data=_first_pad())
            nb.cells[1:1] = [
                nbformat.v4.new_markdown_cell(TRY_IT, id="try-it"),
                nbformat.v4.new_code_cell(outputs=[pad], id="pad"),
            ]
        for cell in nb.cells:
            for output in cell.get("outputs", []):
                explorer = output.get("data", {}).get(pages.MIME)
                for name, weights in (explorer or {}).get("weights", {}).items():
                    script = f"(globalThis.courseWeights ??= {{}})['{name}'] = '{weights}';\n"
                    resources.setdefault("outputs", {})[f"weights-{name}.js"] = script.encode()
        style, script = ASSETS / "explorer.css", HERE / "reading" / "page.js"
        resources["explorer"] = {
            "style": style.read_text("utf-8"),
            "script": f"{Explorer._esm}\n{script.read_text('utf-8')}",
        }
        return nb, resources


def _first_pad():
    images, labels = load_mnist("test")
    first = [labels.tolist().index(digit) for digit in range(10)]
    epsilons = [k / 200 for k in range(61)]
    pad = DigitPad(load_mlp(), images[first], labels[first], epsilons)
    return {pages.MIME: pages.page(pad), "text/plain": repr(pad)}


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
                    if image.endswith(".png"):
                        data, name = webp(data, quality=90), image.replace(".png", ".webp")
                        text, image = text.replace(image, name), name
                    resources.setdefault("outputs", {})[image] = data
                cell.source = text.replace("](../images/", "](")
        return nb, resources


c = get_config()  # noqa: F821
c.NbConvertApp.notebooks = [str(path) for path in PATHS]
c.NbConvertApp.export_format = "html"
c.Execute.enabled = True
c.Execute.timeout = 600
c.Execute.record_timing = False
c.Execute.store_widget_state = False
c.CoalesceStreamsPreprocessor.enabled = True
c.HTMLExporter.preprocessors = [
    Execute,
    CoalesceStreamsPreprocessor,
    Links,
    Answers,
    Checks,
    SmallFigures,
    Explorers,
]
c.NbConvertBase.display_data_priority = [
    pages.MIME,
    *NbConvertBase.display_data_priority.default(),
]
c.HTMLExporter.extra_template_basedirs = [str(HERE)]
c.HTMLExporter.template_name = "reading"
c.HTMLExporter.exclude_anchor_links = True
# The scripts lie beside the pages; nothing comes from a network.
c.HTMLExporter.require_js_url = ""
c.HTMLExporter.mathjax_url = "tex-svg.js"
c.FilesWriter.files = [str(HERE / "vendor" / "*")]
c.FilesWriter.relpath = str(HERE / "vendor")
c.FilesWriter.build_directory = str(ROOT / "site")
