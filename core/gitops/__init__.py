"""GitOps: files as the desired state of one tenant and environment. Pure, but for `files`, which reads a directory.

files      a manifest and the files that it names, read below its directory and nowhere else
desired    texts -> items, with every fault and its place
compare    items and what is there -> create, update, unchanged, prune
promotion  which deployments of one environment take which revision of another
export     what is there -> files
"""
