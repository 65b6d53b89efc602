import copy
import math

import pytest
import torch
import torch.nn.functional as F
from notebook_code import helper_and_notebook
from torch import nn

from helpers import attacks, evaluation

input_gradient = helper_and_notebook(attacks.input_gradient, "02_fgsm_mnist")
fgsm = helper_and_notebook(attacks.fgsm, "02_fgsm_mnist")
optimize_noise = helper_and_notebook(attacks.optimize_noise, "04_szegedy_noise")
pgd = helper_and_notebook(attacks.pgd, "07_adversarial_training")

# Every function that takes (model, images, labels), with its other arguments filled in.
CALLS = {
    "input_gradient": attacks.input_gradient,
    "fgsm_attack": lambda *args: attacks.fgsm_attack(*args, 0.1),
    "pgd": lambda *args: attacks.pgd(*args, 0.1, step=0.03, steps=3, seed=0),
    "optimize_noise": lambda *args: attacks.optimize_noise(*args, c=0.1, steps=3),
    "lbfgs_noise": lambda *args: attacks.lbfgs_noise(*args, progress=False),
    "accuracy": evaluation.accuracy,
    "epsilon_sweep": lambda *args: evaluation.epsilon_sweep(*args, [0, 0.1]),
    "random_sweep": lambda model, images, labels: evaluation.epsilon_sweep(
        model, images, labels, [0, 0.1], data_grad=torch.ones(images.shape)
    ),
    "minimal_epsilon": evaluation.minimal_epsilon,
}
ATTACKS = ["input_gradient", "fgsm_attack", "pgd", "optimize_noise", "lbfgs_noise"]
EVALUATIONS = [name for name in CALLS if name not in ATTACKS]
each_reading = pytest.mark.parametrize(  # also what takes no labels
    "call",
    [*CALLS.values(), lambda model, images, _labels: evaluation.probabilities(model, images)],
    ids=[*CALLS, "probabilities"],
)


def linear_model(pixels, classes, scale=1.0):
    torch.manual_seed(1)
    model = nn.Sequential(nn.Flatten(), nn.Linear(pixels, classes)).double().requires_grad_(False)
    model[1].weight *= scale
    return model


def targets_of(labels):
    return (labels + 3) % 10


# The gradient.


def test_the_gradient_of_a_linear_model_has_its_closed_form(input_gradient):
    model = linear_model(12, 3)
    images, labels = torch.rand(5, 3, 2, 2).double(), torch.tensor([0, 1, 2, 0, 1])
    onehot = F.one_hot(labels, 3)
    expected = (model(images).softmax(1) - onehot) @ model[1].weight
    data_grad = input_gradient(model, images, labels)
    torch.testing.assert_close(data_grad.flatten(1), expected, rtol=1e-6, atol=1e-9)


def test_the_gradient_agrees_with_central_differences_in_float64(input_gradient, case):
    model, images, labels = case
    model, images, labels = copy.deepcopy(model).double(), images[:1].double(), labels[:1]
    targets = targets_of(labels)  # wrong ones, so that no gradient is near zero
    data_grad = input_gradient(model, images, targets)
    for _ in range(2):
        step = 1e-8 * torch.randn_like(images)  # a larger one would cross the kinks of ReLU
        with torch.no_grad():
            after, before = (
                F.cross_entropy(model(images + way * step), targets, reduction="none")
                for way in (1, -1)
            )
        expected = (data_grad * step).flatten(1).sum(1)
        torch.testing.assert_close((after - before) / 2, expected, rtol=1e-4, atol=1e-13)


def test_a_batch_gives_each_image_the_gradient_it_has_alone(input_gradient, case):
    model, images, labels = case
    together = input_gradient(model, images, labels)
    alone = torch.cat(
        [input_gradient(model, *one) for one in zip(images.split(1), labels.split(1), strict=True)]
    )
    largest = alone.abs().amax((1, 2, 3), keepdim=True)
    assert ((together - alone).abs() <= 1e-4 * largest).all()
    assert (together.sign() == alone.sign()).float().mean() > 0.999
    with torch.no_grad():
        adversarial = (attacks.fgsm(images, 0.1, grad) for grad in (together, alone))
        first, second = (model(adv_images).argmax(1) for adv_images in adversarial)
    assert torch.equal(first, second)


