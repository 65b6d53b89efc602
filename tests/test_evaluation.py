import itertools
import math

import pytest
import torch
import torch.nn.functional as F
from notebook_code import helper_and_notebook
from torch import nn

from helpers import attacks, evaluation

EPSILONS = [0, 0.05, 0.1, 0.15, 0.2, 0.25, 0.3]

epsilon_sweep = helper_and_notebook(evaluation.epsilon_sweep, "03_epsilon_sweep")
minimal_epsilon = helper_and_notebook(evaluation.minimal_epsilon, "03_epsilon_sweep")
distortion = helper_and_notebook(evaluation.distortion, "04_szegedy_noise")


@pytest.fixture
def passes(mlp):
    """Counts the forward and the backward passes through the MLP."""
    counts = {"forward": 0, "backward": 0}

    def count(_module, _inputs, logits):
        counts["forward"] += 1
        if logits.requires_grad:
            logits.register_hook(lambda _: counts.update(backward=counts["backward"] + 1))

    hook = mlp.register_forward_hook(count)
    yield counts
    hook.remove()


def predictions(model, images):
    with torch.no_grad():
        return model(images).argmax(1)


# Accuracy.


@pytest.mark.parametrize("correct", range(5))
def test_accuracy_is_the_share_of_labels_that_are_predicted(correct):
    images = torch.eye(4).view(4, 4, 1, 1)
    labels = torch.arange(4)
    labels[correct:] = (labels[correct:] + 1) % 4
    assert evaluation.accuracy(nn.Flatten(), images, labels) == correct / 4


@pytest.mark.parametrize("batch_size", [1, 7, 250, 1000])
def test_no_result_depends_on_the_batch_size(mlp, mnist, batch_size, monkeypatch):
    args = [mlp, *(part[:250] for part in mnist)]

    def results():
        return (
            evaluation.accuracy(*args),
            evaluation.epsilon_sweep(*args, EPSILONS),
            evaluation.epsilon_sweep(*args, EPSILONS, data_grad=1 - 2 * args[1]),
            evaluation.minimal_epsilon(*args).tolist(),
        )

    expected = results()
    monkeypatch.setattr(evaluation, "BATCH_SIZE", batch_size)
    assert results() == expected


def test_accuracy_is_the_same_in_train_mode(small_vgg):
    images = torch.rand(50, 3, 16, 16)
    labels = predictions(small_vgg, images)
    small_vgg.train()
    try:
        assert evaluation.accuracy(small_vgg, images, labels) == 1
    finally:
        small_vgg.eval()


def test_probabilities_are_the_softmax_of_the_logits(case):
    model, images, _ = case
    with torch.no_grad():
        expected = model(images[:3]).exp()
    expected /= expected.sum(1, keepdim=True)
    torch.testing.assert_close(evaluation.probabilities(model, images[:3]), expected)


# The sweep.


def test_accuracy_falls_strictly_with_epsilon_until_nothing_is_left(epsilon_sweep, mlp, mnist):
    images, labels = (part[:5000] for part in mnist)
    accuracies = epsilon_sweep(mlp, images, labels, EPSILONS)
    assert accuracies[0] > 0.97
    assert accuracies[-1] < 0.001
    for before, after in itertools.pairwise(accuracies):
        assert after < before or before < 0.001


def test_a_sweep_is_the_accuracy_at_each_epsilon(epsilon_sweep, case):
    model, images, labels = case
    epsilons = [0.03, 0, 0.3]
    data_grad = attacks.input_gradient(model, images, labels)
    adversarial = (attacks.fgsm(images, epsilon, data_grad) for epsilon in epsilons)
    expected = [evaluation.accuracy(model, adv_images, labels) for adv_images in adversarial]
    assert epsilon_sweep(model, images, labels, epsilons) == pytest.approx(expected, abs=1e-6)


def test_random_signs_do_next_to_nothing(mlp, mnist):
    images, labels = (part[:2000] for part in mnist)
    signs = torch.randn_like(images)
    clean, randomly = evaluation.epsilon_sweep(mlp, images, labels, [0, 0.1], data_grad=signs)
    fooled = evaluation.epsilon_sweep(mlp, images, labels, [0.1])[0]
    assert clean - randomly < 0.02
    assert clean - fooled > 0.6


def test_a_sweep_of_seven_costs_one_gradient_and_six_more_passes(mlp, mnist, passes):
    evaluation.epsilon_sweep(mlp, *(part[:500] for part in mnist), EPSILONS)
    assert passes == {"forward": 1 + 6, "backward": 1}


@pytest.mark.parametrize("wrong", [-0.1, math.nan, math.inf])
def test_a_wrong_epsilon_in_a_sweep_is_named(mlp, mnist, wrong):
    with pytest.raises(ValueError, match=f"epsilons .*not negative.*{wrong}"):
        evaluation.epsilon_sweep(mlp, *(part[:2] for part in mnist), [0, wrong])


@pytest.mark.parametrize(
    "wrong", [0.1, torch.tensor(0.1), "0.1", [torch.tensor([0.1, 0.2])]], ids=str
)
def test_epsilons_that_are_no_list_of_numbers_are_named(mlp, mnist, wrong):
    with pytest.raises(TypeError, match="epsilons must be"):
        evaluation.epsilon_sweep(mlp, *(part[:2] for part in mnist), wrong)


def test_epsilons_may_be_a_tensor(mlp, mnist):
    args = mlp, *(part[:20] for part in mnist)
    expected = evaluation.epsilon_sweep(*args, EPSILONS)
    assert evaluation.epsilon_sweep(*args, torch.tensor(EPSILONS)) == expected


