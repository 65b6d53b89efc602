"""The README says what the notebooks print, and links to what is there; the notebooks are small."""

import json
import re
from pathlib import Path

import pytest

ROOT = Path(__file__).parent.parent
README = (ROOT / "README.md").read_text(encoding="utf-8")


def printed(notebook):
    cells = json.loads((ROOT / "notebooks" / notebook).read_text(encoding="utf-8"))["cells"]
    outputs = [output for cell in cells for output in cell.get("outputs", [])]
    return "".join("".join(o["text"]) for o in outputs if o["output_type"] == "stream")


def row(label):
    (line,) = (line for line in README.splitlines() if line.startswith(f"| {label} |"))
    return [cell.strip() for cell in line.split("|")[2:-1]]


@pytest.mark.parametrize(
    ("label", "column"),
    [
        ("this course", 0),
        ("Ghouwati and Achenchabe, the same network", 1),
        ("PyTorch's FGSM tutorial, LeNet", 2),
        ("this course, random signs instead of the gradient's", 3),
    ],
)
def test_the_sweep_is_the_one_of_notebook_3(label, column):
    lines = re.findall(r"^ +0\.\d\d((?: +[\d.]+%){4})$", printed("03_epsilon_sweep.ipynb"), re.M)
    assert len(lines) == 7
    assert row(label) == [line.split()[column].rstrip("%") for line in lines]


def test_the_damaged_gradient_is_the_one_of_notebook_3():
    (line,) = re.findall(r"nll_loss, 32 bits: (.*)", printed("03_epsilon_sweep.ipynb"))
    label = "the same, its gradient damaged by `nll_loss` in 32 bits"
    label += " (how much, the processor decides)"
    assert row(label) == [*line.replace("%", "").split(), "<1", "<1"]


def test_the_logistic_regression_is_the_one_of_notebook_2():
    errors = dict(
        re.findall(r"error on +(\w+) test images: ([\d.]+)%", printed("02_fgsm_mnist.ipynb"))
    )
    assert f"error {errors['clean']} % clean and {errors['worst']} % adversarial" in README


@pytest.mark.parametrize(
    "document",
    [
        *("README.md", "images/photos/README.md", "tests/benchmarks/README.md"),
        ".classroom/README.md",
    ],
)
def test_every_link_leads_somewhere(document):
    path = ROOT / document
    for link in re.findall(r"\]\(([^)#]+)\)", path.read_text(encoding="utf-8")):
        assert link.startswith("https://") or (path.parent / link).exists(), link


@pytest.mark.parametrize(
    "path", sorted((ROOT / "notebooks").glob("[0-9][0-9]_*.ipynb")), ids=lambda p: p.stem
)
def test_a_notebook_is_small_and_as_restart_and_run_all_leaves_it(path):
    assert path.stat().st_size < 1e6  # bytes
    notebook = json.loads(path.read_text(encoding="utf-8"))
    assert "widgets" not in notebook["metadata"]
    counts = [cell["execution_count"] for cell in notebook["cells"] if cell["cell_type"] == "code"]
    assert counts == list(range(1, 1 + len(counts)))
