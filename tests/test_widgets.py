"""The explorers without a browser: the arrays that they compute, and what they leave behind."""

import asyncio
import base64
import io
import itertools
import json
import time
import zlib
from unittest import mock

import ipywidgets
import numpy as np
import pages
import pytest
import torch
from PIL import Image
from torch import nn

from helpers import widgets
from helpers.attacks import fgsm, input_gradient, optimize_noise, pgd
from helpers.data import load_photo
from helpers.evaluation import distortion, epsilon_sweep
from helpers.models import MLP, load_mlp
from helpers.networks import load_network

EPSILONS = [i / 50 for i in range(11)]
RADII = torch.tensor(EPSILONS)


@pytest.fixture
def explorer(mlp, mnist):
    images, labels = mnist
    made = widgets.EpsilonExplorer(mlp, images[:3], labels[:3], EPSILONS)
    yield made
    made.close()


@pytest.fixture
def pad(mlp, mnist):
    """A pad whose network the browser does not know."""
    made = widgets.DigitPad(nn.Sequential(mlp), mnist[0][:3], mnist[1][:3], EPSILONS)
    yield made
    made.close()


@pytest.fixture(scope="module")
def two(mlp):
    """Two networks, the first without a name."""
    return [nn.Sequential(mlp), load_network("fc10_1e-4")]


@pytest.fixture(params=[False, True], ids=["own noise", "transfer"])
def networks_explorer(two, mnist, request):
    made = widgets.NetworksExplorer(
        two, mnist[0][:3], mnist[1][:3], EPSILONS, transfer=request.param
    )
    yield made
    made.close()


@pytest.fixture
def twenty():
    """A network for photographs of any size, with twenty classes."""
    layers = nn.AdaptiveAvgPool2d(4), nn.Flatten(), nn.Linear(48, 20)
    return nn.Sequential(*layers).eval()


NAMES = [f"class {k}" for k in range(20)]


@pytest.fixture
def photo_explorer(twenty, photos):
    images = torch.cat([load_photo(path) for path in list(photos.values())[:5]])
    labels = torch.tensor([4, 3, 2, 1, 0])
    made = widgets.EpsilonExplorer(
        twenty, images, labels, [k / 255 for k in range(9)], class_names=NAMES, upload=True
    )
    yield made
    made.close()


def place(explorer, menu, option):
    """The number of the option that begins so."""
    options = explorer.menus[menu]
    return next(i for i, text in enumerate(options) if text.startswith(option))


def choose(explorer, **options):
    places = {menu: place(explorer, menu, option) for menu, option in options.items()}
    explorer.choice = explorer.choice | places


def send(explorer, content, *buffers):
    """What the explorer's comm does when the browser sends a message."""
    message = {
        "content": {"data": {"method": "custom", "content": content}},
        "buffers": [memoryview(buffer).cast("B") for buffer in buffers],
    }
    comm = explorer.comm  # ipykernel 6.17, Colab's, has it ask its kernel for a shell first
    with mock.patch.object(type(comm), "kernel", mock.MagicMock(), create=True):
        comm.handle_msg(message)


def count_live():
    """How many widgets are not closed."""
    return len(ipywidgets.Widget.get_manager_state()["state"])


async def others():
    """Wait for all that the explorers have begun."""
    await asyncio.gather(*(asyncio.all_tasks() - {asyncio.current_task()}))


# What explorer.js makes of the arrays.


def tensor(data, dtype):
    return torch.from_numpy(np.frombuffer(data, dtype).astype(np.int64))


def pixels(data, like):
    """Bytes, pixel by pixel, as levels (N, C, H, W)."""
    _, channels, height, width = like.shape
    return tensor(data, "u1").view(-1, height, width, channels).permute(0, 3, 1, 2)


def levels(images):
    return (images * 255).round().long()


def signs(arrays, like):
    bits = np.unpackbits(np.frombuffer(arrays["signs"], np.uint8), count=like.numel())
    found = torch.from_numpy(2.0 * bits - 1)
    found[tensor(arrays["zeros"], "<u4")] = 0
    return pixels((found + 1).byte().numpy().tobytes(), like) - 1


def results(frames, like, epsilons=EPSILONS):
    """The adversarial images of every step: (steps, N, C, H, W)."""
    x, direction = pixels(frames["image"], like) / 255, signs(frames, like)
    steps = torch.tensor(epsilons).view(-1, 1, 1, 1, 1)
    return (x + steps * direction).clamp(0, 1)


