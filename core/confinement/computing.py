"""A process that computes and does nothing else: no files, no network, no other processes, and bounded memory.

For parsers of what strangers have made. Whatever takes such a process over is left with the descriptor that it was
given, its own memory and the clock; there is nothing to read and nobody else to tell.
"""

from __future__ import annotations

import resource

from core.confinement import landlock, process, seccomp


def enter(most_bytes: int, *, confined: bool) -> None:
    """Leave this process, which has one thread, with descriptor 0 and at most so much memory, until its end.

    What it needs has to be imported before. `confined`: by Landlock and a filter of system calls, as far as the kernel
    has them. Without it the limits alone hold; one of them keeps the process from opening anything. Raises OSError
    where the kernel refuses a part that it says it has.
    """
    filtered = confined and seccomp.supported()  # asked while there are files
    process.hide_memory()
    if confined:
        process.give_up_privileges()
        if landlock.abi():
            landlock.restrict(())
    resource.setrlimit(resource.RLIMIT_FSIZE, (0, 0))
    resource.setrlimit(resource.RLIMIT_NOFILE, (1, 1))  # what is open stays; a new descriptor would be beyond it
    resource.setrlimit(resource.RLIMIT_AS, (most_bytes, most_bytes))
    if filtered:  # last: it takes the calls that are above
        seccomp.install_for_computing()
