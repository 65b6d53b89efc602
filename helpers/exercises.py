"""Answers to the exercises of the notebooks: is it right, and if not, which mistake is it?

A score cannot tell: some wrong attacks are stronger than the right one. So what a student's
function gives is held against properties, in order, and against known wrong recipes.
"""

import math
import traceback

import torch

from helpers.data import load_mnist
from helpers.evaluation import probabilities
from helpers.models import load_mlp


def check(number, answer):
    """Print whether ``answer``, a function or a value, solves the exercise ``number``, as "2.1".

    A mistake is named and never raised, and costs neither random numbers nor the student's tensors.
    """
    exercise = _EXERCISES.get(str(number))
    if exercise is None:
        print(f"There is no exercise {number} to check; there are {', '.join(_EXERCISES)}.")
        return
    with torch.random.fork_rng():
        torch.manual_seed(0)
        print(f"Exercise {number}: {_verdict(exercise, answer)}")


_EXERCISES = {}


def _exercise(number):
    """Register a generator of (whether it is so, message): the first that is so is the verdict.

    What stands below a ``yield`` may rely on it; a fault there is ours and raises.
    """
    return lambda exercise: _EXERCISES.setdefault(number, exercise)


class _Mistake(Exception):
    """What is wrong with an answer, whatever the exercise."""


def _verdict(exercise, answer):
    try:
        for wrong, message in exercise(answer):
            if wrong:
                return message
    except _Mistake as mistake:
        return str(mistake)
    return "right."


# What all exercises ask of an answer


def _run(function, *arguments):
    """What the student's function gives for copies of the arguments."""
    if function is ...:
        raise _Mistake("not tried yet.")
    if not callable(function):
        kind = type(function).__name__
        raise _Mistake(f"this is a {kind}, no function. Is it called where only its name belongs?")
    copies = [a.clone() if isinstance(a, torch.Tensor) else a for a in arguments]
    try:
        result = function(*copies)
    except Exception as error:  # whatever a student's code may raise
        if "ellipsis" in str(error).lower():
            raise _Mistake("one of the blanks, ..., is still there.") from None
        raise _Mistake(f"{_place(function, error)} stops with {_one_line(error)}") from None
    if result is ...:
        raise _Mistake("not tried yet.")
    if result is None:
        raise _Mistake("your function gives None. Does every way through it end in a return?")
    for before, after in zip(arguments, copies, strict=True):
        if isinstance(before, torch.Tensor) and not torch.equal(before, after.detach()):
            raise _Mistake("a tensor it was given has other values afterwards. Which line writes?")
    return result


def _place(function, error):
    """The line of the student's function, counted from its def, at which the error came."""
    code = getattr(function, "__code__", None)
    frames = traceback.walk_tb(error.__traceback__)
    lines = [line - code.co_firstlineno + 1 for frame, line in frames if frame.f_code is code]
    return f"line {lines[-1]} of your function" if lines else "your function"


def _one_line(error):
    text = " ".join(str(error).split())
    return f"{type(error).__name__}: {text[:200]}{'…' if len(text) > 200 else ''}"


def _tensor(result, like):
    """``result``, if it is a tensor of the shape and the dtype of ``like``."""
    if not isinstance(result, torch.Tensor):
        raise _Mistake(f"it gives a {type(result).__name__}. Should it not give a tensor?")
    if result.shape != like.shape:
        shapes = f"{tuple(result.shape)}, where {tuple(like.shape)} is wanted"
        raise _Mistake(f"it gives the shape {shapes}. Which line changes it?")
    if result.dtype != like.dtype:
        raise _Mistake(f"it gives {result.dtype}, not {like.dtype}. Which line changes that?")
    if result.requires_grad:
        raise _Mistake("its result still remembers how it was computed. Where is it detached?")
    if result.isnan().any():
        raise _Mistake("its result holds NaN. Is something divided by 0?")
    return result


def _numbers(result, count):
    """``result``, a list or tensor of so many numbers, as a tensor."""
    try:
        numbers = torch.as_tensor(result, dtype=torch.float64).detach().cpu()
    except (TypeError, ValueError, RuntimeError):
        kind = type(result).__name__
        raise _Mistake(f"this {kind} does not hold plain numbers. What should?") from None
    if numbers.shape != (count,):
        many = numbers.numel() if numbers.dim() == 1 else f"the shape {tuple(numbers.shape)}"
        raise _Mistake(f"{count} numbers are wanted, and it gives {many}. One for what?")
    if numbers.isnan().any():
        raise _Mistake("one of its numbers is NaN. Is something divided by 0?")
    return numbers


