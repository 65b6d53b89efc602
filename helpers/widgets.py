"""Explorers: Python turns a choice into arrays, and the browser draws every step of a slider.

A step therefore needs no kernel. ``assets/explorer.js`` draws, in a notebook as in a web page, and
``assets/network.js`` is the course's own network, so that a drawn digit needs no kernel either.
"""

import asyncio
import io
import math
import time
from collections.abc import Callable
from functools import partial
from typing import NamedTuple

import anywidget
import ipywidgets as widgets
import numpy as np
import torch
from IPython import get_ipython
from matplotlib import colormaps
from PIL import Image
from traitlets import Bytes, Dict, Float, Instance, Unicode

from helpers.attacks import fgsm, input_gradient, optimize_noise, pgd
from helpers.checks import check_batch, check_numbers
from helpers.data import ASSETS, DIGITS, is_photo, load_photo
from helpers.evaluation import distortion, epsilon_sweep, probabilities
from helpers.models import MLP
from helpers.plotting import ADVERSARIAL, CLEAN, NOISE_MAP, RANDOM


class Noise(NamedTuple):
    """An entry of the menu "noise"; the aim is the target if it is targeted, else the label."""

    name: str
    direction: Callable | None = None  # (model, image, aim) -> a tensor whose signs are followed
    attack: Callable | None = None  # or (model, images, aims, epsilons) -> adversarial images
    targeted: bool = False
    steps: int | None = None  # gradients, 0 for random signs; None: the browser cannot do this


def _random_signs(images):
    generator = torch.Generator().manual_seed(0)
    return torch.randn(images.shape, generator=generator, device="cpu").to(images)


def _ten_steps(model, images, aims, epsilons, targeted=False):
    return pgd(model, images, aims, epsilons, step=epsilons / 10, steps=10, targeted=targeted)


FGSM = (
    Noise("FGSM, away from the true class", input_gradient, steps=1),
    Noise("FGSM, towards the target", lambda *batch: -input_gradient(*batch), None, True, 1),
)
TEN_STEPS = (
    Noise("ten steps, away from the true class", attack=_ten_steps, steps=10),
    Noise("ten steps, towards the target", None, partial(_ten_steps, targeted=True), True, 10),
)
CONTROL = Noise("random signs", lambda _model, image, _aim: _random_signs(image), steps=0)


