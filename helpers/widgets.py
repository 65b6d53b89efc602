"""Sliders: every picture is computed beforehand, and the browser only switches between them.

A step of a slider therefore needs no kernel: it is instant, and it works in an exported page.
With the environment variable READING_EDITION set, the explorers also compute every picture that
can be chosen, for pages without a kernel.
"""

import asyncio
import base64
import html
import io
import itertools
import math
import os
import time

import anywidget
import ipywidgets as widgets
import torch
from ipycanvas import Canvas
from IPython import get_ipython
from matplotlib import colormaps
from PIL import Image, ImageDraw

from helpers.attacks import fgsm, gradient_and_logits, input_gradient, optimize_noise
from helpers.checks import check_labels, check_not_empty, check_numbers
from helpers.data import ASSETS, center_digit, load_photo
from helpers.evaluation import distortion, epsilon_sweep, probabilities
from helpers.plotting import ADVERSARIAL, CLEAN, NOISE_MAP, RANDOM, shown_classes, verdict

DIGITS = [str(digit) for digit in range(10)]

_ON_LOAD = html.escape((ASSETS / "explorer.js").read_text("utf-8"))
_CSS = f"""<style onload="{_ON_LOAD}">
.adv {{ display: flex; flex-wrap: wrap; gap: 14px; font-size: 15px; line-height: 1.35; }}
.adv figure {{ margin: 0; width: min-content; }}
.adv img {{ display: block; width: 168px; height: 168px; image-rendering: pixelated;
  aspect-ratio: 1; color: transparent; }}  /* no jump and no text until it is there */
.adv.photo img {{ width: 180px; height: 180px; image-rendering: auto; }}
.adv.photo figcaption {{ min-height: 2.7em; }}  /* two lines, however long a name is */
.adv.row {{ gap: 8px; }}
.adv.row img {{ width: 72px; height: 72px; }}
.adv .bars {{ flex: 1 1 230px; max-width: 330px; }}
.adv .bar {{ display: grid; grid-template-columns: 1em 1fr 4em; gap: 6px; line-height: 1.12; }}
.adv.photo .bar {{ grid-template-columns: 7.5em 1fr 4em; line-height: 1.7; }}
.adv.row .bars {{ flex: 1 1 100%; }}
.adv.row .bar {{ grid-template-columns: 4.5em 1fr 4em; line-height: 1.5; }}
.adv .bar > :first-child {{ text-align: right; white-space: nowrap; overflow: hidden;
  text-overflow: ellipsis; }}
.adv .bar > :last-child {{ white-space: nowrap; }}
.adv .bar.true > :first-child {{ font-weight: bold; text-decoration: underline; }}
.adv .bar i {{ align-self: center; height: 0.8em; }}
.adv .strip {{ flex: 1 1 100%; }}
.adv .runs {{ display: flex; align-items: end; height: 12px; max-width: 640px;
  position: relative; }}
.adv .runs .right {{ background: {CLEAN}; height: 4px; }}
.adv .runs .wrong {{ background: {ADVERSARIAL}; height: 12px; }}
.adv .runs .here {{ position: absolute; top: -4px; height: 20px; width: 3px; margin-left: -1px;
  background: currentColor; }}
/* In Firefox ipywidgets writes the focused choice in black, also on black. */
.widget-vbox .widget-dropdown > select:focus-visible {{ text-shadow: none;
  color: var(--jp-widgets-input-color); }}
</style>"""


class _Stack(widgets.Box):
    """What ipywidgets 8 has as ``Stack``, for Colab's ipywidgets 7: each step asks the kernel."""

    def __init__(self, frames, selected_index=0, **options):
        super().__init__([frames[selected_index]], **options)
        self.frames = frames

    def show(self, change):
        self.children = [self.frames[change.new]]


