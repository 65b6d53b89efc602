"""Takes definitions out of the notebooks that teach them, so that one contract tests both."""

import ast
import json
from pathlib import Path

import pytest
from IPython.core.inputtransformer2 import TransformerManager

NOTEBOOKS = Path(__file__).parent.parent / "notebooks"


def definition(notebook, name):
    """The function or class ``name`` as a cell of ``notebooks/<notebook>.ipynb`` defines it."""
    found = definitions(notebook)
    if name not in found:
        raise LookupError(f"no code cell of {notebook}.ipynb defines {name}")
    return found[name]


def definitions(notebook):
    """What the notebook imports and the functions and classes that it defines, by name."""
    path = NOTEBOOKS / f"{notebook}.ipynb"
    cells = json.loads(path.read_text(encoding="utf-8"))["cells"]
    kept = []
    for source in ("".join(cell["source"]) for cell in cells if cell["cell_type"] == "code"):
        for node in ast.parse(TransformerManager().transform_cell(source)).body:
            if isinstance(node, ast.Import | ast.ImportFrom | ast.FunctionDef | ast.ClassDef):
                kept.append(node)
    namespace = {"__name__": notebook}
    exec(compile(ast.Module(kept, []), path.name, "exec"), namespace)
    return namespace


def helper_and_notebook(helper, notebook):
    """A fixture: the helper, then the definition of the same name in the notebook."""

    @pytest.fixture(params=["helper", notebook], name=helper.__name__)
    def either(request):
        return helper if request.param == "helper" else definition(notebook, helper.__name__)

    return either
