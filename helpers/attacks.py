"""Attacks: from a model, images and labels to images that it gets wrong.

Every function takes any module whose output is logits or log-probabilities (cross-entropy is the
same on both) and images in [0, 1]; it leaves the weights' gradients, the images and the model's
mode as it found them.
"""

import math

import torch
import torch.nn.functional as F

from helpers.data import check_images, check_labels
from helpers.models import check_logits, check_model, eval_mode


def input_gradient(model, images, labels):
    """The gradient of the loss with respect to the pixels: which way, and how much, each counts.

    It does not depend on epsilon, so one gradient serves every epsilon of a sweep.

    Args:
        model: maps (N, C, H, W) in [0, 1] to logits or log-probabilities (N, K).
        images: (N, C, H, W) in [0, 1].
        labels: (N,) int64 in 0..K-1.

    Returns:
        ``data_grad`` of the images' shape: the gradient of cross-entropy *summed* over the batch,
        so that an image's gradient does not depend on the others beside it.

    Raises:
        TypeError, ValueError: images or labels of the wrong type, shape, range or device, or a
            model whose output or gradient is not a finite (N, K).
    """
    return gradient_and_logits(model, images, labels)[0]


def gradient_and_logits(model, images, labels):
    """:func:`input_gradient`, and the logits that its forward pass computed on the way."""
    check_images(images)
    check_labels(labels, images)
    check_model(model, images)
    images = images.detach().requires_grad_()
    with eval_mode(model), torch.enable_grad():
        logits = model(images)
        check_logits(logits, labels)
        loss = F.cross_entropy(logits, labels, reduction="sum")
        (data_grad,) = torch.autograd.grad(loss, images)
    if not data_grad.isfinite().all():
        raise ValueError("the model's gradient is not finite: are its weights?")
    return data_grad, logits.detach()


def fgsm(images, epsilon, data_grad):
    """The fast gradient sign method's step: every pixel moves by epsilon along its gradient's sign.

    Args:
        images: (N, C, H, W) in [0, 1].
        epsilon: the L-infinity radius in pixel units, at least 0; a number, or a tensor of shape
            (N,) with one for each image.
        data_grad: of the images' shape, from :func:`input_gradient`.

    Returns:
        ``adv_images`` of the images' shape, in [0, 1]; epsilon 0 gives the images themselves.

    Raises:
        TypeError, ValueError: an epsilon that is negative or no number, images outside [0, 1],
            or a gradient of another shape.

    Source: Goodfellow, Shlens and Szegedy 2014 (arXiv 1412.6572).
    """
    check_images(images)
    epsilon = _check_epsilon(epsilon, images)
    if data_grad.shape != images.shape:
        raise ValueError(
            f"data_grad must have the images' shape {tuple(images.shape)}, "
            f"got {tuple(data_grad.shape)}"
        )
    return (images + epsilon * data_grad.sign()).clamp(0, 1).detach()


def fgsm_attack(model, images, labels, epsilon, *, targeted=False):
    """The whole fast gradient sign method: away from the labels, or towards them.

    Args:
        model, images, labels: as in :func:`input_gradient`.
        epsilon: as in :func:`fgsm`.
        targeted: descend the loss instead of climbing it; ``labels`` are then the targets.

    Returns:
        ``adv_images`` as :func:`fgsm`.
    """
    _check_epsilon(epsilon, images)  # before the expensive step
    data_grad = input_gradient(model, images, labels)
    return fgsm(images, epsilon, -data_grad if targeted else data_grad)


def optimize_noise(model, images, targets, *, c, lr=0.008, steps=1000):
    """Optimise the noise itself by gradient descent until the model sees the targets.

    Minimises ``c * sum(noise ** 2) + cross_entropy(model(images + noise), targets)`` for each
    image, clamps ``images + noise`` to [0, 1] after every step, and stops an image as soon as its
    target is predicted.

    Args:
        model: maps (N, C, H, W) in [0, 1] to logits or log-probabilities (N, K).
        images: (N, C, H, W) in [0, 1].
        targets: (N,) int64 in 0..K-1, the classes to be predicted.
        c: the weight of the penalty on the noise, at least 0; a number, or a tensor of shape (N,).
        lr: the step size.
        steps: the most steps an image gets.

    Returns:
        ``noise`` of the images' shape, with ``images + noise`` in [0, 1]. Where the target was not
        reached, it is the noise after the last step.

    Raises:
        TypeError, ValueError: as :func:`input_gradient`; c, lr or steps out of range.

    Source: the problem is that of Szegedy et al. 2013 (arXiv 1312.6199); solving it by plain
    gradient descent is method 1 of akshaychawla's "Adversarial Examples".
    """
    check_images(images)
    check_labels(targets, images, "targets")
    check_model(model, images)
    c = _check_number(c, images, "c")
    if not lr > 0 or steps < 1:
        raise ValueError(f"lr must be positive and steps at least 1, got {lr} and {steps}")
    images = images.detach()
    noise = torch.zeros_like(images)
    active = torch.arange(len(images), device=images.device)  # images still on their way
    with eval_mode(model), torch.enable_grad():
        for _ in range(steps):
            x, r = images[active], noise[active].requires_grad_()
            logits = model(x + r)
            check_logits(logits, targets, "targets")
            missed = logits.argmax(1) != targets[active]
            penalty = (c if isinstance(c, float) else c[active]) * r.square()
            loss = F.cross_entropy(logits, targets[active], reduction="sum") + penalty.sum()
            (gradient,) = torch.autograd.grad(loss, r)
            active = active[missed]
            if not len(active):
                break
            stepped = (x + r - lr * gradient)[missed].detach().clamp(0, 1)
            noise[active] = stepped - x[missed]
    return noise


def _check_epsilon(epsilon, images):
    return _check_number(epsilon, images, "epsilon")


def _check_number(value, images, name):
    """``value`` as a float, or as one number per image that broadcasts over its pixels."""
    if isinstance(value, torch.Tensor) and value.dim():
        if value.shape != images.shape[:1]:
            raise ValueError(
                f"{name} must be a number or have shape ({len(images)},), got {tuple(value.shape)}"
            )
        if not ((value >= 0) & value.isfinite()).all():
            raise ValueError(f"{name} must be finite and not negative, got {value.tolist()}")
        return value.view(-1, 1, 1, 1)
    value = float(value)
    if not (math.isfinite(value) and value >= 0):
        raise ValueError(f"{name} must be finite and not negative, got {value}")
    return value
