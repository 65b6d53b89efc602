"""Classic mistakes in the exercises, each with the part of the message that names it, and right
answers that look unusual. Written as students write, and not as the recipes of the checks.
"""

import random

import torch

MISTAKES, VARIANTS = [], []


def mistake(number, says):
    """The function solves exercise ``number`` wrongly; the check's message contains ``says``."""
    return lambda function: MISTAKES.append((number, function, says))


def variant(number):
    """The function solves exercise ``number`` in its own way."""
    return lambda function: VARIANTS.append((number, function))


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


@mistake("1.1", "by more than epsilon")
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


@mistake("1.2", "the true class's?")
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
