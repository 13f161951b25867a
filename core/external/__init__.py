"""Workers on other machines: they join an engine over NATS and are then workers like its own.

Reading order: tunnel (a byte stream over a wire that may lose), sealed (who may join, and what nobody else may read
or forge), nats (the wire), gateway (the engine's side: whom it lets in, and refuses for its protocol, the license or
its group), host (the side of the other machine), watch and ends (what that side sees of its worker process, and keeps
of its end until an engine has been told).

The worker is the same process with the same channel to its engine as a local one; only what carries the channel
differs. Deliveries stay in the engine's store until they are settled, so NATS carries and never keeps: what is lost
with it, or with the tunnel, goes out again as after the death of a local worker (docs/decisions/0021).
"""