class Explorer(widgets.VBox):
    """A slider over finished pictures, beside controls whose choice makes new ones.

    A subclass says in :meth:`render` what the pictures are. Raises TypeError or ValueError, naming
    the argument, for images, labels, names or positions that do not fit.

    Args:
        description: the slider's label.
        steps: a string for each position of the slider.
        controls: widgets with a ``value``, under the names that ``render`` knows them by. In a
            page without a kernel only one called ``picture`` works.
    """

    _links = ()  # until they are made

    def __init__(self, description, steps, **controls):
        self._controls, self._newest = controls, None
        self.slider = widgets.SelectionSlider(
            options=[(step, i) for i, step in enumerate(steps)],
            description=description,
            tooltip="Drag, or click and use the arrow keys",
            layout=widgets.Layout(width="98%", max_width="640px"),
        )
        self._message = widgets.HTML()
        # One layout and style for all frames: each would be a widget of its own.
        shared = {"layout": self._message.layout, "style": self._message.style}
        exported = "READING_EDITION" in os.environ
        choices = controls["picture"].options if exported and "picture" in controls else [None]
        self._pages = [[widgets.HTML(**shared) for _ in ["fixed", *steps]] for _ in choices]
        row = widgets.Layout(flex_flow="row wrap", grid_gap="0 10px")
        rest = widgets.Layout(flex="1 1 400px", min_width="0")
        new = hasattr(widgets, "Stack")
        stack = widgets.Stack if new else _Stack
        stacks = [stack(frames, selected_index=0, layout=rest) for _, *frames in self._pages]
        self._links = []
        for frames in stacks:
            if new:
                ends = (self.slider, "index"), (frames, "selected_index")
                self._links.append(widgets.jslink(*ends))
            else:
                self.slider.observe(frames.show, "index")
        pages = stack(
            [
                widgets.HBox([page[0], frames], layout=row)
                for page, frames in zip(self._pages, stacks, strict=True)
            ],
            selected_index=0,
        )
        self._progress = widgets.FloatProgress(
            max=1,
            description="computing",
            tooltip="How much of the new pictures is done",
            layout=widgets.Layout(display="none"),
        )
        shown = controls
        if exported:
            shown = {name: control for name, control in controls.items() if name == "picture"}
            for picture in shown.values():
                self._links.append(widgets.jslink((picture, "index"), (pages, "selected_index")))
        beside = widgets.HBox([*shown.values(), self._progress], layout=row)
        super().__init__([widgets.HTML(_CSS), beside, self._message, self.slider, pages])
        _close_earlier(self)
        for page, choice in zip(self._pages, choices, strict=True):
            values = self._values()
            if choice is not None:
                values["picture"] = choice
            try:
                self._show(list(self.render(**values)), page)
            except BaseException:
                self.close()
                raise
        if not exported:
            for control in controls.values():
                control.observe(self._choose, "value")

    def render(self, **values):
        """Compute the pictures for the controls' values.

        Yields the share of the work that is done, a float, as often as it likes; then the HTML
        that stays beside all steps, and that of each step. An error is shown in the widget.
        """
        raise NotImplementedError

    def __repr__(self):  # what viewers without widgets show
        choices = f" and choices ({', '.join(self._controls)})" if self._controls else ""
        return f"Run this cell for a slider ({self.slider.description}){choices}."

    def close(self):
        """Release every widget of the explorer, in the kernel and in the browser."""
        self._newest = None
        _close_all(self, *self._links)

    def _values(self):
        return {name: control.value for name, control in self._controls.items()}

    def _choose(self, _change=None):
        self._message.value = ""
        self._newest = choice = object()  # a mark and no task to cancel: threads may differ
        try:
            loop = asyncio.get_running_loop()
        except RuntimeError:  # outside a kernel
            return asyncio.run(self._fill(choice))
        self._filling = loop.create_task(self._fill(choice))  # the loop keeps no strong reference

    async def _fill(self, choice):
        """Compute the pictures and show them at once, unless a newer choice comes meanwhile."""
        if choice is not self._newest:  # it came before this one began
            return
        started = time.monotonic()
        items = []
        try:
            for item in self.render(**self._values()):
                if choice is not self._newest:
                    return
                items.append(item)
                if isinstance(item, float):
                    self._progress.value = item
                    if time.monotonic() - started > 0.5:
                        self._progress.layout.display = "flex"
                    await asyncio.sleep(0.01)  # long enough for the kernel to hear of it
            self._show(items, self._pages[0])
        except Exception as error:
            if choice is not self._newest:
                return
            self._tell(error)
        self._progress.layout.display = "none"

    def _tell(self, error):
        """Show an error: nobody sees a traceback from a callback."""
        self._message.value = html.escape(str(error) or type(error).__name__)

    def _show(self, items, page):
        pictures = [item for item in items if isinstance(item, str)]
        changes = list(zip(page, pictures, strict=True))
        # What is in sight goes first: no new original stands beside an old adversarial image.
        changes.insert(1, changes.pop(1 + self.slider.index))
        for widget, picture in changes:
            widget.value = picture


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

    def __init__(self, model, images, labels, epsilons, *, class_names=DIGITS, upload=False):
        _check_pictures(images, labels, class_names)
        epsilons = _check_positions(epsilons, "epsilons", most=1)
        self._model, self._class_names = model, class_names
        # Between two batches a newer choice is heard.
        self._batch_size = 4 if images.shape[1] == 3 else 500
        self._radii = torch.tensor(epsilons, dtype=images.dtype, device=images.device)
        self._steps = [_epsilon_text(epsilon, images) for epsilon in epsilons]
        if "READING_EDITION" in os.environ and images.shape[1] == 3:
            images, labels = images[:4], labels[:4]  # a page of more would be slow to load
        self._pictures = {
            f"{i + 1}: {class_names[label]}": (images[i : i + 1], labels[i : i + 1])
            for i, label in enumerate(labels)
        }
        controls = {
            "picture": _picture_choice(self._pictures),
            "noise": _dropdown(
                "noise",
                "Which noise is added",
                [
                    ("FGSM, away from the true class", "fgsm"),
                    ("FGSM, towards the target", "targeted"),
                    ("random signs", "random"),
                ],
            ),
            "target": _target_choice(class_names),
        }
        widgets.dlink(
            (controls["noise"], "value"),
            (controls["target"], "disabled"),
            lambda noise: noise != "targeted",
        )
        super().__init__("epsilon", self._steps, **controls)
        if upload and "READING_EDITION" not in os.environ:
            self.children[1].children += (PhotoUpload(self._take_upload),)

    def render(self, picture, noise, target):
        image, label = self._pictures[picture]
        found = []
        if noise == "random":
            direction = _random_signs(image)
        else:
            aim = torch.full_like(label, target) if noise == "targeted" else label
            direction, logits = gradient_and_logits(self._model, image, aim)
            if noise == "targeted":
                direction = -direction
            if self._radii[0] == 0:
                found.append(logits.softmax(1))  # known from the gradient's pass
        shape = (len(self._radii), -1, -1, -1)
        adv_images = fgsm(image.expand(shape), self._radii, direction.expand(shape))
        for batch in adv_images[len(found) :].split(self._batch_size):
            yield sum(map(len, found)) / len(adv_images)
            found.append(probabilities(self._model, batch))
        found = torch.cat(found)
        if len(self._class_names) != found.shape[1]:
            raise ValueError(
                f"class_names must be {found.shape[1]} strings, as many as the model has classes, "
                f"got {len(self._class_names)}"
            )
        who = getattr(self._model, "name", "the network")
        notes = _flips(found.argmax(1) != label, self._steps, who)
        color = RANDOM if noise == "random" else ADVERSARIAL
        yield from _frames(
            image[0], adv_images, found, label.item(), self._class_names, self._steps, notes, color
        )

    def add(self, name, image):
        """Add a picture (1, C, H, W), or replace the one of this name, and attack it.

        Its label is what the model sees in it.
        """
        image = image.to(self._radii)  # a callback's thread may have another default device
        label = probabilities(self._model, image).argmax(1)
        self._pictures[name] = (image, label)
        picture = self._controls["picture"]
        if name in picture.options:
            if picture.value == name:
                return self._choose()
        else:
            picture.options = list(self._pictures)
        picture.value = name

    def _take_upload(self, upload):
        try:
            if "problem" in upload:
                raise ValueError("{name} {problem}".format(**upload))
            self.add(upload["name"], load_photo(upload))
        except Exception as error:
            self._tell(error)


