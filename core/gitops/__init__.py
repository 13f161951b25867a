"""GitOps: files as the desired state of one tenant and environment: read, compared, carried out, promoted.

In reading order:

    files       a manifest and the files that it names, read below its directory and nowhere else
    desired     texts -> items, with every fault and its place; pure
    reading     items in full, checked against the catalog and contexts as they would be then
    present     what is there now, and what of it each manifest has created
    compare     items and what is there -> create, update, unchanged, prune; pure
    diff        all of that for one manifest: what an apply would do, and what stands in its way
    runs        carries a diff out, one change after the other; steps: how each sort of thing is changed
    promotion   which deployments of one environment take which revision of another; pure
    promoting   what a promotion or a rollback would do, from the runs on record
    status      how each environment stands
    export      what is there -> files; pure
"""
