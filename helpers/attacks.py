"""Attacks: from a model, images and labels to images that it gets wrong.

Every function takes any module whose output is logits or log-probabilities (cross-entropy is the
same on both) and images in [0, 1]; it leaves the weights' gradients, the images and the model's
mode as it found them.
"""

import contextlib
import math
import sys
from collections import deque

import torch
import torch.nn.functional as F
from tqdm import tqdm

from helpers.checks import (
    check_batch,
    check_differentiable,
    check_direction,
    check_gradient,
    check_images,
    check_logits,
    check_per_image,
)
from helpers.models import eval_mode

_SURE = 1e-3  # by how much a target must win: more than rounding, too little to be seen


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
            model whose output is not (N, K) or not finite, or that gives no finite gradient.
    """
    return gradient_and_logits(model, images, labels)[0]


def gradient_and_logits(model, images, labels):
    """:func:`input_gradient`, and the logits that its forward pass computed on the way."""
    check_batch(model, images, labels)
    if not len(images):  # not every model can take an empty batch
        return torch.zeros_like(images), images.new_zeros(0, 1)
    images = images.detach().requires_grad_()
    with eval_mode(model), torch.enable_grad():
        logits = model(images)
        check_logits(logits, images, labels)
        check_differentiable(logits)
        loss = _cross_entropy(logits, labels)
        (data_grad,) = torch.autograd.grad(loss, images)
    check_gradient(data_grad)
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
        TypeError, ValueError: an epsilon that is negative or not a number, images outside [0, 1],
            or a gradient of another shape or with NaN.

    Source: Goodfellow, Shlens and Szegedy 2014 (arXiv 1412.6572).
    """
    check_images(images)
    epsilon = check_per_image(epsilon, images, "epsilon")
    check_direction(data_grad, images)
    return sign_step(images, epsilon, data_grad.sign().to(images.dtype))


def sign_step(images, epsilon, signs):
    """The step of :func:`fgsm` without its checks, for loops over many epsilons."""
    return (epsilon * signs).add_(images).clamp_(0, 1).detach()


def fgsm_attack(model, images, labels, epsilon, *, targeted=False):
    """The whole fast gradient sign method: away from the labels, or towards them.

    Args:
        model, images, labels: as in :func:`input_gradient`.
        epsilon: as in :func:`fgsm`.
        targeted: descend the loss instead of climbing it; ``labels`` are then the targets.

    Returns:
        ``adv_images`` as :func:`fgsm`.

    Raises:
        TypeError, ValueError: as :func:`input_gradient` and :func:`fgsm`.
    """
    check_images(images)
    check_per_image(epsilon, images, "epsilon")  # before the expensive step
    data_grad = input_gradient(model, images, labels)
    return fgsm(images, epsilon, -data_grad if targeted else data_grad)


