"""The processes that do the work: Dramatiq actors, the sweeper, and who keeps them alive."""
