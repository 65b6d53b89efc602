import itertools
import math

import matplotlib
import pytest
import torch
from IPython.core.formatters import DisplayFormatter
from matplotlib.figure import Figure
from matplotlib.text import Text

from helpers import plotting
from helpers.data import imagenet_labels

_generator = torch.Generator().manual_seed(0)
DIGITS = torch.rand(6, 1, 28, 28, generator=_generator)
PHOTOS = torch.rand(6, 3, 224, 224, generator=_generator)
NOISE = 0.2 * torch.rand(1, 28, 28, generator=_generator) - 0.1
NAMES = [f"class {i}" for i in range(10)]
TITLES = ["3 ✓"] * 6
SAID = torch.arange(6), torch.arange(1, 7), torch.arange(6)  # before, after, and the labels
ATTACKED = {
    "FGSM": (DIGITS[1], plotting.ADVERSARIAL),
    "random signs": (DIGITS[0], plotting.RANDOM),
}
PROBABILITIES = torch.eye(10)[:3]
PHOTO_NAMES = sorted(imagenet_labels(), key=len, reverse=True)
PHOTO_PROBABILITIES = torch.eye(1000)[:3]
ERRORS, PUBLISHED = torch.eye(2), torch.tensor([[1, 0.117], [0.05, math.nan]])
NETWORKS = ["FC10(1e-4)", "noise"], ["FC10(1e-4)", "FC100-100-10"]

FIGURES = {
    "training_curves": lambda: plotting.training_curves(
        {"loss": [0.3, 0.1, 0.05], "accuracy": [0.95, 0.97, 0.98]}
    ),
    "training_curves of one epoch": lambda: plotting.training_curves(
        {"loss": [0.3], "accuracy": [0.95]}
    ),
    "training_curves without a test set": lambda: plotting.training_curves(
        {"loss": [0.3, 0.1], "accuracy": []}
    ),
    "image_grid": lambda: plotting.image_grid(DIGITS),
    "image_grid with titles": lambda: plotting.image_grid(
        DIGITS, TITLES, columns=3, row_labels=["ε = 0", "ε = 0.05"]
    ),
    "image_grid of photographs": lambda: plotting.image_grid(
        PHOTOS, TITLES, columns=3, caption="VGG16"
    ),
    "pair_grid": lambda: plotting.pair_grid(DIGITS, DIGITS, *SAID, columns=5),
    "pair_grid of photographs": lambda: plotting.pair_grid(
        PHOTOS, PHOTOS, *SAID, PHOTO_NAMES, columns=3
    ),
    "noise_maps": lambda: plotting.noise_maps(
        DIGITS[0], {"FGSM": NOISE, "r": NOISE}, unit="change of the pixel"
    ),
    "noise_maps without noise": lambda: plotting.noise_maps(
        DIGITS[0], {"none": 0 * NOISE}, unit="change of the pixel"
    ),
    "attack_rows": lambda: plotting.attack_rows(DIGITS[0], ATTACKED, PROBABILITIES, 1, NAMES),
    "attack_rows of a photograph": lambda: plotting.attack_rows(
        PHOTOS[0],
        {"FGSM": (PHOTOS[1], "black"), "random": (PHOTOS[0], "grey")},
        PHOTO_PROBABILITIES,
        1,
        PHOTO_NAMES,
    ),
    "accuracy_curves": lambda: plotting.accuracy_curves(
        [0, 0.1, 0.2], {"FGSM": ([0.98, 0.17, 0], plotting.ADVERSARIAL, "o-")}
    ),
    "error_map": lambda: plotting.error_map(
        torch.eye(6), ["FC100-100-10 on P1, amplified"] * 6, ["half of the images"] * 6
    ),
    "error_map beside published errors": lambda: plotting.error_map(ERRORS, *NETWORKS, PUBLISHED),
    "histogram": lambda: plotting.histogram(torch.rand(50), xlabel="least epsilon"),
}


@pytest.fixture(scope="module", params=FIGURES.values(), ids=FIGURES)
def figure(request):
    with matplotlib.rc_context():
        plotting.use_style()
        figure = request.param()
        figure.draw_without_rendering()
        yield figure


def texts(figure):
    return [text for text in figure.findobj(Text) if text.get_visible() and text.get_text()]


def test_a_figure_has_an_alt_text_and_fits_a_page(figure):
    assert isinstance(figure, Figure)
    assert len(figure.get_label().split()) >= 5
    assert figure.get_figwidth() * figure.dpi <= 1024


def test_all_text_is_legible(figure):
    for text in texts(figure):
        assert text.get_fontsize() >= 11, text.get_text()


def test_titles_neither_overlap_nor_leave_the_figure(figure):
    titles = [axis.title for axis in figure.axes if axis.get_title()]
    boxes = [(title.get_text(), title.get_window_extent()) for title in titles]
    for (first, box), (second, other) in itertools.combinations(boxes, 2):
        assert not box.overlaps(other), (first, second)
    for title, box in boxes:
        assert box.x0 >= 0, title
        assert box.x1 <= figure.bbox.x1, title


def test_labels_stay_inside_the_figure(figure):
    axes = [axis for axis in figure.axes if axis.axison]
    labels = [*(axis.xaxis.label for axis in axes), *(axis.yaxis.label for axis in axes)]
    for label in [*labels, *(text for axis in figure.axes for text in axis.texts)]:
        box = label.get_window_extent()
        assert box.x0 >= -1, label.get_text()
        assert box.y0 >= -1, label.get_text()
        assert box.x1 <= figure.bbox.x1 + 1, label.get_text()
        assert box.y1 <= figure.bbox.y1 + 1, label.get_text()


