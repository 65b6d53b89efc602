"""The reading edition, opened in Chromium from a folder, with the network closed."""

import hashlib
import json
import re
import subprocess
import sys
from contextlib import ExitStack
from pathlib import Path
from urllib.parse import unquote, urlsplit

import pytest
import torch
from browser import chromium_browser, need_chromium, new_page
from matplotlib import colormaps

from helpers.attacks import fgsm, input_gradient

ROOT = Path(__file__).parent.parent
NAMES = sorted(path.stem for path in (ROOT / "notebooks").glob("*.ipynb"))
# Bytes
PAGE_LIMITS = {
    **{"02_fgsm_mnist": 0.6e6, "04_szegedy_noise": 1.2e6, "05_fgsm_vgg16_imagenet": 2e6},
    "07_adversarial_training": 0.7e6,
}
OTHER_PAGE_LIMIT = 0.5e6
SITE_LIMIT = 9e6
CHAPTERS = [name for name in NAMES if name != "index"]
WITH_SLIDERS = [name for name in NAMES if name[:2] > "01" and name != "index"]
WITH_CHOICES = [name for name in WITH_SLIDERS if name[:2] in ("02", "04", "05")]
WITH_PADS = ["02_fgsm_mnist", "index"]
EXPLORER = ".explorer"
PHONE = {"width": 360, "height": 740, "has_touch": True, "is_mobile": True}


@pytest.fixture(scope="module")
def site(tmp_path_factory):
    need_chromium()  # before the minutes that building takes
    folder = tmp_path_factory.mktemp("site")
    command = ["-m", "nbconvert", "--config", ".nbconvert/reading.py", "--output-dir", str(folder)]
    done = subprocess.run([sys.executable, *command], cwd=ROOT, capture_output=True, text=True)
    assert done.returncode == 0, done.stderr[-5000:]
    assert "Alternative text is missing" not in done.stderr
    return folder


@pytest.fixture(scope="module")
def browser(site):
    with chromium_browser() as running:
        yield running


@pytest.fixture(scope="module")
def pages(browser, site):
    """Opens a page of the site with the network closed, once for all tests."""
    pages = {}

    def open_page(name, **options):
        key = name, *options
        if key not in pages:
            page = pages[key] = stack.enter_context(new_page(browser, **options))
            page.route("**/*", lambda route: route.abort())
            page.route(re.compile("^(file|data):"), lambda route: route.continue_())
            page.on(
                "request",
                lambda request: (
                    page.errors.append(f"request to {request.url}")
                    if urlsplit(request.url).scheme not in ("file", "data")
                    else None
                ),
            )
            page.goto((site / f"{name}.html").as_uri())
            page.evaluate("MathJax.startup.promise")
            page.add_script_tag(path=Path(__file__).with_suffix(".js"))
            page.wait_for_function("allShown")
        return pages[key]

    with ExitStack() as stack:
        yield open_page


@pytest.fixture
def opened(pages):
    """A page of the site; afterwards no page has an error, nor asked for anything elsewhere."""
    used = []
    yield lambda name, **options: used.append(pages(name, **options)) or used[-1]
    errors = [error for page in used for error in page.errors]
    for page in used:
        page.errors.clear()
    assert errors == []


@pytest.fixture(scope="module")
def sources(site):
    return {name: (site / f"{name}.html").read_text("utf-8") for name in NAMES}


def _shown(explorer):
    """The names of the pictures that an explorer shows."""
    pictures = explorer.locator(".pictures canvas")
    return pictures.evaluate_all("all => all.map(canvas => canvas.ariaLabel)")


def _levels(canvas):
    """What a canvas shows, as a tensor (H, W, 3) of levels."""
    text, width = canvas.evaluate("levelsAndWidth")
    return torch.tensor([int(level) for level in text.split(",")]).view(width, width, 4)[..., :3]