def _number(result):
    """``result``, a number or a tensor of one, as a float."""
    if isinstance(result, torch.Tensor) and result.numel() == 1:
        result = result.item()
    if isinstance(result, torch.Tensor | list | tuple):
        raise _Mistake(f"it gives {len(result)} values. Should it not be a single number?")
    if isinstance(result, str | bool):
        raise _Mistake(f"it gives a {type(result).__name__}. Should it not be a number?")
    return _numbers([result], 1).item()


def _same(a, b):
    """Equal but for rounding, which may turn the sign of a gradient that is nearly 0."""
    return ((a - b).abs() > 1e-4).float().mean().item() < 1e-3


def _outside(images):
    return bool((images < -1e-6).any() or (images > 1 + 1e-6).any())


def _unsure_digits(count):
    """The course's network, and digits of which it is not so sure that its gradient rounds to 0.

    Some are misread.
    """
    model, (images, labels) = load_mlp(), load_mnist("test")
    true = probabilities(model, images[:2000]).gather(1, labels[:2000, None]).squeeze(1)
    chosen = (true < 0.999).nonzero().flatten()[:count]
    return model, images[chosen], labels[chosen]


# Notebook 1


@_exercise("1.1")
def _toss(answer):
    images = torch.rand(20, 1, 28, 28)
    moved = {}
    for epsilon in (0.1, 0.25):
        noisy = _tensor(_run(answer, images, epsilon), like=images)
        yield _outside(noisy), "some pixels leave [0, 1]. What keeps an image in the range?"
        moved[epsilon] = noisy - images
    sizes = {epsilon: noise.abs().max().item() for epsilon, noise in moved.items()}
    yield max(sizes.values()) == 0, "no pixel changes. Is the noise added to what is returned?"
    yield (
        abs(sizes[0.1] - sizes[0.25]) < 1e-6,
        "for two epsilons the noise is of the same size. Is a number written in?",
    )
    yield (
        sizes[0.1] > 0.1 + 1e-5,
        "some pixels change by more than epsilon. Which part of a random number is the coin?",
    )
    inside = (images > 0.1) & (images < 0.9)  # nothing is clipped here
    noise, up = moved[0.1], moved[0.1] > 0
    yield (
        ((noise.abs() - 0.1).abs() > 1e-5)[inside].any(),
        "some grey pixels change by less than epsilon. Does the coin decide more than a direction?",
    )
    shares = torch.stack([up[i][inside[i]].float().mean() for i in range(len(images))])
    yield (
        ((shares == 0) | (shares == 1)).all(),
        "in each image all pixels move the same way. How many coins are tossed, and do they have "
        "two sides?",
    )
    yield (
        (shares - 0.5).abs().max() > 0.2,
        "one direction comes up far more often than the other. Is the coin fair?",
    )
    both = inside[0] & inside[1]
    yield (
        (up[0] == up[1])[both].all(),
        "the images of a batch all get the same noise. For how many pixels are coins tossed?",
    )
    yield (
        torch.equal(_run(answer, images, 0.1), _run(answer, images, 0.1)),
        "two calls toss the same. What fixes the random numbers?",
    )


@_exercise("1.2")
def _share_wrong(answer):
    # Every mistake below gives another number here.
    confidence = torch.tensor([0.75, 0.875, 0.875, 0.9375, 0.9375, 0.5, 0.5, 0.5])
    rest = 1 - confidence
    table = torch.stack([confidence, rest * 0.75, rest * 0.25], 1)
    labels = torch.tensor([0, 1, 0, 0, 0, 1, 2, 0])
    share = _number(_run(answer, table, labels, 0.75))

    def is_(value):
        return math.isclose(share, value, abs_tol=1e-6)

    yield is_(1), "this is no share. Is the count divided by something?"
    yield is_(20), "this is more than 1. Is it in percent, where a share from 0 to 1 is wanted?"
    yield (
        is_(1 / 8),
        "this is a share of *all* answers. Of which ones is it asked?",
    )
    yield (
        is_(1 / 3),
        "this says how many of the *wrong* answers are sure. Of which ones is it asked?",
    )
    yield (
        is_(3 / 8),
        "sure or not, every answer counts here. Where does the least confidence come in?",
    )
    yield is_(4 / 5), "this is the share of *right* answers. Which ones are counted?"
    yield (
        is_(0),
        "not one wrong answer is found among the sure ones. Whose probability is it that must be "
        "large: the true class's?",
    )
    yield is_(1 / 4), "an answer with exactly the least confidence is left out. Is it sure enough?"
    yield (
        not is_(1 / 5),
        "on a small made-up table the share is another. Which answers are sure, and which of "
        "these are wrong? Hint 1 goes one by one.",
    )
    other = _number(_run(answer, table, labels, 0.5))
    yield (
        not math.isclose(other, 3 / 8, abs_tol=1e-6),
        "it is right for one least confidence and wrong for another. Is a number written in?",
    )
