"""Attacks: from a model, images and labels to images that it gets wrong.

A model is any module that gives logits or log-probabilities: cross-entropy is the same on both. Its
mode, its weights' gradients and the images are left as they were. What does not fit in type, shape,
range or device raises TypeError or ValueError, and so does a model that gives no gradient.
"""

import contextlib
import math
import sys
from types import SimpleNamespace

import torch
import torch.nn.functional as F
from tqdm import tqdm

from helpers.checks import check_batch, check_direction, check_images, check_logits, check_per_image
from helpers.models import eval_mode

BATCH_SIZE = 500  # images that go through a model at once: bounds the memory, changes no result

_PRECISION = 0.005  # how closely L-BFGS finds the largest c: half a percent
_TOLERANCE = 0.003  # converged: the objective changes by less than this share, by a tenth near c
_STEPS = 300  # the most evaluations of the model that an image may cost, over all its c
_MEMORY = 8  # the steps that L-BFGS remembers
_SURE = 1e-3  # by how much a target must win: more than rounding, too little to be seen


def input_gradient(model, images, labels):
    """The gradient of the loss with respect to the pixels: which way, and how much, each counts.

    ``model`` maps ``images`` (N, C, H, W) in [0, 1] to logits or log-probabilities (N, K);
    ``labels`` are (N,) int64 in 0..K-1. Returns ``data_grad`` of the images' shape: the gradient
    of cross-entropy *summed* over the batch, so that an image's does not depend on the others.
    Raises ValueError if it is not finite.
    """
    check_batch(model, images, labels, empty=True)
    if not len(images):  # not every model can take an empty batch
        return torch.zeros_like(images)
    return gradient_and_logits(model, images, labels)[0]


def gradient_and_logits(model, images, labels, name="labels", *, exact=True):
    """:func:`input_gradient` of what is checked already, and the logits computed on the way."""
    images = images.detach().requires_grad_()
    with eval_mode(model), torch.enable_grad():
        logits = model(images)
        check_logits(logits, images, labels, name)
        # Where a probability rounds to 1, its pull on the gradient, p - 1, would round to 0.
        # Normalising twice changes no value, but recovers that pull from the other classes.
        scores = logits.log_softmax(1) if exact else logits
        loss = F.cross_entropy(scores, labels, reduction="sum")
        (data_grad,) = torch.autograd.grad(loss, images)
    if not data_grad.sum().isfinite():  # a sum with NaN or infinity in it never is
        raise ValueError("the model's gradient is not finite: are its weights?")
    return data_grad, logits.detach()


def fgsm(images, epsilon, data_grad):
    """The fast gradient sign method's step: every pixel moves by epsilon along its gradient's sign.

    ``images`` are (N, C, H, W) in [0, 1]; ``epsilon`` is the L-infinity radius in pixel units, at
    least 0, a number or one per image (N,); ``data_grad`` is of the images' shape, without NaN.
    Returns ``adv_images`` of the images' shape, in [0, 1]; epsilon 0 gives the images themselves.
    Source: Goodfellow, Shlens and Szegedy 2014 (arXiv 1412.6572).
    """
    check_images(images, empty=True)
    check_direction(data_grad, images)
    return sign_step(images, check_per_image(epsilon, images, "epsilon"), data_grad.sign())


def sign_step(images, epsilon, signs):
    """The step of :func:`fgsm` for what is checked already."""
    return (epsilon * signs.to(images.dtype)).add_(images).clamp_(0, 1).detach()


def fgsm_attack(model, images, labels, epsilon, *, targeted=False):
    """:func:`fgsm` along :func:`input_gradient`: away from the labels or, targeted, to them."""
    data_grad = input_gradient(model, images, labels)
    return fgsm(images, epsilon, -data_grad if targeted else data_grad)


def pgd(model, images, labels, epsilon, *, step, steps, seed=None, targeted=False):
    """Projected gradient descent: ``steps`` steps of :func:`fgsm`, each followed by a projection.

    The arguments are those of :func:`fgsm_attack`; ``step``, a number or one per image, is how far
    a pixel moves each time. The projection clips to at most ``epsilon`` from the images and to
    [0, 1]. It starts at the images, or where ``seed`` draws a point of that ball for each of them
    (uniformly), so that another seed is another attempt; one step of epsilon from the images is
    FGSM. Sources: the basic iterative method of Kurakin, Goodfellow and Bengio 2016 (arXiv
    1607.02533), with the random start of Madry and others 2017 (arXiv 1706.06083).
    """
    check_batch(model, images, labels, empty=True)
    if not isinstance(steps, int) or steps < 1:
        raise ValueError(f"steps must be an integer of at least 1, got {steps!r}")
    if seed is not None and not isinstance(seed, int):
        raise TypeError(f"seed must be an integer or None, got {seed!r}")
    epsilon = check_per_image(epsilon, images, "epsilon")
    step = check_per_image(step, images, "step")
    if not len(images):
        return images
    images = images.detach()
    low, high = (images - epsilon).clamp_(min=0), (images + epsilon).clamp_(max=1)
    adv_images, step = images, -step if targeted else step
    if seed is not None:
        generator = torch.Generator().manual_seed(seed)
        start = torch.rand(images.shape, generator=generator, device="cpu").to(images)
        adv_images = (images + epsilon * (2 * start - 1)).clamp_(low, high)
    for _ in range(steps):
        data_grad, _ = gradient_and_logits(model, adv_images, labels)
        adv_images = data_grad.sign_().mul_(step).add_(adv_images).clamp_(low, high)
    return adv_images


