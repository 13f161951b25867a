"""The floors: the least code that does each job, with nothing of Sluice in it."""