def likelihoods(frames):
    return tensor(frames["probabilities"], "<u2").view(-1, len(frames["classes"])) / 65535


def check_readings(frames, model, adv_images):
    with torch.no_grad():
        expected = model(adv_images).softmax(1)
    assert frames["guesses"] == expected.argmax(1).tolist()
    error = likelihoods(frames) - expected[:, frames["classes"]]
    assert error.abs().max() < 1 / 65535


NOISES = {
    "FGSM, away": lambda model, image, label: input_gradient(model, image, label),
    "FGSM, towards": lambda model, image, _: -input_gradient(model, image, torch.tensor([3])),
}


@pytest.mark.parametrize("noise", NOISES)
def test_the_frames_are_those_of_fgsm(explorer, mlp, mnist, noise):
    choose(explorer, noise=noise, target="3", picture="2:")
    image, label = mnist[0][1:2], mnist[1][1:2]
    adv_images = fgsm(image.expand(11, -1, -1, -1), RADII, _expanded(noise, mlp, image, label))
    assert levels(results(explorer.frames, image)[:, 0]).equal(levels(adv_images))
    check_readings(explorer.frames, mlp, adv_images)
    assert explorer.frames["label"] == label
    assert not explorer.frames["random"]


def _expanded(noise, model, image, label):
    return NOISES[noise](model, image, label).expand(11, -1, -1, -1)


def test_random_signs_leave_the_prediction(explorer, mlp, mnist):
    choose(explorer, noise="random")
    adv_images = results(explorer.frames, mnist[0][:1])[:, 0]
    change = levels(adv_images)[1] - levels(mnist[0][:1])[0]
    assert change.abs().max() == 5  # 0.02 of 255
    assert (signs(explorer.frames, mnist[0][:1]) == 1).float().mean() == pytest.approx(0.5, abs=0.1)
    assert set(explorer.frames["guesses"]) == {mnist[1][0].item()}
    check_readings(explorer.frames, mlp, adv_images)
    assert explorer.frames["random"]


def test_the_label_is_lost_and_a_target_reached(explorer, mnist):
    guesses = explorer.frames["guesses"]
    assert guesses[0] == mnist[1][0] != guesses[-1]
    choose(explorer, noise="FGSM, towards", target="3")
    assert explorer.frames["guesses"][-1] == 3


def test_the_slider_opens_where_the_first_prediction_is_wrong(explorer, mlp, mnist):
    guesses = explorer.frames["guesses"]
    first = explorer.slider.index
    assert guesses[first] != mnist[1][0]
    assert set(guesses[:first]) == {mnist[1][0].item()}
    sure = widgets.EpsilonExplorer(mlp, mnist[0][:1], mnist[1][:1], [0, 0.001, 0.002])
    assert sure.slider.index == 1  # never wrong: the middle
    sure.close()


def test_photographs_are_stored_without_loss(photo_explorer, twenty, photos):
    image = load_photo(list(photos.values())[1])
    choose(photo_explorer, picture="2:")
    frames = photo_explorer.frames
    with Image.open(io.BytesIO(frames["image"])) as stored:
        assert stored.format == "WEBP"
        frames = frames | {"image": stored.tobytes()}
    epsilons = photo_explorer.setup["positions"]
    direction = input_gradient(twenty, image, torch.tensor([3])).expand(9, -1, -1, -1)
    adv_images = fgsm(image.expand(9, -1, -1, -1), torch.tensor(epsilons), direction)
    assert pixels(frames["image"], image).equal(levels(image))
    assert levels(results(frames, image, epsilons)[:, 0]).equal(levels(adv_images))
    check_readings(frames, twenty, adv_images)


def test_the_likeliest_classes_and_the_true_one_are_shown(twenty):
    image = torch.rand(1, 3, 8, 8)
    least = twenty(image).argmin(1)
    epsilons = [0, 0.1, 0.5]
    explorer = widgets.EpsilonExplorer(twenty, image, least, epsilons, class_names=NAMES)
    classes, direction = explorer.frames["classes"], input_gradient(twenty, image, least)
    best = [twenty(fgsm(image, e, direction)).topk(5).indices.flatten().tolist() for e in epsilons]
    assert classes == sorted({least.item(), *itertools.chain(*best)})
    assert len(classes) < 20
    explorer.close()


