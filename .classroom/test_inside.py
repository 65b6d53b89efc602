"""What a student may not do, tried on the real hub, and what survives when things are killed.

Run by tests/test_classroom.py on a throwaway machine: ada, bob and eve are students, ada's server
is on and bob tries; what breaks, breaks eve's. Each test leaves all three with a server and a
kernel, so the order does not matter.
"""

import json
import os
import re
import signal
import sys
import time
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import pytest
import requests
import websocket
from browsing import COURSE, explorers_page, log_in
from load_test import CHAPTER, everybody, main_process, shell, start_classroom, wait_for_hub
from students import HUB, Student


@pytest.fixture(scope="module")
def students():
    """Three students with a server and a kernel each."""
    students = start_classroom(["ada", "bob", "eve"])

    def begin(student, _):
        assert student.log_in()
        student.page = student.start_server()
        student.open_kernel(CHAPTER)

    everybody(students, begin)
    assert [student.failures for student in students] == [[], [], []]
    return students


@pytest.fixture(scope="module")
def ada(students):
    return students[0]


@pytest.fixture(scope="module")
def bob(students):
    return students[1]


@pytest.fixture(scope="module")
def eve(students):
    return students[2]


def printed(student, code):
    """What the student's kernel prints."""
    student.reconnect()  # the server closes a websocket that nobody read for a while
    outputs = student.run(code)
    assert [o for o in outputs if o["output_type"] == "error"] == []
    return "".join(o["text"] for o in outputs if o["output_type"] == "stream").strip()


def tried(student, command):
    """What a shell command answers in the student's kernel, errors too."""
    run = f"subprocess.run({command!r}, shell=True, capture_output=True, text=True)"
    return printed(
        student, f"import subprocess\nr = {run}\nprint(r.returncode, r.stdout, r.stderr)"
    )


def test_the_start_page_opens_first_in_an_own_copy(ada):
    assert ada.page.url == f"{HUB}/user/ada/lab/tree/notebooks/index.ipynb"
    assert "Adversarial examples" in ada.read("notebooks/index.ipynb")["cells"][0]["source"]
    assert printed(ada, "import os; print(os.getcwd())") == "/home/ada/course/notebooks"


@pytest.mark.parametrize(
    "path",
    [
        *("hub/home", "hub/admin", "hub/signup", "hub/token", "hub/spawn/ada", "hub/api/users"),
        *("hub/api/proxy", "services/", "user/ada/lab", f"user/ada/files/{CHAPTER}"),
        *("user/ada/api/contents", "user/ada/api/kernels", "user/ada/terminals/1"),
    ],
)
def test_without_a_login_there_is_only_the_login_page(students, path):
    answer = requests.get(f"{HUB}/{path}", headers={"Sec-Fetch-Mode": "navigate"}, timeout=30)
    login = answer.ok and "/hub/login" in answer.url and 'name="password"' in answer.text
    assert login or answer.status_code in (403, 404), (answer.status_code, answer.url)
    assert "Adversarial" not in answer.text


@pytest.mark.parametrize(
    ("name", "password"),
    [("ada", "secret of bob"), ("root", "")],
)
def test_only_an_account_of_the_class_with_its_password_logs_in(students, name, password):
    assert not Student(name, password).log_in()


def test_an_account_outside_the_class_cannot_log_in(students):
    shell("useradd --create-home guest; echo guest:guest | chpasswd")
    assert not Student("guest", "guest").log_in()


@pytest.mark.parametrize(
    "path",
    [
        *("lab", f"files/{CHAPTER}", f"api/contents/{CHAPTER}"),
        *("api/contents", "api/kernels", "api/sessions", "api/terminals"),
    ],
)
def test_a_student_does_not_see_another_s_server(ada, bob, path):
    answer = bob.visit(f"{HUB}/user/ada/{path}")
    assert answer.status_code == 403
    assert "epsilon" not in answer.text


def test_a_student_cannot_reach_another_s_kernel(ada, bob):
    cookies = "; ".join(f"{cookie.name}={cookie.value}" for cookie in bob.browser.cookies)
    with pytest.raises(websocket.WebSocketBadStatusException, match="403"):
        websocket.create_connection(
            f"ws{HUB[4:]}/user/ada/api/kernels/{ada.kernel}/channels", cookie=cookies
        )


