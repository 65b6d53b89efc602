"""Figures: tensors and numbers in, a matplotlib Figure out. Nothing here calls a model."""

import io
import math
import textwrap

import matplotlib.figure
import matplotlib.style
from matplotlib.colors import LinearSegmentedColormap

from helpers.checks import check_count, check_direction, check_pictures
from helpers.data import ASSETS, DIGITS, is_photo

# Distinct in hue and in lightness (Okabe and Ito's palette), the same from first to last notebook.
CLEAN, ADVERSARIAL, RANDOM = "#0072B2", "#D55E00", "#7F7F7F"
NOISE_MAP = "coolwarm"  # diverging, and legible to the colour-blind
RIGHT, WRONG = "✓", "✗"  # told apart by more than colour
_WIDTH = 9.5  # inches: 950 pixels, which a projector's 1024 still shows whole
_MOST_TICKS = 12


class Figure(matplotlib.figure.Figure):
    """Shown in notebooks as PNG, photographs as JPEG (a fifth in size); its label is alt text."""

    def _repr_mimebundle_(self, **_):
        photo = any(image.get_gid() == "photo" for axes in self.axes for image in axes.images)
        kind, options = ("jpeg", {"quality": 80}) if photo else ("png", {})
        buffer = io.BytesIO()
        self.savefig(buffer, format=kind, pil_kwargs=options)
        return {f"image/{kind}": buffer.getvalue()}, {f"image/{kind}": {"alt": self.get_label()}}


def use_style():
    """Draw every figure of this kernel in the course's style."""
    matplotlib.style.use(ASSETS / "course.mplstyle")


def verdict(prediction, label, class_names=DIGITS):
    """``"3 ✓"`` or ``"8 ✗"``: a prediction, and whether it is the label."""
    return f"{class_names[prediction]}\N{NO-BREAK SPACE}{RIGHT if prediction == label else WRONG}"


def training_curves(history):
    """Loss and test accuracy per epoch, of what :func:`helpers.models.train_mlp` returns."""
    panels = {"training loss (nats)": (history["loss"], "black")}
    if history["accuracy"]:
        panels["test accuracy (%)"] = ([100 * value for value in history["accuracy"]], CLEAN)
    return curves(range(1, len(history["loss"]) + 1), panels, xlabel="epoch")


def curves(x, panels, *, xlabel, xscale="linear"):
    """Curves over ``x``, "linear" or "log": panels ``{label of the y axis: (values, colour)}``."""
    figure = Figure(figsize=(_WIDTH, 3.4))
    axes = figure.subplots(1, len(panels), squeeze=False)[0]
    sentences = []
    for axis, (ylabel, (values, color)) in zip(axes, panels.items(), strict=True):
        axis.plot(x, values, "o-", color=color)
        axis.set(xlabel=xlabel, ylabel=ylabel, xscale=xscale)
        if xscale == "linear" and len(x) <= _MOST_TICKS:
            axis.set_xticks(x)
        sentences.append(f"{ylabel} from {values[0]:.3g} to {values[-1]:.3g}")
    return _described(figure, f"By {xlabel}: {'; '.join(sentences)}.")


