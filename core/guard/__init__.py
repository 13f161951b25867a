"""What jobs, callbacks and portals may reach, and the only ways in which they do: addresses and files.

Reaching out, in reading order:

    addresses   the deny table, and URLs that every parser reads alike
    dialing     every connection: the rules of addresses, asked of the very address that is connected to
    egress      HTTP over them: deadlines, bounded bodies, no redirects
    listen      where a job may listen, and with which certificate
    openings    what a worker opens to its jobs besides files, as it tells it: for plans

Files:

    filepolicy  the value that says what the operator has opened for the jobs of a worker; it decides nothing
    pathrules   decides which paths a job of a tenant may read and write, and refuses the others: for plans and openings
    file_access every opening of a file, held to that decision; nofollow: the kernel refuses symbolic links (openat2(2))
    open_places what the sandbox of a process has to leave open for that

Nothing here knows a job document: the limits come as arguments, and what is refused is raised as Forbidden.
"""
