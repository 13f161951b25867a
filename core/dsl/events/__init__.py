"""How one event is read and changed, in bounded time.

select     the fields that a document names, compiled to get, set and delete
values     texts to numbers and JSON without losing anything
patterns   regular expressions in linear time
tame       which of them Python's `re` may match, because they cannot backtrack far
sandbox    Lua for scripts and conditions, with a budget (the part in Lua: sandbox.lua)
codegen    the builder with which language/compile writes a function
fan_out    copies of a batch for several receivers
"""
