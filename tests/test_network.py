"""The network in JavaScript gives the answers of the one in Python."""

import base64
import math
import random
from pathlib import Path

import pytest
import torch
import torch.nn.functional as F
from browser import chromium_browser, new_page
from PIL import Image, ImageDraw

from helpers import data
from helpers.attacks import input_gradient
from helpers.widgets import DigitPad

SIDE = 196  # of a drawing, in pixels


@pytest.fixture(scope="module")
def page(mlp, mnist):
    """A page with the network, as `exact`, and with the same in half precision, as `half`."""
    pad = DigitPad(mlp, mnist[0][:1], mnist[1][:1], [0, 0.1])
    weights = torch.frombuffer(bytearray(pad.weights), dtype=torch.float32)
    with chromium_browser() as browser, new_page(browser) as page:
        page.add_script_tag(content=(data.ASSETS / "network.js").read_text("utf-8"))
        page.add_script_tag(path=Path(__file__).with_suffix(".js"))
        page.evaluate("addNetwork", ["exact", text(weights.numpy())])
        page.evaluate("addNetwork", ["half", text(weights.half().float().numpy())])
        yield page


def text(array):
    return base64.b64encode(array.tobytes()).decode()


def ask(page, network, images, labels):
    """Predictions and signs of the gradients, by the network of this name in the page."""
    levels = (images * 255).round().byte().flatten(1)
    answers = page.evaluate("answers", [network, text(levels.numpy()), labels.tolist()])
    predictions, signs = zip(*answers, strict=True)
    return torch.tensor(predictions), torch.tensor(signs)


@pytest.mark.parametrize(("network", "signs_equal"), [("exact", 0.99999), ("half", 0.999)])
def test_a_thousand_digits_get_the_same_answers(page, mlp, mnist, network, signs_equal):
    images, labels = mnist[0][:1000], mnist[1][:1000]
    predictions, signs = ask(page, network, images, labels)
    assert predictions.equal(mlp(images).argmax(1))
    expected = input_gradient(mlp, images, labels).sign().flatten(1)
    assert (signs == expected).float().mean() >= signs_equal


def drawings(count):
    """Strokes at random, as a pad draws them: (count, SIDE, SIDE) levels."""
    draw = random.Random(0)
    made = []
    for _ in range(count):
        drawing = Image.new("L", (SIDE, SIDE))
        pen = ImageDraw.Draw(drawing)
        points = [(draw.uniform(15, 180), draw.uniform(15, 180)) for _ in range(draw.randint(1, 6))]
        for x, y in points:
            pen.circle((x, y), 8, fill=255)
        pen.line(points, fill=255, width=16)
        made.append(torch.frombuffer(bytearray(drawing.tobytes()), dtype=torch.uint8))
    return torch.stack(made).view(-1, SIDE, SIDE)


def center_digit(drawing):
    """The same with PyTorch: a ``drawing`` (H, W) in [0, 1] as an image (1, 1, 28, 28)."""
    rows, columns = drawing.amax(1).nonzero(), drawing.amax(0).nonzero()
    digit = drawing[None, rows[0] : rows[-1] + 1, columns[0] : columns[-1] + 1]
    scale = 20 / max(digit.shape)
    height, width = (max(1, math.floor(side * scale + 0.501)) for side in digit.shape[1:])
    digit = F.interpolate(digit[None], (height, width), mode="bilinear", antialias=True)[0, 0]

    def start(mass):
        center = (mass * torch.arange(len(mass))).sum() / mass.sum()
        return min(max(math.floor(14 - center.item() + 0.501), 0), 28 - len(mass))

    top, left = start(digit.sum(1)), start(digit.sum(0))
    image = F.pad(digit, (left, 28 - width - left, top, 28 - height - top))[None, None]
    return (image.clamp(0, 1) * 255).round() / 255


def centred(page, drawing):
    """What the page makes of a drawing, levels (H, W): an image (1, 1, 28, 28)."""
    levels = page.evaluate("centredLevels", [text(drawing.byte().numpy()), drawing.shape[1]])
    return torch.tensor(levels).view(1, 1, 28, 28) / 255


def test_three_hundred_drawings_are_centred_and_read_alike(page, mlp):
    levels = drawings(300)
    images = torch.cat([centred(page, drawing) for drawing in levels])
    expected = torch.cat([center_digit(drawing / 255) for drawing in levels])
    assert (images - expected).abs().max() < 1.5 / 255  # a level, where rounding differs
    assert mlp(images).argmax(1).equal(mlp(expected).argmax(1))


@pytest.mark.parametrize("index", range(5))
def test_a_drawn_digit_becomes_an_image_of_mnist_again(page, mnist, mlp, index):
    digit = mnist[0][index, 0]
    drawing = torch.zeros(300, 300)
    large = digit.repeat_interleave(5, 0).repeat_interleave(5, 1)
    drawing[20:160, 130:270] = large  # five times as large, and not in the middle
    image = centred(page, (drawing * 255).round())
    assert (image[0, 0] - digit).abs().mean() < 0.04
    assert mlp(image).argmax(1) == mnist[1][index]


def test_a_drawn_digit_fills_20_pixels_around_its_centre_of_mass(page):
    drawing = torch.zeros(100, 200)
    drawing[10:90, 30:40] = 255
    image = centred(page, drawing)[0, 0]
    assert (image.sum(1) > 0).sum() == 20
    for mass in (image.sum(1), image.sum(0)):
        assert abs((mass * torch.arange(28)).sum() / mass.sum() - 14) <= 0.5011


@pytest.mark.parametrize(
    ("shape", "rows", "columns"),
    [((20, 10), (5, 25), (10, 20)), ((40, 21), (5, 25), (9, 20)), ((40, 23), (5, 25), (9, 21))],
)
def test_ties_of_sides_and_places_go_up(page, shape, rows, columns):
    image = centred(page, torch.full(shape, 255))[0, 0]
    inked = [mass.nonzero().flatten() for mass in (image.sum(1), image.sum(0))]
    assert [(places[0].item(), places[-1].item() + 1) for places in inked] == [rows, columns]


def test_an_empty_drawing_is_no_digit(page):
    assert page.evaluate("centerDigit(new Uint8Array(196 * 196), 196)") is None


def test_the_page_unpacks_every_half_precision_number(page):
    halves = torch.arange(-(2**15), 2**15, dtype=torch.int16).view(torch.float16)
    halves = halves[halves.isfinite()]
    planes = halves.view(torch.uint8).view(-1, 2).flip(1).T.contiguous()  # high bytes, low bytes
    numbers = page.evaluate("unpackedHalves", text(planes.numpy()))
    assert torch.tensor(numbers).equal(halves.float())
