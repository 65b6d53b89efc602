"""How nbconvert runs the notebooks: as "Restart & Run All" would, with small diffs.

    jupyter nbconvert --config .nbconvert.py --to notebook --execute --inplace notebooks/*.ipynb

writes the outputs into the notebooks, and every figure that a cell's tag "figure:NAME" names to
images/NAME.png.
"""

import base64
import io
import os
import tempfile
from pathlib import Path

from nbconvert.preprocessors import CoalesceStreamsPreprocessor, Preprocessor
from PIL import Image

# The committed numbers are those of the CPU and of the model that everybody has.
os.environ["CUDA_VISIBLE_DEVICES"] = ""
os.environ["IMAGENET_MODEL"] = "efficientnet_lite0"
os.environ.setdefault("OMP_WAIT_POLICY", "passive")  # or torch's threads spin while they wait
IMAGES = Path(__file__).parent / "images"


class KeepFigures(Preprocessor):
    """Save the tagged figures, and keep out of the file what differs from run to run."""

    def preprocess_cell(self, cell, resources, index):
        for output in cell.get("outputs", []):
            output.get("data", {}).pop("application/vnd.jupyter.widget-view+json", None)
        for tag in cell.metadata.get("tags", []):
            if tag.startswith("figure:"):
                (picture,) = (
                    content
                    for output in cell.outputs
                    for kind, content in output.get("data", {}).items()
                    if kind.startswith("image/")
                )
                _save_png(base64.b64decode(picture), tag.removeprefix("figure:"))
        return cell, resources


def _save_png(picture, name):
    """Write images/NAME.png: all of it, or nothing."""
    with tempfile.TemporaryDirectory(dir=IMAGES) as folder:
        part = Path(folder, f"{name}.png")
        Image.open(io.BytesIO(picture)).save(part, optimize=True)
        os.replace(part, IMAGES / part.name)


c = get_config()  # noqa: F821
c.NotebookExporter.preprocessors = [CoalesceStreamsPreprocessor, KeepFigures]
c.ExecutePreprocessor.timeout = 600
c.ExecutePreprocessor.record_timing = False
c.CoalesceStreamsPreprocessor.enabled = True
c.ExecutePreprocessor.store_widget_state = False
