"""Documents that a tenant writes itself: drafts, validation, immutable published versions, copies, differences.

Workflows, perspectives and blueprints go the same way: saved as a draft, validated, published, retired. Start with
`check`, which tells everything that is wrong with a document in one pass.
"""
