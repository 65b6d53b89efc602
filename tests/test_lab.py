"""The sliders of the notebooks, moved in JupyterLab and Notebook 7 in a real Chromium."""

import json
import os
import re
import shutil
import socket
import subprocess
import sys
import time
from contextlib import contextmanager
from pathlib import Path

import nbformat
import pytest
from browser import chromium_browser, new_page
from execution import ENVIRONMENT, PATHS, needed_by_explorers, workspace
from PIL import Image

ROOT = Path(__file__).parent.parent
# Of the notebooks in sliders/ only that is left which the explorers need: nbval runs all of them.
DIGITS, SWEEP, PENALTY, PHOTOS = LAB = [
    ("lab", "notebooks/02_fgsm_mnist"),
    ("lab", "sliders/03_epsilon_sweep"),
    ("lab", "sliders/04_szegedy_noise"),
    ("lab", "sliders/05_fgsm_vgg16_imagenet"),
]
NOTEBOOK_7 = ("notebook", "sliders/02_fgsm_mnist")
# JupyterLab 4.2 would take cells out of the page that are not in sight.
SETTINGS = {"@jupyterlab/notebook-extension/tracker": {"windowingMode": "defer"}}
EXPLORER = ".jp-OutputArea .adv"
PICTURES = ".pictures canvas"
WIDTH = 1024  # of a projector, in pixels


@contextmanager
def jupyter():
    """A server of a copy of the course, for JupyterLab and Notebook 7; yields its address."""
    with workspace() as notebooks, socket.socket() as free:
        folder, env = notebooks.parent, {**os.environ, **ENVIRONMENT}
        (folder / "sliders").mkdir()
        for path in PATHS:
            notebook = nbformat.read(path, as_version=4)
            needed = needed_by_explorers(notebook.cells)
            notebook.cells = [notebook.cells[index] for index in sorted(needed)]
            nbformat.write(notebook, folder / "sliders" / path.name)
        for kind in ("JUPYTER_CONFIG_DIR", "JUPYTER_DATA_DIR", "JUPYTER_RUNTIME_DIR", "IPYTHONDIR"):
            env[kind] = str(folder / kind)
        for name, values in SETTINGS.items():
            file = folder / f"JUPYTER_CONFIG_DIR/lab/user-settings/{name}.jupyterlab-settings"
            file.parent.mkdir(parents=True)
            file.write_text(json.dumps(values))
        free.bind(("127.0.0.1", 0))
        port = free.getsockname()[1]
        free.close()
        options = ["--no-browser", "--allow-root", "--ServerApp.ip=127.0.0.1", f"--port={port}"]
        options += ["--ServerApp.port_retries=0", "--IdentityProvider.token=course"]
        for app in ("LabApp", "JupyterNotebookApp"):
            options.append(f"--{app}.expose_app_in_browser=True")
        command = [sys.executable, "-m", "jupyter", "lab", *options]
        with open(folder / "log", "wb") as log:
            server = subprocess.Popen(command, cwd=folder, env=env, stdout=log, stderr=log)
        try:
            deadline = time.monotonic() + 60
            while not _answers(port):
                alive = server.poll() is None and time.monotonic() < deadline
                assert alive, (folder / "log").read_text("utf-8")
                time.sleep(0.2)
            yield f"http://127.0.0.1:{port}"
        finally:
            server.terminate()  # stops its kernels too
            server.wait()


def _answers(port):
    with socket.socket() as probe:
        return probe.connect_ex(("127.0.0.1", port)) == 0


@contextmanager
def open_notebook(browser, server, app, name, run=True):
    """A page with a notebook, which runs from top to bottom, in JupyterLab or Notebook 7."""
    view = {"lab": "doc/tree", "notebook": "notebooks"}[app]
    with new_page(browser, width=WIDTH) as page:
        page.goto(f"{server}/{view}/{name}.ipynb?token=course&reset")
        page.add_script_tag(path=Path(__file__).with_suffix(".js"))
        page.wait_for_function("isReady", timeout=60_000)
        page.errors.clear()  # JupyterLab 4.2 has one of its own when it reads SETTINGS
        if run:
            page.evaluate("jupyterapp.commands.execute('notebook:run-all-cells')")
        # Now, since some test may run some cells again.
        page.cells = page.evaluate("notebook().context.model.toJSON().cells")
        try:
            yield page
        finally:
            page.evaluate("kernel().shutdown()")


