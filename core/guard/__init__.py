"""What jobs, callbacks and portals may reach, and the only ways in which they do: addresses and files.

Reaching out, in reading order:

    addresses   the deny table, and URLs that every parser reads alike
    dialing     every connection: the rules of addresses, asked of the very address that is connected to
    egress      HTTP over them: deadlines, bounded bodies, no redirects
    listen      where a job may listen, and with which certificate

Files:

    filepolicy  where the jobs of one worker may read and write: what the operator opened, what is always closed
    filerules   the same for one tenant: where a relative path starts, and what its text alone refuses, as a plan does
    paths       every opening of a file, held to it by the kernel; opening: openat2(2)

Nothing here knows a job document: the limits come as arguments, and what is refused is raised as Forbidden.
"""
