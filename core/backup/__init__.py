"""Backups: one archive with all of a home, taken while its engine runs; what is in it is checked before it is used.

A backup is what a kill of the engine at one moment would have left (docs/decisions/0033): so everything that holds for
the start after a kill holds for the start after a restore. In order, so that what says how far a reader has come is
never newer than what it has made of it: the files of the home, then the databases, then the data root.

    making      one archive: staging (the copies, one backup at a time), copying (of the databases, in the engine or
                beside none), contents (which files of a home go where), sealing (the keys)
    archive     how an archive lies on the disk; manifest: what it says of itself; trees: files within one part
    checking    every part against the manifest; restoring: into an empty home
    schedule    backups that the engine takes by itself; places: where they are kept; __main__: one of them, as a
                process of its own
"""
