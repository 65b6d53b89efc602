"""Sliders: every picture is computed beforehand, and the browser only switches between them.

A step of a slider therefore needs no kernel: it is instant, and it works in an exported page.
"""

import asyncio
import base64
import html
import io
import itertools
import time

import ipywidgets as widgets
import torch
from IPython import get_ipython
from matplotlib import colormaps
from PIL import Image

from helpers.attacks import fgsm, input_gradient, optimize_noise
from helpers.evaluation import distortion, epsilon_sweep, probabilities
from helpers.plotting import ADVERSARIAL, CLEAN, NOISE_MAP, RANDOM, verdict

DIGITS = [str(digit) for digit in range(10)]

_CSS = f"""<style>
.adv {{ display: flex; flex-wrap: wrap; gap: 14px; font-size: 15px; line-height: 1.35; }}
.adv figure {{ margin: 0; }}
.adv img {{ display: block; width: 168px; height: 168px; image-rendering: pixelated; }}
.adv.photo img {{ width: 180px; height: 180px; image-rendering: auto; }}
.adv.row {{ gap: 8px; }}
.adv.row img {{ width: 72px; height: 72px; }}
.adv .bars {{ flex: 1 1 230px; max-width: 330px; }}
.adv .bar {{ display: grid; grid-template-columns: 1em 1fr 3.6em; gap: 6px; line-height: 1.12; }}
.adv.photo .bar {{ grid-template-columns: 7.5em 1fr 3.6em; line-height: 1.7; }}
.adv.row .bars {{ flex: 1 1 100%; }}
.adv.row .bar {{ grid-template-columns: 4.5em 1fr 3.6em; line-height: 1.5; }}
.adv .bar > :first-child {{ text-align: right; white-space: nowrap; overflow: hidden;
  text-overflow: ellipsis; }}
.adv .bar.true > :first-child {{ font-weight: bold; text-decoration: underline; }}
.adv .bar i {{ align-self: center; height: 0.8em; }}
.adv .strip {{ flex: 1 1 100%; }}
.adv .runs {{ display: flex; align-items: end; height: 12px; max-width: 640px;
  position: relative; }}
.adv .runs .right {{ background: {CLEAN}; height: 4px; }}
.adv .runs .wrong {{ background: {ADVERSARIAL}; height: 12px; }}
.adv .runs .here {{ position: absolute; top: -4px; height: 20px; width: 3px; margin-left: -1px;
  background: currentColor; }}
</style>"""


