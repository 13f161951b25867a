"""Deployments: what shall run, where, and why; compared with what runs, and brought to it.

A plan, in reading order:
    surroundings -> expand    the jobs that a source means: parameters, placeholders, transports
        (draft, transports, message_edges, streams, spool: the pieces that jobs are woven of)
    placement                 where each replica runs
    plan                      what would change, as ordered values
    planning, summary         how a plan is stored, made again, and told to a person
An apply:
    apply                     what is checked of a plan before it is applied
    rollout                   carries it out and takes it up after a crash; gate judges whether it came up
Afterwards:
    observed -> reconcile     what the fleet shows; drift, and the steps that mend it
    healing, edits            takes the steps for one deployment; hand edits that somebody accepts
    keeper                    does all of that again and again
"""
