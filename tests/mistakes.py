"""Classic mistakes in the exercises, each with the part of the message that names it, and right
answers that look unusual. Written as students write, and not as the recipes of the checks.
"""

import io
import math
import random

import numpy as np
import torch
import torch.nn.functional as F
from PIL import Image
from torchvision.transforms.v2.functional import pil_to_tensor, to_pil_image

from helpers import attacks, evaluation, models

MISTAKES, VARIANTS = [], []


def mistake(number, says):
    """The function solves exercise ``number`` wrongly; the check's message contains ``says``."""

    def register(function):
        MISTAKES.append((number, function, says))
        return function

    return register


def variant(number):
    """The function solves exercise ``number`` in its own way."""

    def register(function):
        VARIANTS.append((number, function))
        return function

    return register


# 1.1 toss


@mistake("1.1", "leave [0, 1]")
def without_clip(images, epsilon):
    return images + epsilon * torch.randn_like(images).sign()


@mistake("1.1", "Is the noise added")
def forgotten_sum(images, epsilon):
    noise = epsilon * torch.randn_like(images).sign()
    noise.clamp(0, 1)
    return images.clone()


@mistake("1.1", "for two epsilons")
def number_written_in(images, epsilon):
    return torch.clamp(images + 0.1 * torch.randn_like(images).sign(), 0, 1)


@mistake("1.1", "part of a random number")
def gaussian(images, epsilon):
    return (images + torch.randn_like(images) * epsilon).clamp(min=0, max=1)


@mistake("1.1", "by less than epsilon")
def uniform(images, epsilon):
    return (images + (2 * torch.rand_like(images) - 1) * epsilon).clamp(0, 1)


@mistake("1.1", "by less than epsilon")
def three_sided(images, epsilon):
    coin = torch.randint(-1, 2, images.shape)
    return (images + epsilon * coin).clamp(0, 1)


@mistake("1.1", "by less than epsilon")
def heads_or_nothing(images, epsilon):
    return (images + epsilon * torch.randint(0, 2, images.shape)).clamp(0, 1)


@mistake("1.1", "all pixels move the same way")
def sign_of_positive(images, epsilon):
    return (images + epsilon * torch.rand_like(images).sign()).clamp(0, 1)


@mistake("1.1", "all pixels move the same way")
def one_coin_an_image(images, epsilon):
    coin = torch.randn(len(images), 1, 1, 1).sign()
    return (images + epsilon * coin).clamp(0, 1)


@mistake("1.1", "Is the coin fair")
def bent_coin(images, epsilon):
    coin = torch.where(torch.rand_like(images) < 0.1, -1.0, 1.0)
    return (images + epsilon * coin).clamp(0, 1)


@mistake("1.1", "all get the same noise")
def one_noise_for_all(images, epsilon):
    coin = torch.randn_like(images[0]).sign()
    return (images + epsilon * coin).clamp(0, 1)


@mistake("1.1", "toss the same")
def seeded_inside(images, epsilon):
    torch.manual_seed(1)
    return (images + epsilon * torch.randn_like(images).sign()).clamp(0, 1)


@mistake("1.1", "Are they clipped, or wrapped")
def modulo(images, epsilon):
    return (images + epsilon * torch.randn_like(images).sign()) % 1


@mistake("1.1", "Is the coin fair")
def coin_of_the_pixel(images, epsilon):
    return (images + epsilon * (torch.rand_like(images) - images).sign()).clamp(0, 1)


@variant("1.1")
def integers(images, epsilon):
    return torch.clip(images + epsilon * (2.0 * torch.randint(0, 2, images.shape) - 1), 0, 1)


@variant("1.1")
def pixel_by_pixel(images, epsilon):
    noisy = images.flatten().tolist()
    for i in range(len(noisy)):
        noisy[i] = min(1.0, max(0.0, noisy[i] + random.choice((-epsilon, epsilon))))
    return torch.tensor(noisy).view(images.shape)


# 1.2 share_wrong


@mistake("1.2", "this is no share")
def number_of_wrong(probabilities, labels, at_least):
    sure = probabilities.amax(1) >= at_least
    return ((probabilities.argmax(1) != labels) & sure).sum().item()


@mistake("1.2", "in percent")
def percent(probabilities, labels, at_least):
    sure = probabilities.amax(1) >= at_least
    return 100 * (probabilities.argmax(1) != labels)[sure].float().mean()


@mistake("1.2", "a share of *all* answers")
def divided_by_all(probabilities, labels, at_least):
    wrong = (probabilities.argmax(1) != labels) & (probabilities.amax(1) >= at_least)
    return wrong.float().mean()


@mistake("1.2", "how many of the *wrong* answers")
def share_of_the_wrong(probabilities, labels, at_least):
    wrong = probabilities.argmax(1) != labels
    return (probabilities[wrong].amax(1) >= at_least).float().mean()


@mistake("1.2", "every answer counts")
def error_rate(probabilities, labels, at_least):
    return 1 - (probabilities.argmax(1) == labels).float().mean().item()


@mistake("1.2", "share of *right* answers")
def right_ones(probabilities, labels, at_least):
    confidence, answers = probabilities.max(1)
    sure = confidence >= at_least
    return (answers[sure] == labels[sure]).float().mean().item()


@mistake("1.2", "asked how sure")
def probability_of_the_true_class(probabilities, labels, at_least):
    sure = probabilities[range(len(labels)), labels] >= at_least
    return (probabilities.argmax(1) != labels)[sure].float().mean().item()


@mistake("1.2", "exactly the least confidence")
def greater(probabilities, labels, at_least):
    confidence, answers = probabilities.max(1)
    return (answers != labels)[confidence > at_least].float().mean().item()


@mistake("1.2", "the share is another")
def at_most(probabilities, labels, at_least):
    confidence, answers = probabilities.max(1)
    return (answers != labels)[confidence <= at_least].float().mean().item()


@mistake("1.2", "right for one least confidence")
def threshold_written_in(probabilities, labels, at_least):
    confidence, answers = probabilities.max(1)
    return (answers != labels)[confidence >= 0.7].float().mean().item()


@mistake("1.2", "come on a right one")
def odds(probabilities, labels, at_least):
    confidence, predictions = probabilities.max(1)
    wrong = (predictions != labels)[confidence >= at_least]
    return wrong.sum() / (~wrong).sum()


@mistake("1.2", "asked how sure")
def whole_numbers(probabilities, labels, at_least):
    confidence, predictions = probabilities.max(1)
    wrong = (predictions != labels)[confidence >= at_least]
    return wrong.sum() // len(wrong)


@mistake("1.2", "each sure answer counts")
def least_likely(probabilities, labels, at_least):
    sure = probabilities.amax(1) >= at_least
    return (probabilities.argmin(1) != labels)[sure].float().mean()


@variant("1.2")
def counting(probabilities, labels, at_least):
    sure = wrong = 0
    for row, label in zip(probabilities.tolist(), labels.tolist(), strict=True):
        if max(row) >= at_least:
            sure += 1
            wrong += row.index(max(row)) != label
    return wrong / sure


@variant("1.2")
def one_element_tensor(probabilities, labels, at_least):
    top = probabilities.topk(1)
    sure = top.values[:, 0] >= at_least
    return ((top.indices[:, 0] != labels) & sure).sum() / sure.sum()


# 2.1 fgsm_twice


def step(model, images, labels, size):
    return attacks.fgsm_attack(model, images, labels, size)


@mistake("2.1", "right for one epsilon")
def always_a_tenth(model, images, labels, epsilon):
    return step(model, step(model, images, labels, 0.05), labels, 0.05)


@mistake("2.1", "What does it return")
def returns_what_came(model, images, labels, epsilon):
    adv = step(model, images, labels, epsilon / 2)
    adv = step(model, adv, labels, epsilon / 2)
    return images


@mistake("2.1", "single half step")
def one_half(model, images, labels, epsilon):
    return step(model, images, labels, epsilon / 2)


@mistake("2.1", "both steps go the same way")
def gradient_once(model, images, labels, epsilon):
    g = attacks.input_gradient(model, images, labels)
    return attacks.fgsm(attacks.fgsm(images, epsilon / 2, g), epsilon / 2, g)


@mistake("2.1", "both steps go the same way")
def gradient_twice_at_the_start(model, images, labels, epsilon):
    adv = images
    for _ in range(2):
        adv = attacks.fgsm(adv, epsilon / 2, attacks.input_gradient(model, images, labels))
    return adv


@mistake("2.1", "twice epsilon")
def whole_steps(model, images, labels, epsilon):
    return step(model, step(model, images, labels, epsilon), labels, epsilon)


@mistake("2.1", "first step is lost")
def starts_again(model, images, labels, epsilon):
    half = step(model, images, labels, epsilon / 2)
    return attacks.fgsm(images, epsilon / 2, attacks.input_gradient(model, half, labels))


@mistake("2.1", "gradient half-way")
def midpoint(model, images, labels, epsilon):
    half = step(model, images, labels, epsilon / 2)
    return attacks.fgsm(images, epsilon, attacks.input_gradient(model, half, labels))


@mistake("2.1", "surer of the true class")
def downhill(model, images, labels, epsilon):
    for _ in range(2):
        images = attacks.fgsm_attack(model, images, labels, epsilon / 2, targeted=True)
    return images


@mistake("2.1", "Where is the sign")
def no_sign(model, images, labels, epsilon):
    for _ in range(2):
        images = images + epsilon / 2 * attacks.input_gradient(model, images, labels)
        images = images.clamp(0, 1)
    return images


@mistake("2.1", "some pixels leave")
def never_clipped(model, images, labels, epsilon):
    half = images + epsilon / 2 * attacks.input_gradient(model, images, labels).sign()
    return half + epsilon / 2 * attacks.input_gradient(model, images, labels).sign()


@mistake("2.1", "between the steps")
def clipped_at_the_end(model, images, labels, epsilon):
    x = images
    for _ in range(2):
        x = x.detach().requires_grad_()
        F.cross_entropy(model(x), labels, reduction="sum").backward()
        x = x + epsilon / 2 * x.grad.sign()
    return x.clamp(0, 1).detach()


