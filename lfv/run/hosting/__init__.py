"""Keeps a model hosted while runs hold leases on it, and stops it when the last run is done.

hold            a run's lease, from the start of the model to its release
guard           a process that releases the lease if the run dies (guard_client: its pipe)
release         releases a lease and stops the model
stop            stops a model on request
sweep           stops models that runs, guards and lost machines left up
"""
