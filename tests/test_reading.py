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
from browser import chromium_browser, need_chromium, new_page

ROOT = Path(__file__).parent.parent
NAMES = sorted(path.stem for path in (ROOT / "notebooks").glob("*.ipynb"))
LIMIT = 6e6  # bytes of a page
SCRIPT_LIMIT = 3e6  # bytes of a script that the pages share
WITH_SLIDERS = [name for name in NAMES if name[:2] in ("02", "03", "04", "05")]
WITH_CHOICES = [name for name in WITH_SLIDERS if name[:2] != "03"]
EXPLORER = ".widget-vbox:has(> .widget-hslider)"


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
            views = page.locator("script[type='application/vnd.jupyter.widget-view+json']").count()
            page.wait_for_function(
                "n => document.querySelectorAll('.widget-subarea > *').length == n", arg=views
            )
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
    """The alternative texts of the pictures that an explorer shows."""
    return explorer.locator("img:visible").evaluate_all("all => all.map(image => image.alt)")


def _until(page, condition):
    """Wait until ``condition()`` holds; a page shows a choice a moment later."""
    for _ in range(200):
        if condition():
            return
        page.wait_for_timeout(20)
    pytest.fail("nothing came of it within four seconds", pytrace=True)


@pytest.mark.parametrize("name", NAMES)
def test_the_pages_are_small(site, name):
    assert (site / f"{name}.html").stat().st_size <= LIMIT


def test_the_scripts_are_the_published_ones(site):
    stated = (ROOT / ".nbconvert" / "README.md").read_text("utf-8")
    scripts = list(site.glob("*.js"))
    assert {path.name for path in scripts} == {"embed.js", "tex-svg-full.js"}
    for path in scripts:
        assert path.stat().st_size <= SCRIPT_LIMIT
        assert hashlib.sha256(path.read_bytes()).hexdigest() in stated
        assert list(site.glob(f"{path.name}.*.txt"))  # its licence


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


@pytest.mark.parametrize("name", WITH_SLIDERS)
def test_only_needed_widgets_are_in_the_page(sources, name):
    found = re.search(r"widget-state\+json\">(.*?)</script>", sources[name], re.DOTALL)
    state = json.loads(found[1])["state"]
    mentioned = set(re.findall(r"IPY_MODEL_(\w+)", found[1]))
    views = set(re.findall(r'"model_id": "(\w+)"', sources[name]))
    links = {model for model, content in state.items() if content["model_name"] == "LinkModel"}
    assert state.keys() == mentioned | views | links


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
    prose = page.locator(".jp-RenderedMarkdown").evaluate_all(
        """all => all.map(part => {
            const copy = part.cloneNode(true);
            copy.querySelectorAll("mjx-container, code").forEach(inner => inner.remove());
            return copy.textContent;
        }).join(" ")"""
    )
    assert not re.search(r"\$|\\[a-zA-Z(\[]", prose)


@pytest.mark.parametrize("name", NAMES)
def test_a_phone_shows_the_whole_width(opened, name):
    page = opened(name, width=360, height=740, has_touch=True, is_mobile=True)
    assert page.evaluate("document.documentElement.scrollWidth") <= 360
    assert page.evaluate("visualViewport.scale") == 1


@pytest.mark.parametrize("name", WITH_SLIDERS)
def test_every_slider_moves_its_pictures(opened, name):
    page = opened(name)
    explorers = page.locator(EXPLORER).all()
    assert explorers
    for explorer in explorers:
        _walk_the_slider(page, explorer)


def _to_the_start(page, explorer):
    explorer.locator(".noUi-handle").focus()
    page.keyboard.press("Home")
    handle = explorer.locator(".noUi-handle")
    _until(page, lambda: float(handle.get_attribute("aria-valuenow")) == 0)


def _walk_the_slider(page, explorer):
    _to_the_start(page, explorer)
    readout, seen = explorer.locator(".widget-readout"), [_shown(explorer)]

    def follows(before):
        step = readout.inner_text()
        named = re.compile(rf"\b(at|epsilon) {re.escape(step)}(?![\d.])")  # 0.005 is not 0.00
        return step != before and any(map(named.search, _shown(explorer)))

    handle = explorer.locator(".noUi-handle")
    handle.focus()
    assert handle.get_attribute("aria-label") in ("epsilon", "weight c")
    for key in ("ArrowRight", "ArrowRight", "ArrowRight", "End", "Home"):
        before = readout.inner_text()
        page.keyboard.press(key)
        _until(page, lambda before=before: follows(before))
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


def _choose_each_picture(page, explorer, least):
    choice, images = explorer.locator("select"), explorer.locator("img:visible")
    options = choice.locator("option").all_inner_texts()
    labels = [option.partition(":")[2].strip() for option in options]
    _to_the_start(page, explorer)
    assert len(labels) >= least
    seen = []  # the originals, as data

    def original():
        return images.first.get_attribute("src")

    def is_new(i):
        return f"original image: {labels[i]}" in _shown(explorer) and original() not in seen

    for i in (*range(1, len(labels)), 0):
        choice.select_option(index=i)
        _until(page, lambda i=i: is_new(i))
        seen.append(original())
    # The slider moves the picture that is chosen now.
    choice.select_option(index=2)
    _until(page, lambda: original() == seen[1])
    before = _shown(explorer)
    explorer.locator(".noUi-handle").focus()
    page.keyboard.press("End")
    _until(page, lambda: _shown(explorer)[1:] != before[1:])
    assert _shown(explorer)[0] == before[0]


def test_a_finger_moves_the_slider(opened):
    page = opened("02_fgsm_mnist", width=360, height=740, has_touch=True, is_mobile=True)
    explorer = page.locator(EXPLORER).first
    before = _shown(explorer)
    explorer.locator(".noUi-target").tap()  # in its middle
    _until(page, lambda: _shown(explorer) != before)