def _until(page, condition):
    """Wait until ``condition()`` holds; a page shows a choice a moment later."""
    for _ in range(1000):
        if condition():
            return
        page.wait_for_timeout(20)
    pytest.fail("nothing came of it within twenty seconds", pytrace=True)


@pytest.mark.parametrize("name", NAMES)
def test_the_pages_are_small(site, name):
    limit = PAGE_LIMITS.get(name, OTHER_PAGE_LIMIT)
    assert (site / f"{name}.html").stat().st_size <= limit


def test_the_whole_site_is_small(site):
    assert sum(path.stat().st_size for path in site.iterdir()) <= SITE_LIMIT


def test_the_script_is_the_published_one(site):
    stated = (ROOT / ".nbconvert" / "README.md").read_text("utf-8")
    weights, script = sorted(site.glob("*.js"), reverse=True)  # one network for all pages
    assert weights.name.startswith("weights-")
    assert hashlib.sha256(script.read_bytes()).hexdigest() in stated
    assert list(site.glob(f"{script.name}.*.txt"))  # its licence


@pytest.mark.parametrize("name", NAMES)
def test_links_lead_to_what_exists(site, sources, name):
    links = re.findall(r"\b(?:href|src)=\"([^\"]+)\"", sources[name])
    assert {"index.html", *(f"{other}.html" for other in NAMES)} <= set(links)
    for link in links:
        parts = urlsplit(link)
        if parts.scheme:
            assert parts.scheme in ("data", "https")
            continue
        target = unquote(parts.path) or f"{name}.html"
        assert (site / target).is_file(), link
        if parts.fragment:
            assert f'id="{unquote(parts.fragment)}"' in sources[Path(target).stem], link


@pytest.mark.parametrize("name", NAMES)
def test_no_widget_is_in_the_page(sources, name):
    assert "vnd.jupyter.widget" not in sources[name]


@pytest.mark.parametrize("name", NAMES)
def test_pictures_have_alternative_texts(opened, name):
    page = opened(name)
    texts = page.locator("main img").evaluate_all("all => all.map(img => img.alt)")
    assert all(texts)
    assert "No description has been provided for this image" not in texts
    for image in page.locator(".jp-RenderedImage img, .jp-MarkdownCell img").all():
        assert image.evaluate("img => img.complete && img.naturalWidth > 0")


@pytest.mark.parametrize("name", NAMES)
def test_formulas_are_typeset(opened, name):
    notebook = json.loads((ROOT / "notebooks" / f"{name}.ipynb").read_text("utf-8"))
    cells = ["".join(c["source"]) for c in notebook["cells"] if c["cell_type"] == "markdown"]
    text = re.sub(r"```.*?```|`[^`]*`", "", "\n\n".join(cells), flags=re.DOTALL)
    formulas = re.findall(r"\$\$.+?\$\$|\$[^$]+\$", text, re.DOTALL)
    page = opened(name)
    assert page.locator("mjx-container").count() == len(formulas)
    assert page.locator("merror, mjx-merror, [data-mml-node=merror]").count() == 0
    prose = page.locator(".jp-RenderedMarkdown").evaluate_all("proseOf")
    assert not re.search(r"\$|\\[a-zA-Z(\[]", prose)


@pytest.mark.parametrize("name", NAMES)
def test_a_phone_shows_the_whole_width(opened, name):
    page = opened(name, **PHONE)
    assert page.evaluate("document.documentElement.scrollWidth") <= 360
    assert page.evaluate("visualViewport.scale") == 1


