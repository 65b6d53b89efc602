"""How fast are the sliders? Real keys in a real JupyterLab, on a copy of the course.

    python tests/latency.py

prints a Markdown table of milliseconds. Whatever else the machine does slows everything.
"""

import statistics

import conftest  # noqa: F401 (puts the course on the path)
from browser import chromium_browser
from test_lab import DIGITS, PENALTY, PHOTOS, SWEEP, explorers, jupyter, open_notebook, press

WARM_UP, STEPS, CHOICES = 12, 60, 8

# step() takes from the browser's receipt of a key (the event's own time stamp) to the end of the
# animation frame in which the last picture, the adversarial image, has another alternative text
# and all pictures are complete. Half a frame of it, 8 ms, is the mean wait for the next refresh.
# choose() takes from the choice to the end of the frame in which the original is that of the
# choice and the adversarial image is new: through the kernel and back. With several choices, 100
# ms apart, from the last one.
MEASURE = """() => {
    const shown = explorer =>
        [...explorer.querySelectorAll("img")].filter(img => img.offsetParent);
    const contents = explorer => shown(explorer).map(img => img.alt + img.src);
    const renewed = async (explorer, before, original = "") => {
        let now;
        do {
            await new Promise(requestAnimationFrame);
            now = contents(explorer);
        } while (now.length != before.length
            || now.at(-1) == before.at(-1)
            || !now[0].includes(original)
            || shown(explorer).some(img => !img.complete || !img.naturalWidth));
        await new Promise(done => {  // a task, which runs after the frame
            const {port1, port2} = new MessageChannel();
            port1.onmessage = done;
            port2.postMessage(null);
        });
        return performance.now();
    };
    window.step = async explorer => {
        const pressed = new Promise(done =>
            explorer.addEventListener("keydown", done, {capture: true, once: true}));
        const end = renewed(explorer, contents(explorer));
        return await end - (await pressed).timeStamp;
    };
    window.hold = async (explorer, milliseconds) => {
        const handle = explorer.querySelector(".noUi-handle"), start = performance.now();
        let key = "ArrowLeft", steps = 0, passed = 0;
        while (passed < milliseconds) {
            const value = handle.ariaValueNow, before = contents(explorer);
            handle.dispatchEvent(new KeyboardEvent("keydown", {key, bubbles: true}));
            if (handle.ariaValueNow == value) {
                key = key == "ArrowLeft" ? "ArrowRight" : "ArrowLeft";
            } else {
                passed = await renewed(explorer, before) - start;
                steps++;
            }
        }
        return 1000 * steps / passed;
    };
    window.choose = async (explorer, places) => {
        const choice = explorer.querySelector("select"), before = contents(explorer);
        let start;
        for (const place of places) {
            if (start) await new Promise(done => setTimeout(done, 100));
            choice.selectedIndex = place;
            choice.dispatchEvent(new Event("change", {bubbles: true}));
            start = performance.now();
        }
        const name = choice.selectedOptions[0].text.split(":")[1].replaceAll("\\xa0", " ");
        return await renewed(explorer, before, `original image:${name}`) - start;
    };
}"""


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
    kinds = {"digits": DIGITS, "sweep": SWEEP, "penalty": PENALTY, "photographs": PHOTOS}
    with jupyter() as server, chromium_browser() as browser:
        for kind, which in kinds.items():
            with open_notebook(browser, server, *which) as page:
                page.evaluate(MEASURE)
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