def test_a_notebook_shows_one_picture_with_its_alt_text(figure):
    pictures, metadata = DisplayFormatter().format(figure)
    (kind,) = pictures.keys() - {"text/plain"}
    photo = any(image.get_array().ndim == 3 for axes in figure.axes for image in axes.images)
    assert kind == ("image/jpeg" if photo else "image/png")
    assert metadata[kind]["alt"] == figure.get_label()


@pytest.mark.parametrize(
    ("prediction", "label", "class_names", "expected"),
    [(3, 3, (), "3\xa0✓"), (8, 3, (), "8\xa0✗"), (1, 0, (NAMES,), "class 1\xa0✗")],
)
def test_a_verdict_is_told_by_more_than_colour(prediction, label, class_names, expected):
    assert plotting.verdict(prediction, label, *class_names) == expected
    as_tensors = plotting.verdict(torch.tensor(prediction), torch.tensor(label), *class_names)
    assert as_tensors == expected


@pytest.mark.parametrize(
    ("draw", "match"),
    [
        (lambda: plotting.image_grid(DIGITS, ["3", "4"]), r"titles must be 6, .*2"),
        (lambda: plotting.image_grid(DIGITS[:0]), r"images .*at least one.*empty"),
        (
            lambda: plotting.pair_grid(DIGITS, DIGITS, SAID[0], [3], SAID[0], columns=5),
            r"after .*6, .*1",
        ),
        (lambda: plotting.image_grid(255 * DIGITS), r"images .*\[0, 1\].* to 25"),
        (lambda: plotting.image_grid(DIGITS * math.nan), r"images .*\[0, 1\].*nan"),
        (lambda: plotting.image_grid(DIGITS.expand(-1, 2, -1, -1)), r"images .*1 or 3 .*6, 2, 28"),
        (
            lambda: plotting.pair_grid(DIGITS, 2 * DIGITS, *SAID, columns=5),
            r"adv_images .*\[0, 1\]",
        ),
        (
            lambda: plotting.pair_grid(DIGITS, DIGITS[:5], *SAID, columns=5),
            r"adv_images .*6, .*5",
        ),
        (lambda: plotting.noise_maps(DIGITS, {"x": NOISE}, unit="x"), r"image .*\(C, H, W\).*6, 1"),
        (
            lambda: plotting.noise_maps(DIGITS[0], {"x": NOISE[0]}, unit="x"),
            r"'x' .*shape \(1, 28, 28\).*\(28, 28\)",
        ),
        (
            lambda: plotting.noise_maps(DIGITS[0], {"x": NOISE * math.nan}, unit="x"),
            "'x' must not hold NaN",
        ),
        (
            lambda: plotting.attack_rows(
                DIGITS[0], {"FGSM": (255 * DIGITS[1], "red")}, PROBABILITIES, 3, NAMES
            ),
            r"FGSM .*\[0, 1\]",
        ),
        (lambda: plotting.error_map(ERRORS, ["a"], NETWORKS[1]), r"errors .*\(1, 2\).*\(2, 2\)"),
        (lambda: plotting.error_map(100 * ERRORS, *NETWORKS), r"errors .*\[0, 1\].*100"),
        (
            lambda: plotting.error_map(ERRORS, *NETWORKS, PUBLISHED[0]),
            r"published .*\(2, 2\).*\(2,\)",
        ),
        (lambda: plotting.histogram(torch.full((3,), math.inf), xlabel="x"), "at least one finite"),
        (
            lambda: plotting.attack_rows(DIGITS[0], {"x": (DIGITS[1], "red")}, -PROBABILITIES, 3),
            r"probabilities .*\[0, 1\].*softmax",
        ),
    ],
)
def test_what_cannot_be_drawn_is_named(draw, match):
    with pytest.raises(ValueError, match=match):
        draw()


def test_bytes_are_no_images():
    with pytest.raises(TypeError, match=r"images .*float.*uint8"):
        plotting.image_grid((255 * DIGITS).byte())


def test_a_row_has_the_colour_that_it_is_given():
    figure = plotting.attack_rows(DIGITS[0], ATTACKED, PROBABILITIES, 1)
    titles = [axis.title.get_color() for axis in figure.axes[2::4]]
    assert titles == [plotting.ADVERSARIAL, plotting.RANDOM]


def test_a_pair_says_its_verdicts():
    figure = plotting.pair_grid(DIGITS, DIGITS, *SAID, NAMES, columns=2)
    titles = [axis.get_title().strip() for axis in figure.axes]
    assert titles[:4] == ["class 0\xa0✓", "class 1\xa0✗", "class 1\xa0✓", "class 2\xa0✗"]


def test_a_published_error_stands_below_ours():
    figure = plotting.error_map(ERRORS, *NETWORKS, PUBLISHED)
    (axis,) = figure.axes
    assert [text.get_text() for text in axis.texts] == ["100\n(100)", "0\n(11.7)", "0\n(5)", "100"]
    for part in ("FC10(1e-4): FC10(1e-4) 100, FC100-100-10 0", "noise: "):
        assert part in figure.get_label()