def test_what_rounding_does_stays_in_the_range_that_notebook_3_states(mlp, mnist):
    images, labels = mnist
    x = images.clone().requires_grad_()
    (data_grad,) = torch.autograd.grad(F.nll_loss(mlp(x), labels, reduction="sum"), x)
    damaged = evaluation.epsilon_sweep(mlp, images, labels, EPSILONS, data_grad=data_grad)
    expected = [0.980, 0.725, 0.191, 0.051, 0.017, 0.0057, 0.0035]
    assert damaged == pytest.approx(expected, rel=0.1, abs=0.001)
    certain = evaluation.probabilities(mlp, images).gather(1, labels[:, None]) == 1
    assert certain.float().mean().item() == pytest.approx(0.0765, abs=0.004)


@pytest.mark.parametrize("count", [1, 3])
def test_a_direction_that_is_not_one_for_each_image_is_named(mlp, mnist, count, monkeypatch):
    monkeypatch.setattr(evaluation, "BATCH_SIZE", 2)
    signs = torch.ones(count, 1, 28, 28)
    with pytest.raises(ValueError, match=rf"data_grad .*\(2, 1, 28, 28\).*\({count}, 1, 28, 28\)"):
        evaluation.epsilon_sweep(mlp, *(part[:2] for part in mnist), [0.1], data_grad=signs)


# The least epsilon.


def test_the_least_epsilon_of_a_linear_model_has_its_closed_form(minimal_epsilon):
    model = nn.Sequential(nn.Flatten(), nn.Linear(784, 2, bias=False)).requires_grad_(False)
    images = 0.4 + 0.2 * torch.rand(50, 1, 28, 28)
    logits = model(images)
    weight = model[1].weight
    margin = (logits[:, 0] - logits[:, 1]).abs() / (weight[0] - weight[1]).abs().sum()
    found = minimal_epsilon(model, images, logits.argmax(1))
    torch.testing.assert_close(found, margin, rtol=0, atol=1 / 500)


def test_the_least_epsilon_agrees_with_a_fine_scan(minimal_epsilon, mlp, mnist):
    images, labels = (part[:40] for part in mnist)
    data_grad = attacks.input_gradient(mlp, images, labels)
    epsilons = torch.arange(0, 1.001, 1 / 512)
    fooled = torch.stack(
        [predictions(mlp, attacks.fgsm(images, e, data_grad)) != labels for e in epsilons]
    )
    monotone = (fooled.int().diff(dim=0) >= 0).all(0)
    expected = epsilons[fooled.int().argmax(0)]
    found = minimal_epsilon(mlp, images, labels)
    assert monotone.sum() > 30
    torch.testing.assert_close(found[monotone], expected[monotone], rtol=0, atol=1 / 300)


def test_the_least_epsilon_fools_the_model_and_a_lesser_one_does_not(minimal_epsilon, mlp, mnist):
    images, labels = (part[:300] for part in mnist)
    found = minimal_epsilon(mlp, images, labels)
    data_grad = attacks.input_gradient(mlp, images, labels)
    for epsilon, expected in ((found, True), ((found - 1 / 300).clamp(min=0), False)):
        fooled = predictions(mlp, attacks.fgsm(images, epsilon, data_grad)) != labels
        wrong_from_the_start = found == 0
        assert ((fooled == expected) | wrong_from_the_start).all()


def test_no_epsilon_is_needed_or_none_suffices_for_a_constant_model(minimal_epsilon):
    model = nn.Sequential(nn.Flatten(), nn.Linear(4, 2)).requires_grad_(False)
    model[1].weight.zero_()
    model[1].bias.copy_(torch.tensor([1, 0]))
    found = minimal_epsilon(model, torch.rand(2, 1, 2, 2), torch.tensor([0, 1]))
    assert found.tolist() == [math.inf, 0]


def test_the_least_epsilon_costs_one_gradient_and_few_passes(mlp, mnist, passes):
    evaluation.minimal_epsilon(mlp, *(part[:500] for part in mnist))
    assert passes["forward"] <= 14
    assert passes["backward"] == 1


@pytest.mark.parametrize("halvings", [4, 10])
def test_each_halving_bounds_the_error_of_the_least_epsilon(mlp, mnist, halvings, monkeypatch):
    args = [mlp, *(part[:50] for part in mnist)]
    monkeypatch.setattr(evaluation, "HALVINGS", halvings)
    coarse = evaluation.minimal_epsilon(*args)
    monkeypatch.setattr(evaluation, "HALVINGS", halvings + 3)
    fine = evaluation.minimal_epsilon(*args)
    torch.testing.assert_close(coarse, fine, rtol=0, atol=2**-halvings)


def test_the_least_epsilon_is_found_to_1_in_1024():
    assert evaluation.HALVINGS == 10


# Distortion.


def test_distortion_is_the_root_of_the_mean_of_squares(distortion):
    noise = torch.stack([torch.zeros(3, 4, 5), torch.full((3, 4, 5), -0.2), torch.ones(3, 4, 5)])
    noise[2, 0] = -2
    torch.testing.assert_close(distortion(noise), torch.tensor([0, 0.2, math.sqrt(2)]))


def test_distortion_names_a_wrong_shape():
    with pytest.raises(ValueError, match=r"noise .*\(N, C, H, W\).*\(28, 28\)"):
        evaluation.distortion(torch.zeros(28, 28))
