"""The message bus: publish to whoever listens, and deliver work to exactly one replica with acknowledgement; told: who
else hears of messages, once they are committed."""
