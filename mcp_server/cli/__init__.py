"""The command line. Most commands are forms, made of the declarations of operations.

main                what commands there are; leading: common flags before the command
form -> forms       how an operation is typed and its answer shown: one table
commands            makes commands of it: words -> arguments (the params models) -> the engine -> render
connect             the common flags, and the way to the engine; failures, progress, wording, samples
noun by noun        what is more than call and show: plans, deployments, gitops, jobs, kv, invocations, messages ...
serve, join, mcp    what runs for long; signals ends it
demo, stage, doctor, checkup, install, completion, login
"""