class Explorer(widgets.VBox):
    """A slider over finished pictures, beside controls whose choice makes new ones.

    Args:
        description: the slider's label.
        steps: a string for each position of the slider.
        render: called with the controls' values by name; yields the share of the work that is
            done, a float, as often as it likes, and the HTML of each step, a string. A ValueError
            that it raises is shown in the widget.
        controls: widgets with a ``value``, under the names that ``render`` knows them by.
    """

    def __init__(self, description, steps, render, **controls):
        self._render, self._controls, self._filling = render, controls, None
        layout = widgets.Layout()  # one for all frames: each would be a widget of its own
        self._frames = [widgets.HTML(layout=layout) for _ in steps]
        stack = widgets.Stack(self._frames, selected_index=0)
        self.slider = widgets.SelectionSlider(
            options=[(step, i) for i, step in enumerate(steps)],
            description=description,
            tooltip="Drag, or click and use the arrow keys",
            layout=widgets.Layout(width="98%", max_width="640px"),
        )
        self._link = widgets.jslink((self.slider, "index"), (stack, "selected_index"))
        self._progress = widgets.FloatProgress(
            max=1, description="computing", layout=widgets.Layout(display="none")
        )
        self._message = widgets.HTML()
        row = widgets.HBox(
            [*controls.values(), self._progress, self._message],
            layout=widgets.Layout(flex_flow="row wrap"),
        )
        super().__init__([widgets.HTML(_CSS), row, self.slider, stack])
        _close_earlier(self)
        self._show(list(self._render(**self._values())))
        for control in controls.values():
            control.observe(self._choose, "value")

    def __repr__(self):  # what viewers without widgets show
        labels = [label for label, _ in self.slider.options]
        return (
            f"A slider: {self.slider.description} from {labels[0]} to {labels[-1]}. "
            "Run this cell to move it."
        )

    def close(self):
        """Release every widget of the explorer, in the kernel and in the browser."""
        if self._filling:
            self._filling.cancel()
        for widget in {self._link, *_tree(self)} - {self}:
            widget.close()
        super().close()

    def _values(self):
        return {name: control.value for name, control in self._controls.items()}

    def _choose(self, _change):
        if self._filling:
            self._filling.cancel()  # the newest choice wins
        try:
            self._filling = asyncio.get_running_loop().create_task(self._fill())
        except RuntimeError:  # outside a kernel
            asyncio.run(self._fill())

    async def _fill(self):
        """Compute the pictures, yielding to a newer choice now and then, and show them at once."""
        started = time.monotonic()
        items = []
        try:
            for item in self._render(**self._values()):
                items.append(item)
                if not isinstance(item, str):
                    self._progress.value = item
                    if time.monotonic() - started > 0.5:
                        self._progress.layout.display = "flex"
                    await asyncio.sleep(0)
            self._show(items)
        except ValueError as error:
            self._message.value = html.escape(str(error))
        finally:
            self._progress.layout.display = "none"

    def _show(self, items):
        self._message.value = ""
        pictures = [item for item in items if isinstance(item, str)]
        for frame, picture in zip(self._frames, pictures, strict=True):
            frame.value = picture


def epsilon_explorer(model, images, labels, epsilons, *, class_names=DIGITS, batch_size=64):
    """FGSM on a slider: original, noise, adversarial image and class probabilities by epsilon.

    Args:
        model: maps (N, C, H, W) in [0, 1] to logits or log-probabilities (N, K).
        images: (N, C, H, W) in [0, 1], the pictures to choose from: digits or photographs.
        labels: (N,) int64.
        epsilons: the positions of the slider, L-infinity radii in pixel units, rising from 0. For
            photographs they are written as k/255 too.
        class_names: K strings.
        batch_size: how many images go through the model at once.

    Returns:
        An :class:`Explorer` with the choice of picture, method and target.
    """
    radii = torch.tensor(epsilons, dtype=images.dtype, device=images.device)
    steps = [_epsilon_text(epsilon, images) for epsilon in epsilons]

    def render(picture, method, target):
        image, label = images[picture], labels[picture : picture + 1]
        if method == "random":
            direction = _random_signs(image)
        elif method == "targeted":
            direction = -input_gradient(model, image[None], torch.full_like(label, target))
        else:
            direction = input_gradient(model, image[None], label)
        shape = (len(radii), -1, -1, -1)
        adv_images = fgsm(image.expand(shape), radii, direction.expand(shape))
        found = []
        for batch in adv_images.split(batch_size):
            found.append(probabilities(model, batch, batch_size=batch_size))
            yield sum(map(len, found)) / len(radii)
        found = torch.cat(found)
        flips = _flips(found.argmax(1) != label, steps)
        yield from _frames(image, adv_images, found, label.item(), class_names, steps, flips)

    method = widgets.Dropdown(
        options=[
            ("FGSM, away from the true class", "fgsm"),
            ("FGSM, towards the target", "targeted"),
            ("random signs", "random"),
        ],
        description="noise",
        tooltip="Which noise is added",
    )
    target = _target_choice(class_names)
    widgets.dlink((method, "value"), (target, "disabled"), lambda value: value != "targeted")
    picture = _picture_choice(labels, class_names)
    return Explorer("epsilon", steps, render, picture=picture, method=method, target=target)


