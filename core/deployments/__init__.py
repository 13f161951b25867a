"""Deployments: what shall run, where, and why; compared with what runs, and brought to it.

Plan and apply, in reading order; each step is a module or a few:

    compute   planner         what somebody asks for, with what the engine knows: a plan; nothing is saved
              compute         the same without I/O: documents -> jobs -> places -> changes
                  surroundings -> expand    the jobs that a source means: parameters, placeholders, transports
                      (draft, transports, message_edges, streams, spool: the pieces that jobs are woven of)
                  closed                    what a job needs that its workers do not open
                  placement                 where each replica runs; leveling: as few moves as even a group out
                  changes, plan_text        what would change, as ordered values and for a person
              remnants                  what the jobs that go leave behind
              resets                    from where readers read on, when somebody says so
    save      saved_plans     a plan is kept, made again from what was kept, shown a page at a time
    check     check           may it be applied now? what moved, expired, is missing
    commit    apply           carries a saved plan out: check, a worker for every replica, commit, wait
              rollout         the wish becomes the present one in one transaction, and workers are told
    watch     health_gate     has it come up? rollout asks it, under the next owner too, and takes back what has not

Afterwards:

    history                   what was done at each revision, by whom and why; what differs between two
    observed -> status        what the fleet shows, and the state that follows from it
    watcher                   keeps since when each deployment is in that state
    reconcile                 drift, and the steps that mend it
    healing, edits            takes the steps for one deployment; hand edits that somebody accepts
    keeper                    does that again and again; draining: gives away what a worker has

walk takes events through all that a source means, without running it.
answers shows deployments; records finds deployments and saved plans in the store.
"""
