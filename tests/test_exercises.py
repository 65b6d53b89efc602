"""The checks of the exercises: they name each classic mistake and accept what is right."""

import ast
import inspect
import random
import re
import textwrap

import nbformat
import pytest
import torch
from execution import ENVIRONMENT, PATHS
from folds import CHECK, fold, printed_by, solutions, solved
from mistakes import MISTAKES, VARIANTS
from notebook_code import definitions
from refresh import run

from helpers import exercises

NUMBERS = list(exercises._EXERCISES)
NOTEBOOKS = {path.stem[1]: nbformat.read(path, as_version=4) for path in PATHS[1:]}
TEXTS = [cell.source for nb in NOTEBOOKS.values() for cell in nb.cells]


def answer(number, code):
    """What ``code``, a stub or a solution, defines, among the definitions of its notebook."""
    (path,) = (path for path in PATHS[1:] if path.stem[1] == number[0])
    namespace = definitions(path.stem)
    exec(code, namespace)
    return namespace[asked(number)]


def asked(number):
    """The name of the answer in the notebook's check."""
    (name,) = re.findall(rf'^exercises\.check\("{number}", (\w+)\)$', "\n".join(TEXTS), re.M)
    return name


def stub(number):
    cells = [cell.source for cell in NOTEBOOKS[number[0]].cells if cell.cell_type == "code"]
    (place,) = (i for i, source in enumerate(cells) if f'check("{number}"' in source)
    return cells[place - 1]


def messages(number):
    """All that the check of an exercise can say, beside what all checks say."""
    source = textwrap.dedent(inspect.getsource(exercises._EXERCISES[number]))
    constants = (n.value for n in ast.walk(ast.parse(source)) if isinstance(n, ast.Constant))
    return {text for text in constants if isinstance(text, str) and "?" in text}


@pytest.fixture
def says(capsys):
    """What the check prints about an answer, without the exercise's number."""

    def says(number, answer):
        exercises.check(number, answer)
        out, err = capsys.readouterr()
        assert err == ""
        start = f"Exercise {number}: "
        assert out.startswith(start)
        assert out.count("\n") == 1
        return out.removeprefix(start).rstrip("\n")

    return says


def ids(cases):
    return [f"{number}-{getattr(answer, '__name__', answer)}" for number, answer, *_ in cases]


@pytest.mark.parametrize(("number", "function", "part"), MISTAKES, ids=ids(MISTAKES))
def test_a_mistake_gets_its_message(says, number, function, part):
    (wanted,) = (text for text in messages(number) if part in text)
    assert says(number, function) == wanted


@pytest.mark.parametrize("number", NUMBERS)
def test_every_message_has_its_mistake(number):
    parts = [part for wrong, _, part in MISTAKES if wrong == number]
    assert len(parts) >= 5
    for text in messages(number):
        assert any(part in text for part in parts), text


@pytest.mark.parametrize(("number", "function"), VARIANTS, ids=ids(VARIANTS))
def test_an_unusual_answer_is_right(says, number, function):
    assert says(number, function) == "right."


@pytest.mark.parametrize("number", NUMBERS)
def test_every_exercise_has_unusual_right_answers(number):
    assert sum(right == number for right, _ in VARIANTS) >= 2


@pytest.mark.parametrize("number", NUMBERS)
def test_the_stub_is_not_tried_yet(says, number):
    assert says(number, answer(number, stub(number))) == "not tried yet."


@pytest.mark.parametrize("number", [n for n in NUMBERS if "return" in stub(n)])
def test_the_solution_is_right(says, number):
    assert says(number, answer(number, solutions()[number][0])) == "right."


def _like_images(make):
    return lambda *given: make(next(g for g in given if isinstance(g, torch.Tensor)))


TRIVIAL = {
    "unchanged": _like_images(torch.clone),
    "zeros": _like_images(torch.zeros_like),
    "noise": _like_images(lambda images: torch.rand(images.shape).to(images.dtype)),
    "zero": lambda *given: 0.0,
    "some number": lambda *given: random.random(),
    "some numbers": lambda *given: torch.rand(len(given[-1])) if len(given) else None,
}


@pytest.mark.parametrize("kind", TRIVIAL)
@pytest.mark.parametrize("number", NUMBERS)
def test_what_does_nothing_never_passes(says, number, kind):
    assert says(number, TRIVIAL[kind]) not in ("right.", "not tried yet.")


def _forgets_to_return(*given):
    pass