def optimize_noise(model, images, targets, *, c, lr=0.008, steps=1000, start=None):
    """Optimise the noise itself by gradient descent until the model sees the targets.

    Minimises ``c * sum(noise ** 2) + cross_entropy(model(images + noise), targets)`` of each image,
    clamps ``images + noise`` to [0, 1] after every step, and stops once its target is predicted.

    The arguments are those of :func:`input_gradient`, with ``targets`` for labels; ``c``, at least
    0, is a number or one per image (N,), ``lr`` the step size, ``steps`` the most that an image
    gets, ``start`` the noise to go on from, as an earlier call returned it. Returns ``noise`` of
    the images' shape, with ``images + noise`` in [0, 1]; where the target was not reached, that of
    the last step. Sources: Szegedy et al. 2013 (arXiv 1312.6199) for the problem, akshaychawla's
    "Adversarial Examples", method 1, for plain gradient descent.
    """
    check_batch(model, images, targets, "targets", empty=True)
    c = check_per_image(c, images, "c")
    if not lr > 0 or steps < 1:
        raise ValueError(f"lr must be positive and steps at least 1, got {lr} and {steps}")
    images, noise = images.detach(), torch.zeros_like(images)
    if start is not None:
        check_direction(start, images, "start")
        noise += start.detach()
        check_images(images + noise, "images + start", empty=True)
    active = torch.arange(len(images), device=images.device)  # images still on their way
    for _ in range(steps):
        if not len(active):
            break
        x, r = images[active], noise[active]
        data_grad, logits = gradient_and_logits(model, x + r, targets[active], "targets")
        stepped = (x + r - lr * (data_grad + 2 * c[active] * r)).clamp(0, 1)
        missed = logits.argmax(1) != targets[active]
        active = active[missed]
        noise[active] = (stepped - x)[missed]
    return noise


def lbfgs_noise(model, images, targets, *, progress=True):
    """The least noise that makes ``model`` see ``targets``, by the method of Szegedy et al.

    Problem, arguments and noise are those of :func:`optimize_noise`, but each image gets the
    largest ``c`` whose minimiser is still classified as the target, and zero noise where that
    clearly won already or could not be reached. (The paper writes c|r|; the square is smooth at 0.
    Its text asks for the least ``c``; what gives the least noise is the largest that succeeds.)
    ``progress`` shows a bar. Interrupted, it returns what it has. It needs about 1 GB for digits.

    Sources: Szegedy et al. 2013 (arXiv 1312.6199), section 4.1. The numbers in the comments are
    those of Nocedal and Wright, Numerical Optimization, 2nd edition. The bounds: Bertsekas 1982,
    Projected Newton methods for optimization problems with simple constraints.
    """
    check_batch(model, images, targets, "targets", empty=True)
    if not len(images):
        return torch.zeros_like(images)
    images, noise = images.detach(), torch.zeros_like(images).flatten(1)
    batches = zip(*(rows.split(BATCH_SIZE) for rows in (images, targets, noise)), strict=True)
    bar = tqdm(total=len(images), unit="image", disable=not progress, file=sys.stdout)
    with bar, contextlib.suppress(KeyboardInterrupt):
        for batch in batches:
            _search(model, *batch, bar)
    return noise.view(images.shape)


def two_loop_recursion(vector, pairs, scale):
    """The inverse Hessian of L-BFGS times every row of ``vector`` (algorithm 7.4)."""
    alphas = []
    for s, y, rho in reversed(pairs):
        alphas.append(rho * _dot(s, vector))
        vector = vector - alphas[-1] * y
    vector = scale * vector
    for s, y, rho in pairs:
        vector = vector + (alphas.pop() - rho * _dot(y, vector)) * s
    return vector


class _Rows(SimpleNamespace):
    """Tensors with a row for each image that is still searched for, and ``pairs`` of such."""

    def keep(self, rows):
        self.pairs = [[tensor[rows] for tensor in pair] for pair in self.pairs]
        for name in vars(self).keys() - {"pairs"}:
            setattr(self, name, getattr(self, name)[rows])


