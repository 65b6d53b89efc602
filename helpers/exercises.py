"""Answers to the exercises of the notebooks: is it right, and if not, which mistake is it?

A score cannot tell: some wrong attacks are stronger than the right one. So what a student's
function gives is held against properties, in order, and against known wrong recipes.
"""

import functools
import io
import math
import traceback
from copy import deepcopy

import numpy as np
import torch
import torch.nn.functional as F
from PIL import Image
from torch import nn

from helpers.attacks import gradient_and_logits, lbfgs_noise
from helpers.data import load_mnist, sample_mnist
from helpers.evaluation import distortion, probabilities
from helpers.models import load_mlp
from helpers.networks import load_network


def check(number, answer):
    """Print whether ``answer``, a function or a value, solves the exercise ``number``, as "2.1".

    A mistake is named and never raised, and costs neither random numbers nor the student's tensors.
    """
    exercise = _EXERCISES.get(str(number))
    if exercise is None:
        print(f"There is no exercise {number} to check; there are {', '.join(_EXERCISES)}.")
        return
    threads = torch.get_num_threads()
    torch.set_num_threads(1)  # with so few images, several threads mostly wait for each other
    try:
        with torch.random.fork_rng():
            torch.manual_seed(0)
            print(f"Exercise {number}: {_verdict(exercise, answer)}")
    finally:
        torch.set_num_threads(threads)


_EXERCISES = {}


def _exercise(number):
    """Register a function that gives the message for an answer, or None if it is right.

    The first mistake that is found is named, so that what stands below may rely on what stands
    above; a fault of these functions is ours and raises.
    """
    return lambda exercise: _EXERCISES.setdefault(number, exercise)


class _Mistake(Exception):
    """What is wrong with an answer, whatever the exercise."""


def _verdict(exercise, answer):
    try:
        return exercise(answer) or "right."
    except _Mistake as mistake:
        return str(mistake)


# What all exercises ask of an answer


def _tried(answer, none):
    if answer is ...:
        raise _Mistake("not tried yet.")
    if answer is None:
        raise _Mistake(none)


def _run(function, *arguments):
    """What the student's function gives for copies of the arguments."""
    _tried(function, "this is None. Where is the function defined?")
    if not callable(function):
        kind = type(function).__name__
        raise _Mistake(f"this is of type {kind}. Is the function called where its name belongs?")
    copies = [a.clone() if isinstance(a, torch.Tensor) else a for a in arguments]
    try:
        result = function(*copies)
    except _Mistake:
        raise
    except KeyboardInterrupt as stop:  # of a student who waits no longer
        raise _Mistake(f"{_place(function, stop)} was running. Does its loop end?") from None
    except (Exception, SystemExit) as error:  # whatever a student may write
        if "ellipsis" in str(error).lower():
            raise _Mistake("one of the blanks, ..., is still there.") from None
        raise _Mistake(f"{_place(function, error)} stops with {_one_line(error)}") from None
    _tried(result, "your function gives None. Does every way through it end in a return?")
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
        raise _Mistake(f"it gives type {type(result).__name__}. Should it not give a tensor?")
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


def _numbers(result, *shape):
    """``result``, a list or tensor of numbers of this shape, as a tensor."""
    try:
        numbers = torch.as_tensor(result, dtype=torch.float64).detach().cpu()
    except (TypeError, ValueError, RuntimeError):
        kind = type(result).__name__
        raise _Mistake(f"this {kind} does not hold plain numbers. What should?") from None
    if numbers.shape != shape:
        many = numbers.numel() if numbers.dim() == 1 else f"the shape {tuple(numbers.shape)}"
        wanted = " x ".join(map(str, shape))
        raise _Mistake(f"{wanted} numbers are wanted, and it gives {many}. One for what?")
    if numbers.isnan().any():
        raise _Mistake(
            "one of its numbers is NaN. Is something divided by 0, or is it a mean of nothing?"
        )
    return numbers


def _number(result):
    """``result``, a number or a tensor of one, as a float."""
    if isinstance(result, torch.Tensor) and result.numel() == 1:
        result = result.item()
    if isinstance(result, torch.Tensor):
        raise _Mistake(f"it gives {result.numel()} values. Should it not be a single number?")
    if isinstance(result, bool) or not hasattr(result, "__float__"):
        raise _Mistake(f"it gives type {type(result).__name__}. Should it not be a number?")
    return _numbers([result], 1).item()


def _same(a, b):
    """Equal but for rounding, which may turn the sign of a gradient that is nearly 0."""
    return ((a - b).abs() > 1e-4).float().mean().item() < 1e-3


def _outside(images):
    return bool((images < -1e-6).any() or (images > 1 + 1e-6).any())


def _sign_gradient(model, images, labels):
    """The signs of the gradient, also where a wrong recipe has left [0, 1]."""
    return gradient_and_logits(model, images, labels)[0].sign()


@functools.cache
def _digits():
    """Digits of which the network is not so sure that its gradient rounds to 0, and sure ones.

    Each with their labels. Some of the unsure ones are misread.
    """
    images, labels = (tensor[:2000] for tensor in load_mnist("test"))
    true = probabilities(load_mlp(), images).gather(1, labels[:, None]).squeeze(1)
    unsure = true < 0.999
    return images[unsure], labels[unsure], images[~unsure], labels[~unsure]


def _unsure_digits(count):
    images, labels, *_ = _digits()
    return load_mlp(), images[:count], labels[:count]


# Notebook 1


@_exercise("1.1")
def _toss(answer):
    images = torch.rand(20, 1, 28, 28)
    moved = {}
    for epsilon in (0.1, 0.25):
        noisy = _tensor(_run(answer, images, epsilon), like=images)
        if _outside(noisy):
            return "some pixels leave [0, 1]. What keeps an image in the range?"
        moved[epsilon] = noisy - images
    sizes = {epsilon: noise.abs().max().item() for epsilon, noise in moved.items()}
    if max(sizes.values()) == 0:
        return "no pixel changes. Is the noise added to what is returned?"
    if abs(sizes[0.1] - sizes[0.25]) < 1e-6:
        return "for two epsilons the noise is of the same size. Is a number written in?"
    inside = (images > 0.1) & (images < 0.9)  # nothing is clipped here
    noise, up = moved[0.1], moved[0.1] > 0
    if (noise.abs() > 0.1 + 1e-5)[inside].any():
        return "some pixels change by more than epsilon. Which part of a random number is the coin?"
    if sizes[0.1] > 0.1 + 1e-5:
        return "dark or bright pixels change by more than epsilon. Are they clipped, or wrapped?"
    if ((noise.abs() - 0.1).abs() > 1e-5)[inside].any():
        return "some grey pixels change by less than epsilon. Which values may the noise take?"
    shares = torch.stack([up[i][inside[i]].float().mean() for i in range(len(images))])
    if ((shares == 0) | (shares == 1)).all():
        return "in each image all pixels move the same way. How many coins, with how many sides?"
    dark, bright = (up[inside & part].float().mean() for part in (images < 0.5, images > 0.5))
    if (shares - 0.5).abs().max() > 0.2 or abs(dark - bright) > 0.1:
        return "one direction comes up far more often than the other. Is the coin fair?"
    both = inside[0] & inside[1]
    if (up[0] == up[1])[both].all():
        return "the images of a batch all get the same noise. For how many pixels are coins tossed?"
    if torch.equal(_run(answer, images, 0.1), _run(answer, images, 0.1)):
        return "two calls toss the same. What fixes the random numbers?"


