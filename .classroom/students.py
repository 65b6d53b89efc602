"""Simulated students: they talk to the hub as a browser does, by HTTP and websocket."""

import json
import re
import time
import uuid
from urllib.parse import quote

import requests
import websocket

HUB = "http://127.0.0.1:8000"


class Student:
    """One student's browser.

    ``times`` holds the seconds that each step took, ``failures`` what went wrong.
    """

    def __init__(self, name, password, hub=HUB):
        self.name, self.password, self.hub = name, password, hub
        self.base = f"{hub}/user/{name}"
        self.times, self.failures = {}, []
        self.kernel = self.socket = None
        self.browser = requests.Session()
        # As a browser would say it; without these the hub could not tell a page from a script.
        self.browser.headers["Sec-Fetch-Site"] = "same-origin"

    def timed(self, step, action, *args):
        start = time.monotonic()
        result = action(*args)
        self.times[step] = time.monotonic() - start
        return result

    # The hub's pages.

    def visit(self, address):
        """Go to a page, as by a click."""
        return self.browser.get(address, headers={"Sec-Fetch-Mode": "navigate"}, timeout=120)

    def _xsrf(self, path):
        """The cookie that a form or script on a page of this path would send back."""
        found = [
            (len(cookie.path), cookie.value)
            for cookie in self.browser.cookies
            if cookie.name == "_xsrf" and path.startswith(cookie.path)
        ]
        return max(found)[1] if found else ""

    def log_in(self):
        """True where the hub takes the name and the password."""
        self.visit(f"{self.hub}/hub/login")
        answer = self.browser.post(
            f"{self.hub}/hub/login?next=%2Fhub%2Fhome",
            data={
                "username": self.name,
                "password": self.password,
                "_xsrf": self._xsrf("/hub/"),
            },
            headers={"Sec-Fetch-Mode": "navigate"},
            timeout=120,
        )
        return answer.ok and answer.url.endswith("/hub/home")

    def start_server(self, limit=600):
        """Ask for the own server and wait for its first page; returns that page."""
        deadline = time.monotonic() + limit
        said = ""
        while time.monotonic() < deadline:
            try:
                page = self.visit(f"{self.hub}/hub/spawn/{self.name}")
                if page.ok and page.url.startswith(self.base):
                    return page
                said = f"{page.status_code} {page.url}"
            except requests.ConnectionError as error:  # the hub is away; a student would reload
                said = str(error)
            time.sleep(1)
        raise TimeoutError(f"{self.name}'s server: {said}")

    def stop_server(self, limit=60):
        """What "Stop My Server" does in the hub's control panel."""
        address = f"{self.hub}/hub/api/users/{self.name}/server"
        headers = {"Sec-Fetch-Mode": "cors", "X-XSRFToken": self._xsrf("/hub/")}
        deadline = time.monotonic() + limit
        while self.browser.delete(address, headers=headers, timeout=120).status_code != 204:
            if time.monotonic() > deadline:
                raise TimeoutError(f"{self.name}'s server does not stop")
            time.sleep(0.3)

    def log_out(self):
        self.visit(f"{self.hub}/hub/logout")

    # The own server.

    def api(self, method, path, expect=(200, 201, 204), **options):
        """The answer of the server's API, as JupyterLab's script asks it."""
        answer = self.browser.request(
            method,
            f"{self.base}/api/{path}",
            headers={
                "Sec-Fetch-Mode": "cors",
                "X-XSRFToken": self._xsrf(f"/user/{self.name}/"),
            },
            timeout=120,
            **options,
        )
        if answer.status_code not in expect:
            raise RuntimeError(f"{method} {path}: {answer.status_code} {answer.text[:200]}")
        return answer.json() if answer.content else None

    def read(self, path):
        return self.api("GET", f"contents/{quote(path)}?content=1")["content"]

    def save(self, path, notebook):
        body = {"type": "notebook", "format": "json", "content": notebook}
        self.api("PUT", f"contents/{quote(path)}", json=body)

    def open_kernel(self, path):
        body = {"path": path, "name": path, "type": "notebook", "kernel": {"name": "python3"}}
        self.kernel = self.api("POST", "sessions", json=body)["kernel"]["id"]
        self.session = uuid.uuid4().hex
        self.connect()

    def close(self):
        """Shut all kernels down, as the menu does."""
        if self.socket:
            self.socket.close()
        for session in self.api("GET", "sessions"):
            self.api("DELETE", f"sessions/{session['id']}")

    def connect(self):
        """A websocket to the kernel; after a break the server sends what was missed."""
        if self.socket:
            self.socket.close()
        address = f"{self.base}/api/kernels/{self.kernel}/channels?session_id={self.session}"
        cookies = "; ".join(
            f"{cookie.name}={cookie.value}"
            for cookie in self.browser.cookies
            if f"/user/{self.name}/".startswith(cookie.path)
        )
        self.socket = websocket.create_connection(
            re.sub("^http", "ws", address), cookie=cookies, origin=self.hub, timeout=20
        )

    def reconnect(self, limit=300):
        deadline = time.monotonic() + limit
        while True:
            try:
                return self.connect()
            except (OSError, websocket.WebSocketException):
                if time.monotonic() > deadline:
                    raise
            if self.server_is_gone():  # unless the hub is just learning what runs
                deadline = min(deadline, time.monotonic() + 30)
            time.sleep(1)

    def server_is_gone(self):
        """Whether the hub answers in the server's place, so that a page offers a new one."""
        try:
            answer = self.browser.get(f"{self.base}/api/kernels", allow_redirects=False, timeout=20)
        except requests.RequestException:  # the hub is away
            return False
        return answer.is_redirect or answer.status_code == 424

    def run(self, code, limit=900):
        """Run a cell; returns its outputs. Survives a websocket that breaks meanwhile."""
        message = uuid.uuid4().hex
        header = {"msg_id": message, "msg_type": "execute_request", "session": self.session}
        header |= {"username": self.name, "version": "5.3", "date": "2000-01-01T00:00:00Z"}
        content = {"code": code, "silent": False, "store_history": True, "user_expressions": {}}
        content |= {"allow_stdin": False, "stop_on_error": True}
        request = {"header": header, "parent_header": {}, "metadata": {}, "content": content}
        text = json.dumps(request | {"channel": "shell", "buffers": []})
        try:
            self.socket.send(text)
        except (OSError, websocket.WebSocketException):  # the proxy was away meanwhile
            self.reconnect()
            self.socket.send(text)
        outputs, deadline = [], time.monotonic() + limit
        replied = idle = broken = False
        while not (replied and idle):
            if time.monotonic() > deadline:
                raise TimeoutError(f"{self.name}: a cell ran for more than {limit} s")
            try:
                data = self.socket.recv()
            except websocket.WebSocketTimeoutException:
                # The news that it died may have come while the websocket was broken.
                address = f"kernels/{self.kernel}"
                if broken and self.api("GET", address)["execution_state"] == "idle":
                    raise ChildProcessError(f"{self.name}: the kernel forgot a cell") from None
                continue
            except (OSError, websocket.WebSocketException):
                data = ""
            if not data:  # the other side has closed it
                broken = True
                self.reconnect()
                continue
            answer = _decode(data)
            kind, content = answer["header"]["msg_type"], answer["content"]
            if content.get("execution_state") in ("restarting", "autorestarting", "dead"):
                raise ChildProcessError(f"{self.name}: the kernel died")
            if answer["parent_header"].get("msg_id") != message:
                continue
            if kind in ("stream", "display_data", "execute_result", "error"):
                outputs.append({"output_type": kind} | content)
            replied |= kind == "execute_reply"
            idle |= content.get("execution_state") == "idle"
        return outputs

    def run_all(self, path):
        """Open a notebook, run its cells from the top, save it; returns its outputs."""
        self.close()
        notebook = self.timed("open", self.read, path)
        self.timed("kernel", self.open_kernel, path)
        start = time.monotonic()
        count = 0
        for cell in notebook["cells"]:
            if cell["cell_type"] == "code":
                count += 1
                outputs = self.run(cell["source"])
                errors = [o["evalue"] for o in outputs if o["output_type"] == "error"]
                self.failures += [f"{path}, cell {count}: {error}" for error in errors]
                cell["outputs"], cell["execution_count"] = _saved(outputs, count), count
        self.times["run all"] = time.monotonic() - start
        notebook["metadata"]["student"] = self.name
        self.timed("save", self.save, path, notebook)
        return notebook


def _decode(data):
    """A message of the websocket; those with buffers come as bytes with offsets in front."""
    if isinstance(data, str):
        return json.loads(data)
    parts = int.from_bytes(data[:4], "big")
    offsets = [int.from_bytes(data[4 * i : 4 * i + 4], "big") for i in range(1, parts + 1)]
    return json.loads(data[offsets[0] : offsets[1] if parts > 1 else None])


def _saved(outputs, count):
    """Outputs as a notebook keeps them."""
    keep = {"stream": ("name", "text"), "error": ("ename", "evalue", "traceback")}
    saved = []
    for output in outputs:
        kind = output["output_type"]
        entry = {"output_type": kind}
        entry |= {name: output[name] for name in keep.get(kind, ("data", "metadata"))}
        if kind == "execute_result":
            entry["execution_count"] = count
        saved.append(entry)
    return saved