def test_saturated_digits_keep_the_signs_of_float64(input_gradient, mlp, mnist):
    images, labels = mnist
    saturated = F.cross_entropy(mlp(images), labels, reduction="none") == 0
    images, labels = images[saturated][:200], labels[saturated][:200]
    exact = input_gradient(copy.deepcopy(mlp).double(), images.double(), labels)
    signs = input_gradient(mlp, images, labels).sign()
    assert len(images) == 200
    assert (signs == exact.sign()).float().mean() > 0.999


def test_saturated_logits_keep_the_signs_of_exact_arithmetic():
    exact = linear_model(50, 10, scale=100)
    images = torch.rand(200, 1, 5, 10)
    logits = exact(images.double())
    labels = logits.argmax(1)
    model = copy.deepcopy(exact).float()
    saturated = F.cross_entropy(model(images), labels, reduction="none") == 0
    logits[range(200), labels] = -math.inf
    others = logits.softmax(1) @ exact[1].weight
    expected = (others - exact[1].weight[labels]).sign()[saturated]
    signs = attacks.input_gradient(model, images, labels).flatten(1).sign()[saturated]
    assert len(signs) > 50
    assert (signs == expected).float().mean() > 0.999


def test_a_model_in_train_mode_gives_the_gradient_of_eval_mode(case):
    model, images, labels = case
    expected = attacks.input_gradient(model, images[:2], labels[:2])
    model = copy.deepcopy(model).train()
    assert torch.equal(attacks.input_gradient(model, images[:2], labels[:2]), expected)


def test_the_gradient_of_log_probabilities_is_that_of_logits(small_vgg):
    images, labels = torch.rand(4, 3, 16, 16), torch.arange(4)
    log_probabilities = nn.Sequential(small_vgg, nn.LogSoftmax(1))
    torch.testing.assert_close(
        attacks.input_gradient(log_probabilities, images, labels),
        attacks.input_gradient(small_vgg, images, labels),
        rtol=1e-4,
        atol=1e-7,
    )


def test_a_gradient_that_is_not_finite_is_refused():
    class Root(nn.Module):  # its slope at 0 is infinite
        def forward(self, images):
            return images.flatten(1).sqrt()

    with pytest.raises(ValueError, match="gradient is not finite"):
        attacks.input_gradient(Root(), torch.zeros(1, 1, 2, 2), torch.tensor([0]))


# The fast gradient sign method.


def test_fgsm_moves_a_linear_score_by_epsilon_times_the_l1_norm(fgsm):
    weight = linear_model(784, 1)[1].weight.view(1, 1, 28, 28)
    images = 0.3 + 0.4 * torch.rand(6, 1, 28, 28).double()
    moved = fgsm(images, 0.07, weight.expand_as(images))
    change = ((moved - images) * weight).sum((1, 2, 3))
    torch.testing.assert_close(change, (0.07 * weight.abs().sum()).expand(6), rtol=1e-6, atol=0)


def test_epsilon_zero_is_the_identity_bit_for_bit(fgsm, case):
    _, images, _ = case
    adv_images = fgsm(images, 0, torch.randn_like(images))
    assert torch.equal(adv_images.view(torch.int32), images.view(torch.int32))


@pytest.mark.parametrize("epsilon", [1 / 255, 0.05, 0.3, 1, 7.5])
def test_fgsm_stays_within_epsilon_and_within_the_pixels_range(fgsm, case, epsilon):
    _, images, _ = case
    adv_images = fgsm(images, epsilon, torch.randn_like(images))
    assert (adv_images - images).abs().max() <= epsilon + 1e-6
    assert adv_images.min() >= 0
    assert adv_images.max() <= 1
    assert not torch.equal(adv_images, images)


