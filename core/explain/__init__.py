"""Why something is as it is: the causes in the order of time, and the calls that help. Pure; operations/explain reads.

`chain` has the values; one module per noun. Start with deployments.
"""
