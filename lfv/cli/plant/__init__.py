"""A plant on one machine: the processes that `lfv up` keeps running, without containers."""
