"""Triggers: the registry of published actions, their runs, and the updates of runs.

Reading order: registry -> invoke -> dispatch -> pending -> responses; records: what a caller may see of them.

    registry   what is published, and who may find it; tools: as MCP tools; schemas, schema_growth: what schemas
               from outside may be
    invoke     a call: checks, idempotency key, what is recorded; limits: rates; quota: what runs may take of the store
    dispatch   the message to the job, and why the job cannot take it; recording: the runs of a tick in one commit
    pending    runs that have not ended: who waits, the one end of each (a response, its deadline: timed_out, a failed
               delivery; store/invocations decides between two), and what comes too late; timer_wheel: one timer
               for all of them
    canceling  a run whose end somebody wants, from the wish on record to what its worker says
    responses  what jobs answer: whether it is well-formed and meant for this run
    callbacks  what is posted of a run -> deliveries (what is owed, and whose turn it is) -> posting (one request, and
               the pauses between tries) -> signing
"""
