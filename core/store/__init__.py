"""The store: one SQLite file, one writer thread, short reads; nothing else in Sluice touches the database.

`database` runs functions of the form `fn(db, *args)`; the modules named after nouns hold those functions and the
only SQL there is. Reading order: database -> migrations -> invocations.
"""
