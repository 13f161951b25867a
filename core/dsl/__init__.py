"""The job language: components declared once, documents compiled to one function per batch.

Reading order: component (what a component is) -> expand (templates) -> conditions (Lua) -> compile (a job) ->
schedule (when it fires) -> inputs/, actions/, outputs/ (one file per component or small family).
"""
