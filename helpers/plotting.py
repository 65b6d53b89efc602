"""Figures: tensors and numbers in, a matplotlib Figure out. Nothing here calls a model."""

import functools
import io
import itertools
import textwrap

import matplotlib.style
from IPython import get_ipython
from matplotlib.figure import Figure

from helpers.checks import check_direction, check_picture, check_pictures
from helpers.data import ASSETS

# Distinct in hue and in lightness (Okabe and Ito's palette), the same from first to last notebook.
CLEAN, ADVERSARIAL, RANDOM = "#0072B2", "#D55E00", "#7F7F7F"
NOISE_MAP = "coolwarm"  # diverging, and legible to the colour-blind
WIDTH = 9.5  # inches: 950 pixels, which a projector's 1024 still shows whole
MOST_TICKS = 12
RIGHT, WRONG = "✓", "✗"  # told apart by more than colour


def use_style():
    """Draw every figure of this kernel in the course's style, and give it its alt text."""
    matplotlib.style.use(ASSETS / "course.mplstyle")
    shell = get_ipython()
    if shell is not None:
        for kind in ("png", "jpeg"):
            formatter = shell.display_formatter.formatters[f"image/{kind}"]
            formatter.for_type(Figure, functools.partial(_encoded, kind=kind))


def verdict(prediction, label, class_names=None):
    """``"3 ✓"`` or ``"8 ✗"``: a prediction, and whether it is the label."""
    name = class_names[prediction] if class_names else int(prediction)
    return f"{name}\N{NO-BREAK SPACE}{RIGHT if prediction == label else WRONG}"


def training_curves(history):
    """Loss and test accuracy per epoch, side by side.

    Args:
        history: what :func:`helpers.models.train_mlp` returns.
    """
    panels = {"training loss (nats)": (history["loss"], "black")}
    if history["accuracy"]:
        panels["test accuracy (%)"] = ([100 * value for value in history["accuracy"]], CLEAN)
    return curves(range(1, len(history["loss"]) + 1), panels, xlabel="epoch")


def curves(x, panels, *, xlabel, xscale="linear"):
    """Curves over the same x, each in a panel of its own.

    Args:
        x: the positions.
        panels: ``{label of the y axis: (values, colour)}``.
        xscale: ``"linear"`` (every position gets a tick, unless they are many) or ``"log"``.
    """
    figure = Figure(figsize=(WIDTH, 3.4))
    sentences = []
    for axis, (label, (values, color)) in zip(
        figure.subplots(1, len(panels), squeeze=False)[0], panels.items(), strict=True
    ):
        axis.plot(x, values, "o-", color=color)
        axis.set(xlabel=xlabel, ylabel=label, xscale=xscale)
        if xscale == "linear" and len(x) <= MOST_TICKS:
            axis.set_xticks(x)
        sentences.append(f"{label} from {values[0]:.3g} to {values[-1]:.3g}")
    return _described(figure, f"By {xlabel}: {'; '.join(sentences)}.")


