"""With CLASSROOM_HOST a script on one student's page gets nothing of who looks at it.

Run by tests/test_classroom.py on a throwaway machine. Eve's page is whatever her server might
answer; ada, logged in, has come to look at it.
"""

import pytest
from load_test import start_classroom  # which puts the course's tests on the path

HUB = "http://class.localhost:8000"  # a browser finds every name under localhost on this machine
ADA = "http://ada.class.localhost:8000"
EVE = "http://eve.class.localhost:8000"

# The status and the address where a script's request ended, or what the browser said instead.
FETCH = """async ([method, url]) => {
    try {
        const answer = await fetch(url, {method, credentials: "include"});
        return `${answer.status} ${answer.url}`;
    } catch (error) { return String(error); }
}"""


@pytest.fixture(scope="module")
def browser():
    """Ada's: she has logged in and her server is on."""
    from browser import chromium_browser, new_page

    ada, _ = start_classroom(["ada", "eve"], CLASSROOM_HOST=HUB)
    with chromium_browser() as running, new_page(running) as page:
        page.goto(f"{HUB}/hub/login?next=/hub/spawn/ada")
        page.fill("#username_input", ada.name)
        page.fill("#password_input", ada.password)
        page.click("#login_submit")
        page.wait_for_url(f"{ADA}/**", timeout=300_000, wait_until="commit")
        page.goto(f"{ADA}/user/ada/api/status")  # JupyterLab would start a kernel
        yield page.context


def page_at(browser, address):
    """A page without a script of its own."""
    page = browser.new_page()
    html = {"body": "<p>anything", "content_type": "text/html"}
    page.route(address, lambda route: route.fulfill(**html))
    page.goto(address)
    return page


@pytest.fixture(scope="module")
def eve_s_page(browser):
    return page_at(browser, f"{EVE}/user/eve/any")


def test_a_script_of_the_hub_s_own_origin_may_read(browser):
    """Or the refusals below would say nothing."""
    page = page_at(browser, f"{HUB}/hub/any")
    assert page.evaluate(FETCH, ["GET", f"{HUB}/hub/token"]) == f"200 {HUB}/hub/token"


@pytest.mark.parametrize("method", ["GET", "POST"])
@pytest.mark.parametrize(
    "url",
    [
        *(f"{HUB}/hub/token", f"{HUB}/hub/api/users/ada", f"{HUB}/hub/api/users/ada/tokens"),
        *(f"{ADA}/user/ada/lab", f"{ADA}/user/ada/api/contents", f"{ADA}/user/ada/api/kernels"),
    ],
)
def test_a_script_on_another_s_page_reads_and_does_nothing(eve_s_page, browser, method, url):
    assert eve_s_page.evaluate(FETCH, [method, url]) == "TypeError: Failed to fetch"
    own = browser.new_page()
    kernels = own.goto(f"{ADA}/user/ada/api/kernels")
    assert (kernels.status, kernels.json()) == (200, [])
    own.close()


@pytest.mark.parametrize("path", ["hub/token", "hub/home", "hub/api/users/ada"])
def test_the_hub_does_not_know_who_asks_through_another_s_address(eve_s_page, path):
    answer = eve_s_page.evaluate(FETCH, ["GET", f"/{path}"])
    assert answer.startswith("403") or "/hub/login" in answer or "Failed to fetch" in answer


def test_another_s_page_has_none_of_the_cookies(eve_s_page, browser):
    secrets = [cookie["value"] for cookie in browser.cookies([f"{HUB}/hub/", f"{ADA}/user/ada/"])]
    assert secrets
    cookies = eve_s_page.evaluate("document.cookie")
    assert not [secret for secret in secrets if secret in cookies]
