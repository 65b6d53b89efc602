"""JupyterHub for a class on one machine: Unix accounts, and a systemd unit for every student.

README.md beside this file says what the teacher does. The environment may set

    CLASSROOM_URL       where the proxy listens; without it on this machine alone
    CLASSROOM_HOST      the class's public address, to give each student an origin of their own
    CLASSROOM_STUDENTS  how many share the machine's cores; 30
    CLASSROOM_MEMORY    what one student may hold at most; 2G
"""

import os
import sys
from pathlib import Path

if os.geteuid() != 0 or not Path("/run/systemd/system").is_dir():
    raise SystemExit("The class's hub starts students' units: it needs to be root, under systemd.")

c = get_config()  # noqa: F821
COURSE = Path(__file__).resolve().parent.parent
STUDENTS = int(os.environ.get("CLASSROOM_STUDENTS", "30"))
THREADS = max(1, len(os.sched_getaffinity(0)) // STUDENTS)

c.JupyterHub.bind_url = os.environ.get("CLASSROOM_URL", "http://127.0.0.1:8000")
c.JupyterHub.subdomain_host = os.environ.get("CLASSROOM_HOST", "")
c.JupyterHub.cleanup_servers = False  # students go on while the hub restarts
c.ConfigurableHTTPProxy.command = [
    f"{sys.prefix}/bin/node",
    f"{sys.prefix}/node_modules/.bin/configurable-http-proxy",
]

# Who has an account in one of these groups may log in; nobody can sign up.
c.JupyterHub.authenticator_class = "pam"
c.PAMAuthenticator.allowed_groups = {"students", "teachers"}
c.PAMAuthenticator.admin_groups = {"teachers"}

c.JupyterHub.spawner_class = "systemd"
c.Spawner.cmd = [sys.executable, str(COURSE / ".classroom" / "start.py")]
c.Spawner.notebook_dir = "~/course"
c.Spawner.default_url = "/lab/tree/notebooks/index.ipynb"
c.Spawner.http_timeout = 300  # thirty at once, on two cores
c.Spawner.poll_interval = 10  # how soon a server that died is noticed, in seconds
c.Spawner.disable_user_config = True  # or a student's extension could answer with any page
c.Spawner.environment = {
    "OMP_NUM_THREADS": str(THREADS),
    "OMP_WAIT_POLICY": "passive",  # or the threads of thirty kernels spin while they wait
    # What a cell frees goes back to the machine: 10 % less after notebook 2.
    **{"MALLOC_ARENA_MAX": "1", "MALLOC_MMAP_THRESHOLD_": "131072"},
    "MALLOC_TRIM_THRESHOLD_": "131072",
    "IMAGENET_MODEL": "efficientnet_lite0",  # VGG16 takes 528 MB, of the disk and of the memory
}
c.Spawner.args = [
    # Over TCP any user of the machine could listen to what a kernel prints.
    "--KernelManager.transport=ipc",
    "--MappingKernelManager.cull_idle_timeout=3600",
    "--MappingKernelManager.cull_connected=True",  # pages stay open overnight
]

c.Spawner.mem_limit = os.environ.get("CLASSROOM_MEMORY", "2G")
c.Spawner.cpu_limit = THREADS
c.SystemdSpawner.extra_paths = [f"{sys.prefix}/bin"]
c.SystemdSpawner.disable_user_sudo = True
c.SystemdSpawner.isolate_tmp = True
c.SystemdSpawner.isolate_devices = True
c.SystemdSpawner.unit_extra_properties = {
    "MemorySwapMax": "0",  # or the limit would end where the swap begins
    "ProtectSystem": "strict",
    "ProtectHome": "tmpfs",  # the others' homes are not even seen
    "BindPaths": "/home/{USERNAME}",
    "BindReadOnlyPaths": f"{COURSE} {sys.prefix} {sys.base_prefix}",  # wherever they lie
    "ProtectProc": "invisible",
    "RestrictSUIDSGID": "yes",
    "UMask": "0077",
}

c.JupyterHub.services = [
    {
        "name": "idle-culler",
        "command": [sys.executable, "-m", "jupyterhub_idle_culler", "--timeout=7200"],
    }
]
c.JupyterHub.load_roles = [
    {
        "name": "idle-culler",
        "services": ["idle-culler"],
        "scopes": ["list:users", "read:users:activity", "read:servers", "delete:servers"],
    }
]