@mistake("2.1", "the true or the guessed")
def away_from_the_guess(model, images, labels, epsilon):
    for _ in range(2):
        images = step(model, images, model(images).argmax(1), epsilon / 2)
    return images


@mistake("2.1", "by more than epsilon")
def epsilon_and_a_half(model, images, labels, epsilon):
    return step(model, step(model, images, labels, epsilon), labels, epsilon / 2)


@mistake("2.1", "not two half steps")
def random_start(model, images, labels, epsilon):
    noise = torch.randn_like(images)
    return step(model, attacks.fgsm(images, epsilon / 2, noise), labels, epsilon / 2)


@mistake("2.1", "no pixel changes by all")
def halved_twice(model, images, labels, epsilon):
    for _ in range(2):
        epsilon = epsilon / 2
        images = step(model, images, labels, epsilon)
    return images


@mistake("2.1", "second step goes back")
def back_again(model, images, labels, epsilon):
    half = step(model, images, labels, epsilon / 2)
    return attacks.fgsm(half, epsilon / 2, -attacks.input_gradient(model, half, labels))


@mistake("2.1", "three steps")
def thirds(model, images, labels, epsilon):
    for _ in range(3):
        images = step(model, images, labels, epsilon / 3)
    return images


@variant("2.1")
def by_backward(model, images, labels, epsilon):
    x = images.clone()
    for _ in range(2):
        x.requires_grad_()
        F.nll_loss(model(x), labels).backward()
        x = torch.clip(x.data + 0.5 * epsilon * torch.sign(x.grad), 0, 1)
    return x


@variant("2.1")
def image_by_image(model, images, labels, epsilon):
    rows = []
    for image, label in zip(images.split(1), labels.split(1), strict=True):
        image.requires_grad = True
        half = step(model, image, label, epsilon / 2)
        rows.append(step(model, half, label, epsilon / 2))
    return torch.cat(rows)


# 2.2 few_pixels


def masked(images, epsilon, data_grad, mask):
    return (images + epsilon * data_grad.sign() * mask).clamp(0, 1)


def top(values, k):
    rows = values.flatten(1)
    return torch.zeros_like(rows).scatter(1, rows.topk(k).indices, 1.0).view(values.shape)


@mistake("2.2", "no pixel changes")
def greater_than_the_largest(images, epsilon, data_grad, k):
    size = data_grad.abs()
    return masked(images, epsilon, data_grad, size > size.amax((1, 2, 3), keepdim=True))


@mistake("2.2", "have become black")
def image_times_mask(images, epsilon, data_grad, k):
    return attacks.fgsm(images, epsilon, data_grad) * top(data_grad.abs(), k)


@mistake("2.2", "all pixels change")
def mask_forgotten(images, epsilon, data_grad, k):
    data_grad.abs().flatten(1).topk(k)
    return attacks.fgsm(images, epsilon, data_grad)


@mistake("2.2", "share one ranking")
def threshold_of_the_batch(images, epsilon, data_grad, k):
    size = data_grad.abs()
    least = size.flatten().topk(k * len(images)).values[-1]
    return masked(images, epsilon, data_grad, size >= least)


@mistake("2.2", "missing or too many")
def greater_than_the_least(images, epsilon, data_grad, k):
    size = data_grad.abs()
    least = size.flatten(1).topk(k).values[:, -1].view(-1, 1, 1, 1)
    return masked(images, epsilon, data_grad, size > least)


@mistake("2.2", "missing or too many")
def sorted_one_too_far(images, epsilon, data_grad, k):
    size = data_grad.abs()
    least = size.flatten(1).sort(1, descending=True).values[:, k].view(-1, 1, 1, 1)
    return masked(images, epsilon, data_grad, size >= least)


@mistake("2.2", "the same for every k")
def always_thirty(images, epsilon, data_grad, k):
    return masked(images, epsilon, data_grad, top(data_grad.abs(), 30))


