"""Attacks: from a model, images and labels to images that it gets wrong.

Every function takes any module whose output is logits or log-probabilities (cross-entropy is the
same on both) and images in [0, 1]; it leaves the weights' gradients, the images and the model's
mode as it found them.
"""

import math
import numbers

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
    if not len(images):  # not every model can take an empty batch
        return torch.zeros_like(images), images.new_zeros(0, 1)
    images = images.detach().requires_grad_()
    with eval_mode(model), torch.enable_grad():
        logits = model(images)
        check_logits(logits, labels)
        loss = _cross_entropy(logits, labels)
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
    epsilon = check_number(epsilon, images, "epsilon")
    check_direction(data_grad, images)
    return sign_step(images, epsilon, data_grad.sign().to(images.dtype))


def sign_step(images, epsilon, signs):
    """The step of :func:`fgsm` without its checks, for loops over many epsilons."""
    return (images + epsilon * signs).clamp(0, 1).detach()


def fgsm_attack(model, images, labels, epsilon, *, targeted=False):
    """The whole fast gradient sign method: away from the labels, or towards them.

    Args:
        model, images, labels: as in :func:`input_gradient`.
        epsilon: as in :func:`fgsm`.
        targeted: descend the loss instead of climbing it; ``labels`` are then the targets.

    Returns:
        ``adv_images`` as :func:`fgsm`.
    """
    check_images(images)
    check_number(epsilon, images, "epsilon")  # before the expensive step
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
    c = check_number(c, images, "c")
    if not lr > 0 or steps < 1:
        raise ValueError(f"lr must be positive and steps at least 1, got {lr} and {steps}")
    images = images.detach()
    noise = torch.zeros_like(images)
    active = torch.arange(len(images), device=images.device)  # images still on their way
    with eval_mode(model), torch.enable_grad():
        for _ in range(steps):
            if not len(active):
                break
            x, r = images[active], noise[active].requires_grad_()
            logits = model(x + r)
            check_logits(logits, targets, "targets")
            missed = logits.argmax(1) != targets[active]
            penalty = (c if isinstance(c, float) else c[active]) * r.square()
            loss = _cross_entropy(logits, targets[active]) + penalty.sum()
            (gradient,) = torch.autograd.grad(loss, r)
            active = active[missed]
            stepped = (x + r - lr * gradient)[missed].detach().clamp(0, 1)
            noise[active] = stepped - x[missed]
    return noise


def check_direction(data_grad, images):
    """Raise TypeError or ValueError unless ``data_grad`` is a tensor that fits ``images``."""
    if not isinstance(data_grad, torch.Tensor):
        raise TypeError(f"data_grad must be a tensor, got {type(data_grad).__name__}")
    if data_grad.shape != images.shape:
        raise ValueError(
            f"data_grad must have the images' shape {tuple(images.shape)}, "
            f"got {tuple(data_grad.shape)}"
        )
    if data_grad.isnan().any():
        raise ValueError("data_grad must not hold NaN")


def _cross_entropy(logits, labels):
    """Cross-entropy summed over the batch, exact also where the model is very sure.

    Where a probability rounds to 1, its pull on the gradient, p - 1, would round to 0. Normalising
    twice changes no value, but recovers that pull from the other classes.
    """
    return F.cross_entropy(logits.log_softmax(1), labels, reduction="sum")


def check_number(value, images, name):
    """``value`` as a float, or as one number per image that broadcasts over its pixels."""
    if isinstance(value, torch.Tensor) and value.dim():
        if value.shape != images.shape[:1]:
            raise ValueError(
                f"{name} must be a number or have shape ({len(images)},), got {tuple(value.shape)}"
            )
        if not ((value >= 0) & value.isfinite()).all():
            raise ValueError(f"{name} must be finite and not negative, got {value.tolist()}")
        return value.to(images).view(-1, 1, 1, 1)
    if not isinstance(value, (numbers.Real, torch.Tensor)):
        raise TypeError(f"{name} must be a number, got {value!r}")
    value = float(value)
    if not (math.isfinite(value) and value >= 0):
        raise ValueError(f"{name} must be finite and not negative, got {value}")
    return value
