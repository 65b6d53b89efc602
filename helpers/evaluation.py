"""How well a model does, and how little it takes to fool it: tensors in, numbers out."""

import math

import torch

from helpers.attacks import gradient_and_logits, sign_step
from helpers.checks import (
    check_batch,
    check_direction,
    check_images,
    check_logits,
    check_model,
    check_not_empty,
    check_numbers,
)
from helpers.models import eval_mode

BATCH_SIZE = 500  # bounds the memory; no result depends on it


def probabilities(model, images, *, batch_size=BATCH_SIZE):
    """The class probabilities (N, K) that ``model`` gives to images (N, C, H, W) in [0, 1].

    Raises TypeError or ValueError for images of the wrong type, shape, range or device, and for a
    model whose output is not (N, K) or not finite.
    """
    check_images(images)
    check_model(model, images)
    return torch.cat([_forward(model, batch).softmax(1) for batch in images.split(batch_size)])


def accuracy(model, images, labels, *, batch_size=BATCH_SIZE):
    """The share of the images to which ``model`` gives their label, from 0 to 1.

    Args:
        model: maps (N, C, H, W) in [0, 1] to logits or log-probabilities (N, K).
        images: (N, C, H, W) in [0, 1], clean or adversarial alike.
        labels: (N,) int64 in 0..K-1.
        batch_size: how many images go through the model at once.

    Raises:
        TypeError, ValueError: images or labels of the wrong type, shape, range or device, or none;
            a model whose output is not (N, K) or not finite; a batch size below 1.
    """
    _check(model, images, labels, batch_size)
    batches = zip(images.split(batch_size), labels.split(batch_size), strict=True)
    predictions = torch.cat([_forward(model, *batch).argmax(1) for batch in batches])
    return (predictions == labels).float().mean().item()


def epsilon_sweep(model, images, labels, epsilons, *, data_grad=None, batch_size=BATCH_SIZE):
    """The accuracy under FGSM at every epsilon: one gradient serves them all.

    Args:
        model, images, labels, batch_size: as in :func:`accuracy`.
        epsilons: L-infinity radii in pixel units, a list of numbers.
        data_grad: walk along these signs instead of the model's gradient, for instance
            ``torch.randn_like(images)`` for random noise of the same size.

    Returns:
        A list of accuracies from 0 to 1, one for each epsilon. Images that are misclassified from
        the start count as misclassified.

    Raises:
        As :func:`accuracy` and :func:`helpers.attacks.fgsm`.
    """
    _check(model, images, labels, batch_size)
    if data_grad is not None:
        check_direction(data_grad, images)
    epsilons = check_numbers(epsilons, "epsilons")
    correct = [0] * len(epsilons)
    for start in range(0, len(images), batch_size):
        part = slice(start, start + batch_size)
        batch, batch_labels = images[part], labels[part]
        if data_grad is None:
            batch_grad, clean_logits = gradient_and_logits(model, batch, batch_labels)
        else:
            batch_grad, clean_logits = data_grad[part], None
        signs = batch_grad.sign().to(images.dtype)
        for i, epsilon in enumerate(epsilons):
            if epsilon == 0 and clean_logits is not None:
                logits = clean_logits
            else:
                logits = _forward(model, sign_step(batch, epsilon, signs), batch_labels)
            correct[i] += (logits.argmax(1) == batch_labels).sum().item()
    return [count / len(images) for count in correct]


def minimal_epsilon(
    model, images, labels, *, epsilon_max=1.0, precision=1 / 1024, batch_size=BATCH_SIZE
):
    """The least epsilon at which FGSM changes each image's prediction, by bisection.

    A bisection finds *a* place where the prediction flips. Success need not be monotone in epsilon,
    so a smaller one may exist, and an image that is right again at ``epsilon_max`` counts as never
    fooled.

    Args:
        model, images, labels, batch_size: as in :func:`accuracy`.
        epsilon_max: the largest epsilon that is tried.
        precision: the width of the interval at which the search ends.

    Returns:
        (N,) float: an epsilon that fools the model, at most ``precision`` above one that does not;
        0 where the clean image is misclassified, inf where ``epsilon_max`` does not fool it.

    Raises:
        As :func:`accuracy`; ValueError unless 0 < precision <= epsilon_max < inf.
    """
    if not 0 < precision <= epsilon_max < math.inf:
        raise ValueError(
            "precision must be above 0 and at most epsilon_max, which must be finite, "
            f"got {precision} and {epsilon_max}"
        )
    _check(model, images, labels, batch_size)
    batches = zip(images.split(batch_size), labels.split(batch_size), strict=True)
    return torch.cat([_bisect(model, *batch, epsilon_max, precision) for batch in batches])


def distortion(noise):
    """The size of each image's noise (N, C, H, W): the root of the mean of its squares, shape (N,).

    In pixel units, from 0 to 1. Raises ValueError unless noise has four dimensions.

    Source: Szegedy et al. 2013 (arXiv 1312.6199), section 4.1.
    """
    if noise.dim() != 4:
        raise ValueError(f"noise must have shape (N, C, H, W), got {tuple(noise.shape)}")
    return noise.square().mean(dim=(1, 2, 3)).sqrt()


def _check(model, images, labels, batch_size):
    check_not_empty(images)
    check_batch(model, images, labels)
    if batch_size < 1:
        raise ValueError(f"batch_size must be at least 1, got {batch_size}")


def _forward(model, images, labels=None):
    with eval_mode(model), torch.no_grad():
        logits = model(images)
    check_logits(logits, images, labels)
    return logits


def _bisect(model, images, labels, epsilon_max, precision):
    data_grad, clean_logits = gradient_and_logits(model, images, labels)
    signs = data_grad.sign()

    def fooled(epsilon):
        adv_images = sign_step(images, epsilon.view(-1, 1, 1, 1), signs)
        return _forward(model, adv_images).argmax(1) != labels

    low = images.new_zeros(len(images))
    high = torch.full_like(low, epsilon_max)
    never = ~fooled(high)
    for _ in range(math.ceil(math.log2(epsilon_max / precision))):
        middle = (low + high) / 2
        success = fooled(middle)
        high = torch.where(success, middle, high)
        low = torch.where(success, low, middle)
    misclassified = clean_logits.argmax(1) != labels
    return high.masked_fill(never, torch.inf).masked_fill(misclassified, 0)