def image_grid(images, titles=None, *, columns=10, row_labels=(), size=None, caption=None):
    """Images (N, C, H, W) in [0, 1], ``columns`` in a row, each under its title.

    ``titles`` are N strings or None, ``row_labels`` strings to the left of the rows, ``caption`` a
    line below. ``size`` is that of an image in inches, by default as large as the width allows.
    """
    check_pictures(images)
    titles = [""] * len(images) if titles is None else list(map(str, titles))
    check_count(images, titles=titles)
    rows, size = -(-len(images) // columns), size or _WIDTH / columns
    lines = max(title.count("\n") + bool(title) for title in titles)
    titled = sum(any(titles[i : i + columns]) for i in range(0, len(titles), columns))
    figure = Figure(figsize=(columns * size, rows * size + titled * 0.2 * lines))
    axes = figure.subplots(rows, columns, squeeze=False)
    for axis in axes.flat:
        axis.axis("off")
    for axis, image, title in zip(axes.flat, images, titles, strict=False):
        _show(axis, image, title)
    for axis, label in zip(axes[:, 0], row_labels, strict=False):
        axis.text(-0.15, 0.5, label, transform=axis.transAxes, ha="right", va="center")
    alt_text = f"A grid of {len(images)} images"
    if any(titles):
        alt_text += f": {', '.join(filter(None, titles))}"
    if row_labels:
        alt_text += f". Rows: {', '.join(row_labels)}"
    return _described(figure, f"{alt_text}.", caption)


def pair_grid(
    images, adv_images, before, after, labels, class_names=DIGITS, *, columns, caption=None
):
    """Pairs of a clean and an adversarial image, ``columns`` pairs in a row.

    Above ``images`` and ``adv_images``, each (N, C, H, W) in [0, 1], stand the verdicts on the
    predictions ``before`` and ``after``; these and ``labels`` are N class numbers each.
    """
    check_pictures(images)
    check_pictures(adv_images, "adv_images")
    check_count(images, adv_images=adv_images, before=before, after=after, labels=labels)
    rows, size = -(-len(images) // columns), _WIDTH / (2.15 * columns)
    titles = []
    for *guesses, label in zip(before, after, labels, strict=True):
        verdicts = [verdict(guess, label, class_names) for guess in guesses]
        titles.append([textwrap.fill(text, int(12 * size)) for text in verdicts])
    lines = 1 + max(title.count("\n") for pair in titles for title in pair)
    figure = Figure(figsize=(_WIDTH, rows * (size + 0.1 + 0.2 * lines)))
    panels = figure.subfigures(rows, columns, squeeze=False).flat
    for panel, *pair, its_titles in zip(panels, images, adv_images, titles, strict=False):
        axes, colors = panel.subplots(1, 2), (CLEAN, ADVERSARIAL)
        for axis, image, title, color in zip(axes, pair, its_titles, colors, strict=True):
            # The same number of lines everywhere keeps all images at one size.
            _show(axis, image, "\n" * (lines - 1 - title.count("\n")) + title, color)
    alt_text = f"{len(images)} pairs of a clean and an adversarial image: "
    alt_text += ", ".join(" becomes ".join(pair) for pair in titles)
    return _described(figure, f"{alt_text}.", caption)


def noise_maps(image, maps, *, unit):
    """An image (1, H, W) in [0, 1], and signed maps beside it in red and blue, 0 in the middle.

    ``maps`` is ``{title: (1, H, W)}``, each at its own scale; ``unit`` says below what colours are.
    """
    check_pictures(image, "image", "(C, H, W)")
    for title, values in maps.items():
        check_direction(values, image, f"the map {title!r}")
    panels = 1 + len(maps)
    figure = Figure(figsize=(_WIDTH, _WIDTH / panels * 0.92))
    first, *axes = figure.subplots(1, panels)
    _show(first, image, "image")
    for axis, (title, values) in zip(axes, maps.items(), strict=True):
        limit = values.abs().max().item() or 1
        figure.colorbar(_show_noise(axis, values, limit, title), ax=axis, shrink=0.8)
    return _described(figure, f"An image, and beside it {'; '.join(maps)}.", f"colours: {unit}")


def attack_rows(image, attacked, probabilities, label, class_names=DIGITS, *, caption=None):
    """One row for each way of changing an image: original, noise, result, class probabilities.

    ``attacked`` is ``{title: (image, colour)}``, an image as ``image``, (C, H, W) in [0, 1];
    ``probabilities`` are (1 + len(attacked), K), of the clean image and of each attacked one.
    """
    if not ((probabilities >= 0) & (probabilities < 1.001)).all():  # more than rounding
        raise ValueError("probabilities must lie in [0, 1]: apply .softmax(1) to the outputs")
    check_pictures(image, "image", "(C, H, W)")
    for title, (result, _) in attacked.items():
        check_pictures(result, title, "(C, H, W)")
    figure = Figure(figsize=(_WIDTH, 2.75 * len(attacked)))
    axes = figure.subplots(len(attacked), 4, squeeze=False, width_ratios=[1, 1, 1, 1.35])
    before, *after = (
        f"{textwrap.fill(verdict(prediction, label, class_names), 20)}\n{probability:.1%}"
        for probability, prediction in zip(*probabilities.max(1), strict=True)
    )
    limit = max((result - image).abs().max().item() for result, _ in attacked.values()) or 1
    rows = zip(axes, attacked.items(), probabilities[1:], after, strict=True)
    for row, (title, (result, color)), values, guess in rows:
        _show(row[0], image, before, CLEAN)
        _show_noise(row[1], result - image, limit, f"{title}\nnoise × {1 / limit:.3g}", color)
        _show(row[2], result, guess, color)
        _bars(row[3], values, label, class_names, color)
    sentences = [f"{title}: {guess}" for title, guess in zip(attacked, after, strict=True)]
    return _described(figure, f"Before: {before}. {'. '.join(sentences)}.", caption)


def accuracy_curves(epsilons, lines, *, xlabel="epsilon (L∞, pixel units)", ylabel="accuracy (%)"):
    """Accuracy over epsilon: ``lines`` are ``{label: (shares from 0 to 1, colour, style)}``."""
    figure = Figure(figsize=(_WIDTH, 4.6))
    axis = figure.subplots()
    sentences = []
    for label, (accuracies, color, style) in lines.items():
        values = [100 * accuracy for accuracy in accuracies]
        axis.plot(epsilons, values, style, color=color, label=label)
        sentences.append(f"{label} from {values[0]:.1f} to {values[-1]:.1f} percent")
    axis.set(xlabel=xlabel, ylabel=ylabel, ylim=(-2, 102))
    if len(epsilons) <= _MOST_TICKS:
        axis.set_xticks(epsilons)
    figure.legend(loc="outside upper center", ncols=2, handlelength=4)
    return _described(figure, f"Accuracy by epsilon: {'; '.join(sentences)}.")


def error_map(errors, rows, columns, published=None):
    """Errors as a heat map in percent: of the column's network on the images made for the row's.

    ``errors`` (R, C) lie in [0, 1]; ``rows`` and ``columns`` are R and C labels. ``published``,
    likewise (R, C), stand in brackets below ours; NaN is left out.
    """
    published = errors * math.nan if published is None else published
    for name, values in (("errors", errors), ("published", published)):
        if values.shape != (len(rows), len(columns)):
            wanted, got = (len(rows), len(columns)), tuple(values.shape)
            raise ValueError(f"{name} must have shape {wanted}, rows and columns, got {got}")
        if ((values < 0) | (values > 1)).any():
            raise ValueError(f"{name} must lie in [0, 1], got up to {values.max():g}")
    figure = Figure(figsize=(_WIDTH, 0.9 + 0.5 * len(rows)))
    axis, sentences = figure.subplots(), []
    colors = LinearSegmentedColormap.from_list("errors", ["white", ADVERSARIAL])
    axis.imshow(errors.cpu().numpy(), cmap=colors, vmin=0, vmax=1, aspect="auto")
    for i, row in enumerate(rows):
        for j, (ours, theirs) in enumerate(zip(errors[i], published[i], strict=True)):
            below = "" if theirs.isnan() else f"\n({100 * theirs:.3g})"
            axis.text(j, i, f"{100 * ours:.0f}{below}", ha="center", va="center")
        cells = [
            f"{name} {100 * error:.0f}" for name, error in zip(columns, errors[i], strict=True)
        ]
        sentences.append(f"{row}: {', '.join(cells)}")
    axis.set_xticks(range(len(columns)), [textwrap.fill(name, 14) for name in columns])
    axis.set_yticks(range(len(rows)), rows)
    axis.tick_params(length=0, labeltop=True, labelbottom=False)
    axis.xaxis.set_label_position("top")
    axis.set_xlabel("error (%) of", labelpad=8)
    axis.set_ylabel("on noise for")
    axis.spines[:].set_visible(False)
    axis.grid(visible=False)
    return _described(figure, f"Errors in percent. {'; '.join(sentences)}.")


def histogram(values, *, xlabel):
    """How often each of the values (N,) occurs, and their median; infinite ones are left out."""
    values = values[values.isfinite()]
    if not len(values):
        raise ValueError("values must hold at least one finite number")
    median = values.median().item()
    figure = Figure(figsize=(_WIDTH, 3.4))
    axis = figure.subplots()
    axis.hist(values.cpu().numpy(), bins=40, color=ADVERSARIAL)
    axis.axvline(median, color="black", linestyle="--")
    axis.text(median, axis.get_ylim()[1], " median", va="top")
    axis.set(xlabel=xlabel, ylabel="images")
    alt_text = f"Histogram of {len(values)} values of {xlabel}, median {median:.3f}."
    return _described(figure, alt_text)


def _show(axis, image, title, color="black", **scale):
    """An image (C, H, W) with square pixels and no frame, by default in [0, 1]."""
    axis.axis("off")
    axis.set_title(title, color=color)
    pixels = image.detach().cpu().permute(1, 2, 0).squeeze(-1).numpy()
    # A photograph is shown smaller than it is, where dropping pixels would look ragged.
    photo = {"interpolation": "antialiased", "gid": "photo"} if is_photo(image) else {}
    return axis.imshow(pixels, **{"vmin": 0, "vmax": 1, **photo, **scale})


def _show_noise(axis, noise, limit, title, color="black"):
    """Noise (C, H, W), amplified so that ``limit`` is at full scale and no change in the middle."""
    if is_photo(noise):
        return _show(axis, (0.5 + 0.5 * noise / limit).clamp(0, 1), title, color)
    return _show(axis, noise, title, color, cmap=NOISE_MAP, vmin=-limit, vmax=limit)


def _bars(axis, probabilities, label, class_names, color):
    """Bars of all classes in their order, or the five likeliest of many; the true one is bold."""
    count = len(probabilities)
    classes = list(range(count)) if count <= 10 else probabilities.topk(5).indices.tolist()
    names = [textwrap.shorten(class_names[i], 18, placeholder=" …") for i in classes]
    bars = axis.barh(range(len(classes)), (100 * probabilities[classes]).tolist(), color=color)
    axis.set_yticks(range(len(classes)), names)
    if label in classes:
        bars[classes.index(label)].set_facecolor(CLEAN)
        axis.get_yticklabels()[classes.index(label)].set_fontweight("bold")
    axis.set(xlabel="probability (%)", xlim=(0, 100))
    axis.grid(axis="y", visible=False)
    axis.invert_yaxis()


def _described(figure, alt_text, caption=None):
    if caption:
        figure.supxlabel(caption, fontsize=11, color="0.35")
        alt_text = f"{caption}. {alt_text}"
    figure.set_label(alt_text.replace("\n", " "))
    return figure