@pytest.fixture(scope="module")
def browser():
    with chromium_browser() as running:
        yield running


@pytest.fixture(scope="module")
def server():
    with jupyter() as address:
        yield address


@pytest.fixture(scope="module")
def notebook(browser, server, request):
    with open_notebook(browser, server, *request.param) as page:
        yield page


@pytest.fixture
def page(notebook):
    """The notebook's page, on which no test leaves an error in the console."""
    yield notebook
    # ipywidgets' own: a view that goes in its first instant hears of its layout later.
    errors = [error for error in notebook.errors if "reading 'processLuminoMessage'" not in error]
    notebook.errors.clear()
    assert errors == []


def notebooks(*which):  # pytest runs all tests of one notebook before it opens the next
    return pytest.mark.parametrize("notebook", which, indirect=True, ids=" ".join)


def explorers(page):
    """The page's explorers, one after the other, scrolled to the middle of the window."""
    page.locator(EXPLORER).first.wait_for()
    for explorer in page.locator(EXPLORER).all():
        explorer.evaluate("explorer => explorer.scrollIntoView({block: 'center'})")
        yield explorer


def press(explorer, *keys):
    for key in keys:
        explorer.locator(".noUi-handle").press(key)


def position(explorer):
    return _aria(explorer, "valuenow")


def last_position(explorer):
    return _aria(explorer, "valuemax")


def _aria(explorer, name):
    return int(float(explorer.locator(".noUi-handle").get_attribute(f"aria-{name}")))


def wait_for_step(explorer):
    """Until the last picture is that of the slider's position; returns its name."""
    step = re.escape(explorer.locator(".widget-readout").inner_text()).replace("/", ".")
    picture = explorer.get_by_role("img", name=re.compile(rf"(at|epsilon) {step}[:,]")).last
    picture.wait_for()
    return picture.get_attribute("aria-label")


def names(explorer):
    """What a screen reader says of the pictures."""
    return explorer.locator(PICTURES).evaluate_all("all => all.map(canvas => canvas.ariaLabel)")


def pixels(explorer):
    return explorer.locator(PICTURES).evaluate_all("all => all.map(canvas => canvas.toDataURL())")


@contextmanager
def watched(explorer):
    """Yields a list that afterwards says what the explorer showed in each animation frame."""
    frames = []
    explorer.evaluate("watch")
    try:
        yield frames
    finally:
        frames += explorer.page.evaluate("seen()")


def chosen(explorer):
    """The picture that is chosen."""
    return explorer.get_by_label("picture", exact=True).locator(":checked").inner_text()


def original(choice):
    """The name of the original's picture, for a choice such as "3: fox"."""
    return f"original image: {choice.split(': ')[1]}"


def choose(explorer, label, option):
    """Choose the option that begins so, and wait for its noise and its adversarial image."""
    before = pixels(explorer)
    choice = explorer.get_by_label(label, exact=True)
    found = choice.locator("option", has_text=re.compile(f"^{option}"))
    if found.evaluate("option => option.selected"):
        return
    choice.select_option(found.inner_text())
    explorer.page.wait_for_function(
        "areOthers", arg=[explorer.element_handle(), before], timeout=20_000
    )


@notebooks(*LAB)
def test_a_notebook_runs_without_an_error(page):
    code = [cell for cell in page.cells if cell["cell_type"] == "code"]
    assert [cell["execution_count"] for cell in code] == list(range(1, len(code) + 1))
    assert [o for cell in code for o in cell["outputs"] if o["output_type"] == "error"] == []