@pytest.mark.parametrize("name", CHAPTERS)
def test_a_fold_opens_alone_by_the_mouse_and_by_keys(opened, name):
    page = opened(name)
    folds = page.locator("main details")
    assert folds.evaluate_all("all => all.every(fold => !fold.open)")
    for fold in (folds.first, folds.filter(has_text="Hint 1").first, folds.last):
        summary, hidden = fold.locator("> summary"), fold.locator("> :not(summary)").first
        assert hidden.is_hidden()
        summary.click()
        assert hidden.is_visible()
        assert hidden.evaluate("part => part.textContent.trim() || part.querySelector('img')")
        assert folds.evaluate_all("all => all.filter(fold => fold.open).length") == 1
        for key in ("Enter", "Space", "Enter"):
            before = hidden.is_visible()
            summary.press(key)
            assert hidden.is_visible() != before


@pytest.mark.parametrize("name", CHAPTERS)
def test_three_results_wait_for_a_guess(opened, name):
    page = opened(name)
    guesses = page.locator("details.guess")
    assert guesses.count() == 3
    for result in guesses.locator(".jp-OutputArea-output").all():
        assert result.is_hidden()
    for source in page.locator(".jp-CodeCell:has(details.guess) .jp-InputArea").all():
        assert source.is_visible()
    assert page.get_by_text("In words", exact=True).count() == 0  # they are in the same fold


@pytest.mark.parametrize("name", CHAPTERS)
def test_hints_and_then_the_solution_follow_each_exercise(opened, name):
    texts = opened(name).locator("main :is(h3, summary)").all_inner_texts()
    _, *exercises = re.split(r"^Exercise (\S+).*", "\n".join(texts), flags=re.MULTILINE)
    assert exercises
    for number, text in zip(exercises[::2], exercises[1::2], strict=True):
        *hints, last = re.findall(r"^(?:Hint|Solution|What others) .+", text, re.MULTILINE)
        assert hints == [f"Hint {k + 1}" for k in range(len(hints))]
        assert last in (f"Solution of {number}", "What others found")


@pytest.mark.parametrize("name", CHAPTERS)
def test_an_open_fold_fits_on_a_phone(opened, name):
    page = opened(name, **PHONE)
    folds = page.locator("main details")
    folds.evaluate_all("all => all.forEach(fold => (fold.open = true))")
    assert page.evaluate("document.documentElement.scrollWidth") <= PHONE["width"]
    assert folds.evaluate_all("cutOff") == []
    folds.evaluate_all("all => all.forEach(fold => (fold.open = false))")


@pytest.mark.parametrize("name", [*WITH_CHOICES, "index"])
def test_a_phone_shows_an_explorer_on_one_screen(opened, name):
    page = opened(name, **PHONE)
    for explorer in page.locator(EXPLORER).all():
        original, _, result = explorer.locator("figure").all()
        left, right = original.bounding_box(), result.bounding_box()
        assert abs(left["y"] - right["y"]) < 1
        assert left["x"] + left["width"] <= right["x"]
        top = explorer.get_by_role("slider").bounding_box()["y"]
        bars = explorer.locator(".bars").bounding_box()
        assert bars["y"] + bars["height"] - top <= PHONE["height"]


@pytest.mark.parametrize("name", WITH_SLIDERS)
def test_every_slider_moves_its_pictures(opened, name):
    page = opened(name)
    explorers = page.locator(EXPLORER).all()
    assert explorers
    for explorer in explorers:
        _walk_the_slider(page, explorer)


def _to_the_start(page, explorer):
    explorer.get_by_role("slider").press("Home")
    _until(page, lambda: explorer.get_by_role("slider").input_value() == "0")


def _walk_the_slider(page, explorer):
    _to_the_start(page, explorer)
    readout, seen = explorer.locator("output"), [_shown(explorer)]

    def follows(before):
        step = readout.inner_text()
        named = re.compile(rf"\b(at|epsilon) {re.escape(step)}(?![\d.])")  # 0.005 is not 0.00
        return step != before and any(map(named.search, _shown(explorer)))

    slider = explorer.get_by_role("slider")
    assert slider.get_attribute("aria-label") in ("epsilon", "weight c")
    for key in ("ArrowRight", "ArrowRight", "ArrowRight", "End", "Home"):
        before = readout.inner_text()
        slider.press(key)
        _until(page, lambda before=before: follows(before))
        assert slider.get_attribute("aria-valuetext") == readout.inner_text()
        seen.append(_shown(explorer))
    assert seen[-1] == seen[0]
    assert len(set(map(tuple, seen))) == len(seen) - 1