def test_the_gradients_step_raises_the_loss(input_gradient, fgsm, case):
    model, images, labels = case
    adv_images = fgsm(images, 0.01, input_gradient(model, images, labels))
    with torch.no_grad():
        assert F.cross_entropy(model(adv_images), labels) > F.cross_entropy(model(images), labels)


def test_fgsm_attack_is_the_gradient_and_its_step(case):
    model, images, labels = (part if isinstance(part, nn.Module) else part[:2] for part in case)
    data_grad = attacks.input_gradient(model, images, labels)
    expected = attacks.fgsm(images, 0.1, data_grad)
    assert torch.equal(attacks.fgsm_attack(model, images, labels, 0.1), expected)


def test_an_epsilon_for_each_image_equals_each_image_alone(mlp, mnist):
    images, labels = (part[:3] for part in mnist)
    data_grad = attacks.input_gradient(mlp, images, labels)
    epsilons = torch.tensor([0, 0.1, 0.25])
    alone = [
        attacks.fgsm(images[i : i + 1], epsilon.item(), data_grad[i : i + 1])
        for i, epsilon in enumerate(epsilons)
    ]
    assert torch.equal(attacks.fgsm(images, epsilons, data_grad), torch.cat(alone))


@pytest.mark.parametrize("dtype", [torch.float32, torch.float64])
def test_epsilon_and_gradient_do_not_change_the_images_dtype(dtype):
    images = torch.rand(2, 1, 2, 2, dtype=dtype)
    epsilons = torch.tensor([0.1, 0.2], dtype=torch.float64)
    assert attacks.fgsm(images, epsilons, torch.ones_like(images)).dtype == dtype
    assert attacks.fgsm(images, 0.1, torch.ones(2, 1, 2, 2).double()).dtype == dtype


def test_the_targeted_attack_raises_the_targets_probability(mlp, mnist):
    images, labels = (part[:200] for part in mnist)
    targets = targets_of(labels)
    adv_images = attacks.fgsm_attack(mlp, images, targets, 0.01, targeted=True)
    before, after = (
        mlp(pixels).gather(1, targets[:, None]).squeeze() for pixels in (images, adv_images)
    )
    assert (after > before).all()


# Projected gradient descent.


@pytest.mark.parametrize("seed", [None, 0])
@pytest.mark.parametrize("epsilon", [1 / 255, 0.05, 0.3, 7.5])
def test_pgd_stays_within_epsilon_and_within_the_pixels_range(pgd, case, epsilon, seed):
    model, images, labels = case[0], case[1][:20], case[2][:20]
    adv_images = pgd(model, images, labels, epsilon, step=0.7 * epsilon, steps=3, seed=seed)
    assert (adv_images - images).abs().max() <= epsilon + 1e-6
    assert adv_images.min() >= 0
    assert adv_images.max() <= 1
    assert not torch.equal(adv_images, images)


@pytest.mark.parametrize("seed", [None, 0])
def test_pgd_of_epsilon_zero_is_the_identity_bit_for_bit(pgd, mlp, mnist, seed):
    images, labels = (part[:100] for part in mnist)
    adv_images = pgd(mlp, images, labels, 0, step=0.1, steps=2, seed=seed)
    assert torch.equal(adv_images.view(torch.int32), images.view(torch.int32))


@pytest.mark.parametrize("step", [0.1, 0.3])
def test_one_step_of_pgd_from_the_images_is_fgsm(pgd, case, step):
    model, images, labels = case[0], case[1][:100], case[2][:100]
    adv_images = pgd(model, images, labels, 0.1, step=step, steps=1)
    assert torch.equal(adv_images, attacks.fgsm_attack(model, images, labels, 0.1))


def test_two_steps_of_pgd_are_two_of_fgsm_and_a_projection(pgd, mlp, mnist):
    images, labels = (part[:100] for part in mnist)
    expected = images
    for _ in range(2):
        expected = attacks.fgsm_attack(mlp, expected, labels, 0.07)
        expected = torch.min(torch.max(expected, images - 0.1), images + 0.1)
    adv_images = pgd(mlp, images, labels, 0.1, step=0.07, steps=2)
    torch.testing.assert_close(adv_images, expected, rtol=0, atol=1e-6)


