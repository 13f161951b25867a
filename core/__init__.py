"""The engine of Sluice."""