def test_photographs_have_their_epsilon_in_grey_levels(photo_explorer, explorer):
    steps = [text for text, _ in photo_explorer.slider.options]
    assert steps[1] == "1/255 = 0.0039"
    assert photo_explorer.setup["steps"] == steps
    assert explorer.setup["steps"][1] == "0.020"


@pytest.mark.parametrize("target", [None, 3])
def test_ten_steps_of_another_network_come_as_levels(pad, mlp, mnist, target):
    aim = mnist[1][:1] if target is None else torch.tensor([target])
    side = "away" if target is None else "towards"
    choose(pad, noise=f"ten steps, {side}", target=str(target or 0))
    image = mnist[0][:1].expand(11, -1, -1, -1)
    kind = {"step": RADII / 10, "steps": 10, "targeted": target is not None}
    adv_images = pgd(mlp, image, aim.expand(11), RADII, **kind)
    assert pixels(pad.frames["results"], image).equal(levels(adv_images))
    check_noises(pad.frames, image, adv_images, pad.setup["amplification"])
    check_readings(pad.frames, mlp, adv_images)


def check_noises(frames, images, adv_images, amplification):
    """The noise as an index of the colour map: 128 stands for no change."""
    expected = (128 + 128 * amplification * (adv_images - images)).floor().clamp(0, 255)
    noises = pixels(frames["noises"], images)
    assert (noises - expected).abs().max() <= 1  # sums may be rounded otherwise
    assert (noises == expected).float().mean() > 0.99
    assert noises.amin() < 10 or noises.amax() > 245


def test_the_penalty_explorer_shows_optimised_noise(mlp, mnist):
    c = [0.01, 0.1, 100]
    explorer = widgets.PenaltyExplorer(mlp, mnist[0][:2], mnist[1][:2], c)
    choose(explorer, picture="2:", target="3")
    images = mnist[0][1:2].expand(3, -1, -1, -1)
    noise = optimize_noise(mlp, images, torch.tensor([3] * 3), c=torch.tensor(c))
    frames, adv_images = explorer.frames, (images + noise).clamp(0, 1)
    assert frames["label"] == mnist[1][1]
    assert pixels(frames["image"], images).equal(levels(images[:1]))
    assert pixels(frames["results"], images).equal(levels(adv_images))
    check_noises(frames, images, adv_images, frames["amplification"])
    check_readings(frames, mlp, adv_images)
    for note, size in zip(frames["notes"], distortion(noise), strict=True):
        assert note.startswith(f"distortion {size:.4f}, target 3 ")
    explorer.close()


def test_the_penalty_explorer_says_whether_the_target_is_reached(mlp, mnist):
    explorer = widgets.PenaltyExplorer(mlp, mnist[0][:1], mnist[1][:1], [0.01, 0.02, 100])
    assert explorer.menus["target"][explorer.choice["target"]] == "8"  # the image is a 7
    assert explorer.slider.index == 1  # the largest weight that reaches it
    first, _, last = explorer.frames["notes"]
    assert "target 8 reached" in first
    assert "target 8 not reached" in last
    explorer.close()


def test_the_sweep_explorer_counts_all_and_shows_some(mlp, mnist):
    images, labels = mnist[0][:200], mnist[1][:200]
    epsilons = [0, 0.1, 0.3]
    explorer = widgets.SweepExplorer(mlp, images, labels, epsilons)
    frames = explorer.frames
    assert frames["total"] == 200
    assert frames["labels"] == labels[:10].tolist()
    ours, control = frames["accuracies"]
    assert ours == epsilon_sweep(mlp, images, labels, epsilons)
    assert ours[0] == control[0] > 0.95
    assert ours[2] < 0.05
    assert control[2] > 0.5
    assert explorer.slider.index == 1  # the first with less than half
    direction = input_gradient(mlp, images[:10], labels[:10])
    rows = results(frames, images[:10], epsilons)
    for epsilon, row, guesses in zip(epsilons, rows, frames["guesses"], strict=True):
        adv_images = fgsm(images[:10], epsilon, direction)
        assert levels(row).equal(levels(adv_images))
        assert guesses == mlp(adv_images).argmax(1).tolist()
    explorer.close()


