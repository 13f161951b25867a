"""The data plane: a process that runs jobs and never sees the store.

__main__ -> runtime    the process, and the workloads that it holds; link is its end of the channel to the engine, and
                       cuts and masks whatever leaves by it
executor -> pump       one job: fired (firings: by its timetable and watermark, by orders of the engine; overtaking: one
                       that ends the run before), its batches moved to the output (flight, runs, waits)
letters                what becomes of refused events, and what waits for it (forwarding: sent on; replaying: once
                       more, from their step)
under_way              the runs that have begun, of which the long ones are told
environment            what a job may ask of its worker: channels, kv, journal (its log; in_run: of which run a line
                       is), redact (no secrets in it); contacts: whether its input and output reach what they connect to
turns, turnbook        jobs take turns, and the witness knows whose code runs; ceiling bounds the memory, vitals tells
predecessor            one process for each name: what is left of the one before is ended
lease                  of a worker of another machine: whoever was silent for its length has nothing left to do
trace, preview         a job over a few events, without an effect outside
"""