def _search(model, images, targets, best, bar):
    """Write the least noise of each image, in here a row of pixels, into its row of ``best``.

    A number per image is a column (N, 1). A turn of the loop evaluates the model once: each image
    tries a step of L-BFGS for its own c; those that have converged get their next c and go on.
    """
    shape, x = images.shape[1:], images.flatten(1)
    noise = torch.zeros_like(x)
    loss, data_grad, margin = _evaluate(model, shape, x, noise, targets)
    # Take two linear classes, with the margin m = m0 + w.r and the loss log(1 + e^-m). The
    # minimiser is r = p w / 2c with p = 1 / (1 + e^m), so m = m0 + p |w|^2 / 2c. At the boundary
    # m = 0 and p = 1/2: c = |w|^2 / -4 m0, and by dp = -dm / 4, dm / dlog c = m0 / (1 - m0 / 2).
    # Far away the loss is about -m0, its gradient -w. Half of that c is better: the loss flattens.
    c = (_dot(data_grad, data_grad) / (8 * loss)).clamp(min=torch.finfo(x.dtype).tiny)
    now = _Rows(x=x, targets=targets, row=torch.arange(len(x), device=x.device))
    now.noise, now.loss, now.data_grad, now.margin = noise, loss, data_grad, margin
    now.low, now.high = torch.zeros_like(c), torch.full_like(c, math.inf)  # c succeeded, c failed
    now.c, now.least = c, torch.full_like(c, math.inf)  # least: |noise|^2 of the best
    now.fall = margin / (margin / 2 - 1)  # of the margin per unit of log c at the boundary
    now.step, now.scale, now.pairs = torch.ones_like(c), 1 / (4 * c), []
    done = margin > 0

    for _ in range(_STEPS):
        if done.any():
            bar.update(int(done.sum()))
            now.keep(~done.squeeze(1))
        if len(now.row) == 0:
            break

        # A step along the L-BFGS direction, projected on the box. Pixels at a bound that it would
        # push outwards are left out, so that it is sure to lead downhill (Bertsekas). The sum of
        # x and a clamped noise is in [0, 1] to the last bit: rounding keeps order.
        grad = now.data_grad + 2 * now.c * now.noise
        free = torch.where(grad > 0, now.noise > -now.x, now.noise < 1 - now.x)
        direction = -two_loop_recursion(free * grad, now.pairs, now.scale)
        noise = (now.noise + now.step * free * direction).clamp(-now.x, 1 - now.x)
        loss, data_grad, margin = _evaluate(model, shape, now.x, noise, now.targets)

        # Remember how the gradient changed, also from a step that is refused below. Without the
        # curvature condition s.y > 0 (6.7) the pair is switched off: rho = 0.
        s, y = noise - now.noise, data_grad - now.data_grad + 2 * now.c * (noise - now.noise)
        sy, yy = _dot(s, y), _dot(y, y)
        curved = sy > 1e-8 * yy
        now.pairs = [*now.pairs, (s, y, torch.where(curved, 1 / sy, 0))][-_MEMORY:]
        now.scale = torch.where(curved, sy / yy, now.scale)  # (7.20)

        # Take the step if the objective sinks enough (Armijo, 3.4), else halve it (algorithm 3.1).
        value = now.c * _dot(now.noise, now.noise) + now.loss
        gain = value - now.c * _dot(noise, noise) - loss
        accept = gain >= -1e-4 * _dot(grad, s).clamp(max=0)
        now.step = torch.where(accept, 1, now.step / 2)
        now.noise = torch.where(accept, noise, now.noise)
        now.loss = torch.where(accept, loss, now.loss)
        now.data_grad = torch.where(accept, data_grad, now.data_grad)
        now.margin = torch.where(accept, margin, now.margin)

        # The search on c: Newton's next c for a margin just above 0; if that is outside the
        # bracket, bisect.
        change = (now.margin / now.fall - _PRECISION / 2).clamp(-math.log(2), math.log(2))
        converged = gain.abs() <= _TOLERANCE * (0.1 + change.abs()) * value
        success, size = converged & (now.margin > 0), _dot(now.noise, now.noise)
        better = (success & (size < now.least)).squeeze(1)
        best[now.row[better]], now.least[better] = now.noise[better], size[better]
        now.low = torch.where(success, now.c, now.low)
        now.high = torch.where(converged & ~success, now.c, now.high)
        narrow = now.high <= now.low * (1 + _PRECISION)
        done = (success & (change < _PRECISION)) | (converged & narrow)
        newton, middle = now.c * change.exp(), (now.low * now.high).sqrt()
        inside = (newton > now.low) & (newton < now.high)
        now.c = torch.where(converged, torch.where(inside, newton, middle), now.c)
    bar.update(len(now.row))


def _evaluate(model, shape, x, noise, targets):
    """The loss, its gradient, and the target's margin over the next class, at ``x + noise``."""
    adv_images, target = (x + noise).view(-1, *shape), targets.unsqueeze(1)
    data_grad, logits = gradient_and_logits(model, adv_images, targets, "targets", exact=False)
    loss = F.cross_entropy(logits, targets, reduction="none").unsqueeze(1)
    others = logits.scatter(1, target, -math.inf).amax(1, keepdim=True)
    return loss, data_grad.flatten(1), logits.gather(1, target) - others - _SURE


def _dot(a, b):
    return (a * b).sum(1, keepdim=True)
