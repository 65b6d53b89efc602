"""A real Chromium for the tests, through Playwright."""

import os
import shutil
from contextlib import contextmanager
from pathlib import Path

import pytest

CHROMIUM_ARGS = [
    "--headless",
    "--no-sandbox",
    "--disable-gpu",
    "--disable-quic",
    "--no-first-run",
    "--disable-background-networking",
    "--disable-component-update",
    "--disable-sync",
]
_NAMES = ["chromium", "chromium-browser", "google-chrome", "google-chrome-stable"]


def find_chromium():
    """The path of an installed Chromium or Chrome, or None."""
    for name in _NAMES:
        if path := shutil.which(name):
            return path
    try:
        from playwright.sync_api import sync_playwright
    except ImportError:
        return None
    with sync_playwright() as playwright:  # "playwright install chromium" puts one there
        path = playwright.chromium.executable_path
    return path if Path(path).exists() else None


def need_chromium():
    """The path of Chromium. Without one the test is skipped, or fails where CI is set."""
    try:
        import playwright.sync_api  # noqa: F401
    except ImportError:
        _give_up("Playwright is not installed: pip install -r requirements.txt")
    path = find_chromium()
    if path is None:
        _give_up(f"no Chromium is installed (looked for {', '.join(_NAMES)} and Playwright's own)")
    return path


def _give_up(reason):
    # CI=0 and CI=false mean "no" to most tools.
    if os.environ.get("CI", "").lower() not in ("", "0", "false"):
        pytest.fail(f"{reason}, and CI is set", pytrace=False)
    pytest.skip(reason)


@contextmanager
def chromium_browser():
    """A running Chromium, closed at the end.

    Only one may be open at a time, and asyncio.run() fails meanwhile: Playwright keeps a loop
    running. So use it in a fixture of a module at most, not of the session.
    """
    path = need_chromium()
    from playwright.sync_api import sync_playwright

    with sync_playwright() as playwright:
        browser = playwright.chromium.launch(executable_path=path, args=CHROMIUM_ARGS)
        try:
            yield browser
        finally:
            browser.close()


@contextmanager
def new_page(browser, width=1024, height=900, color_scheme="light", **options):
    """A page of its own; ``page.errors`` lists the console's errors and uncaught exceptions.

    ``options`` go to Playwright's ``new_context``, for instance ``has_touch=True``.
    """
    context = browser.new_context(
        viewport={"width": width, "height": height}, color_scheme=color_scheme, **options
    )
    try:
        page = context.new_page()
        page.errors = []
        page.on("pageerror", lambda error: page.errors.append(str(error)))
        page.on(
            "console",
            lambda message: (
                page.errors.append(f"{message.text} ({message.location.get('url', '')})")
                if message.type == "error"
                else None
            ),
        )
        yield page
    finally:
        context.close()
