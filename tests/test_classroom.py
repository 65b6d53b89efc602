"""A class on one server: three students on a throwaway copy of this machine, and their files."""

import importlib.util
import math
import os
import re
import shutil
import subprocess
import sys
from pathlib import Path

import pytest
import yaml

ROOT = Path(__file__).parent.parent
CLASSROOM = ROOT / ".classroom"
# A unit with the private folders of a student's starts, and its memory is limited.
LIMITED = "systemd-run --wait --quiet --uid=nobody --property=PrivateTmp=yes "
LIMITED += "--property=PrivateDevices=yes --property=ProtectHome=tmpfs "
LIMITED += "--property=ProtectSystem=strict --property=MemoryMax=50M --property=MemorySwapMax=0"
LIMITS_HOLD = f"systemctl start dbus.socket && {LIMITED} true && "
LIMITS_HOLD += f"! {LIMITED} sh -c 'head -c 300M /dev/zero | tail -c 200M >/dev/null'"
spec = importlib.util.spec_from_file_location("start", CLASSROOM / "start.py")
start = importlib.util.module_from_spec(spec)
spec.loader.exec_module(start)


@pytest.fixture
def source(tmp_path):
    """A course of two files."""
    for name, text in {"notebooks/1.ipynb": "one", "helpers/data.py": "data"}.items():
        path = tmp_path / "source" / name
        path.parent.mkdir(parents=True)
        path.write_text(text)
    return tmp_path / "source"


@pytest.fixture
def copy(source, tmp_path):
    """A student's copy, just handed out."""
    start.deliver(source, tmp_path / "copy")
    return tmp_path / "copy"


def files(copy):
    paths = (path for path in copy.rglob("*") if path.is_file() and path.name != start.DELIVERED)
    return {path.relative_to(copy).as_posix(): path.read_text() for path in paths}


AS_MADE = {"notebooks/1.ipynb": "one", "helpers/data.py": "data"}


def test_the_first_login_brings_the_course(copy):
    assert files(copy) == AS_MADE


def test_what_the_student_left_alone_is_replaced(source, copy):
    (source / "notebooks/1.ipynb").write_text("two")
    start.deliver(source, copy)
    assert files(copy) == AS_MADE | {"notebooks/1.ipynb": "two"}


def test_what_the_student_changed_stays_and_each_new_version_arrives_beside_it(source, copy):
    (copy / "notebooks/1.ipynb").write_text("mine")
    assert start.deliver(source, copy) == []
    for text in ("two", "two", "three"):
        (source / "notebooks/1.ipynb").write_text(text)
        start.deliver(source, copy)
    assert files(copy) == AS_MADE | {
        "notebooks/1.ipynb": "mine",
        "notebooks/1 (new).ipynb": "two",
        "notebooks/1 (new 2).ipynb": "three",
    }


def test_what_the_student_removed_comes_back(source, copy):
    (copy / "notebooks/1.ipynb").unlink()
    start.deliver(source, copy)
    assert files(copy) == AS_MADE


def test_nothing_is_written_over_when_the_record_is_lost(source, copy):
    (copy / "notebooks/1.ipynb").write_text("mine")
    (copy / start.DELIVERED).write_text("{")
    start.deliver(source, copy)
    assert files(copy) == AS_MADE | {"notebooks/1.ipynb": "mine", "notebooks/1 (new).ipynb": "one"}


def test_the_course_is_handed_out_without_what_is_hidden():
    names = {path.as_posix() for path in start.course_files(ROOT)}
    assert {"notebooks/index.ipynb", "helpers/data.py", "images/colab.svg"} <= names
    assert not [name for name in names if "/." in name or "__pycache__" in name]


