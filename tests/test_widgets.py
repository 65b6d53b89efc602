"""The explorers without a browser: what their frames say, and what they leave behind."""

import asyncio
import re

import ipywidgets
import pytest
import torch
from ipywidgets.widgets import widget as widget_module

from helpers import widgets
from helpers.attacks import fgsm_attack

_instances = getattr(widget_module, "_instances", None)
if _instances is None:  # ipywidgets 7
    _instances = ipywidgets.Widget.widgets

EPSILONS = [i / 50 for i in range(11)]


@pytest.fixture
def explorer(mlp, mnist):
    images, labels = mnist
    made = widgets.EpsilonExplorer(mlp, images[:3], labels[:3], EPSILONS)
    yield made
    made.close()


def frames(explorer):
    return [frame.value for frame in explorer._pages[0][1:]]


def choose(explorer, **values):
    for name, value in values.items():
        explorer._controls[name].value = value


def predictions(explorer):
    return [int(re.search(r"predicted (\d)", frame)[1]) for frame in frames(explorer)]


def test_every_frame_says_what_the_model_sees(explorer, mlp, mnist):
    images, labels = mnist
    expected = [mlp(fgsm_attack(mlp, images[:1], labels[:1], e)).argmax(1).item() for e in EPSILONS]
    assert predictions(explorer) == expected
    assert expected[0] == labels[0] != expected[-1]


def test_the_first_flip_is_written_out(explorer, mnist):
    flip = next(i for i, p in enumerate(predictions(explorer)) if p != mnist[1][0])
    assert all(f"wrong from epsilon {EPSILONS[flip]:.3f}" in frame for frame in frames(explorer))


def test_every_picture_has_alt_text(explorer):
    for page in explorer._pages[0]:
        pictures = re.findall(r"<img [^>]*>", page.value)
        assert pictures
        assert all(re.search(r'alt="[^"]', picture) for picture in pictures)


def test_random_signs_leave_the_prediction(explorer, mnist):
    choose(explorer, noise="random")
    assert set(predictions(explorer)) == {mnist[1][0].item()}


def test_a_target_is_aimed_at(explorer):
    choose(explorer, noise="targeted", target=3)
    assert predictions(explorer)[-1] == 3


def test_another_picture_shows_its_frames(explorer):
    before = frames(explorer)
    choose(explorer, picture="2: 2")
    assert "original image: 2" in explorer._pages[0][0].value
    assert frames(explorer) != before


def test_what_is_in_sight_changes_first(explorer):
    explorer.slider.index, changed = 4, []
    for place, page in enumerate(explorer._pages[0]):
        page.observe(lambda _change, place=place: changed.append(place), "value")
    choose(explorer, picture="2: 2")
    assert changed[:2] == [0, 1 + 4]
    assert sorted(changed) == [0, *range(1, 1 + len(EPSILONS))]


def test_an_added_picture_is_selected_and_can_be_replaced(explorer, mnist):
    for index in (4, 5):
        explorer.add("mine", mnist[0][index : index + 1])
        assert explorer._controls["picture"].value == "mine"
        assert f"original image: {mnist[1][index]}" in explorer._pages[0][0].value
    assert explorer._controls["picture"].options.count("mine") == 1


def test_an_error_is_shown_and_the_explorer_goes_on(explorer):
    def broken(**_values):
        raise ValueError("no <such> picture")
        yield

    explorer.render = broken
    choose(explorer, picture="2: 2")
    assert explorer._message.value == "no &lt;such&gt; picture"
    del explorer.render
    choose(explorer, picture="3: 1")
    assert explorer._message.value == ""
    assert "original image: 1" in explorer._pages[0][0].value


def test_the_newest_choice_wins(explorer):
    async def choose_twice():
        choose(explorer, picture="2: 2")
        await asyncio.sleep(0)
        choose(explorer, picture="3: 1")
        await explorer._filling

    shown = []
    explorer._pages[0][0].observe(lambda change: shown.append(change["new"]), "value")
    asyncio.run(choose_twice())
    (only,) = shown
    assert "original image: 1" in only


@pytest.mark.parametrize(
    "make",
    [
        lambda *args: widgets.EpsilonExplorer(*args, EPSILONS, upload=True),
        lambda *args: widgets.DigitPad(*args, EPSILONS),
        lambda *args: widgets.PenaltyExplorer(*args, [0.01, 0.1]),
        lambda *args: widgets.SweepExplorer(*args, EPSILONS),
    ],
    ids=["EpsilonExplorer", "DigitPad", "PenaltyExplorer", "SweepExplorer"],
)
def test_closing_releases_every_widget(make, mlp, mnist):
    images, labels = mnist
    make(mlp, images[:3], labels[:3]).close()  # ipycanvas keeps one manager for good
    before = len(_instances)
    made = make(mlp, images[:3], labels[:3])
    assert len(_instances) > before
    made.close()
    assert len(_instances) == before
    assert "Run this cell" in repr(made)


