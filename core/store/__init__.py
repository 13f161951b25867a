"""The store: one SQLite file with one writer and short reads; nothing else in Sluice touches the database.

`database` runs functions of the form `fn(db, *args)`; the modules named after nouns hold those functions and the only
SQL there is. Reading order: database -> migrations -> run_commits -> invocations.

    database    the writer and the readers; pace: whether short writes are committed on the loop or in the thread;
                connection: how a transaction begins and ends; replaced_files, stray_opens: its files stay its own
    migrations  the schema, step by step (upgrades: the copy that is kept before); rows: a named type for each table
    run_commits the two commits of a run: accepted (with its idempotency key), and what workers sent
                invocations, dispatches, messages (bodies: those of runs, from their records), callbacks, triggers;
                owed: what a start finds; forgetting: records of runs that leave, whose messages get bodies
                of their own (messages.keep_bodies); usage: how much they take
    deployments with saved_plans, workloads, deaths (ends of workers), worker_groups; conditions: since when each is
                as it is; job_runs: what jobs ran, and how it went
    external_workers  which have joined; enrolment: who may; disclosures: which secrets they got
    schedules   where the timetable of each job stands, its pause, and runs that were asked for
    workflows   with catalog (installed from portals); jobs, job_drafts: single jobs; draft_conflicts: two
                edit one draft; gitops
    contexts    with variables, secrets
    kv          values of jobs; kv_usage
    logins      people and their sign-ins; role_bindings; service_accounts; mcp_grants
    tokens      API keys; audit: who did what; replays: idempotency keys of writes over HTTP; activity: of MCP sessions
    copies      of open databases, for backups
    home        whose database this is; license; inspection: a look without owning it
    logbook     logs of jobs, in a file of their own: log_chunks (how lines lie in it), log_rows, log_search
    letterbox   dead letters, in a file of their own as well: letter_rows
    series      what workloads did over time, in a file of their own
    shares      how much each tenant may keep of a table; fulltext: an index in memory
"""
