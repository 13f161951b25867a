"""The owner's side of the workers: their processes, what they shall run, and what they send.

Reading order: child (a process) -> connection (its channel) -> traffic (what it sends) -> fleet (all of them).

    processes   started, started again, killed when silent; child: one of them; kernel: what the kernel tells of its end
    fleet       what workers are told; hearing: what they say; connection: one of them; channels: what is between
                their jobs
    workloads   what shall run, and how far it is; failing: when one is well again; holdings: what workers really hold
    conditions  since when each workload and worker is as it is, and outages; adds `warning`. health: from states alone.
                evidence: decides by the shares and times that count (1 % refused, lag; targets: how long one may take
                nothing) -> verdicts: words it by type; judge: collects, and when it is decided anew; health_changes
    workload_listing  which of them a list shows; sampling: what they did over time
    runs        the runs of jobs on record (those alike folded into one row), and the end of one that somebody wants
    traffic     messages and settlements of a tick, committed together; kv_calls: what jobs ask of the KV store;
                letter_calls: refused events
    deaths      which job was at work when a worker ended -> inquest (what follows) -> quarantine: the rule;
                probation: the same for its tenant
    groups      who is where, and which tenants a group admits; workforce: as admins change it
    unmanaged   puts single jobs on workers (assignment: on which) and takes them away; reach: where jobs may have files
    timetables  where the schedule of each job stands, its pause too, kept over restarts (scheduled: what follows of
                that; schedule_record: written; left_out: what kept the firings that were not made);
                schedules: what people see of it (next times in its zone) and ask; orders: the runs that they ask for
    secrets     the jobs that use one; secret_needs: which worker gets it; disclosures: which of other
                machines ever got it
    logs        what jobs wrote; log_reading: from where it is; run_logs: of one run or invocation
"""