@_exercise("1.2")
def _share_wrong(answer):
    # Every mistake below gives another number here. The label 0 is the right answer.
    labels = torch.tensor([0, 1, 0, 0, 1, 0, 0, 1, 0, 0, 0])
    confidence = torch.tensor([0.75, *[0.875] * 3, *[0.9375] * 3, *[0.5] * 4])
    rest = 1 - confidence
    table = torch.stack([confidence, rest * 0.75, rest * 0.25], 1)
    share = _number(_run(answer, table, labels, 0.75))

    def is_(value):
        return math.isclose(share, value, rel_tol=1e-6, abs_tol=1e-6)

    if is_(2):
        return "this is no share. Is the count divided by something?"
    if is_(100 * 2 / 7):
        return "this is more than 1. Is it in percent, where a share from 0 to 1 is wanted?"
    if is_(2 / 11):
        return "this is a share of *all* answers. Of which ones is it asked?"
    if is_(2 / 3):
        return "this says how many of the *wrong* answers are sure. Of which ones is it asked?"
    if is_(3 / 11):
        return "sure or not, every answer counts here. Where does the least confidence come in?"
    if is_(5 / 7):
        return "this is the share of *right* answers. Which ones are counted?"
    if is_(2 / 5):
        return "this is how many wrong answers come on a right one. Of which ones is it asked?"
    if is_(0):
        return "this is 0: is it rounded, or is it asked how sure the network is of the true class?"
    if is_(1):
        return "this is 1: each sure answer counts as wrong. What does the network answer?"
    if is_(1 / 3):
        return "an answer with exactly the least confidence is left out. Is it sure enough?"
    if not is_(2 / 7):
        return "on a made-up table the share is another. Which are sure, and which of these wrong?"
    other = _number(_run(answer, table, labels, 0.5))
    if not math.isclose(other, 3 / 11, abs_tol=1e-6):
        return "it is right for one least confidence and wrong for another. Is a number written in?"


# Notebook 2


@_exercise("2.1")
def _two_half_steps(answer):
    model, images, labels = _unsure_digits(100)
    found = {
        epsilon: _tensor(_run(answer, model, images, labels, epsilon), like=images)
        for epsilon in (0.1, 0.06)
    }

    def signs(at, labels=labels):
        return _sign_gradient(model, at, labels)

    def right(epsilon):
        middle = (images + epsilon / 2 * signs(images)).clamp(0, 1)
        return (middle + epsilon / 2 * signs(middle)).clamp(0, 1)

    adv_images = found[0.1]
    if _same(adv_images, right(0.1)):
        if not _same(found[0.06], right(0.06)):
            return "it is right for one epsilon and wrong for another. Is a number written in?"
        return
    if _outside(adv_images):
        return "some pixels leave [0, 1]. What keeps an image in the range?"
    if _same(adv_images, images):
        return "no pixel changes. What does it return?"
    start = signs(images)
    middle = (images + 0.05 * start).clamp(0, 1)
    if _same(adv_images, middle):
        return "this is a single half step. What became of the other?"
    once_more = (middle + 0.05 * start).clamp(0, 1)
    if _same(adv_images, once_more) or _same(adv_images, (images + 0.1 * start).clamp(0, 1)):
        return "both steps go the same way, as one would. Of which images is the second gradient?"
    full = (images + 0.1 * start).clamp(0, 1)
    if _same(adv_images, (full + 0.1 * signs(full)).clamp(0, 1)):
        return "some pixels change by twice epsilon. How long is each of the two steps?"
    if _same(adv_images, (images + 0.05 * signs(middle)).clamp(0, 1)):
        return "the first step is lost. From which images does the second one start?"
    if _same(adv_images, (images + 0.1 * signs(middle)).clamp(0, 1)):
        return "this is one whole step along the gradient half-way: good, but are these two steps?"
    down = (images - 0.05 * start).clamp(0, 1)
    if _same(adv_images, (down - 0.05 * signs(down)).clamp(0, 1)):
        return "the network gets surer of the true class. Does the loss go up or down?"
    gradient = gradient_and_logits(model, images, labels)[0]
    first = (images + 0.05 * gradient).clamp(0, 1)
    second = (first + 0.05 * gradient_and_logits(model, first, labels)[0]).clamp(0, 1)
    if _same(adv_images, second):
        return "every pixel moves by another amount. Where is the sign?"
    free = images + 0.05 * start
    if _same(adv_images, (free + 0.05 * signs(free)).clamp(0, 1)):
        return "between the steps pixels are below 0 or above 1. Where is the first one clipped?"
    guesses = probabilities(model, images).argmax(1)
    astray = (images + 0.05 * signs(images, guesses)).clamp(0, 1)
    new_guesses = probabilities(model, astray).argmax(1)
    if _same(adv_images, (astray + 0.05 * signs(astray, guesses)).clamp(0, 1)) or _same(
        adv_images, (astray + 0.05 * signs(astray, new_guesses)).clamp(0, 1)
    ):
        return "misread images come out otherwise. Away from which class, the true or the guessed?"
    size = (adv_images - images).abs().max()
    if size > 0.1 + 1e-5:
        return "some pixels change by more than epsilon. How long are the two steps together?"
    if size < 0.1 - 1e-5:
        return "no pixel changes by all of epsilon. How long are the two steps together?"
    if _same(adv_images, (middle - 0.05 * signs(middle)).clamp(0, 1)):
        return "the second step goes back. Does the loss go up in both?"
    third = images
    for _ in range(3):
        third = (third + 0.1 / 3 * signs(third)).clamp(0, 1)
    if _same(adv_images, third):
        return "there are three steps. Where does the loop begin and end?"
    return "these are not two half steps. What does hint 1 say that yours does otherwise?"


@_exercise("2.2")
def _few_pixels(answer):
    images = 0.3 + 0.4 * torch.rand(20, 1, 28, 28)  # nothing is clipped, none is black
    scale = torch.logspace(-2, 0, 20).view(-1, 1, 1, 1)
    data_grad = scale * torch.randn_like(images)
    adv_images = _tensor(_run(answer, images, 0.1, data_grad, 30), like=images)
    moved = (adv_images - images).flatten(1)
    changed, gradient = moved.abs() > 1e-6, data_grad.flatten(1)
    counts = changed.sum(1)

    def largest(values):
        return torch.zeros_like(changed).scatter(1, values.topk(30).indices, True)

    if (counts == 0).all():
        return "no pixel changes. What does it return?"
    if (adv_images == 0).float().mean() > 0.5:
        return "the pixels that are not attacked have become black. What is multiplied by the mask?"
    if (counts == 784).all():
        return "all pixels change. Where are the few chosen?"
    if (counts.sum() - 20 * 30).abs() <= 20 and counts.unique().numel() > 2:
        return "some images change in hundreds of pixels, others in none. Do all share one ranking?"
    if ((counts - 30).abs() == 1).all():
        return "one pixel is missing or too many in each image. Does the last of the chosen count?"
    other = _tensor(_run(answer, images, 0.2, data_grad, 50), like=images) - images
    if (counts == 30).all() and ((other.abs() > 1e-6).sum((1, 2, 3)) == 30).all():
        return "the number of pixels is the same for every k. Is a number written in?"
    if (counts != 30).any():
        return "the number of pixels that change is not k. How are they chosen?"
    if (changed == largest(gradient)).all() or (changed == largest(-gradient)).all():
        return "the chosen pixels all move the same way. May a large gradient be negative too?"
    if (changed == largest(-gradient.abs())).all():
        return "these are the pixels that matter least. Which end of the order is it?"
    if (changed != largest(gradient.abs())).any():
        return "as many pixels as asked for change, but others. What decides how much one counts?"
    if moved[changed].abs().std() > 1e-5:
        return "the chosen pixels change by different amounts. Where is the sign?"
    if (moved * gradient)[changed].max() < 0:
        return "the pixels move down the loss. Which way does the attack go?"
    if abs(moved.abs().max() - 0.1) > 1e-5 or abs(other.abs().max() - 0.2) > 1e-5:
        return "the chosen pixels do not change by epsilon. By what are they multiplied?"
    images = torch.rand(20, 1, 28, 28)
    if _outside(_run(answer, images, 0.3, data_grad, 200)):
        return "some pixels leave [0, 1]. What keeps an image in the range?"