def test_folds_open_by_the_mouse_and_by_keys(browser, server):
    with open_notebook(browser, server, *DIGITS, run=False) as page:
        guesses = page.locator(".jp-CodeCell:has(.jp-OutputPlaceholder)")
        guesses.nth(2).wait_for()
        assert guesses.count() == 3
        assert guesses.locator(".jp-OutputArea-output").count() == 0
        guesses.first.locator(".jp-OutputPlaceholder").click()
        page.wait_for_function("outputsOfGuesses().join() === '1,0,0'")
        page.get_by_text("Solution of 2.3", exact=True).wait_for()
        folds = page.locator(".jp-RenderedMarkdown details")
        assert folds.evaluate_all("all => all.length && all.every(fold => !fold.open)")
        for fold in (folds.first, folds.last):
            summary, hidden = fold.locator("> summary"), fold.locator("> :not(summary)").first
            assert hidden.is_hidden()
            summary.click()
            assert hidden.is_visible()
            for key in ("Enter", "Space", "Enter"):
                before = hidden.is_visible()
                summary.press(key)
                assert hidden.is_visible() != before
        assert page.errors == []


@notebooks(DIGITS)
def test_a_cell_that_runs_shows_what_was_to_be_guessed(page):
    assert page.evaluate("outputsOfGuesses()") == [1, 1, 1]


@notebooks(*LAB)
def test_keys_move_every_slider(page):
    for explorer in explorers(page):
        move_by_keys(explorer)


def move_by_keys(explorer):
    press(explorer, "Home")
    first, before = wait_for_step(explorer), pixels(explorer)
    for key, moved in (("ArrowRight", 1), ("ArrowRight", 2), ("ArrowLeft", 1)):
        press(explorer, key)
        assert position(explorer) == moved
        assert wait_for_step(explorer) != first
    press(explorer, "End")
    assert position(explorer) == last_position(explorer)
    assert wait_for_step(explorer) != first
    assert pixels(explorer)[-1] != before[-1]
    press(explorer, "Home")
    assert wait_for_step(explorer) == first
    assert pixels(explorer) == before


@notebooks(*LAB)
def test_the_mouse_drags_every_slider(page):
    drag(page)


@notebooks(NOTEBOOK_7)
def test_sliders_and_canvas_work_in_notebook_7(notebook):
    for explorer in explorers(notebook):
        move_by_keys(explorer)
    drag(notebook)
    draw_and_attack(notebook, Mouse(notebook), 7)


def drag(page):
    for explorer in explorers(page):
        handle = explorer.locator(".noUi-handle").bounding_box()
        track = explorer.locator(".noUi-base").bounding_box()
        y = handle["y"] + handle["height"] / 2
        page.mouse.move(handle["x"] + handle["width"] / 2, y)
        page.mouse.down()
        for share in (0.25, 0.75, 0.5):
            page.mouse.move(track["x"] + share * track["width"], y, steps=5)
            assert abs(position(explorer) - share * last_position(explorer)) <= 1
            wait_for_step(explorer)
        page.mouse.up()


@notebooks(*LAB)
def test_a_flood_of_keys_ends_at_the_right_picture_within_half_a_second(page):
    for explorer in explorers(page):
        press(explorer, "Home")
        wait_for_step(explorer)
        with watched(explorer) as frames:
            pressed = explorer.locator(".noUi-handle").evaluate("floodOfKeys")
            page.wait_for_timeout(1000)
        assert position(explorer) == min(20, last_position(explorer) - 1)
        assert frames[-1]["names"][-1] == wait_for_step(explorer)
        others = [f["time"] for f in frames if f["names"] != frames[-1]["names"]]
        assert max(others) - pressed <= 500


@notebooks(*LAB)
def test_sliding_neither_flickers_nor_moves_the_page(page):
    for explorer in explorers(page):
        press(explorer, "Home")
        wait_for_step(explorer)
        last = last_position(explorer)
        with watched(explorer) as frames:
            press(explorer, *["ArrowRight"] * last, *["ArrowLeft"] * max(0, 30 - last))
            wait_for_step(explorer)
        assert len({tuple(frame["names"]) for frame in frames}) > 10
        assert {len(frame["names"]) for frame in frames} == {len(frames[0]["names"])}
        heights = [frame["height"] for frame in frames]
        assert max(heights) - min(heights) <= 2