@pytest.mark.parametrize("name", WITH_CHOICES)
def test_every_picture_can_be_chosen(opened, name):
    page = opened(name)
    explorers = page.locator(f"{EXPLORER}:has(select)").all()
    assert explorers
    for explorer in explorers:
        _choose_each_picture(page, explorer, least=4 if "imagenet" in name else 10)


def _options(explorer, menu):
    return explorer.get_by_label(menu, exact=True).locator("option").all_inner_texts()


def _choose(explorer, menu, index):
    explorer.get_by_label(menu, exact=True).select_option(index=index)


def _choose_each_picture(page, explorer, least):
    labels = [option.partition(":")[2].strip() for option in _options(explorer, "picture")]
    _to_the_start(page, explorer)
    assert len(labels) >= least
    originals = set()
    for i in (*range(1, len(labels)), 0):
        _choose(explorer, "picture", i)
        _until(page, lambda i=i: f"original image: {labels[i]}" == _shown(explorer)[0])
        originals.add(explorer.locator("figure canvas").first.evaluate("c => c.toDataURL()"))
    assert len(originals) == len(labels)
    # The slider moves the picture that is chosen now.
    _choose(explorer, "picture", 2)
    _until(page, lambda: f"original image: {labels[2]}" == _shown(explorer)[0])
    before = _shown(explorer)
    explorer.get_by_role("slider").press("End")
    _until(page, lambda: _shown(explorer)[1:] != before[1:])
    assert _shown(explorer)[0] == before[0]


@pytest.mark.parametrize("name", WITH_CHOICES)
def test_noise_and_target_can_be_chosen(opened, name):
    page = opened(name)
    for explorer in page.locator(EXPLORER).all():
        _choose(explorer, "picture", 0)
        explorer.get_by_role("slider").press("End")
        result, seen = explorer.locator("figure canvas").last, []
        menu = explorer.get_by_label("target", exact=True)
        noises = _options(explorer, "noise")
        for i in range(len(noises) or 1):
            if noises:
                _choose(explorer, "noise", i)
                assert menu.is_enabled() == ("target" in noises[i])
            for target in (1, 2) if menu.is_enabled() else (None,):
                if target:
                    _choose(explorer, "target", target)
                page.wait_for_timeout(50)
                seen.append(result.evaluate("canvas => canvas.toDataURL()"))
        assert len(set(seen)) == len(seen) > 1
        if noises:
            _choose(explorer, "noise", 0)


def test_the_pictures_are_those_of_python(opened, mlp, mnist):
    images, labels = mnist
    epsilons = [i / 200 for i in range(61)]
    explorer = opened("02_fgsm_mnist").locator(EXPLORER).first
    for digit in (0, 7):
        place = labels.tolist().index(digit)
        image, label = images[place : place + 1], labels[place : place + 1]
        _choose(explorer, "picture", digit)
        for noise, direction in (
            (0, input_gradient(mlp, image, label)),
            (1, -input_gradient(mlp, image, label * 0)),  # towards the 0
        ):
            _choose(explorer, "noise", noise)
            if noise:
                _choose(explorer, "target", 0)
            for step in (0, 1, 17, 60):
                explorer.get_by_role("slider").fill(str(step))
                original, noise_map, result = explorer.locator("figure canvas").all()
                adv_image = fgsm(image, epsilons[step], direction)
                shown = (0.5 + 0.5 / 0.3 * (adv_image - image)[0, 0]).numpy()
                colors = colormaps["coolwarm"](shown, bytes=True)[..., :3]
                for canvas, levels in (
                    (original, (image[0] * 255).round().long().permute(1, 2, 0)),
                    (result, (adv_image[0] * 255).round().long().permute(1, 2, 0)),
                    (noise_map, torch.tensor(colors).long()),
                ):
                    assert _levels(canvas).equal(levels.expand(28, 28, 3))
    _choose(explorer, "noise", 0)


