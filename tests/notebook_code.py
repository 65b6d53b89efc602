"""Takes definitions out of the notebooks that teach them, so that one contract tests both."""

import ast
import json
from pathlib import Path

import pytest
from IPython.core.inputtransformer2 import TransformerManager

NOTEBOOKS = Path(__file__).parent.parent / "notebooks"


def definition(notebook, name):
    """The function or class ``name`` as a code cell of ``notebooks/<notebook>.ipynb`` defines it.

    Only that definition, those of the notebook that it mentions, and the notebook's imports run.
    """
    path = NOTEBOOKS / f"{notebook}.ipynb"
    cells = json.loads(path.read_text(encoding="utf-8"))["cells"]
    imports, definitions = [], {}
    for source in ("".join(cell["source"]) for cell in cells if cell["cell_type"] == "code"):
        for node in ast.parse(TransformerManager().transform_cell(source)).body:
            if isinstance(node, ast.Import | ast.ImportFrom):
                imports.append(node)
            elif isinstance(node, ast.FunctionDef | ast.ClassDef):
                definitions[node.name] = node
    if name not in definitions:
        raise LookupError(f"no code cell of {path.name} defines {name}")
    wanted = [name]
    for known in wanted:  # grows while it is walked
        mentioned = {node.id for node in ast.walk(definitions[known]) if isinstance(node, ast.Name)}
        wanted += mentioned & definitions.keys() - set(wanted)
    module = ast.Module(imports + [definitions[known] for known in reversed(wanted)], [])
    namespace = {"__name__": notebook}
    exec(compile(module, path.name, "exec"), namespace)
    return namespace[name]


def helper_and_notebook(helper, notebook):
    """A fixture: the helper, then the definition of the same name in the notebook."""

    @pytest.fixture(params=["helper", notebook], name=helper.__name__)
    def either(request):
        return helper if request.param == "helper" else definition(notebook, helper.__name__)

    return either