@mistake("2.2", "is not k")
def percent_of_pixels(images, epsilon, data_grad, k):
    return masked(images, epsilon, data_grad, top(data_grad.abs(), 784 * k // 100))


@mistake("2.2", "all move the same way")
def without_abs(images, epsilon, data_grad, k):
    return masked(images, epsilon, data_grad, top(data_grad, k))


@mistake("2.2", "matter least")
def smallest(images, epsilon, data_grad, k):
    return masked(images, epsilon, data_grad, top(-data_grad.abs(), k))


@mistake("2.2", "but others")
def random_pixels(images, epsilon, data_grad, k):
    return masked(images, epsilon, data_grad, top(torch.rand_like(images), k))


@mistake("2.2", "by different amounts")
def gradient_itself(images, epsilon, data_grad, k):
    return (images + epsilon * data_grad * top(data_grad.abs(), k)).clamp(0, 1)


@mistake("2.2", "down the loss")
def minus(images, epsilon, data_grad, k):
    return masked(images, epsilon, -data_grad, top(data_grad.abs(), k))


@mistake("2.2", "do not change by epsilon")
def half_of_epsilon(images, epsilon, data_grad, k):
    return masked(images, epsilon / 2, data_grad, top(data_grad.abs(), k))


@mistake("2.2", "some pixels leave")
def clip_forgotten(images, epsilon, data_grad, k):
    return images + epsilon * data_grad.sign() * top(data_grad.abs(), k)


@variant("2.2")
def threshold_of_each(images, epsilon, data_grad, k):
    size = data_grad.abs()
    least = size.flatten(1).topk(k).values[:, -1][:, None, None, None]
    return torch.where(size >= least, attacks.fgsm(images, epsilon, data_grad), images)


@variant("2.2")
def written_in_a_loop(images, epsilon, data_grad, k):
    adv = images.clone().flatten(1)
    stepped = attacks.fgsm(images, epsilon, data_grad).flatten(1)
    for i, row in enumerate(data_grad.flatten(1)):
        for j in row.abs().argsort(descending=True)[:k].tolist():
            adv[i, j] = stepped[i, j]
    return adv.reshape(images.shape)


# 2.3 steer


@mistake("2.3", "right once")
def five_written_in(model, images, targets, epsilon, steps):
    for _ in range(5):
        images = attacks.fgsm_attack(model, images, targets, 0.03, targeted=True)
    return images


@mistake("2.3", "some pixels leave")
def no_clip_at_all(model, images, targets, epsilon, steps):
    g = attacks.input_gradient(model, images, targets).sign()
    for _ in range(steps):
        images = images - epsilon / steps * g
    return images


@mistake("2.3", "no pixel changes")
def result_not_kept(model, images, targets, epsilon, steps):
    for _ in range(steps):
        attacks.fgsm_attack(model, images, targets, epsilon / steps, targeted=True)
    return images


@mistake("2.3", "targets become less likely")
def plus_sign(model, images, targets, epsilon, steps):
    for _ in range(steps):
        images = step(model, images, targets, epsilon / steps)
    return images


@mistake("2.3", "all steps go the same way")
def gradient_before_the_loop(model, images, targets, epsilon, steps):
    g = attacks.input_gradient(model, images, targets)
    for _ in range(steps):
        images = attacks.fgsm(images, epsilon / steps, -g)
    return images


@mistake("2.3", "as long as all of them")
def epsilon_each(model, images, targets, epsilon, steps):
    for _ in range(steps):
        images = attacks.fgsm_attack(model, images, targets, epsilon, targeted=True)
    return images


@mistake("2.3", "only one of the steps is left")
def from_the_original(model, images, targets, epsilon, steps):
    for _ in range(steps):
        adv = attacks.fgsm(images, epsilon / steps, -attacks.input_gradient(model, images, targets))
    return adv


@mistake("2.3", "what the network says")
def away_from_the_prediction(model, images, targets, epsilon, steps):
    for _ in range(steps):
        images = step(model, images, model(images).argmax(1), epsilon / steps)
    return images


@mistake("2.3", "what the network says")
def down_the_prediction(model, images, targets, epsilon, steps):
    said = model(images).argmax(1)
    for _ in range(steps):
        images = attacks.fgsm_attack(model, images, said, epsilon / steps, targeted=True)
    return images


@mistake("2.3", "After which steps is it clipped")
def clipped_once(model, images, targets, epsilon, steps):
    x = images
    for _ in range(steps):
        x = x.detach().requires_grad_()
        (g,) = torch.autograd.grad(F.cross_entropy(model(x), targets, reduction="sum"), x)
        x = x - epsilon / steps * g.sign()
    return x.detach().clamp(0, 1)


@mistake("2.3", "How long are all steps together")
def twice_as_long(model, images, targets, epsilon, steps):
    for _ in range(steps):
        images = attacks.fgsm_attack(model, images, targets, 2 * epsilon / steps, targeted=True)
    return images


@mistake("2.3", "one step too few")
def one_step_less(model, images, targets, epsilon, steps):
    for _ in range(steps - 1):
        images = attacks.fgsm_attack(model, images, targets, epsilon / steps, targeted=True)
    return images


@mistake("2.3", "not the steps that were asked for")
def stops_at_the_target(model, images, targets, epsilon, steps):
    for _ in range(steps):
        missed = model(images).argmax(1) != targets
        data_grad = -attacks.input_gradient(model, images, targets) * missed[:, None, None, None]
        images = attacks.fgsm(images, epsilon / steps, data_grad)
    return images


@variant("2.3")
def up_the_negative_loss(model, images, targets, epsilon, steps):
    adv = images.clone()
    for _ in range(steps):
        adv = adv.detach().requires_grad_()
        gain = model(adv)[torch.arange(len(adv)), targets].sum()
        gain.backward()
        adv = (adv + epsilon / steps * adv.grad.sign()).clamp(0, 1)
    return adv.detach()


@variant("2.3")
def recursion(model, images, targets, epsilon, steps):
    if steps == 0:
        return images
    size = epsilon / steps
    nearer = attacks.fgsm_attack(model, images, targets, size, targeted=True)
    return recursion(model, nearer, targets, epsilon - size, steps - 1)


# 3.1 success_rates


def read(model, images):
    return evaluation.probabilities(model, images).argmax(1)


def attacked(model, images, labels, epsilons):
    g = attacks.input_gradient(model, images, labels)
    return [read(model, attacks.fgsm(images, e, g)) for e in epsilons]


@mistake("3.1", "in percent")
def rates_in_percent(model, images, labels, epsilons):
    keep = read(model, images) == labels
    answers = attacked(model, images[keep], labels[keep], epsilons)
    return [100 * (a != labels[keep]).float().mean().item() for a in answers]


@mistake("3.1", "begin at the top and fall")
def accuracies(model, images, labels, epsilons):
    return evaluation.epsilon_sweep(model, images, labels, epsilons)


@mistake("3.1", "begin at the top and fall")
def accuracies_of_the_right(model, images, labels, epsilons):
    keep = read(model, images) == labels
    return evaluation.epsilon_sweep(model, images[keep], labels[keep], epsilons)


@mistake("3.1", "at epsilon 0 there is no attack")
def all_images(model, images, labels, epsilons):
    return [1 - a for a in evaluation.epsilon_sweep(model, images, labels, epsilons)]


@mistake("3.1", "a little too low")
def wins_by_all(model, images, labels, epsilons):
    keep = read(model, images) == labels
    return [
        ((a != labels) & keep).float().mean() for a in attacked(model, images, labels, epsilons)
    ]


@mistake("3.1", "noise is too large")
def noise_adds_up(model, images, labels, epsilons):
    keep = read(model, images) == labels
    images, labels = images[keep], labels[keep]
    g, rates = attacks.input_gradient(model, images, labels), []
    for e in epsilons:
        images = attacks.fgsm(images, e, g)
        rates.append((read(model, images) != labels).float().mean())
    return rates


@mistake("3.1", "noise is too large")
def attacked_again_and_again(model, images, labels, epsilons):
    keep = read(model, images) == labels
    images, labels = images[keep], labels[keep]
    rates = []
    for e in epsilons:
        images = attacks.fgsm_attack(model, images, labels, e)
        rates.append((read(model, images) != labels).sum().item() / len(labels))
    return rates


@mistake("3.1", "these rates are others")
def random_signs(model, images, labels, epsilons):
    keep = read(model, images) == labels
    noise = torch.randn_like(images)
    answers = [read(model, attacks.fgsm(images, e, noise)) for e in epsilons]
    return [(a != labels)[keep].float().mean() for a in answers]


@mistake("2.3", "it stops")
def stops_when_all_are_there(model, images, targets, epsilon, steps):
    for _ in range(steps):
        if (model(images).argmax(1) == targets).all():
            break
        images = attacks.fgsm_attack(model, images, targets, epsilon / steps, targeted=True)
    return images


@mistake("3.1", "in percent")
def rates_as_counts(model, images, labels, epsilons):
    right = says(model, images) == labels
    answers = attacked(model, images, labels, epsilons)
    return [(right & (a != labels)).sum() for a in answers]


@mistake("3.1", "never succeeds")
def towards_the_truth(model, images, labels, epsilons):
    images, labels = (x[says(model, images) == labels] for x in (images, labels))
    data_grad = -attacks.input_gradient(model, images, labels)
    adv = [attacks.fgsm(images, e, data_grad) for e in epsilons]
    return [1 - evaluation.accuracy(model, x, labels) for x in adv]


@variant("3.1")
def counted_one_by_one(model, images, labels, epsilons):
    rates = []
    for e in epsilons:
        adv = attacks.fgsm_attack(model, images, labels, e)
        pairs = list(zip(read(model, images).tolist(), read(model, adv).tolist(), strict=True))
        tried = [(b, y) for (a, b), y in zip(pairs, labels.tolist(), strict=True) if a == y]
        rates.append(sum(b != y for b, y in tried) / len(tried))
    return tuple(rates)


@variant("3.1")
def tensor_of_rates(model, images, labels, epsilons):
    left = torch.tensor(evaluation.epsilon_sweep(model, images, labels, epsilons))
    return 1 - left / evaluation.accuracy(model, images, labels)


# 3.2 first_fooling


def table(model, images, labels, epsilons):
    return torch.stack([a != labels for a in attacked(model, images, labels, epsilons)])


@mistake("3.2", "get epsilon 0")
def argmax_alone(model, images, labels, epsilons):
    wrong = table(model, images, labels, epsilons)
    return torch.tensor(epsilons)[wrong.int().argmax(0)]


@mistake("3.2", "get some number")
def starts_with_the_last(model, images, labels, epsilons):
    first = torch.full((len(images),), float(epsilons[-1]))
    for e, wrong in reversed([*zip(epsilons, table(model, images, labels, epsilons), strict=True)]):
        first[wrong] = e
    return first


@mistake("3.2", "places in the list")
def places(model, images, labels, epsilons):
    wrong = table(model, images, labels, epsilons)
    return wrong.int().argmax(0).float().masked_fill(~wrong.any(0), math.inf)


@mistake("3.2", "places in the list")
def places_only(model, images, labels, epsilons):
    return table(model, images, labels, epsilons).int().argmax(0)


@mistake("3.2", "gets another number")
def misread_left_out(model, images, labels, epsilons):
    wrong = table(model, images, labels, epsilons)
    first = torch.tensor(epsilons)[wrong.int().argmax(0)]
    first[~wrong.any(0) | wrong[0]] = math.inf
    return first


@mistake("3.2", "Does a later one overwrite")
def the_last(model, images, labels, epsilons):
    first = torch.full((len(images),), math.inf)
    for e, wrong in zip(epsilons, table(model, images, labels, epsilons), strict=True):
        first[wrong] = e
    return first


@mistake("3.2", "just before")
def last_that_fails(model, images, labels, epsilons):
    first = torch.full((len(images),), math.inf)
    wrong = table(model, images, labels, epsilons)
    for i in range(len(images)):
        for k in range(len(epsilons)):
            if wrong[k, i]:
                first[i] = epsilons[max(k - 1, 0)]
                break
    return first


@mistake("3.2", "noise comes on top of noise")
def in_steps(model, images, labels, epsilons):
    first = [math.inf] * len(images)
    for e in epsilons:
        images = attacks.fgsm_attack(model, images, labels, e)
        for i, a in enumerate(read(model, images).tolist()):
            if a != labels[i] and first[i] == math.inf:
                first[i] = e
    return first


@mistake("3.2", "noise comes on top of noise")
def same_signs_added(model, images, labels, epsilons):
    first = torch.full((len(images),), math.inf)
    g = attacks.input_gradient(model, images, labels)
    for e in epsilons:
        images = attacks.fgsm(images, e, g)
        new = (read(model, images) != labels) & (first == math.inf)
        first[new] = e
    return first


@mistake("3.2", "all images get the same number")
def median_for_all(model, images, labels, epsilons):
    return torch.full((len(images),), 0.03)


@mistake("3.2", "gets another number")
def begins_after_the_0(model, images, labels, epsilons):
    return by_cumulative_maximum(model, images, labels, epsilons[1:])


@mistake("3.2", "get some number")
def minus_one_for_never(model, images, labels, epsilons):
    first = by_cumulative_maximum(model, images, labels, epsilons)
    return first.masked_fill(first.isinf(), -1)


@mistake("3.2", "not in the list")
def bisected(model, images, labels, epsilons):
    return evaluation.minimal_epsilon(model, images, labels)


@mistake("3.2", "gets another number")
def away_from_the_answer(model, images, labels, epsilons):
    return by_cumulative_maximum(model, images, says(model, images), epsilons)


@mistake("3.2", "for some images this is another epsilon")
def less_sure_than_four_fifths(model, images, labels, epsilons):
    first = torch.full((len(images),), torch.inf)
    for e in reversed(epsilons):
        adv = attacks.fgsm_attack(model, images, labels, e)
        true = evaluation.probabilities(model, adv).gather(1, labels[:, None]).squeeze(1)
        first[true < 0.8] = e
    return first


@variant("3.2")
def gradient_for_each_epsilon(model, images, labels, epsilons):
    first = []
    for i in range(len(images)):
        x, y = images[i : i + 1], labels[i : i + 1]
        for e in epsilons:
            if read(model, attacks.fgsm_attack(model, x, y, e)) != y:
                first.append(e)
                break
        else:
            first.append(float("inf"))
    return first


@variant("3.2")
def by_cumulative_maximum(model, images, labels, epsilons):
    wrong = table(model, images, labels, epsilons)
    place = (~wrong.cummax(0).values).sum(0)
    return torch.tensor([*epsilons, math.inf], dtype=torch.float64)[place]


# 3.3 estimate


def margins(model, images, values=lambda logits: logits):
    images = images.clone().requires_grad_()
    top = values(model(images)).topk(2).values
    margin = top[:, 0] - top[:, 1]
    return margin.detach(), torch.autograd.grad(margin.sum(), images)[0]


@mistake("3.3", "margin alone")
def no_slope(model, images):
    return margins(model, images)[0]


@mistake("3.3", "wrong sign")
def second_minus_first(model, images):
    margin, slope = margins(model, images)
    return -margin / slope.abs().sum((1, 2, 3))


@mistake("3.3", "upside down")
def slope_by_margin(model, images):
    margin, slope = margins(model, images)
    return slope.abs().sum((1, 2, 3)) / margin


@mistake("3.3", "another norm")
def euclidean(model, images):
    margin, slope = margins(model, images)
    return margin / slope.flatten(1).norm(dim=1)


@mistake("3.3", "hundreds of times too large")
def mean_slope(model, images):
    margin, slope = margins(model, images)
    return margin / slope.abs().mean((1, 2, 3))


@mistake("3.3", "cancel each other")
def signed_slopes(model, images):
    margin, slope = margins(model, images)
    return margin / slope.sum((1, 2, 3)).abs()


@mistake("3.3", "depends on the other images")
def norm_of_the_batch(model, images):
    margin, slope = margins(model, images)
    return margin / slope.abs().sum()


@mistake("3.3", "crowd at 1")
def of_probabilities(model, images):
    margin, slope = margins(model, images, lambda logits: logits.softmax(1))
    return margin / slope.abs().sum((1, 2, 3))


@mistake("3.3", "slope of the loss")
def slope_of_the_loss(model, images):
    g = attacks.input_gradient(model, images, model(images).argmax(1))
    return margins(model, images)[0] / g.abs().sum((1, 2, 3))


@mistake("3.3", "largest output alone")
def top_output(model, images):
    images = images.clone().requires_grad_()
    logits = model(images)
    (g,) = torch.autograd.grad(logits.max(1).values.sum(), images)
    two = logits.detach().topk(2).values
    return (two[:, 0] - two[:, 1]) / g.abs().sum((1, 2, 3))


@mistake("3.3", "it is another")
def largest_minus_smallest(model, images):
    images = images.clone().requires_grad_()
    logits = model(images)
    margin = logits.amax(1) - logits.amin(1)
    (g,) = torch.autograd.grad(margin.sum(), images)
    return margin.detach() / g.abs().sum((1, 2, 3))


@mistake("3.3", "depends on the other images")
def mean_of_margins(model, images):
    images = images.clone().requires_grad_()
    top = model(images).topk(2).values
    margin = top[:, 0] - top[:, 1]
    (slope,) = torch.autograd.grad(margin.mean(), images)
    return margin.detach() / slope.abs().sum((1, 2, 3))


@variant("3.3")
def one_by_one(model, images):
    found = []
    for x in images.split(1):
        x.requires_grad_()
        a, b = model(x).sort(descending=True).values[0, :2]
        (a - b).backward()
        found.append((a - b).item() / x.grad.norm(p=1).item())
    return torch.tensor(found)


@variant("3.3")
def of_log_probabilities(model, images):
    margin, slope = margins(model, images, lambda logits: logits.log_softmax(1))
    return margin / slope.flatten(1).abs().sum(1)


# 4.1 random_targets


@mistake("4.1", "no classes")
def without_remainder(labels):
    return labels + torch.randint(1, 10, labels.shape)


@mistake("4.1", "the same target")
def next_class(labels):
    return (labels + 1) % 10


@mistake("4.1", "the same target")
def one_draw_for_all(labels):
    return (labels + random.randint(1, 9)) % 10


@mistake("4.1", "are the true class")
def any_class(labels):
    return torch.randint(0, 10, labels.shape)


@mistake("4.1", "are the true class")
def set_of_tensors(labels):
    others = set(torch.arange(10)) - set(labels)  # tensors in a set are never equal
    return torch.stack([random.choice(list(others)) for _ in labels])


@mistake("4.1", "never come up")
def upper_end(labels):
    return (labels + torch.randint(1, 9, labels.shape)) % 10


@mistake("4.1", "twice as often")
def hit_moves_on(labels):
    drawn = torch.randint(0, 10, labels.shape)
    return torch.where(drawn == labels, (drawn + 1) % 10, drawn)


@mistake("4.1", "draw the same")
def always_seeded(labels):
    torch.manual_seed(0)
    return (labels + torch.randint(1, 10, labels.shape)) % 10


@mistake("4.1", "the same target")
def table_of_classes(labels):
    return ((torch.arange(10) + torch.randint(1, 10, (10,))) % 10)[labels]


@variant("4.1")
def nine_for_a_hit(labels):
    drawn = torch.randint(0, 9, labels.shape)
    return torch.where(drawn == labels, 9, drawn)


@variant("4.1")
def by_random_choice(labels):
    return torch.tensor([random.choice([t for t in range(10) if t != y]) for y in labels.tolist()])


@variant("4.1")
def by_weights(labels):
    weights = torch.ones(len(labels), 10).scatter(1, labels[:, None], 0)
    return weights.multinomial(1).squeeze(1)


# 4.2 easiest, a value

MISTAKES += [
    ("4.2", 7, "its own digits need no noise"),
    ("4.2", 1, "hardest"),
    ("4.2", 0.046, "no class of digits"),
    ("4.2", 37, "no class of digits"),
    ("4.2", torch.tensor(5), "another class is easier"),
    ("4.2", None, "this is None"),
]
VARIANTS += [("4.2", torch.tensor(2)), ("4.2", 2.0)]


# 4.3 l1_noise


def descend(model, images, targets, penalty, low=0, high=1, reduction="sum"):
    noise = torch.zeros_like(images)
    for _ in range(1000):
        noise = noise.detach().requires_grad_()
        logits = model(images + noise)
        missed = logits.argmax(1) != targets
        if not missed.any():
            break
        (F.cross_entropy(logits, targets, reduction=reduction) + penalty(noise)).backward()
        step = 0.008 * noise.grad * missed[:, None, None, None]
        noise = (images + noise - step).clamp(low, high) - images
    return noise.detach()


@mistake("4.3", "zero everywhere")
def never_moves(model, images, targets, c):
    return torch.zeros_like(images)


@mistake("4.3", "still the square")
def as_before(model, images, targets, c):
    return attacks.optimize_noise(model, images, targets, c=c)


@mistake("4.3", "next to no effect")
def average(model, images, targets, c):
    return descend(model, images, targets, lambda r: c * r.abs().mean())


@mistake("4.3", "darker pixels pay")
def signed(model, images, targets, c):
    return descend(model, images, targets, lambda r: c * r.sum())


@mistake("4.3", "only the largest change")
def maximum(model, images, targets, c):
    return descend(model, images, targets, lambda r: c * r.abs().max())


@mistake("4.3", "makes the noise larger")
def subtracted(model, images, targets, c):
    return descend(model, images, targets, lambda r: -c * r.abs().sum())


@mistake("4.3", "some pixels of images + noise leave")
def unclipped(model, images, targets, c):
    return descend(model, images, targets, lambda r: c * r.abs().sum(), -9, 9)


@mistake("4.3", "how many are in the batch")
def mean_loss(model, images, targets, c):
    return descend(model, images, targets, lambda r: c * r.abs().sum(), reduction="mean")


@mistake("4.3", "does not depend on c")
def c_forgotten(model, images, targets, c):
    return descend(model, images, targets, lambda r: r.abs().sum())


@mistake("4.3", "this noise is another")
def euclidean_norm(model, images, targets, c):
    return descend(model, images, targets, lambda r: c * (r.square().sum() + 1e-9).sqrt())


@mistake("4.3", "makes no pixel darker")
def image_returned(model, images, targets, c):
    return images + descend(model, images, targets, lambda r: c * r.abs().sum())


@variant("4.3")
def by_norm(model, images, targets, c):
    return descend(model, images, targets, lambda r: c * torch.linalg.vector_norm(r, ord=1))


@variant("4.3")
def each_image_alone(model, images, targets, c):
    pairs = zip(images.split(1), targets.split(1), strict=True)
    return torch.cat([descend(model, x, t, lambda r: c * (r * r.sign()).sum()) for x, t in pairs])


# 4.4 largest_c


def bisect(reached, low, high, middle, turns=30, swap=False):
    for _ in range(turns):
        c = middle(low, high)
        if reached(c) != swap:
            low = c
        else:
            high = c
    return low, high


def logarithmic(low, high):
    return math.exp((math.log(low) + math.log(high)) / 2)


@mistake("4.4", "just missed")
def upper_end_returned(reached, low, high):
    return bisect(reached, low, high, logarithmic, 12)[1]


@mistake("4.4", "far out of reach")
def failing_half_kept(reached, low, high):
    return bisect(reached, low, high, logarithmic, 12, swap=True)[0]


@mistake("4.4", "never asks")
def not_asked(reached, low, high):
    return logarithmic(low, high)


@mistake("4.4", "outside of the interval")
def doubling(reached, low, high):
    c = high
    while not reached(2 * c):
        c /= 2
    return c


@mistake("4.4", "where ratios count")
def arithmetic_middle(reached, low, high):
    return bisect(reached, low, high, lambda a, b: (a + b) / 2, 10)[0]


@mistake("4.4", "asked 500 times")
def until_equal(reached, low, high):
    while low != high:
        low, high = bisect(reached, low, high, logarithmic, 1)
    return low


@mistake("4.4", "How narrow")
def too_few_halvings(reached, low, high):
    return bisect(reached, low, high, logarithmic, 4)[0]


@mistake("4.4", "How narrow")
def by_doubling(reached, low, high):
    while reached(2 * low):
        low *= 2
    return low


@variant("4.4")
def with_tensors(reached, low, high):
    low, high = torch.tensor(low).log(), torch.tensor(high).log()
    while high - low > 0.005:
        middle = (low + high) / 2
        low, high = (middle, high) if reached(middle.exp()) else (low, middle)
    return low.exp()


@variant("4.4")
def small_factors(reached, low, high):
    while reached(low * 1.02):
        low *= 1.02
    return low


# 5.1 through_jpeg


def file_of(levels, kind="jpeg", **options):
    file = io.BytesIO()
    to_pil_image(levels).save(file, kind, **options)
    return pil_to_tensor(Image.open(file))


def jpeg(images, quality, before, after):
    return torch.stack([after(file_of(before(x), quality=quality)) for x in images])


@mistake("5.1", "up to 255")
def not_divided(images, quality):
    return jpeg(images, quality, lambda x: (255 * x).round().byte(), lambda x: x.float())


@mistake("5.1", "everything is black")
def bytes_of_shares(images, quality):
    return jpeg(images, quality, lambda x: x.byte(), lambda x: x / 255)


@mistake("5.1", "come back as the same one")
def first_image_for_all(images, quality):
    found = jpeg(images[:1], quality, lambda x: (255 * x).round().byte(), lambda x: x / 255)
    return found.expand_as(images)


@mistake("5.1", "as they were")
def reads_nothing(images, quality):
    for x in images:
        file_of((255 * x).round().byte(), quality=quality)
    return images.clone()


@mistake("5.1", "Which kind of file")
def png(images, quality):
    return torch.stack([file_of((255 * x).round().byte(), "png") / 255 for x in images])


@mistake("5.1", "quality makes no difference")
def default_quality(images, quality):
    return torch.stack([file_of((255 * x).round().byte()) / 255 for x in images])


@mistake("5.1", "darker by half a level")
def cut_off(images, quality):
    return jpeg(images, quality, lambda x: x, lambda x: x / 255)  # to_pil_image cuts off


@mistake("5.1", "gives other images")
def negative(images, quality):
    return jpeg(images, quality, lambda x: (255 - 255 * x).round().byte(), lambda x: x / 255)


@mistake("5.1", "fine where it should be coarse")
def quality_turned_round(images, quality):
    return jpeg(images, 100 - quality, lambda x: (255 * x).round().byte(), lambda x: x / 255)


@mistake("5.1", "gives other images")
def colours_turned_round(images, quality):
    return jpeg(images, quality, lambda x: (255 * x.flip(0)).round().byte(), lambda x: x / 255)


@variant("5.1")
def by_arrays(images, quality):
    found = []
    for x in images:
        levels = np.rint(255 * x.permute(1, 2, 0).numpy()).astype("uint8")
        file = io.BytesIO()
        Image.fromarray(levels).save(file, "jpeg", quality=quality)
        found.append(torch.from_numpy(np.array(Image.open(file))).permute(2, 0, 1))
    return torch.stack(found).float() / 255


@variant("5.1")
def half_added(images, quality):
    return jpeg(images, quality, lambda x: (255 * x + 0.5).byte(), lambda x: x.float().div(255))


# 5.2 bim


def iterate(images, steps, move, project):
    x = images
    for _ in range(steps):
        x = project(x, move(x))
    return x


@mistake("5.2", "right once")
def numbers_written_in(model, images, labels, epsilon, alpha, steps):
    moved = images
    for _ in range(steps):
        moved = step(model, moved, labels, 0.03).clamp(images - 0.1, images + 0.1)
    return moved


@mistake("5.2", "moves no further")
def stops_when_fooled(model, images, labels, epsilon, alpha, steps):
    x = images
    for _ in range(steps):
        right = (model(x).argmax(1) == labels).view(-1, 1, 1, 1)
        moved = step(model, x, labels, alpha).clamp(images - epsilon, images + epsilon)
        x = torch.where(right, moved, x)
    return x


@mistake("5.2", "two calls give other images")
def starts_at_random(model, images, labels, epsilon, alpha, steps):
    x = (images + epsilon * (2 * torch.rand_like(images) - 1)).clamp(0, 1)
    for _ in range(steps):
        x = step(model, x, labels, alpha).clamp(images - epsilon, images + epsilon)
    return x


@mistake("5.2", "no pixel changes")
def steps_thrown_away(model, images, labels, epsilon, alpha, steps):
    for _ in range(steps):
        step(model, images, labels, alpha).clamp(images - epsilon, images + epsilon)
    return images


@mistake("5.2", "only the noise")
def noise_returned(model, images, labels, epsilon, alpha, steps):
    noise = torch.zeros_like(images)
    for _ in range(steps):
        stepped = step(model, (images + noise).clamp(0, 1), labels, alpha)
        noise = (stepped - images).clamp(-epsilon, epsilon)
    return noise


@mistake("5.2", "some pixels leave")
def box_forgotten(model, images, labels, epsilon, alpha, steps):
    x = images
    for _ in range(steps):
        x = x.detach().requires_grad_()
        F.cross_entropy(model(x), labels).backward()
        x = (x + alpha * x.grad.sign()).clamp(images - epsilon, images + epsilon)
    return x.detach()


@mistake("5.2", "After a step, what brings them back")
def no_projection(model, images, labels, epsilon, alpha, steps):
    for _ in range(steps):
        images = step(model, images, labels, alpha)
    return images


@mistake("5.2", "Around which image")
def around_the_last(model, images, labels, epsilon, alpha, steps):
    for _ in range(steps):
        moved = step(model, images, labels, alpha)
        images = moved.clamp(images - epsilon, images + epsilon)
    return images


@mistake("5.2", "comes back only at the end")
def projected_once(model, images, labels, epsilon, alpha, steps):
    adv = no_projection(model, images, labels, epsilon, alpha, steps)
    return adv.clamp(images - epsilon, images + epsilon)


@mistake("5.2", "all steps go the same way")
def old_gradient(model, images, labels, epsilon, alpha, steps):
    g = attacks.input_gradient(model, images, labels)
    x = images
    for _ in range(steps):
        x = attacks.fgsm(x, alpha, g).clamp(images - epsilon, images + epsilon)
    return x


@mistake("5.2", "only one step is left")
def always_from_the_original(model, images, labels, epsilon, alpha, steps):
    for _ in range(steps):
        adv = step(model, images, labels, alpha)
        adv = adv.clamp(images - epsilon, images + epsilon)
    return adv


@mistake("5.2", "surer of the true class")
def towards_the_label(model, images, labels, epsilon, alpha, steps):
    x = images
    for _ in range(steps):
        x = attacks.fgsm_attack(model, x, labels, alpha, targeted=True)
        x = x.clamp(images - epsilon, images + epsilon)
    return x


@mistake("5.2", "alpha makes no difference")
def parts_of_epsilon(model, images, labels, epsilon, alpha, steps):
    for _ in range(steps):
        images = step(model, images, labels, epsilon / steps)
    return images


@mistake("5.2", "What keeps them within it")
def twice_the_ball(model, images, labels, epsilon, alpha, steps):
    x = images
    for _ in range(steps):
        x = step(model, x, labels, alpha).clamp(images - 1.5 * epsilon, images + 1.5 * epsilon)
    return x


@mistake("5.2", "other images than")
def one_step_too_few(model, images, labels, epsilon, alpha, steps):
    return by_noise(model, images, labels, epsilon, alpha, steps - 2)


@mistake("5.2", "no pixel moves by epsilon")
def alpha_for_epsilon(model, images, labels, epsilon, alpha, steps):
    def within(x, moved):
        return moved.clamp(images - alpha, images + alpha)

    return iterate(images, steps, lambda x: step(model, x, labels, epsilon), within)


@mistake("5.2", "one step too few")
def from_one(model, images, labels, epsilon, alpha, steps):
    def within(x, moved):
        return moved.clamp(images - epsilon, images + epsilon)

    return iterate(images, len(range(1, steps)), lambda x: step(model, x, labels, alpha), within)


@variant("5.2")
def by_noise(model, images, labels, epsilon, alpha, steps):
    noise = torch.zeros_like(images)
    for _ in range(steps):
        g = attacks.input_gradient(model, images + noise, labels)
        noise = (noise + alpha * g.sign()).clamp(-epsilon, epsilon)
        noise = (images + noise).clamp(0, 1) - images
    return (images + noise).clamp(0, 1)


@variant("5.2")
def by_minimum_and_maximum(model, images, labels, epsilon, alpha, steps):
    low, high = (images - epsilon).clamp(min=0), (images + epsilon).clamp(max=1)
    x = images.clone()
    while steps:
        x = torch.min(
            torch.max(x + alpha * attacks.input_gradient(model, x, labels).sign(), low), high
        )
        steps -= 1
    return x


# 5.3 fgsm_normalised


@mistake("5.3", "this is the picture")
def denormalised(z, epsilon, data_grad, mean, std):
    return (z * std + mean + epsilon * data_grad.sign()).clamp(0, 1)


@mistake("5.3", "ends up black or white")
def bounds_exchanged(z, epsilon, data_grad, mean, std):
    black, white = -mean / std, (1 - mean) / std
    return torch.minimum(torch.maximum(z + epsilon / std * data_grad.sign(), white), black)


@mistake("5.3", "Where is the sign")
def without_the_sign(z, epsilon, data_grad, mean, std):
    adv = z + epsilon / std * data_grad
    return (adv * std + mean).clamp(0, 1).sub(mean).div(std)


@mistake("5.3", "no pixel changes")
def does_nothing(z, epsilon, data_grad, mean, std):
    return z.clone()


@mistake("5.3", "How many grey levels")
def as_reported(z, epsilon, data_grad, mean, std):
    return (z + epsilon * data_grad.sign()).clamp(0, 1)


@mistake("5.3", "How many grey levels")
def bounds_repaired_only(z, epsilon, data_grad, mean, std):
    stepped = z + epsilon * data_grad.sign()
    return torch.max(torch.min(stepped, (1 - mean) / std), -mean / std)


@mistake("5.3", "had to grow")
def multiplied(z, epsilon, data_grad, mean, std):
    stepped = z + epsilon * std * data_grad.sign()
    return torch.max(torch.min(stepped, (1 - mean) / std), -mean / std)


@mistake("5.3", "like a picture")
def epsilon_shifted(z, epsilon, data_grad, mean, std):
    stepped = z + (epsilon - mean) / std * data_grad.sign()
    return torch.max(torch.min(stepped, (1 - mean) / std), -mean / std)


@mistake("5.3", "all three colours")
def one_deviation(z, epsilon, data_grad, mean, std):
    stepped = z + epsilon / std.mean() * data_grad.sign()
    return torch.max(torch.min(stepped, (1 - mean) / std), -mean / std)


@mistake("5.3", "down the loss")
def wrong_way(z, epsilon, data_grad, mean, std):
    stepped = z - epsilon / std * data_grad.sign()
    return torch.max(torch.min(stepped, (1 - mean) / std), -mean / std)


@mistake("5.3", "In which")
def divided_twice(z, epsilon, data_grad, mean, std):
    stepped = z + epsilon / std / std * data_grad.sign()
    return torch.max(torch.min(stepped, (1 - mean) / std), -mean / std)


@mistake("5.3", "is in [0, 1]")
def step_repaired_only(z, epsilon, data_grad, mean, std):
    return (z + epsilon / std * data_grad.sign()).clamp(0, 1)


@mistake("5.3", "as a picture, some")
def never_clamped(z, epsilon, data_grad, mean, std):
    return z + epsilon / std * data_grad.sign()


@mistake("5.3", "too early")
def narrowest_bounds(z, epsilon, data_grad, mean, std):
    stepped = z + epsilon / std * data_grad.sign()
    return stepped.clamp((-mean / std).max().item(), ((1 - mean) / std).min().item())


@variant("5.3")
def there_and_back(z, epsilon, data_grad, mean, std):
    picture = z * std + mean
    return (attacks.fgsm(picture.clamp(0, 1), epsilon, data_grad) - mean) / std


@variant("5.3")
def colour_by_colour(z, epsilon, data_grad, mean, std):
    adv = z.clone()
    for i in range(3):
        m, s = mean[i].item(), std[i].item()
        adv[:, i] = z[:, i] + epsilon / s * torch.sign(data_grad[:, i])
        adv[:, i].clamp_((0 - m) / s, (1 - m) / s)
    return adv


# 6.1 halves


@mistake("6.1", "two halves are wanted")
def only_one_half(n):
    return torch.randperm(n)[: n // 2]


@mistake("6.1", "a row of whole numbers")
def mask(n):
    chosen = torch.rand(n) < 0.5
    return chosen, ~chosen


@mistake("6.1", "a row of whole numbers")
def sets(n):
    first = set(random.sample(range(n), n // 2))
    return first, set(range(n)) - first


@mistake("6.1", "belong to no image")
def counted_from_one(n):
    order = torch.randperm(n) + 1
    return order[: n // 2], order[n // 2 :]


@mistake("6.1", "one half holds all")
def set_difference_of_tensors(n):
    everything = torch.arange(n)
    first = everything[torch.randperm(n)[: n // 2]]
    rest = set(everything) - set(first)
    return first, torch.tensor([i.item() for i in rest])


@mistake("6.1", "comes twice")
def drawn_with_replacement(n):
    return torch.randint(0, n, (n // 2,)), torch.randint(0, n, (n - n // 2,))


@mistake("6.1", "in both halves")
def shuffled_twice(n):
    return torch.randperm(n)[: n // 2], torch.randperm(n)[n // 2 :]


@mistake("6.1", "in neither half")
def odd_one_out(n):
    order, k = torch.randperm(n), n // 2
    return order[:k], order[k : 2 * k]


@mistake("6.1", "clearly larger")
def a_third(n):
    order = torch.randperm(n)
    return order[: n // 3], order[n // 3 :]


@mistake("6.1", "place decides its half")
def not_shuffled(n):
    return torch.arange(n).chunk(2)


@mistake("6.1", "place decides its half")
def every_other(n):
    return torch.arange(0, n, 2), torch.arange(1, n, 2)


@mistake("6.1", "place decides its half")
def shuffled_after_the_cut(n):
    first, second = torch.arange(n // 2), torch.arange(n // 2, n)
    return first[torch.randperm(len(first))], second[torch.randperm(len(second))]


@mistake("6.1", "two calls give the same")
def always_the_same(n):
    order = torch.randperm(n, generator=torch.Generator().manual_seed(3))
    return order[: n // 2], order[n // 2 :]


@variant("6.1")
def chunks(n):
    return torch.randperm(n).chunk(2)


@variant("6.1")
def python_lists(n):
    first = random.sample(range(n), n // 2)
    return sorted(first), sorted(set(range(n)) - set(first))


@variant("6.1")
def numpy_arrays(n):
    return np.array_split(np.random.default_rng().permutation(n), 2)


# 6.2 transfer_table


def wrong_share(reader, images, labels):
    return 1 - evaluation.accuracy(reader, images, labels)


@mistake("6.2", "right for one epsilon")
def epsilon_written_in(readers, images, labels, epsilon):
    return by_lists(readers, images, labels, 0.1)


@mistake("6.2", "in percent")
def table_in_percent(readers, images, labels, epsilon):
    return 100 * torch.tensor(by_lists(readers, images, labels, epsilon))


@mistake("6.2", "rounded")
def rounded(readers, images, labels, epsilon):
    return [[round(n, 1) for n in row] for row in by_lists(readers, images, labels, epsilon)]


@mistake("6.2", "from what its source says")
def noise_against_the_answer(readers, images, labels, epsilon):
    table = []
    for source in readers:
        adv = attacks.fgsm_attack(source, images, source(images).argmax(1), epsilon)
        table.append([wrong_share(reader, adv, labels) for reader in readers])
    return table


@mistake("6.2", "each answer that changes")
def changed_answers(readers, images, labels, epsilon):
    table = []
    for source in readers:
        adv = attacks.fgsm_attack(source, images, labels, epsilon)
        changed = [reader(adv).argmax(1) != reader(images).argmax(1) for reader in readers]
        table.append([row.float().mean().item() for row in changed])
    return table


@mistake("6.2", "left to chance")
def table_of_random_signs(readers, images, labels, epsilon):
    noisy = [images + epsilon * torch.randn_like(images).sign() for _ in readers]
    return [[wrong_share(r, x.clamp(0, 1), labels) for r in readers] for x in noisy]


@mistake("6.2", "exchanged")
def transposed(readers, images, labels, epsilon):
    table = torch.empty(len(readers), len(readers))
    for i, source in enumerate(readers):
        adv = attacks.fgsm_attack(source, images, labels, epsilon)
        for j, reader in enumerate(readers):
            table[j, i] = wrong_share(reader, adv, labels)
    return table


@mistake("6.2", "read *correctly*")
def table_of_accuracies(readers, images, labels, epsilon):
    advs = [attacks.fgsm_attack(source, images, labels, epsilon) for source in readers]
    return torch.tensor([[evaluation.accuracy(r, adv, labels) for r in readers] for adv in advs])


@mistake("6.2", "noise that was made for itself")
def own_noise(readers, images, labels, epsilon):
    line = [
        wrong_share(r, attacks.fgsm_attack(r, images, labels, epsilon), labels) for r in readers
    ]
    return torch.tensor([line for _ in readers])


@mistake("6.2", "all rows are the same")
def one_source_for_all(readers, images, labels, epsilon):
    noise = attacks.input_gradient(readers[0], images, labels)
    table = []
    for _source in readers:
        adv = attacks.fgsm(images, epsilon, noise)
        table.append([wrong_share(r, adv, labels) for r in readers])
    return torch.tensor(table)


@mistake("6.2", "without any noise")
def reads_the_clean(readers, images, labels, epsilon):
    table = []
    for source in readers:
        attacks.fgsm_attack(source, images, labels, epsilon)
        table.append([wrong_share(r, images, labels) for r in readers])
    return torch.tensor(table)


@mistake("6.2", "the noise adds up")
def noise_upon_noise(readers, images, labels, epsilon):
    table = []
    for source in readers:
        images = attacks.fgsm_attack(source, images, labels, epsilon)
        table.append([wrong_share(r, images, labels) for r in readers])
    return torch.tensor(table)


@mistake("6.2", "taken off")
def rates_of_success(readers, images, labels, epsilon):
    table = []
    for source in readers:
        adv = attacks.fgsm_attack(source, images, labels, epsilon)
        table.append([])
        for reader in readers:
            right = reader(images).argmax(1) == labels
            table[-1].append(wrong_share(reader, adv[right], labels[right]))
    return torch.tensor(table)


@mistake("6.2", "read better than without")
def noise_that_helps(readers, images, labels, epsilon):
    table = []
    for source in readers:
        adv = attacks.fgsm_attack(source, images, labels, epsilon, targeted=True)
        table.append([wrong_share(r, adv, labels) for r in readers])
    return torch.tensor(table)


@mistake("6.2", "at least one number is another")
def without_signs(readers, images, labels, epsilon):
    table = []
    for source in readers:
        gradient = attacks.input_gradient(source, images, labels)
        adv = (images + epsilon * gradient).clamp(0, 1)
        table.append([wrong_share(r, adv, labels) for r in readers])
    return torch.tensor(table)


@mistake("6.2", "counts or in percent")
def table_of_counts(readers, images, labels, epsilon):
    return len(images) * torch.tensor(by_lists(readers, images, labels, epsilon))


@mistake("6.2", "stands a 0")
def return_in_the_loop(readers, images, labels, epsilon):
    table = torch.zeros(len(readers), len(readers))
    for i, source in enumerate(readers):
        adv = attacks.fgsm_attack(source, images, labels, epsilon)
        for j, reader in enumerate(readers):
            table[i, j] = wrong_share(reader, adv, labels)
        return table


@variant("6.2")
def by_lists(readers, images, labels, epsilon):
    return [
        [
            1 - evaluation.accuracy(r, attacks.fgsm_attack(s, images, labels, epsilon), labels)
            for r in readers
        ]
        for s in readers
    ]


@variant("6.2")
def column_by_column(readers, images, labels, epsilon):
    noises = [attacks.input_gradient(source, images, labels).sign() for source in readers]
    every = torch.cat([(images + epsilon * noise).clamp(0, 1) for noise in noises])
    columns = []
    for reader in readers:
        wrong = reader(every).argmax(1) != labels.repeat(len(readers))
        columns.append(wrong.view(len(readers), -1).float().mean(1))
    return torch.stack(columns, 1)


# 6.3 transfer_rate


def says(network, images):
    return network(images).argmax(1)


@mistake("6.3", "right for one epsilon")
def rate_at_one_epsilon(source, reader, images, labels, epsilon):
    return one_filter_after_the_other(source, reader, images, labels, 0.05)


@mistake("6.3", "in percent")
def rate_in_percent(source, reader, images, labels, epsilon):
    return 100 * one_filter_after_the_other(source, reader, images, labels, epsilon)


@mistake("6.3", "same image fool both")
def ratio_of_errors(source, reader, images, labels, epsilon):
    adv = attacks.fgsm_attack(source, images, labels, epsilon)
    wrong = [1 - evaluation.accuracy(network, adv, labels) for network in (reader, source)]
    return wrong[0] / wrong[1]


@mistake("6.3", "same image fool both")
def product_of_errors(source, reader, images, labels, epsilon):
    adv = attacks.fgsm_attack(source, images, labels, epsilon)
    wrong = [1 - evaluation.accuracy(network, adv, labels) for network in (reader, source)]
    return wrong[0] * wrong[1]


@mistake("6.3", "number of images")
def number_fooled(source, reader, images, labels, epsilon):
    adv = attacks.fgsm_attack(source, images, labels, epsilon)
    right = (says(source, images) == labels) & (says(reader, images) == labels)
    fooled = (says(source, adv) != labels) & (says(reader, adv) != labels)
    return (right & fooled).sum().item()


@mistake("6.3", "still gets right")
def rate_of_resistance(source, reader, images, labels, epsilon):
    adv = attacks.fgsm_attack(source, images, labels, epsilon)
    right = (says(source, images) == labels) & (says(reader, images) == labels)
    tried = right & (says(source, adv) != labels)
    return evaluation.accuracy(reader, adv[tried], labels[tried])


@mistake("6.3", "share of *all* images")
def divided_by_every_image(source, reader, images, labels, epsilon):
    return number_fooled(source, reader, images, labels, epsilon) / len(images)


@mistake("6.3", "fails at its source")
def source_not_asked(source, reader, images, labels, epsilon):
    right = (says(source, images) == labels) & (says(reader, images) == labels)
    images, labels = images[right], labels[right]
    return wrong_share(reader, attacks.fgsm_attack(source, images, labels, epsilon), labels)


@mistake("6.3", "counts as a success")
def plain_error(source, reader, images, labels, epsilon):
    adv = attacks.fgsm_attack(source, images, labels, epsilon)
    return (says(reader, adv) != labels).float().mean()


@mistake("6.3", "counts as a success")
def clean_never_asked(source, reader, images, labels, epsilon):
    adv = attacks.fgsm_attack(source, images, labels, epsilon)
    fooled = says(source, adv) != labels
    return (says(reader, adv) != labels)[fooled].float().mean()


@mistake("6.3", "the reader misreads without noise")
def right_at_the_source_only(source, reader, images, labels, epsilon):
    right = says(source, images) == labels
    images, labels = images[right], labels[right]
    adv = attacks.fgsm_attack(source, images, labels, epsilon)
    fooled = says(source, adv) != labels
    return (says(reader, adv) != labels)[fooled].float().mean()


@mistake("6.3", "the source misreads without noise")
def right_at_the_reader_only(source, reader, images, labels, epsilon):
    right = says(reader, images) == labels
    images, labels = images[right], labels[right]
    adv = attacks.fgsm_attack(source, images, labels, epsilon)
    fooled = says(source, adv) != labels
    return (says(reader, adv) != labels)[fooled].float().mean()


@mistake("6.3", "made for the reader")
def readers_gradient(source, reader, images, labels, epsilon):
    right = (says(source, images) == labels) & (says(reader, images) == labels)
    images, labels = images[right], labels[right]
    adv = attacks.fgsm_attack(reader, images, labels, epsilon)
    return (says(reader, adv) != labels)[says(source, adv) != labels].float().mean()


@mistake("6.3", "made for the reader")
def roles_exchanged(source, reader, images, labels, epsilon):
    return one_filter_after_the_other(reader, source, images, labels, epsilon)


@mistake("6.3", "Which is first")
def condition_turned_round(source, reader, images, labels, epsilon):
    adv = attacks.fgsm_attack(source, images, labels, epsilon)
    right = (says(source, images) == labels) & (says(reader, images) == labels)
    tried = right & (says(reader, adv) != labels)
    return (says(source, adv) != labels)[tried].float().mean()


@mistake("6.3", "Who has to read what")
def the_same_wrong_class(source, reader, images, labels, epsilon):
    adv = attacks.fgsm_attack(source, images, labels, epsilon)
    right = (says(source, images) == labels) & (says(reader, images) == labels)
    tried = right & (says(source, adv) != labels)
    return (says(source, adv) == says(reader, adv))[tried].float().mean()


@variant("6.3")
def one_filter_after_the_other(source, reader, images, labels, epsilon):
    for network in (source, reader):
        keep = says(network, images) == labels
        images, labels = images[keep], labels[keep]
    adv = attacks.fgsm_attack(source, images, labels, epsilon)
    keep = says(source, adv) != labels
    return 1 - evaluation.accuracy(reader, adv[keep], labels[keep])


@variant("6.3")
def counted_by_hand(source, reader, images, labels, epsilon):
    tried = fooled = 0
    gradients = attacks.input_gradient(source, images, labels)
    advs = attacks.fgsm(images, epsilon, gradients)
    clean = zip(says(source, images), says(reader, images), strict=True)
    noisy = zip(says(source, advs), says(reader, advs), strict=True)
    for label, before, after in zip(labels, clean, noisy, strict=True):
        if before == (label, label) and after[0] != label:
            tried += 1
            fooled += int(after[1] != label)
    return fooled / tried


# 7.1 adversarial_epoch


def batches(images, labels):
    return zip(images.split(64), labels.split(64), strict=True)


def learn(model, optimizer, images, labels, **options):
    """One step on these images; the loss."""
    loss = F.cross_entropy(model(images), labels, **options)
    optimizer.zero_grad()
    loss.backward()
    optimizer.step()
    return loss.item()


def mean(numbers):
    return sum(numbers) / len(numbers)


@mistake("7.1", "right for one epsilon")
def trained_with_a_tenth(model, optimizer, images, labels, epsilon):
    return weighted_mean(model, optimizer, images, labels, 0.1)


@mistake("7.1", "is not the mean loss")
def the_last_loss(model, optimizer, images, labels, epsilon):
    for x, y in batches(images, labels):
        loss = learn(model, optimizer, attacks.fgsm_attack(model, x, y, epsilon), y)
    return loss


@mistake("7.1", "no weight has changed")
def never_steps(model, optimizer, images, labels, epsilon):
    losses = []
    for x, y in batches(images, labels):
        loss = F.cross_entropy(model(attacks.fgsm_attack(model, x, y, epsilon)), y)
        optimizer.zero_grad()
        loss.backward()
        losses.append(loss.item())
    return mean(losses)


@mistake("7.1", "clean images only")
def attack_not_used(model, optimizer, images, labels, epsilon):
    losses = []
    for x, y in batches(images, labels):
        _adv = attacks.fgsm_attack(model, x, y, epsilon)
        losses.append(learn(model, optimizer, x, y))
    return mean(losses)


@mistake("7.1", "as Goodfellow has it")
def as_in_the_notebook(model, optimizer, images, labels, epsilon):
    losses = []
    for x, y in batches(images, labels):
        optimizer.zero_grad()
        x = x.clone().requires_grad_()
        (F.cross_entropy(model(x), y) / 2).backward()
        adv = attacks.fgsm(x, epsilon, x.grad)
        loss = F.cross_entropy(model(adv), y)
        (loss / 2).backward()
        optimizer.step()
        losses.append(loss.item())
    return mean(losses)


@mistake("7.1", "stays as it is")
def noise_made_once(model, optimizer, images, labels, epsilon):
    advs = attacks.fgsm_attack(model, images, labels, epsilon)
    return mean([learn(model, optimizer, x, y) for x, y in batches(advs, labels)])


@mistake("7.1", "stays as it is")
def noise_for_another_network(model, optimizer, images, labels, epsilon):
    advs = attacks.fgsm_attack(models.load_mlp(), images, labels, epsilon)
    return mean([learn(model, optimizer, x, y) for x, y in batches(advs, labels)])


@mistake("7.1", "easier to read")
def noise_down_the_loss(model, optimizer, images, labels, epsilon):
    losses = []
    for x, y in batches(images, labels):
        adv = attacks.fgsm(x, epsilon, -attacks.input_gradient(model, x, y))
        losses.append(learn(model, optimizer, adv, y))
    return mean(losses)


@mistake("7.1", "gradient of the attack")
def gradient_of_the_attack_kept(model, optimizer, images, labels, epsilon):
    losses = []
    for x, y in batches(images, labels):
        optimizer.zero_grad()
        x = x.clone().requires_grad_()
        F.cross_entropy(model(x), y).backward()
        adv = (x + epsilon * x.grad.sign()).clamp(0, 1).detach()
        loss = F.cross_entropy(model(adv), y)
        loss.backward()
        optimizer.step()
        losses.append(loss.item())
    return mean(losses)


@mistake("7.1", "the gradients add up")
def never_cleared(model, optimizer, images, labels, epsilon):
    losses = []
    for x, y in batches(images, labels):
        loss = F.cross_entropy(model(attacks.fgsm_attack(model, x, y, epsilon)), y)
        loss.backward()
        optimizer.step()
        losses.append(loss.item())
    return mean(losses)


@mistake("7.1", "from the guess")
def away_from_its_guess(model, optimizer, images, labels, epsilon):
    losses = []
    for x, y in batches(images, labels):
        adv = attacks.fgsm_attack(model, x, says(model, x), epsilon)
        losses.append(learn(model, optimizer, adv, y))
    return mean(losses)


@mistake("7.1", "below 0 and above 1")
def trained_out_of_range(model, optimizer, images, labels, epsilon):
    losses = []
    for x, y in batches(images, labels):
        adv = x + epsilon * attacks.input_gradient(model, x, y).sign()
        losses.append(learn(model, optimizer, adv, y))
    return mean(losses)


@mistake("7.1", "its sum or its mean")
def loss_summed(model, optimizer, images, labels, epsilon):
    total = 0
    for x, y in batches(images, labels):
        adv = attacks.fgsm_attack(model, x, y, epsilon)
        total += learn(model, optimizer, adv, y, reduction="sum")
    return total / len(images)


@mistake("7.1", "batches of another size")
def one_batch(model, optimizer, images, labels, epsilon):
    return learn(model, optimizer, attacks.fgsm_attack(model, images, labels, epsilon), labels)


@mistake("7.1", "a batch or more")
def whole_batches_only(model, optimizer, images, labels, epsilon):
    losses = []
    for i in range(len(images) // 64):
        x, y = images[64 * i : 64 * (i + 1)], labels[64 * i : 64 * (i + 1)]
        losses.append(learn(model, optimizer, attacks.fgsm_attack(model, x, y, epsilon), y))
    return mean(losses)


@mistake("7.1", "the weights end elsewhere")
def two_epochs(model, optimizer, images, labels, epsilon):
    weighted_mean(model, optimizer, images, labels, epsilon)
    return weighted_mean(model, optimizer, images, labels, epsilon)


@mistake("7.1", "the weights end elsewhere")
def random_noise(model, optimizer, images, labels, epsilon):
    losses = []
    for x, y in batches(images, labels):
        adv = attacks.fgsm(x, epsilon, torch.randn_like(x))
        losses.append(learn(model, optimizer, adv, y))
    return mean(losses)


@mistake("7.1", "has it a gradient then")
def cleared_before_the_step(model, optimizer, images, labels, epsilon):
    losses = []
    for x, y in batches(images, labels):
        loss = F.cross_entropy(model(attacks.fgsm_attack(model, x, y, epsilon)), y)
        loss.backward()
        optimizer.zero_grad()
        optimizer.step()
        losses.append(loss.item())
    return mean(losses)


@mistake("7.1", "batches of another size")
def batches_of_32(model, optimizer, images, labels, epsilon):
    pairs = zip(images.split(32), labels.split(32), strict=True)
    return mean([learn(model, optimizer, step(model, x, y, epsilon), y) for x, y in pairs])


@mistake("7.1", "a batch or more")
def first_batch_only(model, optimizer, images, labels, epsilon):
    for x, y in batches(images, labels):
        return learn(model, optimizer, step(model, x, y, epsilon), y)


@variant("7.1")
def weighted_mean(model, optimizer, images, labels, epsilon):
    model.train()
    total = 0
    for start in range(0, len(images), 64):
        x, y = images[start : start + 64], labels[start : start + 64]
        adv = attacks.fgsm_attack(model, x, y, epsilon)
        total += len(x) * learn(model, optimizer, adv, y)
    return total / len(images)


@variant("7.1")
def cleared_by_hand(model, optimizer, images, labels, epsilon):
    losses = []
    for x, y in batches(images, labels):
        x.requires_grad_()
        F.nll_loss(F.log_softmax(model(x), 1), y).backward()
        adv = (x + epsilon * x.grad.sign()).clip(0, 1).detach()
        for weight in model.parameters():
            weight.grad = None
        losses.append(F.cross_entropy(model(adv), y))
        losses[-1].backward()
        optimizer.step()
    return torch.stack(losses).mean()


# 7.2 leak


def lie_by_lie(model, images, labels, epsilon, attack=attacks.fgsm_attack, lies=range(1, 10)):
    """Whether the network says the lie, a row for each."""
    rows = []
    for k in lies:
        lie = (labels + k) % 10
        rows.append(says(model, attack(model, images, lie, epsilon)) == lie)
    return torch.stack(rows)


@mistake("7.2", "for two epsilons")
def lies_at_one_epsilon(model, images, labels, epsilon):
    return table_of_pairs(model, images, labels, 0.25)


@mistake("7.2", "in percent")
def lies_in_percent(model, images, labels, epsilon):
    return table_of_pairs(model, images, labels, epsilon) * 100


@mistake("7.2", "are added up")
def lies_added(model, images, labels, epsilon):
    right = says(model, images) == labels
    return lie_by_lie(model, images[right], labels[right], epsilon).float().mean(1).sum()


@mistake("7.2", "are counted too")
def misread_not_left_out(model, images, labels, epsilon):
    return lie_by_lie(model, images, labels, epsilon).float().mean()


@mistake("7.2", "divided by all")
def lies_over_all_images(model, images, labels, epsilon):
    right = says(model, images) == labels
    believed = lie_by_lie(model, images[right], labels[right], epsilon).sum()
    return believed / (9 * len(images))


@mistake("7.2", "one of the lies is the truth")
def ten_lies(model, images, labels, epsilon):
    right = says(model, images) == labels
    return lie_by_lie(model, images[right], labels[right], epsilon, lies=range(10)).float().mean()


@mistake("7.2", "leads *to* the lie")
def towards_the_lie(model, images, labels, epsilon):
    def attack(*given):
        return attacks.fgsm_attack(*given, targeted=True)

    right = says(model, images) == labels
    return lie_by_lie(model, images[right], labels[right], epsilon, attack).float().mean()


@mistake("7.2", "is told the truth")
def attack_with_the_truth(model, images, labels, epsilon):
    right = says(model, images) == labels
    images, labels = images[right], labels[right]
    answers = says(model, attacks.fgsm_attack(model, images, labels, epsilon))
    return mean([(answers == (labels + k) % 10).float().mean() for k in range(1, 10)])


@mistake("7.2", "every mistake counts")
def any_mistake(model, images, labels, epsilon):
    right = says(model, images) == labels
    images, labels = images[right], labels[right]
    shares = []
    for k in range(1, 10):
        adv = attacks.fgsm_attack(model, images, (labels + k) % 10, epsilon)
        shares.append(wrong_share(model, adv, labels))
    return mean(shares)


@mistake("7.2", "still says the truth")
def truth_kept(model, images, labels, epsilon):
    return 1 - any_mistake(model, images, labels, epsilon)


@mistake("7.2", "a single lie")
def one_lie(model, images, labels, epsilon):
    right = says(model, images) == labels
    return lie_by_lie(model, images[right], labels[right], epsilon, lies=[1]).float().mean()


@mistake("7.2", "the share is another")
def random_signs_for_lies(model, images, labels, epsilon):
    def attack(model, images, labels, epsilon):
        return attacks.fgsm(images, epsilon, torch.randn_like(images))

    right = says(model, images) == labels
    return lie_by_lie(model, images[right], labels[right], epsilon, attack).float().mean()


@mistake("7.2", "are added up")
def divided_by_ten(model, images, labels, epsilon):
    right = says(model, images) == labels
    return lie_by_lie(model, images[right], labels[right], epsilon).float().mean(1).sum() / 10


@mistake("7.2", "a number of lies")
def lies_counted(model, images, labels, epsilon):
    right = says(model, images) == labels
    return lie_by_lie(model, images[right], labels[right], epsilon).sum()


@variant("7.2")
def table_of_pairs(model, images, labels, epsilon):
    believed = pairs = 0
    right = says(model, images) == labels
    for lie in range(10):
        x = images[right & (labels != lie)]
        told = torch.full((len(x),), lie, device=labels.device)
        adv = (x + epsilon * attacks.input_gradient(model, x, told).sign()).clamp(0, 1)
        believed += (says(model, adv) == lie).sum().item()
        pairs += len(x)
    return believed / pairs


@variant("7.2")
def filtered_in_the_end(model, images, labels, epsilon):
    right = says(model, images) == labels
    return lie_by_lie(model, images, labels, epsilon)[:, right].double().mean(1).mean()


# 7.3 worst_case


@mistake("7.3", "no share from 0 to 1")
def number_of_survivors(model, images, labels, attempts):
    return len(only_survivors_go_on(model, images, labels, attempts, share=False))


@mistake("7.3", "no share from 0 to 1")
def survivors_in_percent(model, images, labels, attempts):
    return 100 * only_survivors_go_on(model, images, labels, attempts)


@mistake("7.3", "the share that is lost")
def error_for_accuracy(model, images, labels, attempts):
    return 1 - only_survivors_go_on(model, images, labels, attempts)


@mistake("7.3", "doing nothing an attempt")
def clean_left_out(model, images, labels, attempts):
    survived = [says(model, attempt(model, images, labels)) == labels for attempt in attempts]
    return torch.stack(survived).all(0).float().mean()


@mistake("7.3", "best single attempt")
def smallest_accuracy(model, images, labels, attempts):
    return min(evaluation.accuracy(model, a(model, images, labels), labels) for a in attempts)


@mistake("7.3", "the attempts' average")
def mean_accuracy(model, images, labels, attempts):
    return mean([evaluation.accuracy(model, a(model, images, labels), labels) for a in attempts])


@mistake("7.3", "are multiplied")
def product_of_accuracies(model, images, labels, attempts):
    return math.prod(evaluation.accuracy(model, a(model, images, labels), labels) for a in attempts)


@mistake("7.3", "survives a single attempt")
def survives_one(model, images, labels, attempts):
    survived = torch.zeros_like(labels, dtype=torch.bool)
    for attempt in attempts:
        survived |= says(model, attempt(model, images, labels)) == labels
    return survived.float().mean()


@mistake("7.3", "only the last attempt")
def last_attempt(model, images, labels, attempts):
    survived = says(model, images) == labels
    for attempt in attempts:
        survived = says(model, attempt(model, images, labels)) == labels
    return survived.float().mean()


@mistake("7.3", "only the first attempt")
def returns_in_the_loop(model, images, labels, attempts):
    survived = says(model, images) == labels
    for attempt in attempts:
        survived &= says(model, attempt(model, images, labels)) == labels
        return survived.float().mean()


@mistake("7.3", "where the last one ended")
def attempts_in_a_chain(model, images, labels, attempts):
    for attempt in attempts:
        images = attempt(model, images, labels)
    return evaluation.accuracy(model, images, labels)


@mistake("7.3", "What do the attempts return")
def noise_not_read(model, images, labels, attempts):
    survived = says(model, images) == labels
    for attempt in attempts:
        attempt(model, images, labels)
        survived &= says(model, images) == labels
    return survived.float().mean()


@mistake("7.3", "the share is another")
def as_before_the_noise(model, images, labels, attempts):
    before = says(model, images)
    same = [says(model, attempt(model, images, labels)) == before for attempt in attempts]
    return torch.stack(same).all(0).float().mean()


@mistake("7.3", "Of how many is it asked")
def among_the_right(model, images, labels, attempts):
    right = says(model, images) == labels
    return only_survivors_go_on(model, images[right], labels[right], attempts)


@variant("7.3")
def only_survivors_go_on(model, images, labels, attempts, share=True):
    number = len(images)
    for attempt in [lambda model, images, labels: images, *attempts]:
        survived = says(model, attempt(model, images, labels)) == labels
        images, labels = images[survived], labels[survived]
    return len(images) / number if share else images


@variant("7.3")
def minimum_per_image(model, images, labels, attempts):
    shown = [images] + [attempt(model, images, labels) for attempt in attempts]
    return np.mean(np.min([(says(model, x) == labels).cpu().numpy() for x in shown], axis=0))