def test_a_student_s_token_opens_the_own_server_only(ada, bob):
    token = printed(bob, "import os; print(os.environ['JUPYTERHUB_API_TOKEN'])")
    headers = {"Authorization": f"token {token}"}
    for path in ("user/ada/api/contents", "hub/api/users", "hub/api/users/ada", "hub/api/proxy"):
        answer = requests.get(f"{HUB}/{path}", headers=headers, timeout=30)
        assert answer.status_code in (403, 404), path
    for method, path in (("DELETE", "users/ada/server"), ("POST", "users/ada/tokens")):
        answer = requests.request(method, f"{HUB}/hub/api/{path}", headers=headers, timeout=30)
        assert answer.status_code in (403, 404), path


def test_a_student_sees_neither_the_others_nor_the_hub_s_secrets(ada, bob):
    assert tried(bob, "ls /home").split()[1:] == ["bob"]
    for path in (
        "/home/ada/course",
        "/var/lib/classroom",
        "/run/jupyter-ada-singleuser",
        "/etc/shadow",
    ):
        assert not tried(bob, f"cat {path} {path}/*").startswith("0 "), path
        assert shell(f"ls {path}").stdout, f"{path} is not there, so nothing was tried"
    # Processes, and with them their environments, and the sockets of their kernels.
    owners = tried(bob, "stat --format=%U /proc/[0-9]* | sort --unique").split()[1:]
    assert owners == ["bob"]
    assert "ada" not in tried(bob, "ls -R /tmp /run/user /dev/shm 2>/dev/null")


def test_a_student_does_not_become_root(bob):
    assert tried(bob, "grep NoNewPrivs /proc/self/status").split()[1:] == ["NoNewPrivs:", "1"]
    assert not tried(bob, "su root --command id < /dev/null").startswith("0 ")
    assert not tried(bob, "sudo -n id").startswith("0 ")
    for place in ("/srv/course/helpers", "/srv/course/.classroom", sys.prefix, "/etc", "/usr/bin"):
        assert not tried(bob, f"touch {place}/x").startswith("0 "), place


def test_what_a_kernel_prints_goes_through_no_network_port(ada):
    """Over TCP anybody on the machine could read it."""
    runtime = Path("/home/ada/.local/share/jupyter/runtime")
    connection = json.loads((runtime / f"kernel-{ada.kernel}.json").read_text())
    assert connection["transport"] == "ipc"
    assert runtime.stat().st_mode & 0o077 == 0


def test_too_much_memory_ends_the_kernel_and_nothing_else(ada, eve):
    server = main_process("jupyter-eve-singleuser")
    eve.reconnect()
    with pytest.raises(ChildProcessError):
        eve.run("x = b'1' * 3_000_000_000")
    assert printed(eve, "print('x' in globals())") == "False"  # a new one took its place
    assert main_process("jupyter-eve-singleuser") == server
    assert printed(ada, "print(6 * 7)") == "42"
    assert main_process("classroom") > 0


@pytest.fixture(scope="module")
def browser(students):
    from browser import chromium_browser

    with chromium_browser() as running:
        yield running


@pytest.fixture(scope="module")
def logged_in(browser, ada):
    """A browser's context in which ada has logged in and been to the own server."""
    from browser import new_page

    with new_page(browser) as page:
        log_in(page, ada, "/user/ada/api/status")
        yield page.context


def test_a_slider_moves_and_a_drawn_digit_is_attacked_behind_the_hub_s_path(logged_in, ada):
    import test_lab

    with explorers_page(logged_in, ada, CHAPTER) as page:
        page.add_script_tag(path=COURSE / "tests/test_lab.js")
        explorer = next(test_lab.explorers(page))
        test_lab.press(explorer, "Home")
        before = test_lab.wait_for_step(explorer)
        test_lab.press(explorer, "End")
        assert test_lab.wait_for_step(explorer) != before
        page.get_by_role("img", name="your drawing").wait_for()
        test_lab.draw_and_attack(page, test_lab.Mouse(page), 7)


def test_an_uploaded_photograph_is_attacked_behind_the_hub_s_path(logged_in, ada):
    import test_lab

    photo = Path("/tmp/holiday.jpg")
    photo.write_bytes((COURSE / "images/photos/castle.jpg").read_bytes())
    with explorers_page(logged_in, ada, "notebooks/05_fgsm_vgg16_imagenet.ipynb") as page:
        (explorer,) = test_lab.explorers(page)
        test_lab.upload(explorer, photo)
        explorer.get_by_role("img", name="original image: castle").wait_for()
        test_lab.press(explorer, "End")
        explorer.get_by_role("img", name=re.compile("^adversarial image .*✗")).wait_for()


