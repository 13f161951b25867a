"""Documents that a tenant writes itself: drafts, validation, immutable published versions, copies, differences.

Workflows, perspectives and blueprints go the same way: saved as a draft, validated, published, retired. Start with
`check`, which tells everything that is wrong with a document in one pass (graph_faults: with its graph); registry keeps
documents and finds them again, library is what one tenant sees of the catalog, installer brings items of portals into
it; unpublished is what one sees when a draft or a text counts as published.
"""