@pytest.mark.parametrize("seed", [None, 0])
def test_more_steps_of_pgd_are_on_average_not_weaker(pgd, case, seed):
    model, images, labels = case[0], case[1][:200], case[2][:200]
    losses = []
    for steps in (1, 2, 5):
        adv_images = pgd(model, images, labels, 0.03, step=0.03 / steps, steps=steps, seed=seed)
        with torch.no_grad():
            losses.append(F.cross_entropy(model(adv_images), labels).item())
    assert losses == sorted(losses)


def test_a_seed_draws_a_start_from_the_whole_ball(mlp):
    images, labels = torch.full((200, 1, 28, 28), 0.5), torch.zeros(200, dtype=torch.int64)
    start = attacks.pgd(mlp, images, labels, 0.2, step=0, steps=1, seed=3) - images
    # Uniform from -0.2 to 0.2: mean 0, standard deviation 0.4 / sqrt(12).
    assert abs(start.mean()) < 1e-3
    assert abs(start.std() - 0.4 / 12**0.5) < 1e-3
    assert start.abs().max() > 0.199
    assert len(start.flatten(1).unique(dim=0)) == 200  # another one for each image


def test_a_seed_repeats_itself_and_another_starts_elsewhere(pgd, mlp, mnist):
    images, labels = (part[:20] for part in mnist)
    state = torch.get_rng_state()
    first, again, other = (
        pgd(mlp, images, labels, 0.1, step=0.02, steps=2, seed=seed) for seed in (1, 1, 2)
    )
    assert torch.equal(first, again)
    assert not torch.equal(first, other)
    assert torch.equal(torch.get_rng_state(), state)


def test_helper_and_notebook_agree_on_pgd(pgd, mlp, mnist):
    images, labels = (part[:100] for part in mnist)
    arguments = mlp, images, labels, 0.1
    for seed in (None, 5):
        expected = attacks.pgd(*arguments, step=0.03, steps=4, seed=seed)
        adv_images = pgd(*arguments, step=0.03, steps=4, seed=seed)
        torch.testing.assert_close(adv_images, expected, rtol=0, atol=1e-6)


def test_targeted_pgd_reaches_more_targets_than_fgsm(mlp, mnist):
    images, labels = (part[:200] for part in mnist)
    targets = targets_of(labels)
    one, ten = (
        attacks.pgd(mlp, images, targets, 0.15, step=step, steps=steps, targeted=True)
        for step, steps in ((0.15, 1), (0.03, 10))
    )
    assert torch.equal(one, attacks.fgsm_attack(mlp, images, targets, 0.15, targeted=True))
    reached = [evaluation.accuracy(mlp, adv_images, targets) for adv_images in (one, ten)]
    assert reached[1] > reached[0] + 0.2


def test_pgd_with_an_epsilon_and_a_step_for_each_image_equals_each_image_alone(mlp, mnist):
    images, labels = (part[:3] for part in mnist)
    epsilons, step = torch.tensor([0, 0.1, 0.25]), torch.tensor([0.1, 0.02, 0.05])
    together = attacks.pgd(mlp, images, labels, epsilons, step=step, steps=5)
    for i in range(3):
        one, its_step = (images[[i]], labels[[i]], epsilons[i].item()), step[i].item()
        alone = attacks.pgd(mlp, *one, step=its_step, steps=5)
        torch.testing.assert_close(together[[i]], alone, rtol=0, atol=1e-6)


WRONG_STEPS = {
    "no steps": ({"steps": 0}, ValueError, "steps must be an integer of at least 1, got 0"),
    "half a step": ({"steps": 1.5}, ValueError, "steps must be an integer of at least 1, got 1.5"),
    "negative epsilon": ({"epsilon": -0.1}, ValueError, r"epsilon must be .*negative.*-0\.1"),
    "two epsilons": ({"epsilon": [0.1, 0.2]}, ValueError, r"epsilon must have shape \(3,\)"),
    "no epsilon": ({"epsilon": None}, TypeError, "epsilon must be a number .*None"),
    "negative step": ({"step": -0.1}, ValueError, r"step must be .*negative.*-0\.1"),
    "NaN step": ({"step": math.nan}, ValueError, "step must be finite.*nan"),
    "a word": ({"step": "small"}, TypeError, "step must be a number .*small"),
    "odd seed": ({"seed": "one"}, TypeError, "seed must be an integer or None, got 'one'"),
}


