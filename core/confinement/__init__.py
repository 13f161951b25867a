"""The sandbox of worker processes (setting `sandbox`): what the kernel keeps them from, whatever runs in them.

    sandbox     puts this process into it, once and for good, and says how far that went
    places      which directories are open: the interpreter, the system read-only, and what its owner names
    landlock    files, other processes and signals, by landlock(7)
    seccomp     system calls and families of sockets, by seccomp(2)
    starting    programs with fewer places than who starts them
    computing   a process that is left with its memory and one descriptor: for parsers
    process     limits, privileges, memory that others cannot read, a home and a temporary directory of its own

Landlock alone leaves one way out that matters: `engine.sock`, whose caller is the operator of every tenant. Only the
filter of system calls closes that, so a sandbox without it is told as partial.
"""