@_exercise("2.3")
def _steer(answer):
    model, images, labels = _unsure_digits(50)
    targets = (labels + torch.arange(50) % 9 + 1) % 10
    found = _tensor(_run(answer, model, images, targets, 0.15, 5), like=images)

    def walk(direction, size=0.03, steps=5, clip=True):
        x = images
        for _ in range(steps):
            x = x + size * direction(x)
            x = x.clamp(0, 1) if clip else x
        return x.clamp(0, 1)

    def towards(x):
        return -_sign_gradient(model, x, targets)

    def away(x):
        return _sign_gradient(model, x, probabilities(model, x).argmax(1))

    if _same(found, walk(towards)):
        other = _tensor(_run(answer, model, images, targets, 0.08, 2), like=images)
        if not _same(other, walk(towards, 0.04, 2)):
            return "it is right once, and wrong for other numbers. Is a number written in?"
        says = probabilities(model, images).argmax(1)
        if _same(_tensor(_run(answer, model, images, says, 0.15, 5), like=images), images):
            return "where all targets are reached, it stops. How many steps are asked for?"
        return
    if _outside(found):
        return "some pixels leave [0, 1]. What keeps an image in the range?"
    if _same(found, images):
        return "no pixel changes. What does it return?"
    if _same(found, walk(lambda x: -towards(x))):
        return "the targets become less likely than they were. Does their loss go up or down?"
    start = towards(images)
    if _same(found, walk(lambda x: start)) or _same(found, walk(towards, 0.15, 1)):
        return "all steps go the same way, so that they are one. Of which images is each gradient?"
    if _same(found, walk(towards, size=0.15)):
        return "each step is as long as all of them may be together. How long is one of them?"
    if _same(found, walk(towards, steps=1)):
        return "only one of the steps is left. Where does the next one start?"
    labels_ = probabilities(model, images).argmax(1)
    if (
        _same(found, walk(away))
        or _same(found, walk(lambda x: -away(x)))
        or _same(found, walk(lambda x: -_sign_gradient(model, x, labels_)))
        or _same(found, walk(lambda x: _sign_gradient(model, x, labels_)))
    ):
        return "it follows the loss of what the network says. Whose loss should get small?"
    if any(_same(found, walk(towards, steps=n)) for n in (4, 6)):
        return "it is one step too few or too many. Where does the loop begin and end?"
    if _same(found, walk(towards, clip=False)):
        return "on the way pixels are below 0 or above 1. After which steps is it clipped?"
    if (found - images).abs().max() > 0.15 + 1e-5:
        return "some pixels change by more than epsilon. How long are all steps together?"
    return "these are not the steps that were asked for. What does hint 1 say of each?"


# Notebook 3


def _fgsm_wrong(model, images, labels, epsilon, signs):
    adv_images = (images + epsilon * signs).clamp(0, 1)
    return probabilities(model, adv_images).argmax(1) != labels


@_exercise("3.1")
def _success_rates(answer):
    model, images, labels = _unsure_digits(300)
    epsilons = [0, 0.01, 0.03]
    rates = _numbers(_run(answer, model, images, labels, epsilons), 3)
    signs = _sign_gradient(model, images, labels)
    wrong = torch.stack([_fgsm_wrong(model, images, labels, e, signs) for e in epsilons])
    right = ~wrong[0]

    def are(values):  # exact but for one image
        return (rates - torch.as_tensor(values).cpu()).abs().max() < 1.5 / len(images)

    if are(wrong[:, right].float().mean(1)):
        return
    added, total = [], images
    for epsilon in epsilons:
        total = (total + epsilon * signs).clamp(0, 1)
        added.append((probabilities(model, total).argmax(1) != labels)[right].float().mean())
    anew, total = [], images
    for epsilon in epsilons:
        total = (total + epsilon * _sign_gradient(model, total, labels)).clamp(0, 1)
        anew.append((probabilities(model, total).argmax(1) != labels)[right].float().mean())
    if are(100 * wrong[:, right].float().mean(1)) or rates.max() > 1:
        return "a rate is more than 1. Is it a number of images, or in percent, and no share?"
    if are(1 - wrong[:, right].float().mean(1)) or are(1 - wrong.float().mean(1)):
        return "the rates begin at the top and fall. Is it the attack's success that is counted?"
    if are(wrong.float().mean(1)):
        return "at epsilon 0 there is no attack, and yet it succeeds. Which images cannot be won?"
    if are((wrong & right).float().mean(1)):
        return "the rates are a little too low. By how many is it divided: by the misread, too?"
    if rates.max() < 0.01:
        return "the attack never succeeds. Does the loss go up or down?"
    if are(torch.stack(added)) or are(torch.stack(anew)):
        return "from the second epsilon on the noise is too large. To which images is it added?"
    return "these rates are others. Of which images is the share, and what is a success?"