@pytest.mark.parametrize(("change", "error", "match"), WRONG_STEPS.values(), ids=WRONG_STEPS)
def test_wrong_arguments_of_pgd_are_named(mlp, change, error, match):
    with pytest.raises(error, match=match):
        attacks.pgd(mlp, IMAGES, LABELS, **({"epsilon": 0.1, "step": 0.1, "steps": 2} | change))


# Optimised noise.


def test_optimised_noise_reaches_its_targets_within_the_pixels_range(optimize_noise, mlp, mnist):
    images, labels = (part[:100] for part in mnist)
    adv_images = images + optimize_noise(mlp, images, targets_of(labels), c=0.01)
    assert (mlp(adv_images).argmax(1) == targets_of(labels)).float().mean() > 0.98
    assert adv_images.min() >= 0
    assert adv_images.max() <= 1


def test_a_target_that_is_predicted_already_needs_no_noise(optimize_noise, mlp, mnist):
    images = mnist[0][:10]
    assert not optimize_noise(mlp, images, mlp(images).argmax(1), c=0.01).any()


def test_a_heavier_penalty_gives_less_distortion(optimize_noise, mlp, mnist):
    images, labels = (part[:100] for part in mnist)
    sizes = [
        optimize_noise(mlp, images, targets_of(labels), c=c, steps=300).square().mean()
        for c in (0, 1, 10)
    ]
    assert sizes[0] > sizes[1] > sizes[2]


def test_the_noise_of_an_image_does_not_depend_on_the_others(optimize_noise, mlp, mnist):
    images, labels = (part[:10] for part in mnist)
    targets = targets_of(labels)
    together = optimize_noise(mlp, images, targets, c=0.1)
    alone = [
        optimize_noise(mlp, *one, c=0.1)
        for one in zip(images.split(1), targets.split(1), strict=True)
    ]
    torch.testing.assert_close(together, torch.cat(alone), rtol=0, atol=1e-4)


def test_one_step_of_optimised_noise_is_gradient_descent(optimize_noise, mlp, mnist):
    images, labels = (part[:10] for part in mnist)
    targets = targets_of(labels)
    data_grad = attacks.input_gradient(mlp, images, targets)
    expected = (images - 0.01 * data_grad).clamp(0, 1) - images
    noise = optimize_noise(mlp, images, targets, c=5, lr=0.01, steps=1)
    torch.testing.assert_close(noise, expected, rtol=0, atol=1e-6)


def test_a_penalty_for_each_image_equals_each_image_alone(mlp, mnist):
    images, labels = (part[:3] for part in mnist)
    targets = targets_of(labels)
    c = torch.tensor([0, 0.1, 1])
    together = attacks.optimize_noise(mlp, images, targets, c=c)
    for i in range(3):
        alone = attacks.optimize_noise(mlp, images[[i]], targets[[i]], c=c[i].item())
        torch.testing.assert_close(together[[i]], alone, rtol=0, atol=1e-4)


def test_optimising_in_two_halves_equals_doing_it_at_once(mlp, mnist):
    images, labels = (part[:10] for part in mnist)
    targets = targets_of(labels)
    at_once = attacks.optimize_noise(mlp, images, targets, c=0.1, steps=20)
    first = attacks.optimize_noise(mlp, images, targets, c=0.1, steps=10)
    kept = first.clone().requires_grad_()
    halves = attacks.optimize_noise(mlp, images, targets, c=0.1, steps=10, start=kept)
    assert not torch.equal(first, at_once)
    assert torch.equal(first, kept)
    assert not halves.requires_grad
    torch.testing.assert_close(halves, at_once, rtol=0, atol=1e-6)


# What nobody may touch.


