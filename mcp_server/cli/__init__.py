"""The command line. Most commands are forms, made of the declarations of operations.

main                what commands there are; leading: common flags before the command
form -> forms       what is typed and shown (columns too) for each operation that has a command: one table
commands            here an operation becomes a command: words -> arguments -> the engine -> render
connect             the common flags, and the way to the engine; failures, progress, wording; examples: the lines below
                    --help; mistyped: what is said of a line that is none; meanings: words of other tools
render              results for programs and for people; tables: what fits a terminal; codes: how a command ends
watching, wait      looking again and again (news: when); names: what the shell completes names with
following           what goes on with the next engine when one ends
up, applying        from files to what runs; confirming: the question before it; starting: a file to begin with
noun by noun        what is more than call and show: plans, deployments, gitops, jobs, kv, invocations, messages ...
serve, join, mcp    what runs for long; signals ends it
demo, stage, doctor, checkup, install, completion, login
"""