def penalty_explorer(model, images, labels, weights, *, lr=0.008, steps=1000):
    """Optimised noise by the weight of its penalty: the noise, its distortion, its success.

    Args:
        model, images, labels: digits, as in :func:`epsilon_explorer`.
        weights: the positions of the slider, values of c.
        lr, steps: as in :func:`helpers.attacks.optimize_noise`.

    Returns:
        An :class:`Explorer` with the choice of picture and target.
    """
    c = torch.tensor(weights, dtype=images.dtype, device=images.device)

    def render(picture, target):
        image = images[picture].expand(len(c), -1, -1, -1)
        targets = torch.full((len(c),), target, device=images.device)
        noise = optimize_noise(model, image, targets, c=c, lr=lr, steps=steps)
        adv_images = (image + noise).clamp(0, 1)
        found = probabilities(model, adv_images)
        outcomes = [
            f"distortion {size:.4f}, target {target} {'reached' if hit else 'not reached'}"
            for size, hit in zip(distortion(noise), found.argmax(1) == target, strict=True)
        ]
        label = labels[picture].item()
        yield from _frames(image[0], adv_images, found, label, DIGITS, texts, outcomes)

    texts = [f"{weight:g}" for weight in weights]
    picture, target = _picture_choice(labels, DIGITS), _target_choice(DIGITS)
    target.value = (labels[0].item() + 1) % 10
    return Explorer("weight c", texts, render, picture=picture, target=target)


def sweep_explorer(model, images, labels, epsilons, *, shown=10):
    """The accuracy on all images by epsilon, and what becomes of the first few of them.

    Args:
        model, images, labels, epsilons: digits, as in :func:`epsilon_explorer`.
        shown: how many of the images are shown.

    Returns:
        An :class:`Explorer`.
    """
    steps = [_epsilon_text(epsilon, images) for epsilon in epsilons]

    def render():
        attacked = epsilon_sweep(model, images, labels, epsilons)
        control = epsilon_sweep(model, images, labels, epsilons, data_grad=_random_signs(images))
        data_grad = input_gradient(model, images[:shown], labels[:shown])
        for i, step in enumerate(steps):
            adv_images = fgsm(images[:shown], epsilons[i], data_grad)
            guesses = probabilities(model, adv_images).argmax(1)
            figures = []
            for image, guess, label in zip(adv_images, guesses, labels, strict=False):
                says = verdict(guess.item(), label.item())
                alt = f"a {label} at epsilon {step}, predicted {says}"
                figures.append(_figure(_pixels(image), alt, says))
            bars = _bar("FGSM", attacked[i], ADVERSARIAL) + _bar("random", control[i], RANDOM)
            yield _frame("row", figures, f"accuracy on {len(images):,} images{bars}")

    return Explorer("epsilon", steps, render)


def _frames(image, adv_images, found, label, class_names, steps, notes):
    """The HTML of every step: original, noise, adversarial image, probabilities and a note."""
    photo = len(image) == 3
    noise = adv_images - image
    amplification = 1 / max(noise.abs().max().item(), 1e-6)
    original = _figure(
        _pixels(image),
        f"original image of a {class_names[label]}",
        f"original: {class_names[label]}",
    )
    frames = []
    for adv_image, its_noise, values, step, note in zip(
        adv_images, noise, found, steps, notes, strict=True
    ):
        guess = values.argmax().item()
        says = f"{verdict(guess, label, class_names)} {values[guess]:.1%}"
        figures = [
            original,
            _figure(
                _noise_pixels(its_noise, amplification),
                f"noise at {step}, amplified {amplification:.3g} times",
                f"noise × {amplification:.3g}",
            ),
            _figure(_pixels(adv_image), f"adversarial image at {step}: predicted {says}", says),
        ]
        classes = values.topk(5).indices.tolist() if photo else range(len(values))
        bars = "".join(
            _bar(class_names[k], values[k].item(), CLEAN if k == label else ADVERSARIAL, k == label)
            for k in classes
        )
        frames.append(_frame("photo" if photo else "digit", figures, bars, note))
    return frames