@pytest.mark.parametrize("fails", [False, True], ids=["succeeds", "fails"])
@pytest.mark.parametrize("call", CALLS.values(), ids=CALLS)
def test_model_and_images_are_left_as_they_were(midway, snapshot, call, fails):
    def fail(*_):
        raise RuntimeError("out of order")

    model = midway
    if fails:
        model[-1].register_forward_hook(fail)
    images = torch.rand(4, 3, 16, 16).requires_grad_()
    before = snapshot(model, images)
    if fails:
        with pytest.raises(RuntimeError, match="out of order"):
            call(model, images, torch.arange(4))
    else:
        result = call(model, images, torch.arange(4))
        assert not getattr(result, "requires_grad", False)
    torch.testing.assert_close(snapshot(model, images), before, rtol=0, atol=0)


@pytest.mark.parametrize("call", [CALLS[name] for name in ATTACKS], ids=ATTACKS)
def test_attacks_work_where_gradients_are_switched_off(small_vgg, call):
    images, labels = torch.rand(2, 3, 16, 16), torch.arange(2)
    with torch.no_grad():
        switched_off = call(small_vgg, images, labels)
    assert torch.equal(switched_off, call(small_vgg, images, labels))


# Wrong input.


@pytest.mark.parametrize("call", [CALLS[name] for name in ATTACKS], ids=ATTACKS)
def test_attacks_return_an_empty_batch_for_an_empty_batch(call, case):
    model, images, labels = case
    result = call(model, images[:0], labels[:0])
    assert result.shape == images[:0].shape
    assert result.dtype == images.dtype


@pytest.mark.parametrize("call", [CALLS[name] for name in EVALUATIONS], ids=EVALUATIONS)
def test_evaluation_refuses_an_empty_batch(call, mlp):
    with pytest.raises(ValueError, match=r"images.* at least one.* empty"):
        call(mlp, torch.rand(0, 1, 28, 28), torch.zeros(0, dtype=torch.int64))


IMAGES, LABELS = torch.full((3, 1, 28, 28), 0.5), torch.tensor([7, 2, 1])
WRONG = {
    "uint8 images": (IMAGES.byte(), LABELS, TypeError, r"images .*float.*uint8"),
    "numpy images": (IMAGES.numpy(), LABELS, TypeError, r"images .*tensor.*ndarray"),
    "float64 images": (IMAGES.double(), LABELS, TypeError, r"images .*float32.*float64"),
    "bright images": (IMAGES + 1, LABELS, ValueError, r"images .*\[0, 1\].* 1\.5"),
    "dark images": (IMAGES - 1, LABELS, ValueError, r"images .*\[0, 1\].*-0\.5"),
    "NaN images": (IMAGES * math.nan, LABELS, ValueError, r"images .*\[0, 1\].*nan"),
    "infinite images": (IMAGES * math.inf, LABELS, ValueError, r"images .*\[0, 1\].*inf"),
    "sparse images": (IMAGES.to_sparse(), LABELS, TypeError, r"images .*float.*sparse"),
    "meta images": (IMAGES.to("meta"), LABELS, TypeError, r"images .*float.*meta"),
    "3-D images": (IMAGES[0], LABELS, ValueError, r"images .*\(N, C, H, W\).*\(1, 28, 28\)"),
    "float labels": (IMAGES, LABELS.float(), TypeError, r"(labels|targets) .*int64.*float32"),
    "list labels": (IMAGES, LABELS.tolist(), TypeError, r"(labels|targets) .*int64.*list"),
    "too few labels": (IMAGES, LABELS[:2], ValueError, r"(labels|targets) .*\(3,\).*\(2,\)"),
    "2-D labels": (IMAGES, LABELS[:, None], ValueError, r"(labels|targets) .*\(3,\).*\(3, 1\)"),
    "negative labels": (IMAGES, LABELS - 2, ValueError, r"(labels|targets) .*negative.*-1"),
    "large labels": (IMAGES, LABELS + 3, ValueError, r"(labels|targets) .*0 to 9.*10"),
    "labels elsewhere": (IMAGES, LABELS.to("meta"), ValueError, r"(labels|targets) .*meta.*cpu"),
}