@_exercise("3.2")
def _first_fooling(answer):
    model, images, labels = _unsure_digits(80)
    _, _, sure, sure_labels = _digits()
    images, labels = torch.cat([images, sure[:40]]), torch.cat([labels, sure_labels[:40]])
    epsilons = torch.tensor([0, 0.01, 0.02, 0.03, 0.05, 0.08])
    found = _numbers(_run(answer, model, images, labels, epsilons.tolist()), len(images))
    signs = _sign_gradient(model, images, labels)
    wrong = torch.stack([_fgsm_wrong(model, images, labels, e, signs) for e in epsilons])
    place, never = wrong.int().argmax(0), ~wrong.any(0)
    right = epsilons[place].masked_fill(never, torch.inf)
    misread = wrong[0]

    def are(values):  # at least 98 % of the images
        equal = torch.isclose(found, values.double().cpu(), atol=1e-6)
        return equal.float().mean() >= 0.98

    if are(right):
        return
    if are(epsilons[place]):
        return "images that nothing fools get epsilon 0. Where is the first True if there is none?"
    if are(torch.where(never, found, right)):
        return "images that nothing fools get some number. How can they be told apart?"
    if are(place.float()) or are(place.float().masked_fill(never, torch.inf)):
        return "these are places in the list. What stands there?"
    if are(torch.where(misread, found, right)):
        return "what is misread from the start gets another number. How much noise does it need?"
    last = wrong.shape[0] - 1 - wrong.flip(0).int().argmax(0)
    if are(epsilons[last].masked_fill(never, torch.inf)):
        return "these are the last epsilons that fool. Does a later one overwrite the first?"
    before = epsilons[(place - 1).clamp(min=0)]
    if are(before.masked_fill(never, torch.inf)) or are(before.masked_fill(never, epsilons[-1])):
        return "these are the epsilons just before. Which one is the first that succeeds?"
    total, added = images, torch.full(labels.shape, torch.inf)
    again, anew = images, torch.full(labels.shape, torch.inf)
    for epsilon in epsilons:
        total = (total + epsilon * signs).clamp(0, 1)
        again = (again + epsilon * _sign_gradient(model, again, labels)).clamp(0, 1)
        for x, first in ((total, added), (again, anew)):
            new = (probabilities(model, x).argmax(1) != labels) & first.isinf()
            first[new] = epsilon
    if are(added) or are(anew):
        return "many are fooled too early: noise comes on top of noise. Where does each one start?"
    if len(found.unique()) == 1:
        return "all images get the same number. For which of them is it the first to fool?"
    if not torch.isin(found.float(), torch.cat([epsilons.cpu(), torch.tensor([torch.inf])])).all():
        return "some of these numbers are not in the list. Which epsilons are tried?"
    return "for some images this is another epsilon. What does hint 1 ask of each?"


@_exercise("3.3")
def _estimate(answer):
    # For a linear network the estimate is exact, and every mistake gives something else.
    model = nn.Sequential(nn.Flatten(), nn.Linear(784, 10)).requires_grad_(False)
    images = torch.rand(20, 1, 28, 28)
    found = _tensor(_run(answer, model, images), like=images[:, 0, 0, 0])
    weight, logits = model[1].weight, model(images)
    top = logits.topk(2)
    first, second = top.indices.unbind(1)
    margin, slope = -top.values.diff().squeeze(1), weight[first] - weight[second]

    def is_(values):
        return torch.allclose(found, values, rtol=0.01, atol=1e-7)

    shares = logits.softmax(1)
    p, q = shares.gather(1, top.indices).unbind(1)
    pull = p[:, None] * (weight[first] - shares @ weight) - q[:, None] * (
        weight[second] - shares @ weight
    )
    loss = F.cross_entropy(logits, first, reduction="none")
    loss_slope = shares @ weight - weight[first]
    right = margin / slope.abs().sum(1)
    if is_(margin):
        return "this is the margin alone. How fast does it shrink?"
    if is_(-right):
        return "it has the wrong sign. Which of the two outputs is the larger one?"
    if is_(1 / right):
        return "this is upside down. What is divided by what?"
    squares = slope.square().sum(1)
    if any(is_(margin / norm) for norm in (squares.sqrt(), squares, slope.abs().amax(1))):
        return "this is another norm. All pixels move by epsilon: by how much does a linear score?"
    if is_(margin / slope.abs().mean(1)):
        return "this is hundreds of times too large. Do the pixels add up, or is it their average?"
    if is_(margin / slope.sum(1)) or is_(margin / slope.sum(1).abs()):
        return "the pixels' slopes cancel each other. May each pixel choose its direction?"
    if is_(margin / slope.abs().sum()) or is_(len(images) * right):
        return "an image's number depends on the other images. Over what is the sum?"
    if is_((p - q) / pull.abs().sum(1)):
        return "this takes probabilities, which crowd at 1. What is nearly linear in the pixels?"
    if is_(loss / loss_slope.abs().sum(1)) or is_(margin / loss_slope.abs().sum(1)):
        return "this takes the slope of the loss. Of what should it be: what has to become 0?"
    if is_(margin / weight[first].abs().sum(1)) or is_(
        top.values[:, 0] / weight[first].abs().sum(1)
    ):
        return "this takes the slope of the largest output alone. What does the other do meanwhile?"
    if not is_(right):
        return "on a linear network, where it is exact, it is another. What does hint 1 divide?"


# Notebook 4


@_exercise("4.1")
def _random_targets(answer):
    labels = torch.arange(9000) % 10
    targets = _tensor(_run(answer, labels), like=labels)
    if ((targets < 0) | (targets > 9)).any():
        return "some targets are no classes. What brings numbers above 9 back?"
    steps = (targets - labels) % 10
    if (steps == steps[:10].repeat(900)).all():
        return "all images of a class get the same target. What is drawn for each image?"
    offsets = steps.bincount(minlength=10)
    if offsets[0] > 0:
        return "some targets are the true class. Which draws can never give that?"
    if (offsets[1:] == 0).any():
        return "some wrong classes never come up. Which is the largest number that is drawn?"
    if offsets.max() > 1.4 * offsets[1:].float().median():
        return "one wrong class comes up twice as often. Who gets the draws that hit the label?"
    if torch.equal(_run(answer, labels), _run(answer, labels)):
        return "two calls draw the same. What fixes the random numbers?"


@_exercise("4.2")
def _easiest(answer):
    _tried(answer, "this is None. Where does the class come from?")
    value = _number(answer)
    model, (images, labels) = load_mlp(), sample_mnist(30)
    classes = torch.arange(10).repeat(30)
    noise = lbfgs_noise(model, images.repeat_interleave(10, 0), classes, progress=False)
    sizes = distortion(noise).view(30, 10)
    wrong = torch.arange(10) != labels[:, None]
    to_wrong = (sizes * wrong).sum(0) / wrong.sum(0)
    if value not in range(10):
        return "this is no class of digits. Is it a distortion, or a place?"
    if value == sizes.mean(0).argmin():
        return "this class wins as its own digits need no noise. Which images count for a target?"
    if value == to_wrong.argmax():
        return "this one is the hardest. Which end of the order is it?"
    if value != to_wrong.argmin():
        return "another class is easier on average. Over which is it taken?"


def _descend(model, images, targets, penalty, clip=True, share=1):
    """The descent of notebook 4 with another penalty (c included)."""
    noise = torch.zeros_like(images)
    for _ in range(1000):
        noise = noise.detach().requires_grad_()
        logits = model(images + noise)
        missed = logits.argmax(1) != targets
        if not missed.any():
            break
        loss = share * F.cross_entropy(logits, targets, reduction="sum") + penalty(noise)
        (gradient,) = torch.autograd.grad(loss, noise)
        noise = images + noise - 0.008 * gradient * missed.view(-1, 1, 1, 1)
        noise = (noise.clamp(0, 1) if clip else noise) - images
    return noise.detach()