@pytest.mark.skipif(not hasattr(ipywidgets, "Stack"), reason="such pages need ipywidgets 8")
def test_the_reading_edition_holds_every_picture(mlp, mnist, monkeypatch):
    monkeypatch.setenv("READING_EDITION", "1")
    images, labels = mnist
    explorer = widgets.EpsilonExplorer(mlp, images[:3], labels[:3], EPSILONS)
    for page, label in zip(explorer._pages, labels, strict=False):
        assert f"original image: {label}" in page[0].value
        assert all(frame.value for frame in page)
    assert len(explorer._pages) == 3


def test_a_drawing_is_read_and_attacked(mlp, mnist):
    pad = widgets.DigitPad(mlp, mnist[0][:1], mnist[1][:1], EPSILONS)
    pad._press(90, 30)
    for step in range(1, 15):
        pad._move(90, 30 + 10 * step)
    pad._lift()
    assert "read as 1" in pad._guess.value
    assert pad.explorer._controls["picture"].value == "your digit"
    assert "original image: 1" in pad.explorer._pages[0][0].value
    pad.close()


def test_the_penalty_explorer_says_whether_the_target_is_reached(mlp, mnist):
    explorer = widgets.PenaltyExplorer(mlp, mnist[0][:1], mnist[1][:1], [0.01, 100])
    first, last = frames(explorer)
    assert "target 8 reached" in first
    assert "target 8 not reached" in last


def test_the_penalty_explorer_tells_its_progress(mlp, mnist):
    explorer = widgets.PenaltyExplorer(mlp, mnist[0][:1], mnist[1][:1], [0.01, 100], steps=250)
    seen = []
    explorer._progress.observe(lambda change: seen.append(change["new"]), "value")
    choose(explorer, target=3)
    assert seen == [0.4, 0.8]
    assert explorer._progress.layout.display == "none"


def test_the_sweep_explorer_says_the_accuracy(mlp, mnist):
    explorer = widgets.SweepExplorer(mlp, mnist[0][:200], mnist[1][:200], [0, 0.3])
    first, last = frames(explorer)
    assert "accuracy on 200 images" in first
    share = [float(re.search(r"<span>([\d.]+)%</span>", frame)[1]) for frame in (first, last)]
    assert share[0] > 95
    assert share[1] < 5


def test_photographs_have_their_epsilon_in_grey_levels(efficientnet, photos):
    images = torch.rand(1, 3, 224, 224)
    explorer = widgets.EpsilonExplorer(
        efficientnet, images, torch.tensor([388]), [0, 1 / 255], class_names=["x"] * 1000
    )
    assert [label for label, _ in explorer.slider.options][1] == "1/255 = 0.0039"
    explorer.close()


def test_an_error_in_the_first_pictures_leaves_no_widgets(mlp, mnist):
    names = [str(i) for i in range(12)]
    before = len(_instances)
    with pytest.raises(ValueError, match="labels must be from 0 to 9"):
        widgets.EpsilonExplorer(mlp, mnist[0][:1], torch.tensor([11]), EPSILONS, class_names=names)
    assert len(_instances) == before


def test_the_message_about_an_upload_outlives_a_choice_in_progress(mlp, mnist):
    explorer = widgets.EpsilonExplorer(mlp, mnist[0][:2], mnist[1][:2], EPSILONS)

    async def choose_and_upload():
        choose(explorer, picture="2: 2")
        await asyncio.sleep(0)
        explorer._take_upload({"name": "letter.jpg", "content": b"Dear reader"})
        await explorer._filling

    asyncio.run(choose_and_upload())
    assert "letter.jpg is not a picture" in explorer._message.value
    assert "original image: 2" in explorer._pages[0][0].value
    choose(explorer, picture="1: 7")
    assert explorer._message.value == ""


def test_the_progress_is_a_share(efficientnet):
    images, names = torch.rand(1, 3, 224, 224), [str(i) for i in range(1000)]
    explorer = widgets.EpsilonExplorer(
        efficientnet, images, torch.tensor([388]), [k / 510 for k in range(9)], class_names=names
    )
    shares = [item for item in explorer.render("1: 388", "fgsm", 0) if isinstance(item, float)]
    assert shares == [1 / 9, 5 / 9]


IMAGES, LABELS = torch.full((2, 1, 28, 28), 0.5), torch.tensor([7, 2])


@pytest.mark.parametrize(
    "make",
    [
        widgets.EpsilonExplorer,
        widgets.PenaltyExplorer,
        widgets.SweepExplorer,
        widgets.DigitPad,
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
    before = len(_instances)
    with pytest.raises(error, match=match):
        make(*arguments)
    assert len(_instances) == before


def test_a_penalty_explorer_without_a_step_is_refused(mlp):
    with pytest.raises(ValueError, match="steps must be at least 1, got 0"):
        widgets.PenaltyExplorer(mlp, IMAGES, LABELS, [0.1], steps=0)


def test_grey_levels_are_no_epsilons(mlp):
    with pytest.raises(ValueError, match=r"epsilons must be from 0 to 1, got 0 to 2"):
        widgets.EpsilonExplorer(mlp, IMAGES, LABELS, [0, 1, 2])


def test_too_few_class_names_are_named(mlp):
    with pytest.raises(ValueError, match=r"class_names must be 10 strings.*8"):
        widgets.EpsilonExplorer(mlp, IMAGES, LABELS, [0, 0.1], class_names=["x"] * 8)