def check_networks(explorer, models, image, label, rows):
    """``rows`` are the adversarial images (steps, 1, 28, 28) that each network reads."""
    frames = explorer.frames
    assert frames["networks"] == ["network 1", "FC10(1e-4)"]
    assert frames["labels"] == [label] * 2
    for i, (model, adv_images) in enumerate(zip(models, rows, strict=True)):
        with torch.no_grad():
            shares, guesses = model(adv_images).softmax(1).max(1)
        assert [step[i] for step in frames["guesses"]] == guesses.tolist()
        shown = torch.tensor([step[i] for step in frames["shares"]])
        assert (shown - shares).abs().max() < 1e-4
        assert pixels(frames["image"], image)[i : i + 1].equal(levels(image))


def test_every_network_reads_its_own_noise_or_that_of_the_source(networks_explorer, two, mnist):
    explorer, image, label = networks_explorer, mnist[0][1:2], mnist[1][1:2]
    choose(explorer, picture="2:")
    if "source" in explorer.menus:
        choose(explorer, source="FC10")
    sources = [two[1]] * 2 if "source" in explorer.menus else two
    directions = [input_gradient(model, image, label).expand(11, -1, -1, -1) for model in sources]
    rows = [fgsm(image.expand(11, -1, -1, -1), RADII, direction) for direction in directions]
    shown = results(explorer.frames, image.expand(2, -1, -1, -1))
    assert levels(shown).equal(levels(torch.stack(rows, 1)))
    check_networks(explorer, two, image, label.item(), rows)


def test_with_random_signs_every_network_reads_the_same_image(networks_explorer, two, mnist):
    choose(networks_explorer, noise="random")
    shown = results(networks_explorer.frames, mnist[0][:2])
    assert shown[:, 0].equal(shown[:, 1])
    assert (levels(shown[1, 0]) - levels(mnist[0][0])).abs().max() == 5  # 0.02 of 255
    check_networks(networks_explorer, two, mnist[0][:1], 7, shown.transpose(0, 1))


def test_ten_steps_follow_each_networks_own_gradients(two, mnist):
    image, label = mnist[0][1:2], mnist[1][1:2]
    explorer = widgets.NetworksExplorer(two, image, label, EPSILONS)
    choose(explorer, noise="ten steps")
    copies, step = (image.expand(11, -1, -1, -1), label.expand(11)), RADII / 10
    rows = [pgd(model, *copies, RADII, step=step, steps=10) for model in two]
    stacked = torch.stack(rows, 1)
    assert pixels(explorer.frames["results"], image).equal(levels(stacked.flatten(0, 1)))
    check_networks(explorer, two, image, label.item(), rows)
    explorer.close()


def test_the_menus_of_several_networks(networks_explorer):
    menus = dict(networks_explorer.menus)
    assert menus.pop("picture") == ["1: 7", "2: 2", "3: 1"]
    if "source" in menus:
        assert menus.pop("source") == ["network 1", "FC10(1e-4)"]
        assert len(menus.pop("noise")) == 2
    else:
        assert len(menus.pop("noise")) == 3
    assert menus == {}


def test_a_drawing_is_read_by_every_network(networks_explorer, two):
    digit = torch.zeros(1, 1, 28, 28, dtype=torch.uint8)
    digit[..., 4:24, 13:16] = 255
    send(networks_explorer, {"drawing": True}, digit.numpy())
    assert networks_explorer.menus["picture"][3:] == ["your digit"]
    frames = networks_explorer.frames
    assert frames["guesses"][0] == [model(digit / 255).argmax().item() for model in two]
    assert frames["labels"] == [frames["guesses"][0][0]] * 2  # what the first network sees
    assert pixels(frames["image"], digit).equal(levels(digit / 255).expand(2, -1, -1, -1))


# What a reader does.


def test_another_picture_shows_its_frames(explorer, mnist):
    choose(explorer, picture="2: 2")
    assert explorer.frames["label"] == 2
    assert pixels(explorer.frames["image"], mnist[0]).equal(levels(mnist[0][1:2]))


def test_the_newest_choice_wins(explorer):
    async def choose_twice():
        choose(explorer, picture="2: 2")
        await asyncio.sleep(0)
        choose(explorer, picture="3: 1")
        await others()

    shown = []
    explorer.observe(lambda change: shown.append(change["new"]), "frames")
    asyncio.run(choose_twice())
    (only,) = shown
    assert only["label"] == 1


def test_an_error_is_shown_and_the_explorer_goes_on(explorer, mlp):
    def broken(_model, _inputs):
        raise ValueError("no <such> picture")

    before = explorer.frames
    with mlp.register_forward_pre_hook(broken):
        choose(explorer, picture="2: 2")
    assert explorer.message == "no <such> picture"
    assert explorer.frames == before
    assert explorer.progress == 1
    choose(explorer, picture="3: 1")
    assert explorer.message == ""
    assert explorer.frames["label"] == 1