def _raises(*given):
    text = "a" * 300
    raise KeyError(text)


def _is_interrupted(*given):
    raise KeyboardInterrupt


def _leaves_a_blank(images, *given):
    return images + ...


def _writes(images, *given):
    images += 0.1
    return images.clamp(0, 1)


ODD = {
    "not tried yet": ...,
    "of type int": 3,
    "of type Tensor": torch.zeros(3),
    "gives None": _forgets_to_return,
    "line 3 of your function stops with KeyError": _raises,
    "line 2 of your function was running": _is_interrupted,
    "one of the blanks": _leaves_a_blank,
    "other values afterwards": _writes,
    "stops with TypeError": lambda: None,
    "gives type list": lambda images, *given: images.tolist(),
    "gives the shape": lambda images, *given: images[0],
    "torch.float64": lambda images, *given: images.double(),
    "holds NaN": lambda images, *given: images / 0 * 0,
    "remembers how it was computed": lambda images, *given: images.clone().requires_grad_(),
}


@pytest.mark.parametrize("part", ODD)
def test_an_odd_answer_is_named(says, part):
    assert part in says("1.1", ODD[part])


@pytest.mark.parametrize(
    ("part", "result"),
    [
        ("type str", "0.2"),
        ("type bool", True),
        ("type list", [0.1, 0.2]),
        ("NaN", float("nan")),
        ("type dict", {}),
        ("2 values", torch.zeros(2)),
    ],
)
def test_an_odd_number_is_named(says, part, result):
    assert part in says("1.2", lambda *given: result)


def test_an_unknown_exercise_is_named(capsys):
    exercises.check("9.9", ...)
    assert capsys.readouterr().out.startswith("There is no exercise 9.9 to check; there are 1.1, ")


def test_a_fault_of_the_checker_raises(monkeypatch):
    def faulty(answer):
        return exercises._run(answer, torch.zeros(3)).no_such_attribute

    monkeypatch.setitem(exercises._EXERCISES, "0.0", faulty)
    with pytest.raises(AttributeError):
        exercises.check("0.0", lambda images: images)


@pytest.mark.parametrize("number", NUMBERS)
def test_random_numbers_go_on_as_if_nothing_had_happened(says, number):
    before = torch.get_rng_state()
    first = says(number, TRIVIAL["noise"])
    assert torch.equal(torch.get_rng_state(), before)
    torch.rand(1)
    assert says(number, TRIVIAL["noise"]) == first


@pytest.mark.parametrize("number", NUMBERS)
def test_no_message_gives_the_answer_away(number):
    for text in messages(number):
        assert "`" not in text
        assert "\n" not in text


TRAINS = "train_mlp"  # minutes, and what it prints cannot be compared


@pytest.mark.parametrize("chapter", NOTEBOOKS)
def test_the_notebook_with_its_solutions_runs_and_every_check_says_right(chapter):
    """What a solution prints, and its code, is what the notebook has in its fold."""
    notebook = nbformat.from_dict(NOTEBOOKS[chapter])
    copy = solved(notebook)
    copy.cells = [cell for cell in copy.cells if TRAINS not in cell.source]
    ran = run(copy, ENVIRONMENT)  # refresh.py runs it as another processor would, too
    checked = [printed_by(cell) for cell in ran.cells if CHECK.search(cell.source)]
    expected = [f"Exercise {number}: right." for number in NUMBERS if number[0] == chapter]
    assert checked == expected
    before = [cell.source for cell in notebook.cells]
    fold(notebook, ran)
    assert [cell.source for cell in notebook.cells] == before, "run .nbconvert/refresh.py"


@pytest.mark.parametrize("number", solutions())
def test_every_solution_is_folded(number):
    for code in solutions()[number]:
        assert any(f"<summary>Solution of {number}</summary>" in t and code in t for t in TEXTS)


@pytest.mark.parametrize("chapter", NOTEBOOKS)
def test_three_outputs_are_folded_until_the_reader_has_guessed(chapter):
    cells = NOTEBOOKS[chapter].cells
    asked = [place + 1 for place, cell in enumerate(cells) if "**Guess first:**" in cell.source]
    tagged = [place for place, cell in enumerate(cells) if "guess" in cell.metadata.get("tags", [])]
    assert asked == tagged
    assert len(asked) == 3
    for place in asked:
        assert cells[place].metadata.jupyter == {"outputs_hidden": True}
        assert "widgets." not in cells[place].source  # a canvas has no size while it is hidden
