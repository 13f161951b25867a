"""The message bus: publish to whoever listens, and deliver work to exactly one replica with acknowledgement."""