class PhotoUpload(anywidget.AnyWidget):
    """A button that sends a picture file of any size.

    ``ipywidgets.FileUpload`` loses files of more than 10 MiB, and then hears of no other.

    Args:
        take: is called with each upload, a dict of "name" and either "content", the bytes of the
            file (of a large one: of its middle, as :func:`helpers.data.load_photo` wants it), or
            "problem", a string.
    """

    _esm = ASSETS / "photo_upload.js"

    def __init__(self, take):
        super().__init__(layout=widgets.Layout(align_self="center"))
        self.on_msg(
            lambda _self, upload, buffers: take(
                {**upload, "content": buffers[0]} if buffers else upload
            )
        )


class PenaltyExplorer(Explorer):
    """Optimised noise by the weight of its penalty: the noise, its distortion, its success.

    Args:
        model, images, labels: digits, as in :class:`EpsilonExplorer`.
        weights: the positions of the slider, values of c.
        lr, steps: as in :func:`helpers.attacks.optimize_noise`.
    """

    def __init__(self, model, images, labels, weights, *, lr=0.008, steps=1000):
        _check_pictures(images, labels, DIGITS)
        weights = _check_positions(weights, "weights")
        if steps < 1:
            raise ValueError(f"steps must be at least 1, got {steps}")
        self._model, self._images, self._labels = model, images, labels
        self._c = torch.tensor(weights, dtype=images.dtype, device=images.device)
        self._lr, self._most = lr, steps
        self._steps = [f"{weight:.3g}" for weight in weights]
        self._pictures = {f"{i + 1}: {label}": i for i, label in enumerate(labels)}
        target = _target_choice(DIGITS)
        target.value = (labels[0].item() + 1) % 10
        super().__init__(
            "weight c", self._steps, picture=_picture_choice(self._pictures), target=target
        )

    def render(self, picture, target):
        i = self._pictures[picture]
        image = self._images[i].expand(len(self._c), -1, -1, -1)
        targets = torch.full((len(self._c),), target, device=image.device)
        noise = None
        for done in range(0, self._most, 100):
            yield done / self._most
            steps = min(100, self._most - done)
            noise = optimize_noise(
                self._model, image, targets, c=self._c, lr=self._lr, steps=steps, start=noise
            )
        adv_images = (image + noise).clamp(0, 1)
        found = probabilities(self._model, adv_images)
        notes = [
            f"distortion {size:.4f}, target {target} {'reached' if hit else 'not reached'}"
            for size, hit in zip(distortion(noise), found.argmax(1) == target, strict=True)
        ]
        label = self._labels[i].item()
        yield from _frames(image[0], adv_images, found, label, DIGITS, self._steps, notes)