class Explorer(anywidget.AnyWidget):
    """A slider over pictures, beside menus whose choice makes new ones.

    A subclass has a method ``compute(**choice)``: it yields the share of the work that is done, a
    float, as often as it likes, and then the arrays of a choice, a dict as explorer.js reads it.
    Raises TypeError or ValueError, naming the argument, for images, labels, names or positions
    that do not fit.

    Args:
        description, steps: what the slider and each of its positions are called.
        menus: for each menu its options; a choice holds their numbers.
        setup: what explorer.js has to know, whatever is chosen.
        weights: of the course's network, if the browser shall compute.
    """

    _esm = "".join((ASSETS / f"{name}.js").read_text("utf-8") for name in ("network", "explorer"))
    _css = ASSETS / "explorer.css"
    slider = Instance(widgets.Widget, allow_none=True).tag(
        sync=True, **widgets.widget_serialization
    )
    setup, menus, choice, frames = (Dict().tag(sync=True) for _ in range(4))
    weights = Bytes(None, allow_none=True).tag(sync=True)
    message = Unicode().tag(sync=True)
    progress = Float(1).tag(sync=True)

    def __init__(self, description, steps, menus, setup, weights=None):
        slider = widgets.SelectionSlider(
            options=[(step, i) for i, step in enumerate(steps)],
            description=description,
            tooltip="Drag, or click and use the arrow keys",
        )
        setup = {
            "description": description,
            "steps": steps,
            "colors": {"clean": CLEAN, "adversarial": ADVERSARIAL, "random": RANDOM},
            "map": colormaps[NOISE_MAP](range(256), bytes=True)[:, :3].tobytes(),
            **setup,
        }
        choice = dict.fromkeys(menus, 0)
        super().__init__(slider=slider, setup=setup, menus=menus, choice=choice, weights=weights)
        self._newest = None
        _close_earlier(self)

    def show(self, step, **choice):
        """Show a first choice, with the slider where ``step``, of the frames, finds it telling."""
        self.choice = self.choice | choice
        try:
            *_, self.frames = self.compute(**self.choice)
        except BaseException:
            self.close()
            raise
        self.observe(self._choose, "choice")
        self.slider.index = step(self.frames)

    def __repr__(self):  # what viewers without widgets show
        choices = f" and choices ({', '.join(self.menus)})" if self.menus else ""
        return f"Run this cell for a slider ({self.slider.description}){choices}."

    def close(self):
        """Release every widget of the explorer, in the kernel and in the browser."""
        self._newest = None
        if self.slider:  # an error may come before there is one
            for part in (self.slider.layout, self.slider.style, self.slider, self.layout):
                part.close()
        super().close()
        self.weights, self.frames = None, {}  # Out[...] of the notebook may keep the widget

    def _choose(self, _change=None):
        self.message = ""
        self._newest = mark = object()  # a mark and no task to cancel: threads may differ
        try:
            loop = asyncio.get_running_loop()
        except RuntimeError:  # outside a kernel
            return asyncio.run(self._fill(mark))
        self._filling = loop.create_task(self._fill(mark))  # the loop keeps no strong reference

    async def _fill(self, mark):
        """Compute the frames and show them at once, unless a newer choice comes meanwhile."""
        started = time.monotonic()
        try:
            for item in self.compute(**self.choice) if mark is self._newest else ():
                if mark is not self._newest:
                    return
                if isinstance(item, dict):
                    self.frames = item
                elif time.monotonic() - started > 0.5:
                    self.progress = item
                await asyncio.sleep(0.01)  # long enough for the kernel to hear of a newer one
                if mark is not self._newest:
                    return
        except Exception as error:
            if mark is self._newest:
                self._tell(error)
        if mark is self._newest:
            self.progress = 1

    def _tell(self, error):
        """Show an error: nobody sees a traceback from a callback."""
        self.message = str(error) or type(error).__name__