def test_an_error_without_words_is_named(explorer, mlp):
    def broken(_model, _inputs):
        raise MemoryError

    with mlp.register_forward_pre_hook(broken):
        choose(explorer, picture="2: 2")
    assert explorer.message == "MemoryError"


def test_what_takes_long_tells_its_progress(photo_explorer, twenty):
    seen = []
    photo_explorer.observe(lambda change: seen.append(change["new"]), "progress")
    choose(photo_explorer, picture="2:")
    assert seen == []
    with twenty.register_forward_pre_hook(lambda *_: time.sleep(0.3)):
        choose(photo_explorer, picture="3:")
    assert seen == [4 / 9, 8 / 9, 1]  # four pictures at a time


def test_the_progress_of_optimised_noise_is_a_share(mlp, mnist):
    explorer = widgets.PenaltyExplorer(mlp, mnist[0][:1], mnist[1][:1], [0.01, 100])
    *shares, _ = explorer.compute(picture=0, target=3)
    assert shares == [done / 10 for done in range(10)]
    explorer.close()


def test_a_second_drawing_replaces_the_first(explorer, mlp, mnist):
    for index in (4, 5):
        digit = mnist[0][index : index + 1]
        send(explorer, {"drawing": True}, levels(digit).byte().numpy())
        assert explorer.menus["picture"][explorer.choice["picture"]] == "your digit"
        assert explorer.frames["label"] == mlp(digit).argmax()
        assert pixels(explorer.frames["image"], digit).equal(levels(digit))
    assert explorer.menus["picture"].count("your digit") == 1


def test_of_two_uploads_one_can_be_replaced(photo_explorer, photos):
    for name, photo in (("a", "castle"), ("b", "espresso"), ("a", "macaw")):
        send(photo_explorer, {"name": name}, photos[photo].read_bytes())
    assert photo_explorer.menus["picture"][5:] == ["a", "b"]
    for name, photo in (("a", "macaw"), ("b", "espresso")):
        choose(photo_explorer, picture=name)
        check_photo(photo_explorer.frames, load_photo(photos[photo]))


def test_a_drawing_is_read_and_attacked(pad):
    digit = torch.zeros(1, 1, 28, 28, dtype=torch.uint8)
    digit[..., 4:24, 13:16] = 255
    for _ in range(2):
        send(pad, {"drawing": True}, digit.numpy())
        assert pad.menus["picture"][3:] == ["your digit"]
        assert pad.choice["picture"] == 3
        assert pad.frames["label"] == 1
        assert pixels(pad.frames["image"], digit).equal(levels(digit / 255))
        assert pad.frames["guesses"][-1] != 1
        choose(pad, picture="1:")


def test_the_browser_gets_the_weights_of_the_courses_network(mlp, mnist):
    images, labels = mnist[0][:3], mnist[1][:3]
    pad = widgets.DigitPad(mlp, images, labels, EPSILONS)
    values = torch.cat([part.detach().flatten() for part in mlp.parameters()])
    assert torch.frombuffer(bytearray(pad.weights), dtype=torch.float32).equal(values)
    assert pad.setup["labels"] == labels.tolist()
    assert pixels(pad.setup["pictures"], images).equal(levels(images))
    other = widgets.DigitPad(nn.Sequential(mlp), images, labels, EPSILONS)
    assert other.weights is None
    choose(other, noise="random")  # the same ones, whoever computes
    assert signs(pad.setup["random"], images[:1]).equal(signs(other.frames, images[:1]))
    assert pad.menus == other.menus
    for made in (pad, other):
        made.close()


def test_an_uploaded_photograph_is_attacked(photo_explorer, twenty, photos):
    for name in ("castle", "espresso"):  # two files of one name
        send(photo_explorer, {"name": "holiday.jpg"}, photos[name].read_bytes())
        assert photo_explorer.menus["picture"][5:] == ["holiday.jpg"]
        assert photo_explorer.choice["picture"] == 5
        image = load_photo(photos[name])
        assert photo_explorer.frames["label"] == twenty(image).argmax()
        check_photo(photo_explorer.frames, image)