@notebooks(DIGITS, PENALTY, PHOTOS)
def test_a_choice_shows_new_pictures_where_the_slider_stands(page):
    for explorer in explorers(page):
        press(explorer, "Home", *["ArrowRight"] * 5)
        labels = explorer.locator("select").evaluate_all(
            "all => all.map(s => s.labels[0].firstChild.data.trim())"
        )
        choices = [("picture", "3:"), ("target", "(6|ox)$"), ("picture", "1:")]
        if "noise" in labels:
            choices[1:1] = [("noise", "random"), ("noise", "FGSM, towards")]
        for label, option in choices:
            choose(explorer, label, option)
            assert position(explorer) == 5
            wait_for_step(explorer)
            if label == "picture":
                assert names(explorer)[0] == original(chosen(explorer))
        if "noise" in labels:
            choose(explorer, "noise", "FGSM, away")


@notebooks(PHOTOS)
def test_the_newest_choice_wins(page):
    (explorer,) = explorers(page)
    options = explorer.get_by_label("picture", exact=True).locator("option").all_inner_texts()
    second, third = map(original, options[1:3])
    with watched(explorer) as frames:
        explorer.get_by_label("picture", exact=True).evaluate("chooseTwice")
        explorer.get_by_role("img", name=third).wait_for()
        page.wait_for_timeout(2000)
    originals = [frame["names"][0] for frame in frames]
    assert second not in originals
    assert set(originals[originals.index(third) :]) == {third}
    assert not explorer.get_by_role("progressbar").is_visible()


STROKES = {
    7: [(50, 45), (150, 45), (120, 95), (90, 155)],
    1: [(98, 40), (98, 155)],
    0: [(98, 40), (60, 65), (55, 110), (75, 150), (115, 150), (140, 110), (130, 60), (98, 40)],
}


class Mouse:
    """Presses where it is put first, and draws from there."""

    def __init__(self, page):
        self._mouse, self._down = page.mouse, False

    def move(self, x, y):
        self._mouse.move(x, y, steps=5)
        if not self._down:
            self._mouse.down()
            self._down = True

    def lift(self):
        self._mouse.up()


class Finger:
    """The same on a touch screen."""

    def __init__(self, page):
        self._page, self._at = page.context.new_cdp_session(page), None

    def _send(self, kind, *points):
        points = [{"x": x, "y": y} for x, y in points]
        self._page.send("Input.dispatchTouchEvent", {"type": kind, "touchPoints": points})

    def move(self, x, y):
        if self._at is None:
            self._send("touchStart", (x, y))
        else:
            left, top = self._at
            for part in (0.2, 0.4, 0.6, 0.8, 1):
                self._send("touchMove", (left + part * (x - left), top + part * (y - top)))
        self._at = x, y

    def lift(self):
        self._send("touchEnd")


@notebooks(DIGITS)
@pytest.mark.parametrize("pen", [Mouse, Finger])
@pytest.mark.parametrize("digit", STROKES)
def test_a_drawn_digit_is_read_and_attacked(page, pen, digit):
    draw_and_attack(page, pen(page), digit)


def draw_and_attack(page, pen, digit):
    *_, explorer = explorers(page)
    canvas = page.get_by_role("img", name="your drawing")
    canvas.scroll_into_view_if_needed()
    corner = canvas.bounding_box()
    for x, y in STROKES[digit]:
        pen.move(corner["x"] + x, corner["y"] + y)
    explorer.get_by_role("img", name=f"original image: {digit}").wait_for()
    assert chosen(explorer) == "your digit"  # before the pen is lifted
    pen.lift()
    press(explorer, "End")
    wait_for_step(explorer)
    page.get_by_role("button", name="clear").click()
    page.get_by_text("Draw a digit in the black square.").wait_for()
    assert canvas.evaluate("isBlack")


def upload(explorer, path):
    with explorer.page.expect_file_chooser() as chooser:
        explorer.get_by_role("button", name="your photograph").click()
    chooser.value.set_files(path)


