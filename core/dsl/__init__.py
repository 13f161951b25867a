"""The job language: components declared once, documents compiled to one function per batch.

In reading order, each on those below it:

    reference/     the manual and the schema of the language, read off its declarations
    inputs/, actions/, outputs/   the components: one file for each, or for a small family
    stores/        object stores, for the inputs and outputs of whole objects
    connections/   what components share to deal with another side: requests, sockets, streams, leases, retries
    texts/         the text of PDF and Word files, read in a process without rights
    files/         what they share to deal with files: what was read, what is left out, what is around the content
    language/      what a document means, down to the function that a batch goes through
    events/        how one event is read and changed: selectors, values, patterns, Lua, generated code
    component      what a component is, and what it is given: events, runs, limits, the worker's side

Start with component, then language/compile.
"""