def check_photo(frames, image):
    with Image.open(io.BytesIO(frames["image"])) as stored:
        assert pixels(stored.tobytes(), image).equal(levels(image))


@pytest.mark.parametrize(
    ("content", "buffers", "message"),
    [
        ({"name": "letter.jpg"}, [b"Dear reader"], "letter.jpg is not a picture"),
        ({"name": "nothing.png"}, [b""], "nothing.png is empty"),
        ({"name": "film.mov", "problem": "has 11 MB"}, [], "film.mov has 11 MB"),
    ],
)
def test_a_broken_upload_says_what_is_wrong(photo_explorer, content, buffers, message):
    before = photo_explorer.frames
    send(photo_explorer, content, *buffers)
    assert message in photo_explorer.message
    assert photo_explorer.frames == before
    choose(photo_explorer, picture="2:")
    assert photo_explorer.message == ""
    assert photo_explorer.frames["label"] == 3


def test_the_message_about_an_upload_outlives_a_choice_in_progress(photo_explorer):
    async def choose_and_upload():
        choose(photo_explorer, picture="2:")
        await asyncio.sleep(0)
        send(photo_explorer, {"name": "letter.jpg"}, b"Dear reader")
        await others()

    asyncio.run(choose_and_upload())
    assert "letter.jpg is not a picture" in photo_explorer.message
    assert photo_explorer.frames["label"] == 3


# What an explorer leaves behind.

MAKERS = {
    "EpsilonExplorer": lambda *args: widgets.EpsilonExplorer(*args, EPSILONS, upload=True),
    "DigitPad": lambda *args: widgets.DigitPad(*args, EPSILONS),
    "NetworksExplorer": lambda model, *args: widgets.NetworksExplorer([model] * 2, *args, EPSILONS),
    "PenaltyExplorer": lambda *args: widgets.PenaltyExplorer(*args, [0.01, 0.1]),
    "SweepExplorer": lambda *args: widgets.SweepExplorer(*args, EPSILONS),
}
by_maker = pytest.mark.parametrize("make", MAKERS.values(), ids=MAKERS)


@by_maker
def test_closing_releases_every_widget(make, mlp, mnist):
    before = count_live()
    made = make(mlp, mnist[0][:3], mnist[1][:3])
    assert count_live() > before
    made.close()
    assert count_live() == before
    assert (made.frames, made.weights) == ({}, None)
    assert "Run this cell" in repr(made)


def test_what_is_closed_shows_no_more(explorer):
    async def choose_and_close():
        choose(explorer, picture="2:")
        await asyncio.sleep(0)
        explorer.close()
        await others()

    asyncio.run(choose_and_close())
    assert explorer.frames == {}
    assert explorer.message == ""


def test_an_error_in_the_first_pictures_leaves_no_widgets(mlp, mnist):
    names = [str(i) for i in range(12)]
    before = count_live()
    with pytest.raises(ValueError, match="labels must be from 0 to 9"):
        widgets.EpsilonExplorer(mlp, mnist[0][:1], torch.tensor([11]), EPSILONS, class_names=names)
    assert count_live() == before


@pytest.mark.parametrize(
    ("name", "text"),
    [
        ("EpsilonExplorer", "a slider (epsilon) and choices (picture, noise, target)"),
        ("DigitPad", "A canvas for a digit of your own"),
        ("NetworksExplorer", "a slider (epsilon) and choices (picture, noise)"),
        ("PenaltyExplorer", "a slider (weight c) and choices (picture, target)"),
        ("SweepExplorer", "a slider (epsilon)."),
    ],
)
def test_viewers_without_widgets_say_what_a_run_shows(mlp, mnist, name, text):
    made = MAKERS[name](mlp, mnist[0][:3], mnist[1][:3])
    bundle = made._repr_mimebundle_()  # IPython's own name for what a display asks
    data = bundle[0] if isinstance(bundle, tuple) else bundle
    assert text in data["text/plain"]
    assert "Run this cell" in data["text/plain"]
    assert data["text/plain"] == repr(made)  # nothing is cut off
    made.close()


# Pages without a kernel.


def decoded(packed):
    """What `mount` in page.js reads."""
    read = json.loads(zlib.decompress(base64.b64decode(packed)))

    def filled(value):
        return base64.b64decode(read["blobs"][value["blob"]]) if "blob" in value else value

    return json.loads(read["state"], object_hook=filled)


