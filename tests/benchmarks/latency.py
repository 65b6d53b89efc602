"""How fast are the sliders? Real keys in a real JupyterLab, on a copy of the course.

    python tests/benchmarks/latency.py [digits] [sweep] [penalty] [photographs]

prints a Markdown table of milliseconds: of these sliders, or of all. Whatever else the machine does
slows everything.
"""

import statistics
import sys
from pathlib import Path

sys.path.insert(0, str(Path(__file__).parent.parent))

import conftest  # noqa: F401 (puts the course on the path)
from browser import chromium_browser
from test_lab import DIGITS, PENALTY, PHOTOS, SWEEP, explorers, jupyter, open_notebook, press

KINDS = {"digits": DIGITS, "sweep": SWEEP, "penalty": PENALTY, "photographs": PHOTOS}
WARM_UP, STEPS, CHOICES = 12, 60, 8
MEASURE = Path(__file__).with_suffix(".js").read_text("utf-8")


def slide(explorer, count):
    """The milliseconds of steps to and fro."""
    for i in range(count):
        explorer.evaluate("explorer => { window.stepped = step(explorer); }")
        explorer.page.keyboard.press("ArrowRight" if i // 10 % 2 == 0 else "ArrowLeft")
        yield explorer.page.evaluate("stepped")


def choices(explorer, earlier=()):
    """The milliseconds of choices of another picture, each 100 ms after the earlier ones."""
    for i in range(CHOICES):
        yield explorer.evaluate(
            "(explorer, places) => choose(explorer, places)", [*earlier, 1 + i % 4]
        )


def row(name, times, rate=""):
    times = list(times)
    late = statistics.quantiles(times, n=20, method="inclusive")[-1]
    print(f"| {name} | {statistics.median(times):.1f} | {late:.1f} | {rate} |", flush=True)


def main():
    print("| | median ms | p95 ms | updates/s, key held |\n|---|---|---|---|")
    with jupyter() as server, chromium_browser() as browser:
        for kind in sys.argv[1:] or KINDS:
            with open_notebook(browser, server, *KINDS[kind]) as page:
                page.add_script_tag(content=MEASURE)
                explorer = next(explorers(page))
                press(explorer, "Home")
                times = list(slide(explorer, WARM_UP + STEPS))[WARM_UP:]
                rate = explorer.evaluate("explorer => hold(explorer, 3000)")
                row(f"{kind}: a step", times, f"{rate:.0f}")
                if kind in ("digits", "photographs"):
                    press(explorer, "End")  # its picture comes last
                    row(f"{kind}: a choice", choices(explorer))
                if kind == "photographs":  # a digit's are done before one can choose again
                    row(f"{kind}: a choice during another", choices(explorer, [5]))


if __name__ == "__main__":
    main()