class EpsilonExplorer(Explorer):
    """FGSM on a slider: original, noise, adversarial image and class probabilities by epsilon.

    Args:
        model: maps (N, C, H, W) in [0, 1] to logits or log-probabilities (N, K).
        images: (N, C, H, W) in [0, 1], the pictures to choose from: digits or photographs.
        labels: (N,) int64.
        epsilons: the positions of the slider, L-infinity radii in pixel units, rising from 0. For
            photographs they are written as k/255 too.
        class_names: K strings.
        upload: offer a button to add a photograph of one's own; its label is what the model sees.
    """

    noises = (*FGSM, CONTROL)  # the menu's; a subclass may have others

    def __init__(self, model, images, labels, epsilons, *, class_names=DIGITS, upload=False):
        menus = {"target": list(class_names)}
        self._build(model, images, labels, epsilons, class_names, {"upload": upload}, menus)

    def _build(self, model, images, labels, epsilons, class_names, setup, menus, weights=None):
        epsilons = _check(model, images, labels, class_names, epsilons, "epsilons", most=1)
        photo = is_photo(images)
        # Between two batches a newer choice is heard.
        self._model, self._names, self._batch_size = model, class_names, 4 if photo else 500
        self._radii = torch.tensor(epsilons, dtype=images.dtype, device=images.device)
        self._pictures = [(images[i : i + 1], labels[i : i + 1]) for i in range(len(images))]
        super().__init__(
            "epsilon",
            [f"{e * 255:g}/255 = {e:.4f}" if photo else f"{e:.3f}" for e in epsilons],
            {
                "picture": [f"{i + 1}: {class_names[y]}" for i, y in enumerate(labels)],
                "noise": [noise.name for noise in self.noises],
                **menus,
            },
            {
                "kind": "photo" if photo else "digit",
                "names": list(class_names),
                "labels": labels.tolist(),
                "positions": epsilons,
                "amplification": 1 / (epsilons[-1] or 1),
                "noises": [{"targeted": n.targeted, "steps": n.steps} for n in self.noises],
                "who": getattr(model, "name", "the network"),
                **setup,
            },
            weights,
        )
        self.on_msg(self._receive)
        if weights is None:
            self.show(_first_wrong)

    def compute(self, picture, noise, target):
        image, label = self._pictures[picture]
        noise = self.noises[noise]
        aim = torch.full_like(label, target) if noise.targeted else label
        direction, adv_images = self._attack(self._model, image, aim, noise)
        if noise.attack:
            arrays = _levels(image, adv_images, self.setup["amplification"])
        else:
            arrays = _signs(direction)
        read = []
        for batch in adv_images.split(self._batch_size):
            yield sum(map(len, read)) / len(adv_images)
            read.append(self._read(self._model, batch))
        read = torch.cat(read)
        arrays |= {"image": _image_bytes(image), "random": noise is CONTROL}
        yield arrays | _readings(read, label)

    def _read(self, model, images):
        read = probabilities(model, images)
        if len(self._names) != read.shape[1]:
            wanted = f"{read.shape[1]} strings, as many as the model has classes"
            raise ValueError(f"class_names must be {wanted}, got {len(self._names)}")
        return read

    def _attack(self, model, image, aim, noise):
        """The direction that is followed, if it is one, and each step's adversarial image."""
        images = image.expand(len(self._radii), -1, -1, -1)
        if noise.attack:
            return None, noise.attack(model, images, aim.expand(len(images)), self._radii)
        direction = noise.direction(model, image, aim)
        return direction, fgsm(images, self._radii, direction.expand_as(images))

    def _add(self, name, image):
        """Add a picture (1, C, H, W), or replace the one of this name, and attack it.

        Its label is what the model sees in it.
        """
        image = image.to(self._radii)  # a callback's thread may have another default device
        picture = image, probabilities(self._model, image).argmax(1)
        if name not in self.menus["picture"]:
            self._pictures.append(picture)
            self.menus = self.menus | {"picture": [*self.menus["picture"], name]}
        place = self.menus["picture"].index(name)
        self._pictures[place] = picture
        if place == self.choice["picture"]:
            self._choose()
        self.choice = self.choice | {"picture": place}

    def _receive(self, _widget, content, buffers):
        """A drawn digit's levels; or an upload's name, with its bytes or the problem with it."""
        try:
            if "problem" in content:
                raise ValueError("{name} {problem}".format(**content))
            elif "drawing" in content:
                levels = torch.frombuffer(bytearray(buffers[0]), dtype=torch.uint8)
                self._add("your digit", levels.view(1, 1, 28, 28) / 255)
            else:
                self._add(content["name"], load_photo({**content, "content": buffers[0]}))
        except Exception as error:
            self._tell(error)


class DigitPad(EpsilonExplorer):
    """A canvas to draw a digit on, what the model sees in it, and attacks on it.

    The course's network, also with other weights, runs in the browser; others run in the kernel.
    Arguments as of :class:`EpsilonExplorer`: digits, from which one can choose before drawing.
    """

    noises = (*FGSM, *TEN_STEPS, CONTROL)

    def __init__(self, model, images, labels, epsilons):
        weights = None
        known = all(noise.steps is not None for noise in self.noises)
        if type(model) is MLP and known:  # no subclass, which may have another forward
            probabilities(model, images)  # raises for images of another size
            parts = [part.detach().float().cpu().numpy() for part in model.parameters()]
            weights = b"".join(part.tobytes() for part in parts)
        menus = {"target": DIGITS}
        self._build(model, images, labels, epsilons, DIGITS, {"pad": True}, menus, weights)
        if weights:
            arrays = {"pictures": _image_bytes(images), "random": _signs(_random_signs(images[:1]))}
            self.setup = self.setup | arrays
            self.slider.index = len(epsilons) // 3

    def __repr__(self):  # what viewers without widgets show
        return "A canvas for a digit of your own. Run this cell to draw."


