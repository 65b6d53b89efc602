"""The networks beside the course's own: of Szegedy's tables, for transfer, and trained to resist.

    python -m helpers.networks [SEED [FOLDER]]

trains them, in about half an hour on two cores; without arguments, those that are shipped.
"""

import itertools
import sys
from collections.abc import Callable
from functools import partial
from pathlib import Path
from typing import NamedTuple

import torch
from torch import nn

from helpers.attacks import fgsm, pgd
from helpers.data import ASSETS, load_mnist
from helpers.models import (
    MLP,
    convolutional,
    fully_connected,
    read_weights,
    train_mlp,
    write_weights,
)

_FOLDER = ASSETS / "networks"
# Halves of the training images: the first and the second, since people of two kinds take turns.
_P1, _P2 = slice(0, 30_000), slice(30_000, None)


class _Recipe(NamedTuple):
    title: str
    build: Callable
    epochs: int = 5
    decay: tuple = ()  # of the weights of each layer, as in the paper
    part: slice = slice(None)  # of the training images
    attack: Callable | None = None
    start: int = 0  # added to the seed, which at 0 is that of the course's MLP


def _fgsm(epsilon):
    return lambda _model, images, _labels, data_grad: fgsm(images, epsilon, data_grad)


def _pgd(epsilon, steps):
    seeds = itertools.count()  # every batch starts elsewhere
    return lambda model, images, labels, _data_grad: pgd(
        model, images, labels, epsilon, step=2.5 * epsilon / steps, steps=steps, seed=next(seeds)
    )


_FC100 = partial(fully_connected, 100, 100)
_FC123 = partial(fully_connected, 123, 456)
_FC200 = partial(fully_connected, 200, 200)
_DECAY = (1e-5, 1e-5, 1e-6)

_RECIPES = {
    # Szegedy et al. 2013 (arXiv 1312.6199), tables 1 to 4
    "fc10_1e-4": _Recipe("FC10(1e-4)", fully_connected, 10, (1e-4,)),
    "fc10_1e-2": _Recipe("FC10(1e-2)", fully_connected, 10, (1e-2,)),
    "fc10_1": _Recipe("FC10(1)", fully_connected, 5, (1,)),
    "fc100": _Recipe("FC100-100-10", _FC100, 30, _DECAY),
    "fc200": _Recipe("FC200-200-10", _FC200, 30, _DECAY),
    "fc100_p1": _Recipe("FC100-100-10", _FC100, 30, _DECAY, _P1),
    "fc123_p1": _Recipe("FC123-456-10", _FC123, 30, _DECAY, _P1),
    "fc100_p2": _Recipe("FC100-100-10'", _FC100, 30, _DECAY, _P2),
    # Does FGSM transfer?
    "mlp_start": _Recipe("another start", MLP, start=1),
    "mlp_p1": _Recipe("half of the images", MLP, part=_P1),
    "mlp_p2": _Recipe("the other half", MLP, part=_P2),
    "convolutional": _Recipe("convolutional", convolutional),
    # Adversarial training
    "fgsm_0.1": _Recipe("trained with FGSM .1", MLP, attack=_fgsm(0.1)),
    "fgsm_0.25": _Recipe("trained with FGSM .25", MLP, attack=_fgsm(0.25)),
    "pgd_0.1": _Recipe("trained with PGD .1", MLP, attack=_pgd(0.1, 3)),
    "pgd_0.25": _Recipe("trained with PGD .25", MLP, attack=_pgd(0.25, 7)),
}


def weight_decay(model, decay):
    """The penalty of Szegedy et al.: for a layer of k units, its decay times sum(weights^2) / k."""
    layers = (layer for layer in model.modules() if isinstance(layer, nn.Linear))
    terms = zip(decay, layers, strict=True)
    return sum(each * layer.weight.square().sum() / len(layer.weight) for each, layer in terms)


def load_network(name, folder=_FOLDER):
    """Load one of the course's further networks for digits, frozen and in eval mode, by its name.

    Its ``name`` is what a figure calls it. Raises ValueError, with the names there are, for another
    and for a damaged file.
    """
    if name not in _RECIPES:
        raise ValueError(f"name must be one of {', '.join(_RECIPES)}, got {name!r}")
    recipe = _RECIPES[name]
    model = read_weights(recipe.build(), Path(folder, f"{name}.pt"), recipe.title)
    model.name = recipe.title
    return model


def train_network(name, seed=0):
    """Train one of them anew: as it was for the course, or from the start of another ``seed``."""
    recipe = _RECIPES[name]
    torch.manual_seed(seed + recipe.start)
    model = recipe.build()
    images, labels = load_mnist("train")
    train_mlp(
        model,
        images[recipe.part],
        labels[recipe.part],
        epochs=recipe.epochs,
        test=load_mnist("test"),
        attack=recipe.attack,
        penalty=partial(weight_decay, decay=recipe.decay) if recipe.decay else None,
    )
    return model


if __name__ == "__main__":
    arguments = dict(enumerate(sys.argv))
    seed, folder = int(arguments.get(1, 0)), Path(arguments.get(2, _FOLDER))
    folder.mkdir(parents=True, exist_ok=True)
    for name in _RECIPES:
        print(name)
        weights = train_network(name, seed).state_dict()
        # Half precision is half the size; the notebooks measure what is shipped.
        write_weights({key: each.half() for key, each in weights.items()}, folder / f"{name}.pt")