@_exercise("4.3")
def _l1_noise(answer):
    model, images, _ = _unsure_digits(10)
    images = images[[0, 3, 8, 9]]  # their second class is within easy reach: 22 steps at most
    targets = probabilities(model, images).topk(2).indices[:, 1]
    c = 0.3
    noise = _tensor(_run(answer, model, images, targets, c), like=images)

    def is_(penalty, far=5e-4, few=0, **options):
        other = _descend(model, images, targets, lambda r: c * penalty(r), **options)
        return ((noise - other).abs() > far).sum() <= few

    def size(r):
        return r.abs().sum()

    if is_(size, far=3e-3, few=6):  # around 0 the sign of the noise is up to rounding
        return
    if (noise == 0).all():
        return "the noise is zero everywhere. Does the loss reach it?"
    if is_(lambda r: r.square().sum()):
        return "this is still the square. Which of the two penalties counts small changes more?"
    if is_(lambda r: 0 * r.sum()):
        return "the penalty has next to no effect. Is it a sum over the pixels, or their average?"
    if is_(lambda r: r.sum()):
        return "darker pixels pay for brighter ones. What is the same for both, and has no sign?"
    if is_(lambda r: r.abs().amax((1, 2, 3)).sum()) or is_(lambda r: r.abs().max()):
        return "only the largest change is paid for. Which norm adds up all of them?"
    if is_(lambda r: -r.abs().sum()):
        return "the penalty makes the noise larger. Is it added or subtracted?"
    if (noise >= 0).all():
        return "the noise makes no pixel darker. Is this the noise, with its sign, and it alone?"
    if is_(size, clip=False) or _outside(images + noise):
        return "some pixels of images + noise leave [0, 1]. What keeps an image in the range?"
    if is_(size, far=3e-3, few=6, share=1 / len(images)):
        return "an image's noise depends on how many are in the batch. How is the loss reduced?"
    if is_(lambda r: size(r) / c, far=9e-3, few=6):
        return "it does not depend on c. By what is the penalty multiplied?"
    return "this noise is another. What besides the penalty differs from optimize_noise?"


@_exercise("4.4")
def _largest_c(answer):
    for border in (0.03, 1.7, 40.0):
        calls = []

        def reached(c, border=border, calls=calls):
            calls.append(c)
            if len(calls) > 500:
                raise _Mistake("it has asked 500 times and goes on. When is the interval narrow?")
            return float(c) <= border

        c = _number(_run(answer, reached, 0.01, 100.0))
        if not calls:
            return "it never asks whether a c succeeds. How can it know?"
        if min(calls) < 0.01 * 0.99 or max(calls) > 100 * 1.01:
            return "it looks outside of the interval it was given. Where is the middle?"
        if c > border and c / 1.03 <= border:
            return "with this c the target is just missed. Which end of the interval succeeds?"
        if c > border:
            return "the target is far out of reach with this c. Which half is kept?"
        if c * 1.03 <= border and any(math.isclose(x, 50.005) for x in calls):
            return "a clearly larger c still succeeds. Is 50 the middle where ratios count?"
        if c * 1.03 <= border:
            return "a clearly larger c still succeeds. How narrow is the interval at the end?"


# Notebook 5


@_exercise("5.1")
def _through_jpeg(answer):
    x = torch.linspace(0, 3, 64)
    ways = ((1, 2), (3, 1), (2, 5), (4, 0), (1, 1), (7, 3))
    waves = [(a * x[:, None] + b * x).sin() for a, b in ways]
    images = 0.5 + 0.4 * torch.stack(waves).view(2, 3, 64, 64)
    images = (images + 0.05 * torch.randn_like(images)).clamp(0, 1)

    def through(quality, to_bytes=torch.round):
        read = []
        for image in images:
            levels = to_bytes(255 * image).byte().permute(1, 2, 0).cpu().numpy()
            file = io.BytesIO()
            Image.fromarray(levels).save(file, "jpeg", quality=quality)
            read.append(torch.from_numpy(np.array(Image.open(file))).permute(2, 0, 1))
        return torch.stack(read).to(images) / 255

    found = _tensor(_run(answer, images, 90), like=images)
    coarse = _tensor(_run(answer, images, 10), like=images)
    if found.max() > 2:
        return "its pixels go up to 255. What is the range of the images of this course?"
    if found.max() < 0.02:
        return "everything is black. Which numbers does a byte hold, and which are in an image?"
    if (found[0] - found[1]).abs().max() < 1e-6:
        return "all images come back as the same one. Which one is written to each file?"
    if _same(found, images):
        return "the images come back as they were. Does it return what was read?"
    if (found - images).abs().max() < 1.01 / 255:
        return "nothing is lost but the rounding to bytes. Which kind of file does that?"
    if (found - coarse).abs().max() < 1e-6:
        return "the quality makes no difference. Where is it used?"
    best = through(90)
    if (coarse - best).abs().mean() < 0.01:
        return "it is fine where it should be coarse. Does a high quality mean a large file?"
    if (found - best).abs().mean() > 0.01 or (coarse - through(10)).abs().mean() > 0.02:
        return (
            "JPEG of that quality gives other images. Are bytes, colours and axes in their order?"
        )
    cut_off = through(90, torch.floor)
    if abs((found - best).mean()) > 0.3 * abs((cut_off - best).mean()):
        return "the images have become darker by half a level on average. What happens to 7.9?"


@_exercise("5.2")
def _bim(answer):
    model, images, labels = _unsure_digits(60)
    epsilon, alpha, steps = 0.1, 0.03, 6
    found = _tensor(_run(answer, model, images, labels, epsilon, alpha, steps), like=images)

    def walk(signs, alpha=alpha, around=None, epsilon=epsilon, clip=True, steps=steps):
        x = images
        for _ in range(steps):
            center = x if around is None else around
            x = x + alpha * signs(x)
            x = x.clamp(center - epsilon, center + epsilon)
            x = x.clamp(0, 1) if clip else x
        return x

    def away(x):
        return _sign_gradient(model, x, labels)

    def still_read(x):
        return ~_misread(model, x, labels).view(-1, 1, 1, 1)

    start = away(images)
    if _same(found, walk(away, around=images)):
        other = _tensor(_run(answer, model, images, labels, 0.05, 0.02, 6), like=images)
        if not _same(other, walk(away, 0.02, images, 0.05)):
            return "it is right once, and wrong for other numbers. Is a number written in?"
        return
    if _same(found, images):
        return "no pixel changes. What does it return?"
    if found.abs().max() < epsilon + 1e-4:
        return "this is only the noise. What has become of the image?"
    if _outside(found):
        return "some pixels leave [0, 1]. What keeps an image in the range?"
    free = walk(away)
    if _same(found, free):
        other = _run(answer, model, images, labels, 0.02, 0.05, 6)  # a step longer than epsilon
        if (other - images).abs().max() <= 6 * 0.02 + 1e-5:
            return "each step is near the last. Around which image is the ball of radius epsilon?"
        return "some pixels change by more than epsilon. After a step, what brings them back?"
    at_the_end = free.clamp(images - epsilon, images + epsilon)
    if _same(found, at_the_end):
        return "it leaves the ball, and comes back only at the end. When is it to be kept in?"
    if _same(found, walk(lambda x: start, around=images)) or _same(
        found, (images + epsilon * start).clamp(0, 1)
    ):
        return "all steps go the same way. Of which images is each gradient?"
    if _same(found, (images + alpha * start).clamp(0, 1)) or _same(
        found, (images + min(alpha, epsilon) * away(walk(away, around=images))).clamp(0, 1)
    ):
        return "only one step is left of all. Where does the next one start?"
    if _same(found, walk(lambda x: -away(x), around=images)):
        return "the network gets surer of the true class. Does the loss go up or down?"
    if _same(found, walk(away, epsilon / steps, images)):
        return "alpha makes no difference. How long is a step?"
    if (found - images).abs().max() > epsilon + 1e-5:
        return "some pixels change by more than epsilon. What keeps them within it?"
    if _same(found, walk(lambda x: still_read(x) * away(x), around=images)):
        return "an image that fools the network moves no further. How many steps are asked for?"
    if (found - images).abs().max() < epsilon - 1e-4:
        return "no pixel moves by epsilon, though all steps together could. How long is one?"
    if any(_same(found, walk(away, around=images, steps=n)) for n in (steps - 1, steps + 1)):
        return "it is one step too few or too many. Where does the loop begin and end?"
    if not _same(found, _run(answer, model, images, labels, epsilon, alpha, steps)):
        return "two calls give other images. Where does the first step start?"
    return "these are other images than careful steps give. What does hint 1 say of each?"


