"""How well a model does, and how little it takes to fool it: tensors in, numbers out.

``model`` maps images (N, C, H, W) in [0, 1] to logits or log-probabilities (N, K); ``labels`` are
(N,) int64 in 0..K-1. What does not fit, and a batch without images, raises TypeError or ValueError.
"""

import torch

from helpers.attacks import BATCH_SIZE, gradient_and_logits, sign_step
from helpers.checks import check_batch, check_direction, check_inputs, check_logits, check_numbers
from helpers.models import eval_mode

HALVINGS = 10  # of the interval from 0 to 1 in which the least epsilon lies


def probabilities(model, images):
    """The class probabilities (N, K) that ``model`` gives to the images."""
    check_inputs(model, images, empty=True)
    return torch.cat([_logits(model, batch).softmax(1) for batch in images.split(BATCH_SIZE)])


def accuracy(model, images, labels):
    """The share of the images, clean or adversarial, that get their label, from 0 to 1."""
    check_batch(model, images, labels)
    predictions = [_logits(model, *batch).argmax(1) for batch in _batches(images, labels)]
    return (torch.cat(predictions) == labels).float().mean().item()


def epsilon_sweep(model, images, labels, epsilons, *, data_grad=None):
    """The accuracies, from 0 to 1, under FGSM at a list of L-infinity radii in pixel units.

    One gradient serves them all, or the ``data_grad`` that is given: ``torch.randn_like(images)``
    is random noise of the same size. What is misclassified from the start counts as misclassified.
    """
    check_batch(model, images, labels)
    if data_grad is not None:
        check_direction(data_grad, images)
    epsilons = check_numbers(epsilons, "epsilons")
    directions = [None] * len(images) if data_grad is None else data_grad.split(BATCH_SIZE)
    correct = [0] * len(epsilons)
    for (batch, batch_labels), direction in zip(_batches(images, labels), directions, strict=False):
        logits = {}  # by epsilon; at 0 they come from the gradient's own pass
        if direction is None:
            direction, logits[0] = gradient_and_logits(model, batch, batch_labels)
        signs = direction.sign()
        for i, epsilon in enumerate(epsilons):
            if epsilon not in logits:
                logits[epsilon] = _logits(model, sign_step(batch, epsilon, signs), batch_labels)
            correct[i] += (logits[epsilon].argmax(1) == batch_labels).sum().item()
    return [count / len(images) for count in correct]


def minimal_epsilon(model, images, labels):
    """The least epsilon (N,) at which FGSM changes each image's prediction, by bisection.

    It is at most 1/1024 above one that does not; 0 where the clean image is misclassified, inf
    where epsilon 1 does not fool the model. Success need not be monotone in epsilon: a smaller one
    may exist, and what is right again at 1 counts as never fooled.
    """
    check_batch(model, images, labels)
    if len(images) > BATCH_SIZE:
        return torch.cat([minimal_epsilon(model, *batch) for batch in _batches(images, labels)])
    data_grad, clean_logits = gradient_and_logits(model, images, labels)
    signs = data_grad.sign()

    def fooled(epsilon):
        adv_images = sign_step(images, epsilon.view(-1, 1, 1, 1), signs)
        return _logits(model, adv_images).argmax(1) != labels

    low, high = images.new_zeros(len(images)), images.new_ones(len(images))
    never = ~fooled(high)
    for _ in range(HALVINGS):
        middle = (low + high) / 2
        success = fooled(middle)
        high = torch.where(success, middle, high)
        low = torch.where(success, low, middle)
    return high.masked_fill(never, torch.inf).masked_fill(clean_logits.argmax(1) != labels, 0)


def distortion(noise):
    """The size of each image's noise (N, C, H, W): the root of the mean of its squares, shape (N,).

    In pixel units, from 0 to 1. Source: Szegedy et al. 2013 (arXiv 1312.6199), section 4.1.
    """
    if noise.dim() != 4:
        raise ValueError(f"noise must have shape (N, C, H, W), got {tuple(noise.shape)}")
    return noise.square().mean(dim=(1, 2, 3)).sqrt()


def _batches(*tensors):
    return zip(*(tensor.split(BATCH_SIZE) for tensor in tensors), strict=True)


def _logits(model, images, labels=None):
    with eval_mode(model), torch.no_grad():
        logits = model(images)
        check_logits(logits, images, labels)
    return logits
