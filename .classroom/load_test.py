"""A class of simulated students on the real hub; prints what it took, and breaks things meanwhile.

Run it on a throwaway machine, since it makes accounts and kills processes:

    .classroom/throwaway .venv/bin/python .classroom/load_test.py --students 30

Everybody logs in, starts a server, runs all cells of a chapter and saves it, within a minute of
each other, and one more moves a slider in a real browser. Then kernels, students' servers and the
hub are killed at random moments while all run the chapter again; at the end everybody's saved
notebook must be as it was saved.
"""

import argparse
import contextlib
import itertools
import os
import random
import re
import statistics
import subprocess
import sys
import time
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import requests
import websocket
from browsing import explorers_page, log_in
from students import HUB, Student

HERE = Path(__file__).resolve().parent
CHAPTER = "notebooks/02_fgsm_mnist.ipynb"
SLIDER_STEPS = 300
STEPS = ["log in", "server", "open", "kernel", "run all", "save", "log out"]


def shell(command, **options):
    return subprocess.run(
        command, shell=True, check=True, text=True, capture_output=True, **options
    )


def start_classroom(names, **settings):
    """The README's accounts for the names and its second command; returns the students.

    ``settings`` are lines of ``systemctl edit classroom``.
    """
    if not Path("/root/output").exists():
        raise SystemExit("Run this on a throwaway machine: .classroom/throwaway PYTHON FILE")
    line = "{0}:secret of {0}:::{0}:/home/{0}:/usr/sbin/nologin\n"
    Path("class.txt").write_text("".join(line.format(name) for name in names))
    shell("groupadd -f students; groupadd -f teachers; newusers class.txt")
    shell("cut -d: -f1 class.txt | xargs -n 1 usermod -aG students")
    edit = Path("/etc/systemd/system/classroom.service.d/override.conf")
    edit.parent.mkdir()
    lines = [f"Environment={name}={value}" for name, value in settings.items()]
    edit.write_text("\n".join(["[Service]", *lines, ""]))
    shell(f"systemctl enable --now {HERE}/classroom.service")
    wait_for_hub()
    return [Student(name, f"secret of {name}") for name in names]


def wait_for_hub(limit=120):
    deadline = time.monotonic() + limit
    while True:
        try:
            if requests.get(f"{HUB}/hub/health", timeout=5).ok:
                return
        except requests.RequestException:
            pass
        if time.monotonic() > deadline:
            raise TimeoutError(shell("journalctl --unit=classroom --no-pager | tail -50").stdout)
        time.sleep(0.3)


def main_process(unit):
    return int(shell(f"systemctl show --property=MainPID --value {unit}").stdout)


def processes(name):
    """A student's processes: for each its number and its command."""
    for folder in Path("/proc").glob("[0-9]*"):
        try:
            if folder.owner() == name:
                yield int(folder.name), (folder / "cmdline").read_text()
        except (OSError, KeyError):  # it has ended, or is of a user of another machine
            continue


def memory(pid):
    """A process's memory in MB: its own (USS), and with its share of what is shared (PSS)."""
    text = Path(f"/proc/{pid}/smaps_rollup").read_text()
    kb = {key: int(value) for key, value in re.findall(r"(\w+): +(\d+) kB", text)}
    return (kb["Private_Clean"] + kb["Private_Dirty"]) / 1000, kb["Pss"] / 1000


def memory_of(name):
    """USS and PSS in MB of a student's server and of the kernels: (uss, pss), (uss, pss)."""
    server, kernels = [0, 0], [0, 0]
    for pid, command in processes(name):
        total = kernels if "ipykernel" in command else server
        for i, value in enumerate(memory(pid)):
            total[i] += value
    return server, kernels


def lesson(student, delay):
    time.sleep(delay)
    if not student.timed("log in", student.log_in):
        raise RuntimeError(f"{student.name} cannot log in")
    page = student.timed("server", student.start_server)
    assert page.url.endswith("/lab/tree/notebooks/index.ipynb"), page.url
    student.run_all(CHAPTER)


def everybody(students, action):
    """Run ``action(student, index)`` for all at once; what fails is noted with the student."""

    def attempt(pair):
        index, student = pair
        try:
            action(student, index)
        except Exception as error:
            student.failures.append(f"{type(error).__name__}: {error}"[:300])

    with ThreadPoolExecutor(len(students)) as pool:
        list(pool.map(attempt, enumerate(students)))


@contextlib.contextmanager
def a_processor_for(program):
    """Meanwhile one processor is the program's alone, as on its user's own machine."""
    cores = os.sched_getaffinity(0)
    own = {max(cores)}
    assign(lambda command: own if program in command else cores - own)
    try:
        yield
    finally:
        assign(lambda command: cores)


def assign(cores):
    """Let each thread of this machine run on ``cores(command)`` only."""
    for task in Path("/proc").glob("[0-9]*/task/[0-9]*"):
        with contextlib.suppress(OSError):  # it has ended
            os.sched_setaffinity(int(task.name), cores((task / "cmdline").read_text()))


@contextlib.contextmanager
def slider(reader):
    """A slider in the reader's browser: a function that moves it while most others run cells.

    It gives the milliseconds of the steps.
    """
    from browser import chromium_browser, new_page
    from latency import MEASURE, WARM_UP, slide

    reader.log_in()
    reader.start_server()
    with chromium_browser() as browser, new_page(browser) as first:
        log_in(first, reader, f"/user/{reader.name}/api/status")
        with explorers_page(first.context, reader, CHAPTER) as page:
            page.add_script_tag(content=MEASURE)
            explorer = page.locator(".jp-OutputArea .adv").first
            explorer.evaluate("explorer => explorer.scrollIntoView({block: 'center'})")
            explorer.locator(".noUi-handle").press("Home")

            def move(others):
                while not most_run(others):
                    time.sleep(0.3)
                with a_processor_for("chromium"):
                    steps = slide(explorer, WARM_UP + SLIDER_STEPS)
                    times = list(itertools.takewhile(lambda _: most_run(others), steps))
                print(f"{len(times[WARM_UP:])} slider steps while most of the others ran cells")
                return times[WARM_UP:]

            yield move