@_exercise("5.3")
def _fgsm_normalised(answer):
    mean = torch.tensor([0.485, 0.456, 0.406]).view(3, 1, 1)
    std = torch.tensor([0.229, 0.224, 0.15]).view(3, 1, 1)
    images, epsilon = torch.rand(10, 3, 16, 16), 0.04
    data_grad = torch.randn_like(images)
    z = (images - mean) / std
    given = _tensor(_run(answer, z, epsilon, data_grad, mean, std), like=z)
    signs, black, white = data_grad.sign(), -mean / std, (1 - mean) / std
    calm = ((images - 0.5).abs() < 0.3) & ((z - 0.5).abs() < 0.2)  # far from any bound

    def steps(size):
        stepped = z + size * signs
        clipped = torch.maximum(torch.minimum(stepped, white), black)
        return any(_same(given, x) for x in (clipped, stepped.clamp(0, 1), stepped))

    if _same(given, (images + epsilon * signs).clamp(0, 1)):
        return "this is the picture in [0, 1]. What does the network expect?"
    if _same(given, z):
        return "no pixel changes. What does it return?"
    if steps(epsilon):
        return "the step is epsilon in normalised numbers. How many grey levels is that?"
    if steps(epsilon * std):
        return "the step has shrunk where it had to grow. Does normalising divide or multiply?"
    if steps((epsilon - mean) / std):
        return "a change is normalised like a picture. What is left of the mean in a difference?"
    if steps(epsilon / std.mean()):
        return "all three colours get the same step. Are their deviations the same?"
    if steps(-epsilon / std):
        return "the step goes down the loss. Which way does the attack go?"
    if _same(torch.minimum((given - black).abs(), (given - white).abs()), torch.zeros_like(z)):
        return "each pixel ends up black or white. Which bound takes the larger of two numbers?"
    if any(_same(given[calm], (z + size * data_grad)[calm]) for size in (epsilon, epsilon / std)):
        return "every pixel moves by another amount. Where is the sign?"
    if not _same(given[calm], (z + epsilon / std * signs)[calm]):
        return "far from black and white the step is another. In which units is epsilon?"
    pixels = given * std + mean
    if given.min() >= -1e-6 and given.max() <= 1 + 1e-6:
        return "every normalised number is in [0, 1]. Are black and white still black and white?"
    if _outside(pixels):
        return "as a picture, some pixels leave [0, 1]. What are black and white when normalised?"
    if not _same(pixels, (images + epsilon * signs).clamp(0, 1)):
        return "near black or white pixels stop too early. Where do both lie for each colour?"


# Notebook 6