class NetworksExplorer(EpsilonExplorer):
    """One digit, also of one's own, attacked under the eyes of several networks, by epsilon.

    Arguments as of :class:`EpsilonExplorer`, for digits. ``models`` are networks, each called by
    its ``name``. Each gets noise of its own or, with ``transfer``, all get that of one, the source.
    """

    def __init__(self, models, images, labels, epsilons, *, transfer=False):
        if not models:
            raise ValueError("models must hold at least one network, got none")
        names = [getattr(model, "name", f"network {i + 1}") for i, model in enumerate(models)]
        self._models, self._titles = models, names
        self.noises = (FGSM[0], CONTROL)
        if not transfer:  # of these a page holds every step's pictures
            self.noises += TEN_STEPS[:1]
        menus, setup = {"source": names} if transfer else {}, {"kind": "networks", "pad": True}
        self._build(models[0], images, labels, epsilons, DIGITS, setup, menus)

    def compute(self, picture, noise, source=None):
        (image, label), noise = self._pictures[picture], self.noises[noise]
        directions, results, read = [], [], []
        for model in self._models:
            yield len(read) / len(self._models)
            attacked = model if source is None else self._models[source]
            direction, adv_images = self._attack(attacked, image, label, noise)
            directions.append(direction)
            results.append(adv_images)
            read.append(self._read(model, adv_images))
        if noise.attack:
            adv_images = torch.stack(results, 1).flatten(0, 1)  # (steps * networks, 1, 28, 28)
            arrays = {"results": _image_bytes(adv_images)}
        else:
            arrays = _signs(torch.cat(directions))
        shares, guesses = torch.stack(read, 1).max(2)  # (steps, networks)
        yield arrays | {
            "image": _image_bytes(image.expand(len(self._models), -1, -1, -1)),
            "label": label.item(),
            "labels": label.tolist() * len(self._models),
            "networks": self._titles,
            "guesses": guesses.tolist(),
            "shares": [[round(share, 4) for share in row] for row in shares.tolist()],
        }


class PenaltyExplorer(Explorer):
    """Optimised noise by the weight of its penalty: the noise, its distortion, its success.

    Arguments as of :class:`EpsilonExplorer`, for digits; ``weights`` are the values of c.
    """

    def __init__(self, model, images, labels, weights):
        weights = _check(model, images, labels, DIGITS, weights, "weights")
        self._model, self._images, self._labels = model, images, labels
        self._c = torch.tensor(weights, dtype=images.dtype, device=images.device)
        super().__init__(
            "weight c",
            [f"{weight:.3g}" for weight in weights],
            {"picture": [f"{i + 1}: {y}" for i, y in enumerate(labels)], "target": DIGITS},
            {"kind": "digit", "names": DIGITS},
        )
        target = (labels[0].item() + 1) % 10
        self.show(lambda frames: max(0, frames["guesses"].count(target) - 1), target=target)

    def compute(self, picture, target):
        label = self._labels[picture]
        images = self._images[picture].expand(len(self._c), -1, -1, -1)
        targets = torch.full((len(self._c),), target, device=images.device)
        noise = None
        for done in range(10):
            yield done / 10
            noise = optimize_noise(self._model, images, targets, c=self._c, steps=100, start=noise)
        adv_images = (images + noise).clamp(0, 1)
        amplification = 1 / (noise.abs().max().item() or 1)
        frames = _readings(probabilities(self._model, adv_images), label)
        notes = [
            f"distortion {size:.4f}, target {target} {'' if guess == target else 'not '}reached"
            for size, guess in zip(distortion(noise), frames["guesses"], strict=True)
        ]
        arrays = _levels(images, adv_images, amplification)
        arrays |= {"image": _image_bytes(images[:1]), "amplification": amplification}
        yield arrays | frames | {"notes": notes}


