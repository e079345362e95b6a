"""What a run does, from its start to its report. Flows, tasks, commands and pages call it.

`ActiveRun` (active.py) is a run in progress; hosting/ holds its model and stops it.
"""