@notebooks(PHOTOS)
def test_an_uploaded_photograph_is_attacked(page, photos, tmp_path):
    (explorer,) = explorers(page)
    upload(explorer, shutil.copy(photos["castle"], tmp_path / "holiday.jpg"))
    explorer.get_by_role("img", name="original image: castle").wait_for()
    assert chosen(explorer) == "holiday.jpg"
    press(explorer, "End")
    explorer.get_by_role("img", name=re.compile("^adversarial image .*✗")).wait_for()


@notebooks(PHOTOS)
def test_a_large_photograph_can_be_uploaded(page, photos, tmp_path):
    (explorer,) = explorers(page)
    path, width = tmp_path / "large.png", 3600
    large = Image.frombytes("RGB", (width, 1800), os.urandom(3 * 1800 * width))
    with Image.open(photos["espresso"]) as espresso:
        large.paste(espresso.resize((1800, 1800)), (900, 0))
    large.save(path)
    assert path.stat().st_size > 10 * 2**20  # no message of Jupyter may be larger
    upload(explorer, path)
    explorer.get_by_role("img", name="original image: espresso").wait_for()
    assert chosen(explorer) == "large.png"


@notebooks(PHOTOS)
@pytest.mark.parametrize(
    ("name", "content", "problem"),
    [
        ("letter.jpg", b"Dear reader", "is not a picture"),
        ("nothing.png", b"", "is empty"),
        ("dot.png", None, "is 1 x 1 pixels"),
        ("torn.jpg", slice(4000), "is damaged"),
        ("film.mov", bytes(11_000_000), "has 11 MB and the browser cannot read it"),
    ],
)
def test_a_broken_upload_says_what_is_wrong(page, photos, tmp_path, name, content, problem):
    (explorer,) = explorers(page)
    shown, path = names(explorer), tmp_path / name
    if content is None:
        Image.new("RGB", (1, 1)).save(path)
    elif isinstance(content, slice):
        path.write_bytes(photos["castle"].read_bytes()[content])
    else:
        path.write_bytes(content)
    upload(explorer, path)
    message = explorer.get_by_text(f"{name} {problem}")
    message.wait_for()
    assert names(explorer) == shown
    press(explorer, "Home", "ArrowRight")
    wait_for_step(explorer)
    choose(explorer, "picture", "1:" if chosen(explorer).startswith("3:") else "3:")
    message.wait_for(state="hidden")


@notebooks(*LAB)
def test_every_control_has_a_label_and_a_tooltip(page):
    page.locator(EXPLORER).first.wait_for()
    for control in page.locator(".jp-OutputArea .adv :is(select, button, [role=slider])").all():
        found = control.evaluate("labelAndTooltip")
        assert all(found), found


@notebooks(*LAB)
def test_every_picture_has_a_name(page):
    for explorer in explorers(page):
        assert all(names(explorer))


@notebooks(*LAB)
def test_nothing_is_wider_than_a_projector_or_cut_off(page):
    for explorer in explorers(page):
        right = explorer.locator(
            "xpath=ancestor::*[contains(@class, 'jp-OutputArea')][1]"
        ).evaluate("area => area.getBoundingClientRect().right")
        assert right <= WIDTH
        assert explorer.evaluate("cutOff", right) == []


@notebooks(DIGITS)
def test_fifty_runs_of_a_cell_leave_nothing_behind(page):
    def run_cells(times):
        page.evaluate("runCells", [["EpsilonExplorer(", "DigitPad("], times])
        page.wait_for_timeout(500)  # for the page to take its leave of the last models
        # What is free goes back to the machine first: how much of it lies about is chance.
        code = """import ctypes, gc, ipywidgets, psutil
gc.collect(), getattr(ctypes.CDLL(None), "malloc_trim", int)(0)
print(psutil.Process().memory_info().rss, len(ipywidgets.Widget.get_manager_state()["state"]))"""
        memory, widgets = map(int, page.evaluate("runInKernel", code).split())
        return page.evaluate("countModels"), widgets, memory

    models, widgets, memory = run_cells(3)
    models_later, widgets_later, memory_later = run_cells(50)
    assert (models_later, widgets_later) == (models, widgets)
    assert memory_later - memory < 20e6
