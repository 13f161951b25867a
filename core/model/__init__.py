"""The nouns of Sluice and their state tables: plain values, no I/O, no clock."""