class SweepExplorer(Explorer):
    """The accuracy on all images by epsilon, and what becomes of the first few of them.

    Args:
        model, images, labels, epsilons: digits, as in :class:`EpsilonExplorer`.
        shown: how many of the images are shown.
    """

    def __init__(self, model, images, labels, epsilons, *, shown=10):
        _check_pictures(images, labels, DIGITS)
        epsilons = _check_positions(epsilons, "epsilons", most=1)
        self._model, self._images, self._labels = model, images, labels
        self._epsilons, self._shown = epsilons, shown
        super().__init__("epsilon", [_epsilon_text(epsilon, images) for epsilon in epsilons])

    def render(self):
        model, images, labels = self._model, self._images, self._labels
        signs = _random_signs(images)
        attacked = epsilon_sweep(model, images, labels, self._epsilons)
        control = epsilon_sweep(model, images, labels, self._epsilons, data_grad=signs)
        first, first_labels = images[: self._shown], labels[: self._shown]
        data_grad = input_gradient(model, first, first_labels)
        yield ""
        for epsilon, fooled, tossed in zip(self._epsilons, attacked, control, strict=True):
            adv_images = fgsm(first, epsilon, data_grad)
            figures = []
            for image, guess, label in zip(
                adv_images, probabilities(model, adv_images).argmax(1), first_labels, strict=True
            ):
                says = verdict(guess.item(), label.item())
                alt = f"a {label} at epsilon {epsilon:.3f}, predicted {says}"
                figures.append(_figure(_pixels(image), alt, says))
            bars = _bar("FGSM", fooled, ADVERSARIAL) + _bar("random", tossed, RANDOM)
            yield _frame("row", figures, f"accuracy on {len(images):,} images{bars}")


