"""Worker KV: the implementations of core.model.kv.KV that the owner may use."""
