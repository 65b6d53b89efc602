import copy
import math
from functools import partial

import pytest
import torch
import torch.nn.functional as F
from notebook_code import helper_and_notebook
from scipy import optimize
from torch import nn

from helpers import attacks
from helpers.attacks import lbfgs_noise, optimize_noise
from helpers.evaluation import distortion

two_loop_recursion = helper_and_notebook(attacks.two_loop_recursion, "04_szegedy_noise")


def noise_of(model, images, targets):
    return lbfgs_noise(model, images, targets, progress=False)


def random_pairs(mnist, n, seed):
    """``n`` digits, and a random wrong class for each."""
    generator = torch.Generator().manual_seed(seed)
    images, labels = mnist
    chosen = torch.randperm(len(images), generator=generator)[:n]
    return images[chosen], (labels[chosen] + torch.randint(1, 10, (n,), generator=generator)) % 10


@pytest.fixture(scope="module")
def few(mlp, mnist):
    """A network with 20 digits and their targets."""
    return mlp, *random_pairs(mnist, 20, seed=1)


@pytest.fixture(scope="module")
def found(mlp, mnist):
    """A thousand digits with random targets, and the noise for them."""
    images, targets = random_pairs(mnist, 1000, seed=0)
    return images, targets, noise_of(mlp, images, targets)


class Counted(nn.Module):
    """A network that calls ``at(k)`` before its k-th evaluation."""

    def __init__(self, network, at):
        super().__init__()
        self.network, self.at, self.calls = network, at, 0

    def forward(self, images):
        self.calls += 1
        self.at(self.calls)
        return self.network(images)


def two_classes(weight, bias, scale=1.0):
    """Class 1 wins where ``weight . x + bias > 0``."""
    model = nn.Sequential(nn.Flatten(), nn.Linear(len(weight), 2)).double().requires_grad_(False)
    model[1].weight.copy_(torch.stack([-weight, weight]) * scale / 2)
    model[1].bias.copy_(torch.tensor([-bias, bias]) * scale / 2)
    return model


def nearest_in_box(x, weight, bias):
    """The least r with ``weight . (x + r) + bias = 0`` and ``x + r`` in [0, 1].

    It is ``clamp(x + t * weight, 0, 1) - x`` for the one t that meets the hyperplane: bisection.
    """
    low, high = torch.zeros(len(x), 1).double(), torch.full((len(x), 1), 1e3).double()
    for _ in range(100):
        middle = (low + high) / 2
        beyond = (x + middle * weight).clamp(0, 1) @ weight[:, None] + bias > 0
        low, high = torch.where(beyond, low, middle), torch.where(beyond, middle, high)
    return (x + high * weight).clamp(0, 1) - x


# The direction.


def test_the_two_loops_multiply_by_the_inverse_hessian_of_bfgs(two_loop_recursion):
    n, pixels, pairs = 3, 6, []
    root = torch.randn(pixels, pixels).double()
    hessian = root @ root.T + torch.eye(pixels)
    scale = torch.rand(n, 1).double() + 0.5
    inverse = scale[:, :, None] * torch.eye(pixels)
    for _ in range(4):
        s = torch.randn(n, pixels).double()
        y = s @ hessian
        rho = 1 / (s * y).sum(1, keepdim=True)
        pairs.append((s, y, rho))
        left = torch.eye(pixels) - rho[:, :, None] * s[:, :, None] * y[:, None, :]
        inverse = left @ inverse @ left.mT + rho[:, :, None] * s[:, :, None] * s[:, None, :]
    vector = torch.randn(n, pixels).double()
    expected = (inverse @ vector[:, :, None]).squeeze(2)
    torch.testing.assert_close(two_loop_recursion(vector, pairs, scale), expected)


# The noise reaches its target, stays in the box, and is the least.


def test_at_least_995_of_1000_random_targets_are_reached(mlp, found):
    images, targets, noise = found
    assert (mlp(images + noise).argmax(1) == targets).float().mean() >= 0.995


@pytest.mark.parametrize("batch_size", [1, 7, 128])
def test_targets_are_still_predicted_in_batches_of_other_sizes(mlp, found, batch_size):
    images, targets, noise = found
    with torch.no_grad():
        adversarial = (images + noise).split(batch_size)
        guesses = torch.cat([mlp(batch).argmax(1) for batch in adversarial])
    assert (guesses == targets).float().mean() >= 0.995


def test_the_noise_keeps_the_box_to_the_last_bit(found):
    images, _, noise = found
    adv_images = images + noise
    assert adv_images.min() == 0
    assert adv_images.max() == 1
    assert torch.equal(adv_images, adv_images.clamp(0, 1))


def test_the_distortion_is_less_than_that_of_gradient_descent(mlp, found):
    images, targets, noise = (part[:100] for part in found)
    descended = optimize_noise(mlp, images, targets, c=0.1)
    reached = (mlp(images + descended).argmax(1) == targets) & (distortion(descended) > 0)
    ratio = distortion(noise)[reached] / distortion(descended)[reached]
    assert reached.sum() > 20
    assert ratio.mean() < 0.97
    assert ratio.max() < 1.01


