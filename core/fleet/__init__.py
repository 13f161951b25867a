"""The owner's side of the workers: their processes, what they shall run, and what they send.

Reading order: child (a process) -> connection (its channel) -> traffic (what it sends) -> fleet (all of them).
reach says where their jobs may have files; unmanaged puts single jobs on them and takes them away;
workforce is what admins say about workers and groups; log_reading asks workers for the lines of a job;
secrets knows the jobs that use one.
"""
