"""Programs that are left with fewer places than the process that starts them."""

from __future__ import annotations

import subprocess
import threading
from collections.abc import Sequence
from concurrent.futures import Future
from typing import Any

from core.confinement import landlock, seccomp
from core.confinement.places import Places, rules


def start(arguments: Sequence[str], places: Places | None, **options: Any) -> subprocess.Popen[bytes]:
    """`subprocess.Popen` of a program that can reach these places and the system alone; None: what this process can.

    A thread of its own takes the rules on itself, once and for good: what it starts inherits them, this process does
    not, and nothing runs between fork and exec. Raises OSError; nothing is started then. What the kernel lacks of
    Landlock and seccomp the program is left with as this process is.
    """
    started: Future[subprocess.Popen[bytes]] = Future()
    within = list(rules(places)) if places is not None and landlock.abi() else []
    filtered = places is not None and seccomp.supported()

    def run() -> None:
        try:
            if within:
                landlock.restrict(within)
            if filtered:
                seccomp.install_for_commands()
            started.set_result(subprocess.Popen(arguments, **options))
        except Exception as error:  # a boundary between threads: it is raised where it is waited for
            started.set_exception(error)

    thread = threading.Thread(target=run, name="sluice-start", daemon=True)
    try:
        thread.start()
    except RuntimeError as error:
        raise OSError("there are too many threads to start a program") from error
    thread.join()  # as short as starting a program is
    return started.result()
