"""Why something is as it is: the causes in the order of time, and the calls that help.

`facts` reads what is known; `chain` has the values, and the other modules, one for each noun, are pure. Start with
deployments. `responsible` finds the value that a failure comes from, in the `origins` of what a job was given, and
`deployment_facts` reads what they need. `targets` judges the other end of a trigger, for `explain` and for the answer
to whoever publishes one. `conditions` says since when things are as they are and what was down; `worker_facts` reads
what is known of a worker.

An explanation leads to explanations of what is further down (invocation, plan; trigger, deployment; job, workload;
worker) and never back, so that who follows them arrives.
"""
