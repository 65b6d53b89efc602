"""How the notebooks are run here: in a copy of the course, with what everybody has."""

import os
import re
import shutil
import symtable
import tempfile
from contextlib import contextmanager
from pathlib import Path

from IPython.core.inputtransformer2 import TransformerManager

ROOT = Path(__file__).resolve().parent.parent
NOTEBOOKS = ROOT / "notebooks"

# The start page, then the chapters.
PATHS = [NOTEBOOKS / "index.ipynb", *sorted(NOTEBOOKS.glob("[0-9][0-9]_*.ipynb"))]

# The committed numbers are those of the CPU and of the model that pip installs.
ENVIRONMENT = {
    "CUDA_VISIBLE_DEVICES": "",
    "IMAGENET_MODEL": "efficientnet_lite0",
    "OMP_WAIT_POLICY": "passive",  # or torch's threads spin while they wait
}
if "PYTEST_XDIST_WORKER_COUNT" in os.environ:  # pytest's workers share the cores
    share = os.cpu_count() // int(os.environ["PYTEST_XDIST_WORKER_COUNT"])
    ENVIRONMENT["OMP_NUM_THREADS"] = str(max(1, share))

# Makes this processor calculate like an older one, whose sums round otherwise.
OTHER_PROCESSOR = {
    "ATEN_CPU_CAPABILITY": "default",
    "MKL_ENABLE_INSTRUCTIONS": "SSE4_2",
    "ONEDNN_MAX_CPU_ISA": "SSE41",
    "OMP_NUM_THREADS": "1",
}


@contextmanager
def workspace():
    """A copy of the course, so that nothing a notebook writes meets a student's own files.

    Yields the copy's folder of notebooks, which is where their kernels belong.
    """
    with tempfile.TemporaryDirectory() as folder:
        for part in ("helpers", "images", "notebooks"):
            hidden = shutil.ignore_patterns(".*", "__pycache__")
            shutil.copytree(ROOT / part, Path(folder, part), ignore=hidden)
        yield Path(folder, "notebooks")


def needed(cells, wanted):
    """The numbers of the code cells that are ``wanted(cell)``, and of those they build on."""
    numbers, used = [], set()
    for number, cell in reversed(list(enumerate(cells))):
        if cell.cell_type != "code":
            continue
        here, defined = _names(TransformerManager().transform_cell(cell.source))
        if wanted(cell) or defined & used:
            numbers.append(number)
            used = (used | here) - defined
    return numbers


def _names(source):
    """The global names that a cell uses, and those that it defines."""
    module = symtable.symtable(source, "cell", "exec")
    defined = {s.get_name() for s in module.get_symbols() if s.is_assigned() or s.is_imported()}
    used, tables = set(), [module]
    for table in tables:  # grows while it is walked
        tables += table.get_children()
        used |= {s.get_name() for s in table.get_symbols() if table is module or s.is_global()}
    return used, defined


_EXPLORERS = re.compile(r"widgets\.\w+(Explorer|Pad)\(")


def needed_by_explorers(cells):
    """The numbers of the cells that show an explorer or define what a needed cell uses."""
    return needed(cells, lambda cell: _EXPLORERS.search(cell.source))