def test_less_noise_along_the_same_way_does_not_reach_the_target(mlp, found):
    images, targets, noise = found
    with torch.no_grad():
        assert (mlp(images + 0.98 * noise).argmax(1) == targets).float().mean() < 0.03


@pytest.mark.parametrize("scale", [1, 30])
def test_a_linear_models_noise_leads_straight_to_the_hyperplane(scale):
    generator = torch.Generator().manual_seed(0)
    weight = torch.randn(48, generator=generator).double()
    x = 0.4 + 0.2 * torch.rand(50, 48, generator=generator).double()
    bias = -(x @ weight).max() - 2.5  # class 1 is a little way off for all of them
    score = x @ weight + bias
    images = x.view(-1, 3, 4, 4)
    noise = noise_of(two_classes(weight, bias, scale), images, torch.ones(50, dtype=torch.int64))
    nearest = -score[:, None] * weight / weight.square().sum()
    assert (x + nearest).min() > 0  # the box plays no part
    assert (x + nearest).max() < 1
    torch.testing.assert_close(noise.flatten(1).norm(dim=1), nearest.norm(dim=1), rtol=0.01, atol=0)
    assert ((noise.flatten(1) - nearest).norm(dim=1) < 0.1 * nearest.norm(dim=1)).all()


def test_a_linear_models_noise_in_the_box_is_the_nearest_point_there():
    generator = torch.Generator().manual_seed(0)
    weight = torch.randn(48, generator=generator).double()
    x = torch.rand(50, 48, generator=generator).double()
    x = torch.where(torch.rand(x.shape, generator=generator) < 0.5, x.round(), x)
    bias = -0.4 * weight.clamp(min=0).sum() - 0.6 * (x @ weight).max()
    nearest = nearest_in_box(x, weight, bias)
    away = (x @ weight + bias < 0) & ((x + nearest) @ weight + bias > -1e-9)
    at_bound = ((x + nearest) == 0) | ((x + nearest) == 1)
    assert away.sum() > 20
    assert at_bound[away].float().mean() > 0.3  # the box matters
    x, nearest = x[away], nearest[away]
    targets = torch.ones(len(x), dtype=torch.int64)
    noise = noise_of(two_classes(weight, bias, 5), x.view(-1, 3, 4, 4), targets).flatten(1)
    torch.testing.assert_close(noise.norm(dim=1), nearest.norm(dim=1), rtol=0.01, atol=0)


def test_scipys_lbfgs_finds_no_less_distortion(few):
    model, images, targets = (part if isinstance(part, nn.Module) else part[:2] for part in few)
    noise = noise_of(model, images, targets)
    for x, target, ours in zip(images.split(1), targets.split(1), noise, strict=True):

        def objective(r, c, x=x, target=target):
            adv_image = (x + torch.from_numpy(r).float().view_as(x)).clamp(0, 1).requires_grad_()
            loss = F.cross_entropy(model(adv_image), target)
            (grad,) = torch.autograd.grad(loss, adv_image)
            return c * (r @ r) + loss.item(), 2 * c * r + grad.flatten().double().numpy()

        pixels = x.flatten().double().numpy()
        bounds = [(-pixel, 1 - pixel) for pixel in pixels]
        r, low, high = 0 * pixels, 1e-3, 10.0
        while high > 1.02 * low:
            c = math.sqrt(low * high)
            r = optimize.minimize(objective, r, (c,), "L-BFGS-B", jac=True, bounds=bounds).x
            adv_image = (x + torch.from_numpy(r).float().view_as(x)).clamp(0, 1)
            if model(adv_image).argmax(1) == target:
                low, least = c, adv_image - x
            else:
                high = c
        assert ours.norm() <= 1.02 * least.norm()


# An image's noise is its own.


def test_alone_an_image_gets_the_noise_that_it_gets_in_a_batch(few):
    model, images, targets = few
    pairs = zip(images.split(1), targets.split(1), strict=True)
    alone = torch.cat([noise_of(model, *pair) for pair in pairs])
    together = noise_of(model, images, targets)
    torch.testing.assert_close(distortion(together), distortion(alone), rtol=0.01, atol=0)


@pytest.mark.parametrize("batch_size", [1, 7, 1000])
def test_the_batch_size_changes_nothing_but_rounding(few, batch_size, monkeypatch):
    expected = distortion(noise_of(*few))
    monkeypatch.setattr(attacks, "BATCH_SIZE", batch_size)
    torch.testing.assert_close(distortion(noise_of(*few)), expected, rtol=0.01, atol=0)


