"""Becomes what a worker is (its own options, its own way into the sandbox) and runs the probe there.

confined.py USER PARENT PLACES OUTSIDE < options of a worker, as JSON
"""

from __future__ import annotations

import os
import socket
import sys

from core.worker import __main__ as worker
from core.worker.runtime import Options
from tests.attacks import probe

user, *rest = sys.argv[1:]
options = Options.from_json(sys.stdin.read())
if int(user) != os.geteuid():
    os.setgroups([])
    os.setgid(int(user))
    os.setuid(int(user))
near, far = socket.socketpair()
entered = worker._confine(options, near)
os.chdir(os.environ["TMPDIR"])
print(entered.state)
probe.main(*rest)