def optimize_noise(model, images, targets, *, c, lr=0.008, steps=1000, start=None):
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
        start: the noise to go on from, of the images' shape, as an earlier call returned it.

    Returns:
        ``noise`` of the images' shape, with ``images + noise`` in [0, 1]. Where the target was not
        reached, it is the noise after the last step.

    Raises:
        TypeError, ValueError: as :func:`input_gradient`; c, lr, steps or start out of range.

    Source: the problem is that of Szegedy et al. 2013 (arXiv 1312.6199); solving it by plain
    gradient descent is method 1 of akshaychawla's "Adversarial Examples".
    """
    check_batch(model, images, targets, "targets")
    c = check_per_image(c, images, "c")
    if not lr > 0 or steps < 1:
        raise ValueError(f"lr must be positive and steps at least 1, got {lr} and {steps}")
    images = images.detach()
    noise = torch.zeros_like(images)
    if start is not None:
        check_direction(start, images, "start")
        noise += start.detach()
        check_images(images + noise, "images + start")
    active = torch.arange(len(images), device=images.device)  # images still on their way
    with eval_mode(model), torch.enable_grad():
        for _ in range(steps):
            if not len(active):
                break
            x, r = images[active], noise[active].requires_grad_()
            logits = model(x + r)
            check_logits(logits, x, targets[active], "targets")
            check_differentiable(logits)
            missed = logits.argmax(1) != targets[active]
            penalty = (c if isinstance(c, float) else c[active]) * r.square()
            loss = _cross_entropy(logits, targets[active]) + penalty.sum()
            (gradient,) = torch.autograd.grad(loss, r)
            check_gradient(gradient)
            active = active[missed]
            stepped = (x + r - lr * gradient)[missed].detach().clamp(0, 1)
            noise[active] = stepped - x[missed]
    return noise


def lbfgs_noise(
    model, images, targets, *,
    precision=0.005, tolerance=0.003, steps=300, memory=8, batch_size=500, progress=True,
):  # fmt: skip
    """The least noise that makes ``model`` see ``targets``, by the method of Szegedy et al.

    Minimises ``c * |noise|^2 + cross_entropy(model(images + noise), targets)`` with
    ``images + noise`` in [0, 1], for the largest ``c`` whose minimiser is still classified as the
    target. Every image has its own ``c``. (The paper writes c|r|; the square is smooth at 0.
    Its text asks for the least ``c``; what gives the least noise is the largest that succeeds.)

    Args:
        model, images, targets: as in :func:`optimize_noise`.
        precision: how closely the largest ``c`` is found; 0.01 is one per cent.
        tolerance: L-BFGS has converged when a step changes the objective by less than this share
            (by less than a tenth of it when the target is about to win or lose).
        steps: how many evaluations of the model an image may cost, over all its ``c``.
        memory: how many steps L-BFGS remembers.
        batch_size: how many images are worked on at once; each takes the memory of about
            ``2 * memory + 20`` images, besides what the model needs.
        progress: show a bar that counts finished images.

    Returns:
        noise, shaped like ``images``, with ``images + noise`` in [0, 1] to the last bit. It is zero
        where the target clearly won already, and where it could not be reached. Interrupted, the
        function returns what it has found so far.

    Raises:
        TypeError, ValueError: as :func:`input_gradient`; an option that is not positive.

    Sources: Szegedy et al. 2013 (arXiv 1312.6199), section 4.1. The numbers in the comments are
    those of Nocedal and Wright, Numerical Optimization, 2nd edition. The bounds: Bertsekas 1982,
    Projected Newton methods for optimization problems with simple constraints.
    """
    check_batch(model, images, targets, "targets")
    options = {"precision": precision, "tolerance": tolerance, "steps": steps, "memory": memory}
    for name, value in {**options, "batch_size": batch_size}.items():
        if not value > 0:
            raise ValueError(f"{name} must be positive, got {value}")
    if not len(images):
        return torch.zeros_like(images)
    images = images.detach()
    noise = torch.zeros_like(images.flatten(1))
    batches = zip(*(part.split(batch_size) for part in (images, targets, noise)), strict=True)
    bar = tqdm(total=len(images), unit="image", disable=not progress, file=sys.stdout)
    with bar, eval_mode(model), contextlib.suppress(KeyboardInterrupt):
        for batch in batches:
            _search(model, *batch, **options, bar=bar)
    return noise.view(images.shape)


def _cross_entropy(logits, labels):
    """Cross-entropy summed over the batch, exact also where the model is very sure.

    Where a probability rounds to 1, its pull on the gradient, p - 1, would round to 0. Normalising
    twice changes no value, but recovers that pull from the other classes.
    """
    return F.cross_entropy(logits.log_softmax(1), labels, reduction="sum")


def _search(model, images, targets, found, *, precision, tolerance, steps, memory, bar):
    """Write each image's least noise into its row of ``found``.

    In here an image is a row of pixels, x, and a number per image is a column of shape (N, 1). One
    turn of the loop is one evaluation of the model: each image tries one step of L-BFGS for its own
    c; those that have converged get their next c and carry on from where they are.
    """
    shape, x, row = images.shape[1:], images.flatten(1), torch.arange(len(images)).to(images.device)
    noise = torch.zeros_like(x)
    loss, data_grad, margin = _evaluate(model, shape, x, noise, targets)
    check_gradient(data_grad)
    # Were the loss linear until it is zero, the boundary would be at c = |data_grad|^2 / (4 loss).
    # It flattens on the way, so half of that is the better guess.
    c = (_dot(data_grad, data_grad) / (8 * loss)).clamp(min=torch.finfo(x.dtype).tiny)
    low, high = torch.zeros_like(c), torch.full_like(c, math.inf)  # c that succeeded, c that failed
    least = torch.full_like(c, math.inf)  # |noise|^2 of what was found
    # How fast the margin falls per unit of log c at the boundary: exact for two linear classes.
    fall = margin / (margin / 2 - 1)
    step, scale, pairs = torch.ones_like(c), 1 / (4 * c), deque(maxlen=memory)
    done = margin > 0

    for _ in range(steps):
        if done.any():  # drop the finished images from the batch
            keep = ~done.squeeze(1)
            bar.update(len(row) - int(keep.sum()))
            state = x, targets, row, noise, loss, data_grad, margin, fall
            x, targets, row, noise, loss, data_grad, margin, fall = (part[keep] for part in state)
            state = c, low, high, least, scale, step
            c, low, high, least, scale, step = (part[keep] for part in state)
            pairs = deque(([part[keep] for part in pair] for pair in pairs), maxlen=memory)
        if len(row) == 0:
            break

        # A step along the L-BFGS direction, projected on the box. Pixels at a bound that it would
        # push outwards are left out, so that it is sure to lead downhill (Bertsekas).
        grad = data_grad + 2 * c * noise
        free = torch.where(grad > 0, noise > -x, noise < 1 - x)
        direction = -_inverse_hessian_times(free * grad, pairs, scale)
        trial = _project(noise + step * free * direction, x)
        trial_loss, trial_data_grad, trial_margin = _evaluate(model, shape, x, trial, targets)

        # Remember how the gradient changed, also from a step that is refused below. Without the
        # curvature condition s.y > 0 (6.7) the pair is switched off: rho = 0.
        s, y = trial - noise, trial_data_grad - data_grad + 2 * c * (trial - noise)
        sy, yy = _dot(s, y), _dot(y, y)
        curved = sy > 1e-8 * yy
        pairs.append((s, y, torch.where(curved, 1 / sy, 0)))
        scale = torch.where(curved, sy / yy, scale)  # (7.20)

        # Take the step if the objective sinks enough (Armijo, 3.4), else halve it (algorithm 3.1).
        value = c * _dot(noise, noise) + loss
        gain = value - c * _dot(trial, trial) - trial_loss
        accept = gain >= -1e-4 * _dot(grad, s).clamp(max=0)
        step = torch.where(accept, 1, step / 2)
        noise = torch.where(accept, trial, noise)
        loss = torch.where(accept, trial_loss, loss)
        data_grad = torch.where(accept, trial_data_grad, data_grad)
        margin = torch.where(accept, trial_margin, margin)

        # The search on c: Newton's next c for a margin just above 0; if that is outside the
        # bracket, bisect.
        change = (margin / fall - precision / 2).clamp(-math.log(2), math.log(2))
        converged = gain.abs() <= tolerance * (0.1 + change.abs()) * value
        success, size = converged & (margin > 0), _dot(noise, noise)
        better = (success & (size < least)).squeeze(1)
        found[row[better]], least[better] = noise[better], size[better]
        low = torch.where(success, c, low)
        high = torch.where(converged & ~success, c, high)
        done = success & (change < precision) | converged & (high <= low * (1 + precision))
        newton = c * change.exp()
        inside = (newton > low) & (newton < high)
        c = torch.where(converged, torch.where(inside, newton, (low * high).sqrt()), c)
    bar.update(len(row))


def _evaluate(model, shape, x, noise, targets):
    """The loss, its gradient, and the target's margin over the next class, at ``x + noise``."""
    with torch.enable_grad():
        adv_images = (x + noise).view(-1, *shape).requires_grad_()
        logits = model(adv_images)
        check_logits(logits, x, targets, "targets")
        check_differentiable(logits)
        loss = F.cross_entropy(logits, targets, reduction="none")
        (data_grad,) = torch.autograd.grad(loss.sum(), adv_images)
    logits, target = logits.detach(), targets.unsqueeze(1)
    others = logits.scatter(1, target, -math.inf).amax(1, keepdim=True)
    margin = logits.gather(1, target) - others - _SURE
    return loss.detach().unsqueeze(1), data_grad.flatten(1), margin


def _inverse_hessian_times(vector, pairs, scale):
    """The L-BFGS two-loop recursion (algorithm 7.4) for every row of ``vector``."""
    alphas = []
    for s, y, rho in reversed(pairs):
        alphas.append(rho * _dot(s, vector))
        vector = vector - alphas[-1] * y
    vector = scale * vector
    for s, y, rho in pairs:
        vector = vector + (alphas.pop() - rho * _dot(y, vector)) * s
    return vector


def _project(noise, x):
    """The nearest noise with ``x + noise`` in [0, 1].

    That sum is in [0, 1] after rounding too: x + (1 - x) rounds to 1, and rounding keeps order.
    """
    return noise.clamp(-x, 1 - x)


def _dot(a, b):
    return (a * b).sum(1, keepdim=True)