def _frame(kind, figures, bars, note=""):
    return (
        f'<div class="adv {kind}">{"".join(figures)}<div class="bars">{bars}</div>'
        f'<div class="strip">{note}</div></div>'
    )


def _figure(pixels, alt, caption):
    return (
        f'<figure><img alt="{html.escape(alt)}" src="{_data_url(pixels)}">'
        f"<figcaption>{html.escape(caption)}</figcaption></figure>"
    )


def _bar(name, share, color, is_true=False):
    return (
        f'<div class="bar{" true" if is_true else ""}"><span>{html.escape(name)}</span>'
        f'<i style="width:{share:.1%};background:{color}"></i><span>{share:.1%}</span></div>'
    )


def _flips(fooled, steps):
    """For every step: where along the slider the prediction is right and wrong, and where it is."""
    fooled = fooled.tolist()
    runs = "".join(
        f'<div class="{"wrong" if wrong else "right"}" style="flex:{len(list(run))}"></div>'
        for wrong, run in itertools.groupby(fooled)
    )
    first = steps[fooled.index(True)] if True in fooled else None
    text = f"wrong from epsilon {first} on this grid" if first else f"right up to {steps[-1]}"
    here = '<div class="here" style="left:{:.1%}"></div>'
    return [
        f'<div class="runs">{runs}{here.format((i + 0.5) / len(steps))}</div>{text}'
        for i in range(len(steps))
    ]


def _pixels(image):
    return (image.detach().cpu() * 255).round().byte().permute(1, 2, 0).squeeze(-1).numpy()


def _noise_pixels(noise, amplification):
    scaled = 0.5 + 0.5 * amplification * noise.detach().cpu()  # no change is in the middle
    if len(noise) == 3:
        return _pixels(scaled)
    return colormaps[NOISE_MAP](scaled[0].numpy(), bytes=True)[..., :3]


def _data_url(pixels):
    """A digit loses nothing as PNG; a photograph's PNG would be ten times the size of its JPEG."""
    kind = "png" if len(pixels) < 100 else "jpeg"
    buffer = io.BytesIO()
    Image.fromarray(pixels).save(buffer, kind, quality=90)
    return f"data:image/{kind};base64,{base64.b64encode(buffer.getvalue()).decode()}"


def _epsilon_text(epsilon, images):
    return f"{epsilon * 255:g}/255 = {epsilon:.4f}" if images.shape[1] == 3 else f"{epsilon:.3f}"


def _random_signs(images):
    return torch.randn(images.shape, generator=torch.Generator().manual_seed(0)).to(images)


def _picture_choice(labels, class_names):
    return widgets.Dropdown(
        options=[(f"{i + 1}: {class_names[label]}", i) for i, label in enumerate(labels)],
        description="picture",
        tooltip="Which picture is attacked",
    )


def _target_choice(class_names):
    return widgets.Dropdown(
        options=[(name, i) for i, name in enumerate(class_names)],
        description="target",
        tooltip="The class that the noise aims at",
    )


def _close_earlier(explorer):
    """Close the explorers that earlier runs of the same cell have made."""
    shell = get_ipython()
    parent = shell.get_parent() if hasattr(shell, "get_parent") else {}
    cell = parent.get("metadata", {}).get("cellId")
    if cell is None:  # not run from a notebook's page
        return
    run = parent["header"]["msg_id"]
    earlier, explorers = _LIVE.get(cell, (run, []))
    if earlier != run:
        for old in explorers:
            old.close()
        explorers = []
    _LIVE[cell] = (run, [*explorers, explorer])


_LIVE = {}  # cell id: (id of its last run, the explorers that this run has made)


def _tree(value):
    """All widgets in a trait's value, children, layouts and styles included."""
    if isinstance(value, widgets.Widget):
        yield value
        for key in value.keys:
            yield from _tree(getattr(value, key))
    elif isinstance(value, (list, tuple)):
        for item in value:
            yield from _tree(item)