@pytest.fixture(scope="module")
def stranger(logged_in):
    """Ada's browser at a page that eve's server might answer with."""
    page = logged_in.new_page()
    html = {"body": "<p>anything", "content_type": "text/html"}
    page.route("**/user/eve/any", lambda route: route.fulfill(**html))
    page.goto(f"{HUB}/user/eve/any")
    return page


@pytest.mark.parametrize(
    ("method", "path"),
    [
        *(("GET", "/user/ada/api/contents"), ("PUT", "/user/ada/api/contents/mine.txt")),
        *(("POST", "/user/ada/api/kernels"), ("GET", "/user/ada/lab")),
        *(("GET", "/hub/api/users/ada"), ("POST", "/hub/api/users/ada/tokens")),
        ("DELETE", "/hub/api/users/ada/server"),
    ],
)
def test_a_script_on_another_s_page_cannot_act_as_who_looks_at_it(stranger, method, path):
    status, address = stranger.evaluate(
        """async ([method, path]) => {
            try {
                const answer = await fetch(path, {method});
                return [answer.status, answer.url];
            } catch { return [0, ""]; }  // refused by the browser
        }""",
        [method, path],
    )
    assert status in (0, 403) or "/hub/login" in address, (status, address)


def test_another_s_page_has_neither_the_token_nor_a_frame_of_the_own_server(stranger):
    assert "_xsrf" not in stranger.evaluate("document.cookie")
    policy = stranger.request.get(f"{HUB}/user/ada/lab").headers["content-security-policy"]
    assert re.search(r"frame-ancestors '(none|self)'", policy)


def test_a_cell_goes_on_while_the_hub_and_its_proxy_are_killed(students, ada):
    go = Path("/home/ada/go")
    code = f"import os, time\nwhile not os.path.exists({str(go)!r}):\n    time.sleep(0.1)\nprint(6)"
    with ThreadPoolExecutor(1) as pool:
        cell = pool.submit(printed, ada, code)
        try:
            while ada.api("GET", f"kernels/{ada.kernel}")["execution_state"] != "busy":
                time.sleep(0.1)
            before = main_process("classroom")
            os.kill(before, signal.SIGKILL)
            while main_process("classroom") in (0, before):
                time.sleep(0.1)
            wait_for_hub()
            for student in students:
                student.start_server()  # which goes on: the hub shows it again
        finally:
            go.touch()
        assert cell.result() == "6"
    go.unlink()


def test_a_killed_server_comes_back_with_what_was_saved(eve):
    mine = eve.read(CHAPTER)
    mine["metadata"]["mine"] = True
    eve.save(CHAPTER, mine)
    server = main_process("jupyter-eve-singleuser")
    os.kill(server, signal.SIGKILL)
    while main_process("jupyter-eve-singleuser") == server:
        time.sleep(0.1)
    eve.start_server()
    eve.open_kernel(CHAPTER)
    assert eve.read(CHAPTER) == mine


@pytest.fixture(scope="module")
def updated(bob):
    """Bob has changed a chapter and removed one, the course has new ones, his server began again.

    Returns the chapter as bob changed it.
    """
    mine = bob.read(CHAPTER)
    mine["metadata"]["mine"] = True
    bob.save(CHAPTER, mine)
    bob.api("DELETE", "contents/notebooks/04_szegedy_noise.ipynb")
    for path in (COURSE / CHAPTER, COURSE / "notebooks/03_epsilon_sweep.ipynb"):
        path.write_text(path.read_text("utf-8") + "\n", "utf-8")
    bob.stop_server()
    bob.start_server()
    bob.open_kernel(CHAPTER)
    return mine


def test_a_changed_chapter_stays_and_the_new_one_arrives_beside_it(bob, updated):
    assert bob.read(CHAPTER) == updated
    arrived = Path("/home/bob/course", CHAPTER.replace(".ipynb", " (new).ipynb"))
    assert arrived.read_bytes() == (COURSE / CHAPTER).read_bytes()


def test_a_chapter_left_alone_is_replaced_by_the_new_one(updated):
    copy = Path("/home/bob/course/notebooks/03_epsilon_sweep.ipynb")
    assert copy.read_bytes() == (COURSE / "notebooks/03_epsilon_sweep.ipynb").read_bytes()
    assert len(list(copy.parent.glob("03_*"))) == 1


def test_a_removed_chapter_comes_back_as_it_was_handed_out(bob, updated):
    assert bob.read("notebooks/04_szegedy_noise.ipynb")["cells"]