# The settings of ours that the chart knows, and their types, by its values.schema.yaml
# (jupyterhub/zero-to-jupyterhub-k8s); below the first two it takes whatever stands there.
CHART = {
    "hub.config": dict,
    "hub.resources": dict,
    "hub.concurrentSpawnLimit": int,
    "proxy.service.type": str,
    "singleuser.image.name": str,
    "singleuser.image.tag": str,
    "singleuser.cmd": list,
    "singleuser.defaultUrl": str,
    "singleuser.startTimeout": int,
    "singleuser.memory.guarantee": str,
    "singleuser.memory.limit": str,
    "singleuser.cpu.guarantee": (int, float),
    "singleuser.cpu.limit": (int, float),
    "singleuser.storage.capacity": str,
    "singleuser.extraEnv": dict,
    "cull.enabled": bool,
    "cull.timeout": int,
    "prePuller.continuous.enabled": bool,
    "scheduling.userScheduler.enabled": bool,
}


def settings(values, path=""):
    for key, value in values.items():
        if isinstance(value, dict) and path + key not in CHART:
            yield from settings(value, f"{path}{key}.")
        else:
            yield path + key, value


def test_the_chart_knows_every_setting():
    values = yaml.safe_load((CLASSROOM / "values.yaml").read_text("utf-8"))
    for name, value in settings(values):
        assert name in CHART
        assert isinstance(value, CHART[name]), name


def test_the_department_s_table_follows_from_the_requests():
    text = (CLASSROOM / "README.md").read_text("utf-8")
    student = yaml.safe_load((CLASSROOM / "values.yaml").read_text("utf-8"))["singleuser"]
    asked, allowed = (float(student["memory"][key][:-1]) for key in ("guarantee", "limit"))
    assert {size[-1] for size in student["memory"].values()} == {"G"}
    cores = student["cpu"]["guarantee"]
    (basis,) = re.findall(r"\(([\d.]+) GB and ([\d.]+) core a student, nodes of (\d+) cores", text)
    assert (float(basis[0]), float(basis[1])) == (asked, cores)
    (left,) = re.findall(r"of which (\d+) are left to students", text)
    rows = re.findall(r"^\| ([\d,]+) \| ([\d,]+) GB \| ([\d,]+) GB \| (\d+) \|", text, re.M)
    rows = [[int(number.replace(",", "")) for number in row] for row in rows]
    assert [row[0] for row in rows] == [30, 300, 3000]
    for students, *row in rows:
        on_a_node = min(int(left) // asked, int(basis[2]) // cores)
        nodes = math.ceil(students / on_a_node)
        assert row == [round(students * asked), round(students * allowed), nodes]


@pytest.mark.parametrize("tests", ["test_inside.py", "test_origins.py"])
def test_students_on_a_machine_of_their_own(tests):
    """Those of .classroom, by root on a machine that is thrown away."""
    if os.name != "posix" or os.geteuid() != 0:
        pytest.skip("a throwaway machine needs root")
    if not shutil.which("systemd-nspawn"):
        pytest.skip("a throwaway machine needs systemd-nspawn: apt-get install systemd-container")
    proxy = Path(sys.prefix, "node_modules/.bin/configurable-http-proxy")
    if not (importlib.util.find_spec("jupyterhub") and proxy.exists()):
        pytest.skip("JupyterHub or its proxy is not installed: see .classroom/README.md")
    throwaway = CLASSROOM / "throwaway"
    lacks = ["timeout", "120", throwaway, "bash", "-c", LIMITS_HOLD]
    lacks = subprocess.run(lacks, capture_output=True, text=True)
    if lacks.returncode:
        reason = lacks.stderr.strip() or lacks.stdout.strip() or "no limits or private folders"
        pytest.skip(f"no throwaway machine for the class here: {reason}")
    run_tests = [sys.executable, "-m", "pytest", "-q", "-n0", "-p", "no:cacheprovider"]
    run = subprocess.run(
        ["timeout", "1800", throwaway, *run_tests, f".classroom/{tests}"],
        capture_output=True,
        text=True,
    )
    assert run.returncode == 0, run.stdout[-20_000:] + run.stderr
    assert " passed" in run.stdout