class DigitPad(widgets.VBox):
    """A canvas to draw a digit on, what the model sees in it, and FGSM on it.

    Args:
        model, images, labels, epsilons: digits, as in :class:`EpsilonExplorer`, from which one can
            choose before drawing.
    """

    SIDE, PEN = 196, 16  # of the canvas and of the stroke, in pixels

    def __init__(self, model, images, labels, epsilons):
        if "READING_EDITION" in os.environ:
            super().__init__([widgets.HTML("To draw a digit, run the notebook.")])
            return
        self.explorer = EpsilonExplorer(model, images, labels, epsilons)  # checks the arguments
        self._model, self._pen = model, None
        self._device = images.device  # a callback's thread may have another default
        self._canvas = Canvas(width=self.SIDE, height=self.SIDE)
        self._canvas.layout.width = self._canvas.layout.height = f"{self.SIDE}px"
        self._canvas.layout.border = "1px solid gray"  # to be seen on a dark page
        self._canvas.line_cap = "round"
        self._canvas.line_width = self.PEN
        self._canvas.on_mouse_down(self._press)
        self._canvas.on_mouse_move(self._move)
        self._canvas.on_mouse_up(self._lift)
        self._canvas.on_mouse_out(self._lift)
        self._canvas.on_touch_start(lambda points: self._press(*points[0]))
        self._canvas.on_touch_move(lambda points: self._move(*points[0]))
        self._canvas.on_touch_end(lambda points: self._lift())
        clear = widgets.Button(description="clear", tooltip="Wipe the canvas")
        clear.on_click(lambda _: self._clear())
        self._guess = widgets.HTML(layout=widgets.Layout(flex="1 1 400px"))
        self._clear()
        pad = widgets.HBox(
            [widgets.VBox([self._canvas, clear]), self._guess],
            layout=widgets.Layout(flex_flow="row wrap", grid_gap="10px"),
        )
        super().__init__([widgets.HTML(_CSS), pad, self.explorer])
        _close_earlier(self)

    def close(self):
        """Release every widget of the pad, in the kernel and in the browser."""
        _close_all(self)

    def __repr__(self):  # what viewers without widgets show
        return "A canvas for a digit of your own. Run this cell to draw."

    def _clear(self):
        self._drawing = Image.new("L", (self.SIDE, self.SIDE))  # what the canvas shows
        self._canvas.fill_style = "black"
        self._canvas.stroke_style = "white"
        self._canvas.fill_rect(0, 0, self.SIDE, self.SIDE)
        self._guess.value = '<div class="adv">Draw a digit in the black square.</div>'

    def _press(self, x, y):
        self._pen = x, y
        self._move(x, y)

    def _move(self, x, y):
        if self._pen is None:
            return
        self._canvas.stroke_line(*self._pen, x, y)
        pen = ImageDraw.Draw(self._drawing)
        pen.line([self._pen, (x, y)], fill=255, width=self.PEN)
        pen.circle((x, y), self.PEN / 2, fill=255)  # Pillow's lines end bluntly
        self._pen = x, y
        self._look()

    def _lift(self, *_):
        if self._pen is not None:
            self._pen = None
            self.explorer.add("your digit", self._look())

    def _look(self):
        """Show what the model sees in the drawing; returns the drawing as an image of MNIST."""
        pixels = torch.tensor(bytearray(self._drawing.tobytes()), dtype=torch.uint8)
        drawing = pixels.view(self.SIDE, self.SIDE) / 255
        image = center_digit(drawing).to(self._device)
        found = probabilities(self._model, image)[0]
        guess = found.argmax().item()
        bars = "".join(_bar(DIGITS[k], found[k].item(), CLEAN, k == guess) for k in range(10))
        figure = _figure(_pixels(image[0]), f"your digit, read as {guess}", f"read as {guess}")
        self._guess.value = _frame("digit", [figure], bars)
        return image


def _frames(image, adv_images, found, label, class_names, steps, notes, color=ADVERSARIAL):
    """The HTML of the original, then of each step: noise, result, probabilities and a note."""
    photo = len(image) == 3
    noise = adv_images - image
    amplification = 1 / (noise.abs().max().item() or 1)
    name = class_names[label]
    original = _figure(_pixels(image), f"original image: {name}", f"original: {name}")
    kind = "photo" if photo else "digit"
    yield f'<div class="adv {kind}">{original}</div>'
    for adv_image, its_noise, values, step, note in zip(
        adv_images, noise, found, steps, notes, strict=True
    ):
        guess = values.argmax().item()
        says = f"{verdict(guess, label, class_names)} {values[guess]:.1%}"
        figures = [
            _figure(
                _noise_pixels(its_noise, amplification),
                f"noise at {step}, amplified {amplification:.3g} times",
                f"noise × {amplification:.3g}",
            ),
            _figure(_pixels(adv_image), f"adversarial image at {step}: predicted {says}", says),
        ]
        classes = shown_classes(values)
        bars = "".join(
            _bar(class_names[k], values[k].item(), CLEAN if k == label else color, k == label)
            for k in classes
        )
        yield _frame(kind, figures, bars, note)


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