@pytest.mark.parametrize("call", CALLS.values(), ids=CALLS)
@pytest.mark.parametrize(("images", "labels", "error", "match"), WRONG.values(), ids=WRONG)
def test_wrong_images_and_labels_are_named(call, mlp, images, labels, error, match):
    with pytest.raises(error, match=match):
        call(mlp, images, labels)


@pytest.mark.parametrize("call", CALLS.values(), ids=CALLS)
def test_a_model_on_another_device_is_named(call, mlp):
    with pytest.raises(ValueError, match=r"model is on meta .*images are on cpu.*\.to\(device\)"):
        call(copy.deepcopy(mlp).to("meta"), IMAGES, LABELS)


@pytest.mark.parametrize("call", CALLS.values(), ids=CALLS)
def test_a_model_without_a_row_of_logits_for_each_image_is_named(call):
    with pytest.raises(ValueError, match=r"model must give logits .*\(N, K\).*\(3, 1, 28, 28\)"):
        call(nn.Identity(), IMAGES, LABELS)
    one_for_all = nn.Sequential(nn.Flatten(0), nn.Linear(3 * 784, 10), nn.Unflatten(0, (1, 10)))
    with pytest.raises(ValueError, match=r"model must give logits .*N = 3.*\(1, 10\)"):
        call(one_for_all, IMAGES, LABELS)


class Odd(nn.Module):
    """The digit network, with something done to its output."""

    def __init__(self, mlp, change):
        super().__init__()
        self.mlp, self.change = mlp, change

    def forward(self, images):
        return self.change(self.mlp(images))


ODD_OUTPUTS = {
    "tuple": (lambda out: (out, out), TypeError, "model must give .*tensor, got tuple"),
    "dict": (lambda out: {"logits": out}, TypeError, "model must give .*tensor, got dict"),
    "nothing": (lambda out: None, TypeError, "model must give .*tensor, got NoneType"),
    "integers": (lambda out: out.long(), TypeError, "model must give .*tensor, got torch.int64"),
    "one class": (lambda out: out[:, :1], ValueError, r"\(N, K\) .*K > 1.*\(3, 1\)"),
    "no classes": (lambda out: out[:, 0], ValueError, r"\(N, K\).*\(3,\)"),
    "a picture": (lambda out: out[..., None, None], ValueError, r"\(N, K\).*\(3, 10, 1, 1\)"),
    "other N": (lambda out: out[1:], ValueError, r"N = 3 .*\(2, 10\)"),
    "NaN": (lambda out: out * math.nan, ValueError, "output holds NaN.*weights"),
    "infinity": (lambda out: out + math.inf, ValueError, "output holds NaN.*weights"),
    "nothing likely": (lambda out: out - math.inf, ValueError, "output holds NaN.*weights"),
    "sparse": (lambda out: out.to_sparse(), TypeError, "model must give .*tensor, got.*sparse"),
}


@each_reading
@pytest.mark.parametrize(("change", "error", "match"), ODD_OUTPUTS.values(), ids=ODD_OUTPUTS)
def test_an_odd_output_is_named(call, mlp, change, error, match):
    with pytest.raises(error, match=match):
        call(Odd(mlp, change), IMAGES, LABELS)


@each_reading
def test_a_model_with_broken_weights_is_named(call, mlp):
    broken = copy.deepcopy(mlp)
    broken.fc1.weight[0, 0] = math.nan
    with pytest.raises(ValueError, match=r"output holds NaN.*weights"):
        call(broken, IMAGES, LABELS)


@pytest.mark.parametrize("call", [CALLS[name] for name in ATTACKS], ids=ATTACKS)
@pytest.mark.parametrize("how", ["detached", "no_grad"])
def test_a_model_without_a_gradient_is_named(call, mlp, how):
    blocked = Odd(mlp, torch.Tensor.detach)
    if how == "no_grad":
        blocked.forward = torch.no_grad()(mlp.forward)
    with pytest.raises(ValueError, match=r"gives no gradient.*detach.*no_grad"):
        call(blocked, IMAGES, LABELS)


