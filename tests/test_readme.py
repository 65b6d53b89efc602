"""The README says what the notebooks print, and links to what is there; the notebooks are small."""

import json
import re
from functools import partial
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


def claim(beginning):
    """Our numbers in the table of claims."""
    (line,) = (line for line in README.splitlines() if line.startswith(f"| {beginning}"))
    return [float(number) for number in re.findall(r"[\d.]+", line.split("|")[3])]


def percentages(notebook, beginning):
    """The numbers of the printed lines that begin so, line by line."""
    lines = re.findall(rf"^ *{re.escape(beginning)} (.*%.*)$", printed(notebook), re.M)
    return [[float(n) for n in re.findall(r"([\d.]+)%", line)] for line in lines]


def test_the_logistic_regression_is_the_one_of_notebook_2():
    pattern = r"error on +(?:clean|worst) test images: ([\d.]+)%"
    ours = re.findall(pattern, printed("02_fgsm_mnist.ipynb"))
    assert claim("logistic regression") == list(map(float, ours))


def test_the_claims_of_szegedy_are_those_of_notebook_6():
    text, lines = printed("06_transfer.ipynb"), partial(percentages, "06_transfer.ipynb")
    distortions = re.findall(r"^FC\S+ +(0\.\d{3})   0", text, re.M)
    errors = re.findall(r"^FC\S+ +[\d.]+ +\([\d.]+\) +([\d.]+) ", text, re.M)
    assert claim("distortion of FC10") == list(map(float, distortions))
    assert claim("test error of the same") == list(map(float, errors))
    strong, weak, gaussian = (
        lines(name)[0] for name in ("FC10(1)", "FC10(1e-4)", "Gaussian noise, .1")
    )
    assert claim("noise for FC10(1),") == [error for error in strong if error != 100]
    assert claim("noise for FC10(1e-4),") == weak[-2:]
    assert claim("Gaussian noise of .1") == gaussian
    (least,), (amplified,) = map(lines, ("FC100 on P1", "FC100 on P1, to .1"))
    assert claim("noise for FC100-100-10 on P1") == least[1:]
    assert claim("the same, amplified") == amplified[1:]


def test_the_claims_of_goodfellow_are_those_of_notebook_7():
    lines = partial(percentages, "07_adversarial_training.ipynb")
    (_, before, *clean_source), (after, trained_source, *_) = (
        [line for line in lines(name) if len(line) in (2, 3)]
        for name in ("clean-trained", "trained with FGSM .25")
    )
    (small, *_) = (line for line in lines("trained with FGSM .1") if len(line) == 3)
    assert claim("adversarial training at .25") == [before[1], after[1]]
    assert claim("its clean error") == [before[0], after[0], 0.1, small[0]]
    assert claim("its confidence") == [before[2], after[2]]
    read = clean_source[0][1], trained_source[0]
    assert claim("noise of the clean-trained") == list(read)


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
