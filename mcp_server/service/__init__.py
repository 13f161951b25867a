"""Sluice as a service of its machine, under systemd.

notify      what a service tells the service manager; a datagram socket (sd_notify(3))
watch       when it is told that the engine is ready, works, and stops
quoting     words of ours in a unit file: nothing of a path is a specifier, a variable or a second word
unit        the unit file, from what is wanted of it
installing  writes it, takes it away, tells how it is
"""
