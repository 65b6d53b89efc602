"""How pytest tests the notebooks here: it runs their cells and compares what they print.

They run in a copy of the course, so that your own files stay as they are. With the environment
variable OTHER_PROCESSOR set, they calculate as an older processor would.
"""

import contextlib
import os
import sys
from pathlib import Path
from unittest import mock

import pytest
from nbval.kernel import RunningKernel
from nbval.plugin import IPyNbCell, IPyNbFile

sys.path.insert(0, str(Path(__file__).parent.parent / ".nbconvert"))

from execution import ENVIRONMENT, OTHER_PROCESSOR, workspace


class Notebook(IPyNbFile):
    def setup(self):
        self.open = contextlib.ExitStack()
        folder = self.open.enter_context(workspace())
        other = OTHER_PROCESSOR if "OTHER_PROCESSOR" in os.environ else {}
        with mock.patch.dict(os.environ, ENVIRONMENT | other):
            self.kernel = RunningKernel("python3", cwd=str(folder))
        self.setup_sanitize_files()

    def teardown(self):
        super().teardown()
        self.open.close()


def pytest_collect_file(file_path, parent):
    if file_path.suffix == ".ipynb":
        return Notebook.from_parent(parent, path=file_path)


@pytest.hookimpl(trylast=True)
def pytest_collection_modifyitems(items):
    """Cells build on those before them: they keep their order when tests are shuffled."""
    cells = [item for item in items if isinstance(item, IPyNbCell)]
    cells.sort(key=lambda cell: (cell.path, cell.cell_num))
    items[:] = [item for item in items if not isinstance(item, IPyNbCell)] + cells