def image_grid(images, titles=None, *, columns=10, row_labels=None, size=None, caption=None):
    """Images in rows, each with its title.

    Args:
        images: (N, C, H, W) in [0, 1].
        titles: N strings, or None.
        columns: how many images a row holds.
        row_labels: a string to the left of each row, or None.
        size: of an image in inches; by default as large as the width allows.
        caption: a line below, for instance which model the titles speak of.
    """
    check_pictures(images)
    rows = -(-len(images) // columns)
    size = size or WIDTH / columns
    titles = [""] * len(images) if titles is None else list(map(str, titles))
    _check_titles(titles, images)
    lines = max(title.count("\n") + bool(title) for title in titles)
    titled = sum(any(titles[i : i + columns]) for i in range(0, len(titles), columns))
    figure = Figure(figsize=(columns * size, rows * size + titled * 0.2 * lines))
    axes = figure.subplots(rows, columns, squeeze=False)
    for axis in axes.flat:
        axis.axis("off")
    for axis, image, title in zip(axes.flat, images, titles, strict=False):
        _show(axis, image)
        axis.set_title(title)
    for axis, label in zip(axes[:, 0], row_labels or [], strict=False):
        axis.text(-0.15, 0.5, label, transform=axis.transAxes, ha="right", va="center")
    described = f"A grid of {len(images)} images"
    if any(titles):
        described += f": {', '.join(filter(None, titles))}".replace("\n", " ")
    if row_labels:
        described += f". Rows: {', '.join(row_labels)}"
    return _described(figure, f"{described}.", caption)


def pair_grid(images, adv_images, titles, adv_titles, *, columns, caption=None):
    """Pairs of a clean and an adversarial image, ``columns`` pairs in a row.

    Args:
        images, adv_images: (N, C, H, W) in [0, 1].
        titles, adv_titles: N strings each, above the images.
        caption: as in :func:`image_grid`.
    """
    check_pictures(images)
    check_pictures(adv_images, "adv_images")
    if len(adv_images) != len(images):
        raise ValueError(f"adv_images must be {len(images)} too, got {len(adv_images)}")
    rows = -(-len(images) // columns)
    size = WIDTH / (2.15 * columns)
    lines = 1
    wrapped = []
    _check_titles(titles, images)
    _check_titles(adv_titles, images)
    for title in [*titles, *adv_titles]:
        wrapped.append(textwrap.fill(str(title), int(12 * size)))
        lines = max(lines, 1 + wrapped[-1].count("\n"))
    figure = Figure(figsize=(WIDTH, rows * (size + 0.1 + 0.2 * lines)))
    panels = figure.subfigures(rows, columns, squeeze=False).flat
    for i, panel in enumerate(itertools.islice(panels, len(images))):
        left, right = panel.subplots(1, 2)
        _show(left, images[i])
        _show(right, adv_images[i])
        for axis, title, color in (
            (left, wrapped[i], CLEAN),
            (right, wrapped[len(images) + i], ADVERSARIAL),
        ):
            # The same number of lines everywhere keeps all images at one size.
            axis.set_title("\n" * (lines - 1 - title.count("\n")) + title, color=color)
    described = ", ".join(f"{a} becomes {b}" for a, b in zip(titles, adv_titles, strict=True))
    alt_text = f"{len(images)} pairs of a clean and an adversarial image: {described}."
    return _described(figure, alt_text, caption)


def noise_maps(image, maps, *, unit):
    """An image, and signed maps beside it in a diverging map with 0 in the middle.

    Args:
        image: (1, H, W) in [0, 1].
        maps: ``{title: tensor (1, H, W)}``, each shown at its own scale.
        unit: what the colours mean, written below.
    """
    check_picture(image, "image")
    for title, values in maps.items():
        check_direction(values, image, f"the map {title!r}")
    panels = 1 + len(maps)
    figure = Figure(figsize=(WIDTH, WIDTH / panels * 0.92))
    first, *axes = figure.subplots(1, panels)
    _show(first, image)
    first.set_title("image")
    for axis, (title, values) in zip(axes, maps.items(), strict=True):
        limit = values.abs().max().item() or 1
        shown = axis.imshow(_array(values), cmap=NOISE_MAP, vmin=-limit, vmax=limit)
        axis.set_title(title)
        axis.axis("off")
        figure.colorbar(shown, ax=axis, shrink=0.8)
    return _described(figure, f"An image, and beside it {'; '.join(maps)}.", f"colours: {unit}")


def attack_rows(image, attacked, probabilities, label, class_names, *, caption=None):
    """One row for each way of changing an image: original, noise, result, class probabilities.

    Args:
        image: (C, H, W) in [0, 1], the clean one.
        attacked: ``{title: image (C, H, W)}``; a title that begins with "random" gets the colour
            of the control.
        probabilities: (1 + len(attacked), K), of the clean image and of each attacked one.
        label: the true class.
        class_names: K strings.
        caption: as in :func:`image_grid`.
    """
    if not ((probabilities >= 0) & (probabilities < 1.001)).all():  # more than rounding
        raise ValueError("probabilities must lie in [0, 1]: apply .softmax(1) to the outputs")
    for title, result in {"image": image, **attacked}.items():
        check_picture(result, title)
    figure = Figure(figsize=(WIDTH, 2.75 * len(attacked)))
    axes = figure.subplots(
        len(attacked), 4, squeeze=False, gridspec_kw={"width_ratios": [1, 1, 1, 1.35]}
    )
    sentences = []
    noises = {title: result - image for title, result in attacked.items()}
    limit = max(noise.abs().max().item() for noise in noises.values()) or 1  # one for all rows
    for row, (title, noise), values in zip(axes, noises.items(), probabilities[1:], strict=True):
        color = RANDOM if title.startswith("random") else ADVERSARIAL
        _show(row[0], image)
        row[0].set_title(_guess(probabilities[0], label, class_names), color=CLEAN)
        _show_noise(row[1], noise, limit)
        row[1].set_title(f"{title}\nnoise × {1 / limit:.3g}", color=color)
        _show(row[2], attacked[title])
        row[2].set_title(_guess(values, label, class_names), color=color)
        _bars(row[3], values, label, class_names, color)
        sentences.append(f"{title}: {_guess(values, label, class_names)}".replace("\n", " "))
    before = _guess(probabilities[0], label, class_names).replace("\n", " ")
    return _described(figure, f"Before: {before}. {'. '.join(sentences)}.", caption)


def accuracy_curves(epsilons, curves, *, xlabel="epsilon (L∞, pixel units)", ylabel="accuracy (%)"):
    """Accuracy over epsilon, one line for each entry.

    Args:
        epsilons: the radii, in the unit that ``xlabel`` says.
        curves: ``{label: (accuracies in [0, 1], colour, line style)}``.
    """
    figure = Figure(figsize=(WIDTH, 4.6))
    axis = figure.subplots()
    for label, (accuracies, color, style) in curves.items():
        axis.plot(epsilons, [100 * a for a in accuracies], style, color=color, label=label)
    axis.set(xlabel=xlabel, ylabel=ylabel, ylim=(-2, 102))
    if len(epsilons) <= MOST_TICKS:
        axis.set_xticks(epsilons)
    figure.legend(loc="outside upper center", ncols=2, handlelength=4)
    described = "; ".join(
        f"{label} from {100 * values[0]:.1f} to {100 * values[-1]:.1f} percent"
        for label, (values, _, _) in curves.items()
    )
    return _described(figure, f"Accuracy by epsilon: {described}.")


def histogram(values, *, xlabel, bins=40, marks=None):
    """How often each value occurs.

    Args:
        values: (N,); infinite ones are left out, one at least must remain.
        marks: ``{label: x}`` for vertical lines.
    """
    values = values[values.isfinite()]
    if not len(values):
        raise ValueError("values must hold at least one finite number")
    figure = Figure(figsize=(WIDTH, 3.4))
    axis = figure.subplots()
    axis.hist(values.cpu().numpy(), bins=bins, color=ADVERSARIAL)
    for label, x in (marks or {}).items():
        axis.axvline(x, color="black", linestyle="--")
        axis.text(x, axis.get_ylim()[1], f" {label}", va="top")
    axis.set(xlabel=xlabel, ylabel="images")
    return _described(
        figure, f"Histogram of {len(values)} values of {xlabel}, median {values.median():.3f}."
    )


def _show(axis, image):
    """An image (C, H, W) in [0, 1] with square pixels and no frame."""
    # A photograph is shown smaller than it is, where dropping pixels would look ragged.
    interpolation = "none" if image.shape[-1] < 100 else "antialiased"
    axis.imshow(_array(image), vmin=0, vmax=1, interpolation=interpolation)
    axis.axis("off")


def _check_titles(titles, images):
    if len(titles) != len(images):
        raise ValueError(f"titles must be {len(images)} strings, got {len(titles)}")


def _array(image):
    """(C, H, W) as matplotlib wants it: (H, W), or (H, W, 3)."""
    return image.detach().cpu().permute(1, 2, 0).squeeze(-1).numpy()


def _show_noise(axis, noise, limit):
    """Noise (C, H, W), amplified so that ``limit`` is at full scale and no change in the middle."""
    if len(noise) == 1:
        axis.imshow(_array(noise), cmap=NOISE_MAP, vmin=-limit, vmax=limit)
        axis.axis("off")
    else:
        _show(axis, (0.5 + 0.5 * noise / limit).clamp(0, 1))


def shown_classes(probabilities):
    """The classes that get a bar: all ten in their order, or the five likeliest of more."""
    count = len(probabilities)
    return list(range(count)) if count <= 10 else probabilities.topk(5).indices.tolist()


def _guess(probabilities, label, class_names):
    prediction = probabilities.argmax().item()
    name = textwrap.fill(verdict(prediction, label, class_names), 20)
    return f"{name}\n{probabilities[prediction]:.1%}"


def _bars(axis, probabilities, label, class_names, color):
    """A bar for each of the classes that are shown; the true one is blue and bold."""
    classes = shown_classes(probabilities)
    places = range(len(classes))
    colors = [CLEAN if i == label else color for i in classes]
    axis.barh(places, [100 * probabilities[i].item() for i in classes], color=colors)
    axis.set_yticks(
        places, [textwrap.shorten(class_names[i], 18, placeholder=" …") for i in classes]
    )
    for i, tick in zip(classes, axis.get_yticklabels(), strict=True):
        tick.set_fontweight("bold" if i == label else "normal")
    axis.set(xlabel="probability (%)", xlim=(0, 100))
    axis.grid(axis="y", visible=False)
    axis.invert_yaxis()


def _described(figure, alt_text, caption=None):
    if caption:
        figure.supxlabel(caption, fontsize=11, color="0.35")
        alt_text = f"{caption}. {alt_text}"
    figure.set_label(alt_text)
    return figure


def _encoded(figure, kind):
    """IPython's hook: the picture and its metadata, or None where the other kind fits better.

    Photographs become JPEG, a fifth of the size of their PNG; everything else stays exact.
    """
    photo = any(image.get_array().ndim == 3 for axes in figure.axes for image in axes.images)
    if photo != (kind == "jpeg"):
        return None
    buffer = io.BytesIO()
    figure.savefig(buffer, format=kind, pil_kwargs={"quality": 80} if photo else {})
    return buffer.getvalue(), {"alt": figure.get_label()}
