"""Dead letters: events that a job could not bring to their end, kept with where and why until somebody decides.

The way of a refused event, and what makes sure that no death of a process loses one on it:

    output      (or an action, or a reader of files) refuses one event, and goes on with the others of its batch:
                `Run.leave_out` counts it, tells the log of the job, and gives it to the outbox of the job
    outbox      core.worker.letters: takes the event as it is at that step, without the secrets that the worker was
                given, cut to 256 KiB; from now on the worker *owes* a letter
    frame       a call `letters` of the worker, with what has come since the call before (core.channel); one at a time
    engine      core.fleet.letter_calls: whose letters they are, by the workload that the worker was told to run
    store       core.store.letterbox: `letters.db`, synchronous FULL, a thread of its own; what is put meanwhile is
                committed together
    answer      comes when the letters are on the disk, or when there is no room for them: then they are counted. It
                always comes, so that a full box holds up no job
    settle      core.worker.flight, executor: a batch (or a message) that the output has accepted is settled when all
                letters are answered that its run owed by then, and only then its source forgets it

Whoever is killed on the way, worker or engine: the source has not been settled, its events come again, and what is
refused again is a letter again. So no crash loses a refused event, and some letters may be there twice. What finds the
box full is dropped, and counted.

Back goes a letter as a *replay* (core.letters.replaying picks it; core.worker.replaying begins at its step): from the
step that it names, in the version of its job that runs now, so many a second. One that is refused again stays the same
letter, with one attempt more.
"""