def test_no_more_images_at_once_than_the_batch_size(few, monkeypatch):
    model, images, targets = few
    sizes = set()
    hook = model.register_forward_hook(lambda _, inputs, __: sizes.add(len(inputs[0])))
    monkeypatch.setattr(attacks, "BATCH_SIZE", 6)
    noise_of(model, images, targets)
    hook.remove()
    assert max(sizes) == 6


def test_the_same_call_gives_the_same_noise_bit_for_bit(few):
    assert torch.equal(noise_of(*few), noise_of(*few))


# Targets that need nothing, and targets that cannot be had.


def test_a_prediction_that_is_the_target_already_needs_no_noise(mlp, mnist):
    images = mnist[0][:20]
    assert not noise_of(mlp, images, mlp(images).argmax(1)).any()


def test_a_target_that_nothing_reaches_gets_no_noise():
    model = nn.Sequential(nn.Flatten(), nn.Linear(16, 3)).requires_grad_(False)
    model[1].weight.zero_()
    model[1].bias.copy_(torch.arange(3.0))
    noise = noise_of(model, torch.rand(5, 1, 4, 4), torch.zeros(5, dtype=torch.int64))
    assert torch.equal(noise, torch.zeros(5, 1, 4, 4))


def test_a_target_beyond_the_box_gets_no_noise_and_harms_no_other():
    weight = torch.ones(16).double()
    model = two_classes(weight, -15.0)
    images = torch.full((2, 1, 4, 4), 0.5).double()
    images[1] = 0.9
    both = noise_of(model, images, torch.ones(2, dtype=torch.int64))
    assert both.isfinite().all()
    assert (model(images + both).argmax(1) == 1).all()
    closed = noise_of(two_classes(weight, -17.0), images, torch.ones(2, dtype=torch.int64))
    assert torch.equal(closed, torch.zeros_like(images))


@pytest.mark.parametrize("dtype", [torch.float32, torch.float64])
def test_a_convolutional_network_with_three_channels_is_fooled_too(small_vgg, dtype):
    model = copy.deepcopy(small_vgg).to(dtype)
    images = torch.rand(12, 3, 16, 16, generator=torch.Generator().manual_seed(3)).to(dtype)
    targets = model(images).topk(2).indices[:, 1]
    noise = noise_of(model, images, targets)
    adv_images = images + noise
    assert noise.dtype == dtype
    assert noise.shape == images.shape
    assert (model(adv_images).argmax(1) == targets).all()
    assert adv_images.min() >= 0
    assert adv_images.max() <= 1


def test_images_in_another_memory_order_get_the_same_noise(small_vgg):
    images = torch.rand(4, 3, 16, 16, generator=torch.Generator().manual_seed(3))
    targets = small_vgg(images).topk(2).indices[:, 1]
    strided = images.contiguous(memory_format=torch.channels_last)
    sizes = (distortion(noise_of(small_vgg, pixels, targets)) for pixels in (images, strided))
    torch.testing.assert_close(*sizes, rtol=0.01, atol=0)


# What nobody may touch.


@pytest.mark.parametrize("fails", [False, True], ids=["succeeds", "fails"])
def test_model_and_images_are_left_as_they_were(small_vgg, midway, snapshot, fails):
    def fail(k):
        if fails and k == 3:
            raise RuntimeError("out of order")

    model = Counted(midway, fail)
    images = torch.rand(4, 3, 16, 16).requires_grad_()
    targets = (small_vgg(images).argmax(1) + 1) % 10
    before = snapshot(model, images)
    if fails:
        with pytest.raises(RuntimeError, match="out of order"):
            noise_of(model, images, targets)
    else:
        assert not noise_of(model, images, targets).requires_grad
    torch.testing.assert_close(snapshot(model, images), before, rtol=0, atol=0)


# Interrupting, and the progress bar.


def test_interrupted_it_returns_what_it_has_found(few, monkeypatch):
    monkeypatch.setattr(attacks, "BATCH_SIZE", 10)

    def interrupt(k, stop):
        if k == stop:
            raise KeyboardInterrupt

    mlp, images, targets = few
    reached = []
    for stop in (1, 30, 1000):
        model = Counted(mlp, partial(interrupt, stop=stop))
        noise = noise_of(model, images, targets)
        hit = mlp(images + noise).argmax(1) == targets
        untouched = (noise == 0).flatten(1).all(1)
        assert noise.shape == images.shape
        assert (hit | untouched).all()  # never a noise that is half done
        assert not any(module.training for module in mlp.modules())
        reached.append(hit.sum().item())
    assert reached[0] == 0
    assert 0 < reached[1] < len(images)
    assert reached[2] == len(images)


def test_without_progress_it_prints_nothing(few, capfd):
    noise_of(*few)
    assert capfd.readouterr() == ("", "")


def test_the_bar_counts_every_image(few, capsys, monkeypatch):
    monkeypatch.setattr(attacks, "BATCH_SIZE", 7)
    lbfgs_noise(*few)
    shown = capsys.readouterr()
    assert "20/20" in shown.out
    assert shown.err == ""