@_exercise("6.1")
def _halves(answer):
    n = 1001
    result = _run(answer, n)
    if not isinstance(result, tuple | list) or len(result) != 2:
        return "two halves are wanted. What does the return give?"
    halves = [_rows(half) for half in result]
    if any(half is None for half in halves):
        return "a half has to be a row of whole numbers, those of its images. What is it here?"
    if any(len(half) and (half.min() < 0 or half.max() >= n) for half in halves):
        return "some numbers belong to no image. Which is the first, and which the last?"
    if any(half.unique().numel() == n for half in halves):
        return "one half holds all the images. Are two tensors of the same number equal in a set?"
    if any(half.unique().numel() < len(half) for half in halves):
        return "an image comes twice in the same half. Are those drawn already still in the hat?"
    if torch.isin(*halves).any():
        return "some images are in both halves. How does the second know what the first has taken?"
    if sum(map(len, halves)) < n:
        return "with 1001 images some are in neither half. Where does the second one begin and end?"
    if abs(len(halves[0]) - len(halves[1])) > 1:
        return "one of the two is clearly larger. Are these halves?"
    early, even = (halves[0] < n // 2).float().mean(), (halves[0] % 2 == 0).float().mean()
    if max(abs(early - 0.5), abs(even - 0.5)) > 0.1:
        return "an image's place decides its half. Does chance come in before the cut or after it?"
    if _rows(_run(answer, n)[0]).tolist() == halves[0].tolist():
        return "two calls give the same halves. What fixes the random numbers?"


def _rows(half):
    """``half``, a sequence of row numbers, as a tensor, or None if it is something else."""
    try:
        rows = torch.as_tensor(half).cpu()
    except (TypeError, ValueError, RuntimeError):
        return None
    whole = not (rows.is_floating_point() or rows.is_complex() or rows.dtype == torch.bool)
    return rows if whole and rows.dim() == 1 else None


def _misread(reader, images, labels):
    return reader(images).argmax(1) != labels


@_exercise("6.2")
def _transfer_table(answer):
    _, images, labels = _unsure_digits(150)
    readers = [load_mlp(), load_network("fc10_1e-4"), load_network("convolutional")]

    everyone = labels >= 0
    seen = [~_misread(reader, images, labels) for reader in readers]

    def noisy(epsilon, told=(labels,) * 3):
        pairs = zip(readers, told, strict=True)
        return [(images + epsilon * _sign_gradient(m, images, y)).clamp(0, 1) for m, y in pairs]

    def rows(attacked, among=(everyone,) * 3, truth=(labels,) * 3):
        each = list(zip(readers, among, truth, strict=True))
        errors = [[_misread(m, x, y)[a].double().mean() for m, a, y in each] for x in attacked]
        return torch.tensor(errors, dtype=torch.float64, device="cpu")

    found = _numbers(_run(answer, readers, images, labels, 0.1), 3, 3)
    right, clean = rows(noisy(0.1)), rows([images] * 3)

    def is_(other):
        return (found - other).abs().max() < 1.5 / len(images)  # rounding may turn one image

    if is_(right):
        other = _numbers(_run(answer, readers, images, labels, 0.03), 3, 3)
        if (other - rows(noisy(0.03))).abs().max() > 1.5 / len(images):
            return "it is right for one epsilon and wrong for another. Is a number written in?"
        return
    if found.max() > 1:
        return "some numbers are above 1. Are they counts or in percent, where shares are wanted?"
    if is_(right.T):
        return "rows and columns are exchanged. Whose noise is a row: one source's?"
    if is_(1 - right) or is_(1 - right.T):
        return "these are shares of images that are read *correctly*. Which share is asked for?"
    if is_(right.diag().expand(3, 3)) or is_(right.diag().expand(3, 3).T):
        return "each network reads only the noise that was made for itself. Whose gradient is it?"
    if is_(right[0].expand(3, 3)) or is_(right[2].expand(3, 3)):
        return "all rows are the same. For which network is the noise of each row made?"
    if is_(clean):
        return "so much is misread without any noise. Which images do the networks read?"
    x, added = images, []
    for source in readers:
        x = (x + 0.1 * _sign_gradient(source, x, labels)).clamp(0, 1)
        added.append(x)
    if is_(rows(added)):
        return "from row to row the noise adds up. At which images does each attack start?"
    if is_(rows(noisy(0.1), among=seen)) or is_(right - clean):
        return "what was misread without noise is taken off. Is a rate of success asked for?"
    if is_(rows(noisy(-0.1))):
        return "the networks read better than without noise. Does the loss go up or down?"
    if ((found == 0) & (right > 0.02)).any():
        return "somewhere stands a 0, as if nothing were misread. Which pairs does the loop reach?"
    says = [reader(images).argmax(1) for reader in readers]
    if is_(rows(noisy(0.1, told=says))):
        return "the noise leads away from what its source says. From which class is it to lead?"
    if is_(rows(noisy(0.1), truth=says)):
        return "each answer that changes is counted. May a wrong one become right?"
    if torch.equal(found, (10 * found).round() / 10):
        return "these numbers are rounded. Is that asked for?"
    if (found - _numbers(_run(answer, readers, images, labels, 0.1), 3, 3)).abs().max() > 0.01:
        return "two calls give other numbers. What is left to chance?"
    return "at least one number is another. What do the rows of hint 1 have in common?"


@_exercise("6.3")
def _transfer_rate(answer):
    _, images, labels = _unsure_digits(300)
    source, reader = load_network("mlp_p1"), load_network("fc10_1e-4")
    found = _number(_run(answer, source, reader, images, labels, 0.05))

    def read(epsilon, gradient_of=source):
        """Who is misread by source and by reader, before and after the noise."""
        signs = _sign_gradient(gradient_of, images, labels)
        adv_images = (images + epsilon * signs).clamp(0, 1)
        return [_misread(m, x, labels) for x in (images, adv_images) for m in (source, reader)]

    def share(hit, among):
        return ((hit & among).sum() / among.sum()).item()

    def is_(value):
        return abs(found - value) < 0.004

    source_before, reader_before, source_after, reader_after = read(0.05)
    both = ~source_before & ~reader_before
    right = share(reader_after, both & source_after)
    if is_(right):
        before, before_, fooled, followed = read(0.1)
        other = _number(_run(answer, source, reader, images, labels, 0.1))
        if abs(other - share(followed, ~before & ~before_ & fooled)) > 0.004:
            return "it is right for one epsilon and wrong for another. Is a number written in?"
        return
    if is_(100 * right):
        return "this is more than 1. Is it in percent, where a share is wanted?"
    if is_(right * (both & source_after).sum().item()):
        return "this is a number of images. By how many is it to be divided?"
    if is_(1 - right):
        return "this is the share that the reader still gets right. Which is asked for?"
    if is_(share(reader_after & source_after & both, both | True)):
        return "this is a share of *all* images. Of which ones is it asked?"
    if is_(share(reader_after, both)) or is_(share(reader_after & source_after, both)):
        return "where the noise fails at its source, it counts too. Can such noise carry over?"
    if is_(share(reader_after, both | True)) or is_(share(reader_after, source_after)):
        return "what was misread without noise counts as a success. Which images are left out?"
    if is_(share(reader_after, ~source_before & source_after)):
        return "images that the reader misreads without noise count. Has the noise fooled it there?"
    if is_(share(reader_after, ~reader_before & source_after)) or is_(
        share(reader_after, ~reader_before)
    ):
        return "images that the source misreads without noise count. What did the noise do there?"
    _, _, back, own = read(0.05, reader)
    if is_(share(own, both & back)) or is_(share(own, both)) or is_(share(back, both & own)):
        return "the noise was made for the reader. Which of the two networks does an attacker know?"
    if is_(share(source_after, both & reader_after)):
        return "this is the share of what fools the reader that fools the source. Which is first?"
    errors = [misread.float().mean().item() for misread in (source_after, reader_after)]
    if is_(errors[1] / errors[0]) or is_(errors[0] * errors[1]):
        return "two shares are set against each other. Must not the same image fool both?"
    return "the share is another. Who has to read what, before and after, by hint 1?"


# Notebook 7


def _small_network():
    return nn.Sequential(nn.Flatten(), nn.Linear(784, 20), nn.Tanh(), nn.Linear(20, 10))


@_exercise("7.1")
def _adversarial_epoch(answer):
    start = _small_network()
    images, labels = torch.rand(288, 1, 28, 28), torch.randint(0, 10, (288,))

    def epoch(train):
        """The weights after ``train(model, optimizer)``, and what that gives."""
        model = deepcopy(start)
        given = train(model, torch.optim.SGD(model.parameters(), lr=0.3))
        return nn.utils.parameters_to_vector(model.parameters()).detach(), given

    def fgsm(model, x, y, epsilon=0.1, clip=True):
        adv_images = x + epsilon * _sign_gradient(model, x, y)
        return adv_images.clamp(0, 1) if clip else adv_images

    def recipe(attack=fgsm, loss=F.cross_entropy, clean=0, attacked=1, size=64, end=288, zero=True):
        """An epoch as asked for, or with one thing done otherwise; gives its losses."""

        def train(model, optimizer):
            losses = []
            for x, y in zip(images[:end].split(size), labels[:end].split(size), strict=True):
                if zero:
                    optimizer.zero_grad()
                each = attacked * loss(model(attack(model, x, y)), y)
                each = each + clean * F.cross_entropy(model(x), y)
                each.backward()
                optimizer.step()
                losses.append(each.item())
            return losses

        return epoch(train)

    def run(epsilon):
        return epoch(lambda m, o: _number(_run(answer, m, o, images, labels, epsilon)))

    found, number = run(0.1)
    right, losses = recipe()
    before = nn.utils.parameters_to_vector(start.parameters()).detach()
    scale = (right - before).norm()

    def is_(*changes, **options):
        return (found - recipe(*changes, **options)[0]).norm() < 0.02 * scale

    if is_():
        wanted, _ = recipe(lambda *batch: fgsm(*batch, epsilon=0.03))
        if (run(0.03)[0] - wanted).norm() > 0.02 * scale:
            return "it is right for one epsilon and wrong for another. Is a number written in?"
        means = np.mean(losses), np.average(losses, weights=[64, 64, 64, 64, 32])
        if min(abs(number - mean) for mean in means) > 2e-3:
            return "the training is right, but the number is not the mean loss. Of which batches?"
        return
    if torch.equal(found, before):
        return "no weight has changed. Which line makes the step, and has it a gradient then?"
    if is_(clean=1, attacked=0):
        return "the network has seen clean images only. Which ones does the loss read?"
    if is_(clean=0.5, attacked=0.5):
        return "half of the loss is of clean images, as Goodfellow has it. Which half is left out?"
    if is_(lambda _, x, y: fgsm(start, x, y)) or is_(lambda _, x, y: fgsm(load_mlp(), x, y)):
        return "the noise is made for a network that stays as it is. Whose gradient is needed?"
    if is_(lambda *batch: fgsm(*batch, epsilon=-0.1)):
        return "the noise makes the images easier to read. Does the attack go up the loss or down?"
    if is_(clean=1) or is_(clean=64):
        return "the weights also follow the gradient of the attack. When is it cleared away?"
    if is_(zero=False):
        return "from batch to batch the gradients add up. Which line starts afresh?"
    if is_(lambda model, x, y: fgsm(model, x, model(x).argmax(1))):
        return "misread images are attacked otherwise. Away from the true class, or from the guess?"
    if is_(lambda *batch: fgsm(*batch, clip=False)):
        return "it is trained on pixels below 0 and above 1. What keeps an image in the range?"
    if is_(loss=lambda logits, y: F.cross_entropy(logits, y, reduction="sum")):
        return "the steps are dozens of times too long. Is the loss of a batch its sum or its mean?"
    if is_(size=288) or is_(size=32):
        return "the steps are made with batches of another size. How many images are in one?"
    if is_(end=256) or is_(end=64):
        return "a batch or more is missing. Where does the loop end, and the function?"
    return "the weights end elsewhere. Which step of hint 1 is done otherwise, or twice?"


@_exercise("7.2")
def _leak(answer):
    # Its scores are absolute values, so that a step down one may lead far up on the other side.
    slopes = torch.randn(10, 784) / 28
    model = nn.Sequential(nn.Flatten(), nn.Linear(784, 20), nn.ReLU(), nn.Linear(20, 10))
    model[1].weight.data = torch.cat([slopes, -slopes])
    model[1].bias.data = -model[1].weight.data.sum(1) / 2
    model[3].weight.data = torch.eye(10).repeat(1, 2)
    images, epsilon = torch.rand(80, 1, 28, 28), 0.06
    says = model(images).argmax(1)
    labels = torch.where(torch.arange(80) % 4 == 0, (says + 1) % 10, says)
    found = _number(_run(answer, model, images, labels, epsilon))

    def hits(lie, sign=1, shown=None):
        """Who says ``shown`` after a step away from ``lie``, for the offset of one or both."""
        away = sign * _sign_gradient(model, images, (labels + lie) % 10)
        answers = model((images + epsilon * away).clamp(0, 1)).argmax(1)
        return answers == (labels + (lie if shown is None else shown)) % 10

    right = says == labels

    def share(rows, among=right):
        return torch.stack(rows)[:, among].float().mean().item()

    def is_(value):
        return abs(found - value) < 0.001

    wrong = range(1, 10)
    lies = [hits(k) for k in wrong]
    wanted = share(lies)
    if is_(wanted):
        return
    if found == _number(_run(answer, model, images, labels, epsilon / 2)):
        return "for two epsilons the share is the same. Is a number written in?"
    if is_(100 * wanted):
        return "is this in percent? A share from 0 to 1 is wanted."
    if is_(9 * wanted) or is_(0.9 * wanted):
        return "the shares of the nine lies are added up. What is their mean?"
    if found > 1:
        return "this is more than 1. Is it a number of lies, where a share is wanted?"
    everybody = torch.ones_like(right)
    if is_(share(lies, everybody)):
        return "images that are misread without noise are counted too. Which ones are left out?"
    if is_(sum(hit[right].sum() for hit in lies).item() / (9 * len(images))):
        return "it is divided by all images. Among how many is the lie to be believed?"
    if is_(share([hits(k) for k in range(10)])) or is_(
        share([hits(k) for k in range(10)], everybody)
    ):
        return "one of the lies is the truth. How many wrong classes are there for an image?"
    if is_(share([hits(k, -1) for k in wrong])) or is_(
        share([hits(k, -1) for k in wrong], everybody)
    ):
        return "the noise leads *to* the lie. Which way does FGSM go from the class it is told?"
    if is_(share([hits(0, shown=k) for k in wrong])):
        return "the attack is told the truth. Which label does it get?"
    if is_(share([~hits(k, shown=0) for k in wrong])):
        return "every mistake counts. What must the network say for the lie to be believed?"
    if is_(share([hits(k, shown=0) for k in wrong])):
        return "this is how often it still says the truth. What is it to say here?"
    if any(is_(share([hits(k)])) for k in wrong):
        return "this is the share for a single lie. Which others could the attack be told?"
    return "the share is another. Which three classes does hint 1 tell apart?"


@_exercise("7.3")
def _worst_case(answer):
    # A network that says which of the first ten pixels is brightest. The next four say which
    # attempts reach an image: these switch the pixel of the class after the true one.
    model = nn.Sequential(nn.Flatten(), nn.Linear(784, 10, bias=False))
    model[1].weight.data = torch.eye(10, 784)
    labels = torch.arange(40) % 10
    flat = 0.5 * F.one_hot(labels, 784).float()
    misread = torch.arange(40) % 8 == 0
    flat[misread, (labels[misread] + 1) % 10] = 1
    flat[:, 10:14] = (torch.rand(40, 4) < torch.tensor([0.3, 0.5, 0.2, 0.25])).float()
    flat[0, 10:14], flat[1, 10:14] = 1, 1  # in the first the misread is healed by all
    images = flat.view(40, 1, 28, 28)

    def attempt(k):
        def attack(model, images, labels):
            rows = images.flatten(1).clone()
            pixel = (labels + 1)[:, None] % 10
            reached = rows[:, 10 + k : 11 + k] > 0.5
            before = rows.gather(1, pixel)
            rows.scatter_(1, pixel, torch.where(reached, 1 - before, before))
            return rows.view(images.shape)

        return attack

    attempts = [attempt(k) for k in range(4)]
    found = _number(_run(answer, model, images, labels, attempts))

    def reads(x):
        return model(x).argmax(1) == labels

    def share(rows):
        return rows.float().mean().item()

    def is_(value):
        return abs(found - value) < 1e-4

    clean, survived = (
        reads(images),
        torch.stack([reads(a(model, images, labels)) for a in attempts]),
    )
    each, after_all = survived.float().mean(1), survived.all(0)
    right = share(after_all & clean)
    if is_(right):
        return
    if is_(40 * right) or is_(100 * right):
        return "this is no share from 0 to 1. Is it a number of images, or in percent?"
    if is_(1 - right):
        return "this is the share that is lost. Which one is asked for?"
    if is_(share(after_all)):
        return "an image that is misread without any noise is counted. Is doing nothing an attempt?"
    if is_(each.min().item()) or is_(min(each.min().item(), share(clean))):
        return "this is the best single attempt. May another image fall to another attempt?"
    if is_(each.mean().item()) or is_((each.sum().item() + share(clean)) / 5):
        return "this is the attempts' average. How many must fool an image for it to be lost?"
    if is_(each.prod().item()) or is_(each.prod().item() * share(clean)):
        return "the attempts' shares are multiplied. Do they fool independently of each other?"
    if (
        is_(share(survived.any(0)))
        or is_(share(survived.any(0) & clean))
        or is_(share(survived.any(0) | clean))
    ):
        return "an image counts that survives a single attempt. How many must it survive?"
    if is_(each[-1].item()) or is_(share(survived[-1] & clean)):
        return "only the last attempt counts. What keeps those before it?"
    if is_(each[0].item()) or is_(share(survived[0] & clean)):
        return "only the first attempt counts. Where does the loop end?"
    x, kept = images, clean
    for attack in attempts:
        x = attack(model, x, labels)
        kept = kept & reads(x)
    if is_(share(reads(x))) or is_(share(kept)):
        return "each attempt begins where the last one ended. With which images is it to begin?"
    if is_(right / share(clean)):
        return "this is a share of the images read without noise. Of how many is it asked?"
    if is_(share(clean)):
        return "this is the share read without noise. What do the attempts return?"
    return "the share is another. Which question of hint 1 is asked for each image?"