def check_page(explorer):
    """The page has the frames of every choice that it offers; returns its state."""
    made = pages.page(explorer)
    state = decoded(made["packed"])
    assert made["weights"] == {}
    assert "weights" not in state
    menus, keys = state["menus"], set()
    for menu, options in menus.items():  # the reader is told where there are fewer
        assert (menu in made["note"]) == (options != explorer.menus[menu])
    for choice in itertools.product(*map(range, map(len, menus.values()))):
        options = dict(zip(menus, choice, strict=True))
        there = {menu: explorer.menus[menu].index(menus[menu][i]) for menu, i in options.items()}
        if "noise" in options and not state["setup"]["noises"][options["noise"]]["targeted"]:
            options.pop("target", None)  # for every target the same
        keys.add(key := ",".join(map(str, options.values())))
        assert state["tables"][key] == list(explorer.compute(**there))[-1]
    assert keys == set(state["tables"])
    shown = {menu: menus[menu][i] for menu, i in state["choice"].items()}
    assert shown == {menu: explorer.menus[menu][i] for menu, i in explorer.choice.items()}
    assert state["setup"]["start"] == explorer.slider.index
    assert state["setup"] | {"start": 0} == explorer.setup | {"start": 0}
    return state


def test_a_page_holds_every_choice(explorer):
    choose(explorer, picture="2:", noise="FGSM, towards", target="4")
    state = check_page(explorer)
    assert state["menus"] == explorer.menus


def test_a_page_of_another_network_holds_every_choice(pad):
    assert check_page(pad)["menus"] == pad.menus


def test_a_page_has_four_photographs_and_their_classes(photo_explorer):
    choose(photo_explorer, target="class 3")
    menus = check_page(photo_explorer)["menus"]
    assert menus["picture"] == photo_explorer.menus["picture"][:4]
    assert menus["noise"] == photo_explorer.menus["noise"]
    assert menus["target"] == ["class 1", "class 2", "class 3", "class 4"]


def test_a_page_has_three_targets_of_optimised_noise(mlp, mnist):
    explorer = widgets.PenaltyExplorer(mlp, mnist[0][:3], mnist[1][:3], [0.01, 1])
    menus = check_page(explorer)["menus"]
    assert menus["picture"] == explorer.menus["picture"]
    assert menus["target"] == ["8", "1", "4"]  # the chosen one first
    explorer.close()


def test_a_page_of_several_networks_holds_every_choice(networks_explorer):
    choose(networks_explorer, picture="2:", noise="random")
    assert check_page(networks_explorer)["menus"] == networks_explorer.menus


def test_a_page_without_menus_has_one_table(mlp, mnist):
    explorer = widgets.SweepExplorer(mlp, mnist[0][:20], mnist[1][:20], EPSILONS)
    assert list(check_page(explorer)["tables"]) == [""]
    explorer.close()


def test_a_pads_page_has_the_weights_in_half_precision(mlp, mnist):
    pad = widgets.DigitPad(mlp, mnist[0][:3], mnist[1][:3], EPSILONS)
    made = pages.page(pad)
    state = decoded(made["packed"])
    assert state["tables"] == {}
    assert state["menus"] == pad.menus
    assert state["setup"]["pictures"] == pad.setup["pictures"]
    ((name, packed),) = made["weights"].items()
    assert state["weights"] == name
    high, low = tensor(zlib.decompress(base64.b64decode(packed)), "u1").view(2, -1)
    halves = torch.from_numpy((256 * high + low).numpy().astype("<u2").view("<f2"))
    values = torch.cat([part.detach().flatten() for part in mlp.parameters()])
    assert halves.equal(values.half())
    pad.close()


def test_in_pages_an_explorer_displays_its_page(explorer, monkeypatch):
    shown = widgets.Explorer._repr_mimebundle_
    monkeypatch.setattr(widgets.Explorer, "_repr_mimebundle_", shown)  # put back in the end
    pages.show_in_pages()
    assert explorer._repr_mimebundle_(include=None) == {
        pages.MIME: pages.page(explorer),
        "text/plain": repr(explorer),
    }


# Wrong arguments

IMAGES, LABELS = torch.full((2, 1, 28, 28), 0.5), torch.tensor([7, 2])


