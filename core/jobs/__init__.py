"""Unmanaged jobs: documents that people stage and deploy one by one."""