def most_run(students):
    """Whether most of the students who are still well run cells now."""
    well = [student for student in students if not student.failures]
    run = ["kernel" in student.times and "run all" not in student.times for student in well]
    return 2 * sum(run) >= len(well)


def kill_kernel(student):
    kernels = []
    while not kernels:
        kernels = [pid for pid, command in processes(student.name) if "ipykernel" in command]
    for pid in kernels:
        os.kill(pid, 9)


def kill_server(student):
    while not (server := main_process(f"jupyter-{student.name}-singleuser")):
        time.sleep(0.1)
    os.kill(server, 9)


def kill_hub(_):
    start, hub = time.monotonic(), main_process("classroom")
    os.kill(hub, 9)  # and with it its proxy
    while main_process("classroom") in (0, hub):
        time.sleep(0.1)
    wait_for_hub()
    print(f"the hub is back after {time.monotonic() - start:.0f} s", flush=True)


def kills(students, seed, within):
    """While all run the chapter, kill kernels, servers and the hub at random moments.

    The moments lie ``within`` so many seconds. Returns the names of those who lost what they saved.
    """
    dice = random.Random(seed)
    count = max(1, len(students) // 10)
    victims = dice.sample(students, 2 * count)
    plan = [(kill_kernel, student) for student in victims[:count]]
    plan += [(kill_server, student) for student in victims[count:]]
    plan.append((kill_hub, None))
    moments = sorted(dice.uniform(0, within) for _ in plan)
    dice.shuffle(plan)
    saved = {student.name: student.read(CHAPTER) for student in students}
    interrupted = []

    def again(student, index):
        for attempt in range(3):
            try:
                student.run_all(f"notebooks/again{attempt}.ipynb")
                return
            except (OSError, RuntimeError, websocket.WebSocketException) as error:
                died = isinstance(error, ChildProcessError) and student not in victims
                if died or attempt == 2:
                    raise
                interrupted.append(student.name)
                student.start_server()  # which is what the page's "Restart" does

    for student in students:
        student.close()  # one running chapter each
        for attempt in range(3):
            student.save(f"notebooks/again{attempt}.ipynb", saved[student.name])
    start = time.monotonic()
    with ThreadPoolExecutor(1) as pool:
        running = pool.submit(everybody, students, again)
        for moment, (kill, student) in zip(moments, plan, strict=True):
            time.sleep(max(0, start + moment - time.monotonic()))
            kill(student)
            print(
                f"{time.monotonic() - start:.0f} s: {kill.__name__} {student and student.name}",
                flush=True,
            )
        running.result()
    print(f"everybody had run it again after {time.monotonic() - start:.0f} s")
    others = set(interrupted) - {student.name for student in victims}
    print(f"who was not hit and had to begin again while the hub was away: {sorted(others)}")
    lost = []
    for student in students:
        student.start_server()
        if student.read(CHAPTER) != saved[student.name]:
            lost.append(student.name)
    return lost


def main():
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--students", type=int, default=30)
    parser.add_argument("--within", type=float, default=60, help="seconds in which all begin")
    parser.add_argument("--no-kills", action="store_true")
    parser.add_argument("--no-browser", action="store_true")
    parser.add_argument("--seed", type=int, default=0, help="of the kills' victims and moments")
    options = parser.parse_args()

    names = [f"student{i:02}" for i in range(options.students)]
    *students, reader = start_classroom([*names, "reader"])
    print(f"{len(students)} students, {os.cpu_count()} cores, {CHAPTER}", flush=True)
    pause = options.within / len(students)
    with contextlib.ExitStack() as opened, ThreadPoolExecutor(1) as pool:
        move = None if options.no_browser else opened.enter_context(slider(reader))
        start = time.monotonic()
        running = pool.submit(
            everybody, students, lambda student, index: lesson(student, index * pause)
        )
        steps = move(students) if move else []
        running.result()
    took = time.monotonic() - start
    print(f"everybody was done after {took:.0f} s\n")

    print("| s | median | slowest |\n|---|---|---|")
    lost = []
    for step in STEPS[:-1]:
        times = [student.times[step] for student in students if step in student.times]
        if times:
            print(f"| {step} | {statistics.median(times):.1f} | {max(times):.1f} |")
    if steps:
        print(f"| a slider's step, ms | {statistics.median(steps):.0f} | {max(steps):.0f} |")
    measured = [memory_of(student.name) for student in students]
    print("\n| MB of each student, mean | its own (USS) | with its share (PSS) |\n|---|---|---|")
    for i, label in enumerate(["server", "kernel"]):
        uss, pss = (statistics.mean(m[i][j] for m in measured) for j in (0, 1))
        print(f"| {label} | {uss:.0f} | {pss:.0f} |")
    print(f"all students: {sum(m[i][1] for m in measured for i in (0, 1)) / 1000:.1f} GB\n")

    if not options.no_kills:
        print(f"kills with seed {options.seed}", flush=True)
        lost = kills(students, options.seed, took / 2)
        print(f"saved notebooks lost: {len(lost)}")
    everybody(students, lambda student, _: student.timed("log out", student.log_out))
    failures = [f"{student.name}: {text}" for student in students for text in student.failures]
    print(f"failures: {len(failures)}", *failures, sep="\n", flush=True)
    sys.exit(bool(failures or lost))


if __name__ == "__main__":
    main()
