"""A real browser at a student's own server: what the tests and the load test do with it."""

import sys
from contextlib import contextmanager
from pathlib import Path
from urllib.parse import quote

import nbformat

COURSE = Path(__file__).resolve().parent.parent
sys.path[:0] = [str(COURSE / "tests"), str(COURSE / "tests/benchmarks"), str(COURSE / ".nbconvert")]


def log_in(page, student, then):
    """Log in by the hub's form; ``then`` is the path that comes next, and is waited for."""
    page.goto(f"{student.hub}/hub/login?next={quote(then)}")
    page.fill("#username_input", student.name)
    page.fill("#password_input", student.password)
    page.click("#login_submit")
    page.wait_for_url(f"**{then}")


@contextmanager
def explorers_page(context, student, chapter):
    """A page of JupyterLab where all runs that the chapter's explorers need; waits for the first.

    The rest of the chapter is left out: it takes the tests' time. The kernel ends with the page:
    two chapters at once may be more than a student's memory.
    """
    from execution import needed_by_explorers

    notebook = nbformat.from_dict(student.read(chapter))
    needed = needed_by_explorers(notebook.cells)
    notebook.cells = [notebook.cells[index] for index in sorted(needed)]
    path = chapter.replace(".ipynb", "_explorers.ipynb")
    student.save(path, notebook)
    page = context.new_page()
    page.set_default_timeout(300_000)
    page.goto(f"{student.base}/lab/tree/{path}?reset")  # and no other notebook
    page.get_by_text("Python 3 (ipykernel) | Idle").wait_for()  # or Run All asks for a kernel
    page.get_by_role("menuitem", name="Run", exact=True).click()
    page.locator("[data-command='runmenu:run-all']").click()
    page.locator(".jp-OutputArea .adv .pictures canvas[aria-label]").first.wait_for()
    try:
        yield page
    finally:
        page.close()
        for session in student.api("GET", "sessions"):
            if session["path"] == path:
                student.api("DELETE", f"sessions/{session['id']}")
