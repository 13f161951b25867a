"""Unmanaged jobs: documents that people stage and deploy one by one.

registry (versions and drafts, kept) -> staging (a document made ready, and its workloads; pure) -> comparison; tracing
runs a job without an effect; listing: what there is. What puts them on workers is fleet/unmanaged. First file to read:
registry.
"""
