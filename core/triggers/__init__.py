"""Triggers: the registry of published actions, their invocation, and the responses that end a run.

Reading order: registry -> invoke -> dispatch -> pending -> responses; records: what a caller may see of them.
"""