@pytest.mark.parametrize(
    "make",
    [
        widgets.EpsilonExplorer,
        widgets.PenaltyExplorer,
        widgets.SweepExplorer,
        widgets.DigitPad,
        lambda model, *args: widgets.NetworksExplorer([model], *args),
    ],
)
@pytest.mark.parametrize(
    ("change", "error", "match"),
    [
        ({2: LABELS.tolist()}, TypeError, r"labels .*int64.*list"),
        ({2: LABELS[:1]}, ValueError, r"labels .*\(2,\).*\(1,\)"),
        ({1: IMAGES[:0], 2: LABELS[:0]}, ValueError, "images .*at least one.*empty"),
        ({1: IMAGES[0]}, ValueError, r"images .*\(N, C, H, W\).*\(1, 28, 28\)"),
        ({2: LABELS + 5}, ValueError, "class_names .*class 12.* 10 names"),
        ({3: []}, ValueError, r"(epsilons|weights) .*at least one.*\[\]"),
        ({3: [0.1, 0]}, ValueError, r"(epsilons|weights) .*rising.*\[0\.1, 0\.0\]"),
        ({3: 0.1}, TypeError, r"(epsilons|weights) .*list of numbers.*0\.1"),
        ({3: [-1, 0]}, ValueError, r"(epsilons|weights) .*not negative.*-1"),
    ],
)
def test_a_wrong_argument_is_named(make, mlp, change, error, match):
    arguments = [mlp, IMAGES, LABELS, [0, 0.1]]
    for place, value in change.items():
        arguments[place] = value
    before = count_live()
    with pytest.raises(error, match=match):
        make(*arguments)
    assert count_live() == before


def test_grey_levels_are_no_epsilons(mlp):
    with pytest.raises(ValueError, match=r"epsilons must be from 0 to 1, got 0 to 2"):
        widgets.EpsilonExplorer(mlp, IMAGES, LABELS, [0, 1, 2])


def test_too_few_class_names_are_named(mlp):
    with pytest.raises(ValueError, match=r"class_names must be 10 strings.*8"):
        widgets.EpsilonExplorer(mlp, IMAGES, LABELS, [0, 0.1], class_names=["x"] * 8)


@pytest.mark.parametrize(
    ("others", "error", "match"),
    [
        ([], ValueError, "models must hold at least one network"),
        ([load_mlp().double()], TypeError, r"images must be torch\.float64"),
        ([nn.Sequential(nn.Flatten(), nn.Linear(784, 12))], ValueError, "class_names .*12 strings"),
        ([load_mlp], TypeError, "model must be a network"),
    ],
)
def test_a_network_that_does_not_fit_is_named(others, error, match):
    before = count_live()
    models = others and [load_mlp(), *others]
    with pytest.raises(error, match=match):
        widgets.NetworksExplorer(models, IMAGES, LABELS, [0, 0.1])
    assert count_live() == before


class OtherMLP(MLP):
    def forward(self, images):
        return super().forward(1 - images)


class OtherPad(widgets.DigitPad):
    noises = (*widgets.FGSM, widgets.Noise("brighter", lambda _model, image, _aim: image))


def test_only_the_courses_network_computes_in_the_browser(mlp, mnist):
    images, labels = mnist[0][:2], mnist[1][:2]
    assert widgets.DigitPad(OtherMLP(), images, labels, EPSILONS).weights is None
    assert OtherPad(mlp, images, labels, EPSILONS).weights is None
    double = widgets.DigitPad(load_mlp().double(), images.double(), labels, EPSILONS)
    assert double.weights == widgets.DigitPad(mlp, images, labels, EPSILONS).weights


@pytest.mark.parametrize(
    ("names", "labels"),
    [(["a: b"] * 20, (3, 4)), (["crane"] * 20, (3, 4)), ([str(i) for i in range(20)], (3, 3))],
    ids=["a colon", "a name twice", "a class twice"],
)
def test_a_page_of_photographs_offers_each_class_once(names, labels):
    torch.manual_seed(0)
    model = nn.Sequential(nn.AdaptiveAvgPool2d(4), nn.Flatten(), nn.Linear(48, 20))
    images, labels = torch.rand(2, 3, 32, 32), torch.tensor(labels)
    explorer = widgets.EpsilonExplorer(model, images, labels, [0, 0.1], class_names=names)
    state = decoded(pages.page(explorer)["packed"])
    targets = sorted(set(labels.tolist()))
    assert state["menus"]["target"] == [names[target] for target in targets]
    *_, expected = explorer.compute(picture=0, noise=1, target=targets[-1])
    assert state["tables"][f"0,1,{len(targets) - 1}"] == expected
    explorer.close()
