"""The catalog: documents to start from, and graphs of them.

items, collection   what one tenant sees, and its search: what comes with Sluice (builtin), its own, what portals offer
ranking -> words    how well an item fits a query: stems, synonyms, stop words; durability: how its channels keep events
portal, portals     shared catalogs: their index (portal_source), installing what they offer
graph -> wiring     a workflow with its modules opened and its channels followed; cycles, blueprints, answers check it
picture, svg        the graph as nodes and edges, Mermaid, SVG
schemas             the JSON Schemas of everything that people write
description         what an answer says of an item; starting: the next call for it
fitting, palette    what may fill an open step; all that a workflow can be built of
"""