def _flips(fooled, steps, who):
    """For every step: where along the slider the prediction is right and wrong, and where it is."""
    fooled = fooled.tolist()
    runs = "".join(
        f'<div class="{"wrong" if wrong else "right"}" style="flex:{len(list(run))}"></div>'
        for wrong, run in itertools.groupby(fooled)
    )
    first = steps[fooled.index(True)] if True in fooled else None
    text = f"wrong from epsilon {first} on this grid" if first else f"right up to {steps[-1]}"
    text = f"{html.escape(who)} is {text}"
    here = '<div class="here" style="left:{:.1%}"></div>'
    return [
        f'<div class="runs">{runs}{here.format((i + 0.5) / len(steps))}</div>{text}'
        for i in range(len(steps))
    ]


def _pixels(image):
    pixels = (image.detach().cpu() * 255).round_().byte()
    return pixels.permute(1, 2, 0).contiguous().squeeze(-1).numpy()


def _noise_pixels(noise, amplification):
    scaled = 0.5 + 0.5 * amplification * noise.detach().cpu()  # no change is in the middle
    if len(noise) == 3:
        return _pixels(scaled)
    return colormaps[NOISE_MAP](scaled[0].numpy(), bytes=True)[..., :3]


def _data_url(pixels):
    """A digit loses nothing as PNG; a photograph's PNG would be ten times the size of its JPEG."""
    kind = "png" if len(pixels) < 100 else "jpeg"
    buffer = io.BytesIO()
    Image.fromarray(pixels).save(buffer, kind, quality=75)
    return f"data:image/{kind};base64,{base64.b64encode(buffer.getvalue()).decode()}"


def _epsilon_text(epsilon, images):
    return f"{epsilon * 255:g}/255 = {epsilon:.4f}" if images.shape[1] == 3 else f"{epsilon:.3f}"


def _check_pictures(images, labels, class_names):
    check_not_empty(images)
    check_labels(labels, images)
    if labels.max() >= len(class_names):
        raise ValueError(
            f"class_names must name class {labels.max().item()} too, got {len(class_names)} names"
        )


def _check_positions(values, name, most=math.inf):
    values = check_numbers(values, name)
    if not values or values != sorted(set(values)):
        raise ValueError(f"{name} must be rising, and at least one, got {values}")
    if values[-1] > most:
        raise ValueError(f"{name} must be from 0 to {most}, got {values[0]:g} to {values[-1]:g}")
    return values


def _random_signs(images):
    generator = torch.Generator().manual_seed(0)
    return torch.randn(images.shape, generator=generator, device="cpu").to(images)


def _picture_choice(names):
    return _dropdown("picture", "Which picture is attacked", list(names))


def _target_choice(class_names):
    classes = [(name, i) for i, name in enumerate(class_names)]
    return _dropdown("target", "The class that the noise aims at", classes)


def _dropdown(label, tooltip, options):
    """A labelled choice. ipywidgets shows a dropdown's own tooltip only where it has no label."""
    return widgets.Dropdown(
        options=options,
        layout=widgets.Layout(width="auto", max_width="98%"),  # as its longest option
        description=f'<span title="{tooltip}">{label}</span>',
        description_allow_html=True,
    )


_LIVE = {}  # cell id: (id of its last run, what this run has made)


def _close_earlier(widget):
    """Close what earlier runs of the same cell have made, and remember this widget."""
    shell = get_ipython()
    parent = shell.get_parent() if hasattr(shell, "get_parent") else {}
    cell = parent.get("metadata", {}).get("cellId")
    if cell is None:  # not run from a notebook's page
        return
    run = parent["header"]["msg_id"]
    earlier, made = _LIVE.get(cell, (run, []))
    if earlier != run:
        for old in made:
            old.close()
        made = []
    _LIVE[cell] = (run, [*made, widget])


def _close_all(widget, *others):
    """Close a widget with all that is in it."""
    for part in {*others, *_tree(widget)} - {widget}:
        part.close()
    widgets.Widget.close(widget)


def _tree(widget):
    """A widget, its children, and their layouts and styles."""
    yield widget
    for name in ("layout", "style"):
        if hasattr(widget, name):
            yield getattr(widget, name)
    for child in getattr(widget, "frames", getattr(widget, "children", ())):
        yield from _tree(child)
