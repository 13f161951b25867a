"""Benchmarks: our path beside a floor that does the least the job needs, in one run, as a ratio.

`python -m bench [invoke|tools|data|calls|plan|idle|all] [--json]`. See docs/performance.md. Reading order: measure ->
report -> wire -> floors/ -> one module per suite.
"""