class SweepExplorer(Explorer):
    """The accuracy on all images by epsilon, and what becomes of the first ten.

    Arguments as of :class:`EpsilonExplorer`, for digits.
    """

    def __init__(self, model, images, labels, epsilons):
        epsilons = _check(model, images, labels, DIGITS, epsilons, "epsilons", most=1)
        self._model, self._images, self._labels = model, images, labels
        steps = [f"{epsilon:.3f}" for epsilon in epsilons]
        setup = {"kind": "row", "names": DIGITS, "positions": epsilons, "amplification": 1}
        super().__init__("epsilon", steps, {}, setup)
        self.show(lambda frames: sum(share >= 0.5 for share in frames["accuracies"][0][:-1]))

    def compute(self):
        model, images, labels = self._model, self._images, self._labels
        epsilons, signs = self.setup["positions"], _random_signs(images)
        attacked = epsilon_sweep(model, images, labels, epsilons)
        control = epsilon_sweep(model, images, labels, epsilons, data_grad=signs)
        first, labels = images[:10], labels[:10]
        data_grad = input_gradient(model, first, labels)
        adv_images = [fgsm(first, epsilon, data_grad) for epsilon in epsilons]
        yield _signs(data_grad) | {
            "image": _image_bytes(first),
            "labels": labels.tolist(),
            "guesses": [probabilities(model, row).argmax(1).tolist() for row in adv_images],
            "accuracies": [attacked, control],
            "total": len(images),
        }


def _first_wrong(frames):
    """The first step at which the label is lost, by the first network, or the middle one."""
    wrong = [np.ravel(guess)[0] != frames["label"] for guess in frames["guesses"]]
    return wrong.index(True) if True in wrong else len(wrong) // 2


def _pixels(levels):
    """Bytes of (N, C, H, W), pixel by pixel."""
    return levels.cpu().byte().permute(0, 2, 3, 1).contiguous().numpy()


def _image_bytes(images):
    """Digits as levels 0..255; a photograph as a lossless WebP, which is less than half of that."""
    pixels = _pixels((images.detach() * 255).round())
    if not is_photo(images):
        return pixels.tobytes()
    buffer = io.BytesIO()
    Image.fromarray(pixels[0]).save(buffer, "webp", lossless=True, method=0)  # fast
    return buffer.getvalue()


def _signs(data_grad):
    """The signs of a direction: a bit for each, and the places of the zeros."""
    values = data_grad.detach().cpu().permute(0, 2, 3, 1).flatten().numpy()
    zeros = np.flatnonzero(values == 0).astype("<u4")
    return {"signs": np.packbits(values > 0).tobytes(), "zeros": zeros.tobytes()}


def _levels(images, adv_images, amplification):
    """Every step's result as levels, and its noise as an index of the colour map."""
    scaled = 0.5 + 0.5 * amplification * (adv_images - images).detach()
    noises = (scaled * 255).round() if is_photo(images) else (scaled * 256).floor()
    return {
        "results": _pixels((adv_images.detach() * 255).round()).tobytes(),
        "noises": _pixels(noises.clamp(0, 255)).tobytes(),
    }


def _readings(read, label):
    """The probabilities of the classes; of more than ten only those that some step shows."""
    classes = list(range(read.shape[1]))
    if len(classes) > 10:
        classes = sorted({label.item(), *read.topk(5).indices.flatten().tolist()})
    shown = (read[:, classes] * 65535).round().cpu().numpy().astype("<u2").tobytes()
    guesses = read.argmax(1).tolist()
    return {"label": label.item(), "classes": classes, "probabilities": shown, "guesses": guesses}


def _check(model, images, labels, class_names, positions, name, most=math.inf):
    """The positions of a slider as floats, if they and the other arguments are as wanted."""
    check_batch(model, images, labels)
    if (last := labels.max().item()) >= len(class_names):
        raise ValueError(f"class_names must name class {last} too, got {len(class_names)} names")
    positions = check_numbers(positions, name)
    if not positions or positions != sorted(set(positions)):
        raise ValueError(f"{name} must be rising, and at least one, got {positions}")
    if positions[-1] > most:
        low, high = positions[0], positions[-1]
        raise ValueError(f"{name} must be from 0 to {most}, got {low:g} to {high:g}")
    return positions


_runs = {}  # of a cell: what each of its last two runs has made, by the run's id


def _close_earlier(widget):
    """Close what a cell made in the run before the last one, which is still on the page."""
    shell = get_ipython()
    parent = shell.get_parent() if hasattr(shell, "get_parent") else {}
    cell = parent.get("metadata", {}).get("cellId")
    if cell is None:  # not run from a notebook's page
        return
    runs = _runs.setdefault(cell, {})
    runs.setdefault(parent["header"]["msg_id"], []).append(widget)
    if len(runs) > 2:
        for old in runs.pop(next(iter(runs))):
            old.close()