@each_reading
def test_images_of_another_size_are_named(call, mlp, efficientnet):
    for shape in ((3, 1, 32, 32), (3, 3, 28, 28)):
        with pytest.raises(ValueError, match=rf"\(N, 1, 28, 28\).*\({shape[0]}, {shape[1]}, "):
            call(mlp, torch.rand(shape), LABELS)
    with pytest.raises(ValueError, match=r"\(N, 3, H, W\) .*\(3, 1, 28, 28\)"):
        call(efficientnet, IMAGES, LABELS)


@each_reading
def test_autocast_changes_nothing(call, mlp, mnist):
    images, labels = (part[:20] for part in mnist)
    with torch.autocast("cpu"):
        changed = call(mlp, images, labels)
    torch.testing.assert_close(changed, call(mlp, images, labels), rtol=0, atol=0)


WRONG_NUMBERS = {
    "negative": (-0.1, ValueError, r"finite and not negative.*-0\.1"),
    "NaN": (math.nan, ValueError, r"finite and not negative.*nan"),
    "infinite": (math.inf, ValueError, r"finite and not negative.*inf"),
    "one negative": (torch.tensor([0.1, -0.1, 0]), ValueError, r"not negative.*-0\.1"),
    "one NaN": (torch.tensor([0.1, math.nan, 0]), ValueError, r"finite.*nan"),
    "too few": (torch.tensor([0.1, 0.1]), ValueError, r"shape \(3,\).*\(2,\)"),
    "text": ("much", TypeError, r"number.*(str|much)"),
    "nothing": (None, TypeError, r"number.*None"),
}


@pytest.mark.parametrize(("number", "error", "match"), WRONG_NUMBERS.values(), ids=WRONG_NUMBERS)
def test_a_wrong_epsilon_or_penalty_is_named(mlp, number, error, match):
    with pytest.raises(error, match=f"epsilon .*{match}"):
        attacks.fgsm(IMAGES, number, IMAGES)
    with pytest.raises(error, match=f"epsilon .*{match}"):
        attacks.fgsm_attack(mlp, IMAGES, LABELS, number)
    with pytest.raises(error, match=f"c .*{match}"):
        attacks.optimize_noise(mlp, IMAGES, LABELS, c=number)


@pytest.mark.parametrize(
    ("data_grad", "error", "match"),
    [
        (IMAGES[:2], ValueError, r"shape \(3, 1, 28, 28\).*\(2, 1, 28, 28\)"),
        (IMAGES * math.nan, ValueError, r"finite|NaN"),
        (IMAGES.numpy(), TypeError, r"tensor.*ndarray"),
    ],
    ids=["shape", "NaN", "numpy"],
)
def test_a_wrong_gradient_is_named(data_grad, error, match):
    with pytest.raises(error, match=f"data_grad .*{match}"):
        attacks.fgsm(IMAGES, 0.1, data_grad)


@pytest.mark.parametrize(
    ("start", "error", "match"),
    [
        (IMAGES[:2], ValueError, r"shape \(3, 1, 28, 28\).*\(2, 1, 28, 28\)"),
        (IMAGES.numpy(), TypeError, r"tensor.*ndarray"),
        (1 - IMAGES + 0.1, ValueError, r"\[0, 1\].*1\.1"),
    ],
    ids=["shape", "numpy", "range"],
)
def test_a_wrong_start_is_named(mlp, start, error, match):
    with pytest.raises(error, match=f"start .*{match}"):
        attacks.optimize_noise(mlp, IMAGES, LABELS, c=0.1, start=start)


@pytest.mark.parametrize("wrong", [{"lr": 0}, {"lr": -1}, {"lr": math.nan}, {"steps": 0}], ids=str)
def test_a_wrong_step_size_or_count_is_named(mlp, wrong):
    (name,) = wrong
    with pytest.raises(ValueError, match=name):
        attacks.optimize_noise(mlp, IMAGES, LABELS, c=0.1, **wrong)