def test_the_true_class_always_has_its_bar(opened):
    explorer = opened("05_fgsm_vgg16_imagenet").locator(EXPLORER)
    for place, name in enumerate(_options(explorer, "picture")):
        _choose(explorer, "picture", place)
        for key in ("Home", "End"):
            explorer.get_by_role("slider").press(key)
            explorer.locator(".bar.true").get_by_text(name.split(": ")[1], exact=True).wait_for()


STROKES = {
    7: [(50, 45), (150, 45), (120, 95), (90, 155)],
    1: [(98, 40), (98, 155)],
    0: [(98, 40), (60, 65), (55, 110), (75, 150), (115, 150), (140, 110), (130, 60), (98, 40)],
}


@pytest.mark.parametrize("name", WITH_PADS)
@pytest.mark.parametrize("digit", STROKES)
def test_a_drawn_digit_is_read_and_attacked(opened, name, digit):
    page = opened(name)
    explorer = page.locator(f"{EXPLORER}:has(.pad)")
    canvas = explorer.get_by_role("img", name="your drawing")
    canvas.scroll_into_view_if_needed()
    corner = canvas.bounding_box()
    for i, (x, y) in enumerate(STROKES[digit]):
        page.mouse.move(corner["x"] + x, corner["y"] + y, steps=5)
        if i == 0:
            page.mouse.down()
    # The guess is there before the pen is lifted.
    explorer.get_by_role("img", name=f"original image: {digit}").wait_for()
    page.mouse.up()
    explorer.get_by_text(re.compile("the network is wrong from epsilon")).wait_for()
    explorer.get_by_role("slider").press("End")
    explorer.get_by_role("img", name=re.compile("^adversarial image .*✗")).wait_for()
    explorer.get_by_role("button", name="clear").click()
    explorer.get_by_text("Draw a digit in the black square.").wait_for()


def test_a_finger_draws_and_moves_the_slider(opened):
    page = opened("02_fgsm_mnist", **PHONE)
    explorer = page.locator(f"{EXPLORER}:has(.pad)")
    canvas = explorer.locator(".pad")
    canvas.scroll_into_view_if_needed()
    before = _shown(explorer)
    canvas.tap()
    _until(page, lambda: _shown(explorer) != before)
    explorer = page.locator(EXPLORER).first
    before = _shown(explorer)
    explorer.get_by_role("slider").tap()  # in its middle
    _until(page, lambda: _shown(explorer) != before)


def test_all_networks_read_the_noise_that_is_made_for_the_source(opened):
    page = opened("06_transfer")
    explorer = page.locator(EXPLORER)

    def pictures():
        canvases = explorer.locator(".pictures canvas")
        return canvases.evaluate_all("all => all.map(canvas => canvas.toDataURL())")

    _choose(explorer, "picture", 7)
    _to_the_start(page, explorer)
    _until(page, lambda: all("predicted 7" in name and "✓" in name for name in _shown(explorer)))
    names = [name.partition(":")[0] for name in _shown(explorer)]
    assert names == _options(explorer, "source")
    clean, seen = pictures()[0], {}
    explorer.get_by_role("slider").press("End")
    for i, name in enumerate(names):
        _choose(explorer, "source", i)
        _until(page, lambda: pictures()[0] not in {clean, *seen.values()})
        (seen[name],) = set(pictures())  # the same before every network
        assert "✗" in _shown(explorer)[i]  # and its own source is fooled
    _choose(explorer, "noise", 1)
    _until(page, lambda: pictures()[0] not in seen.values())
    _choose(explorer, "noise", 0)
