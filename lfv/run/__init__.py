"""What a run does, from its start to its report. Flows, tasks, commands and pages call it.

`ActiveRun` (active.py) is a run in progress.

detection/  a run's images through its model
hosting/    keeps the model hosted while a run needs it, and stops it
models/     training, import, comparison and approval of versions
verdicts/   reviews, and verdicts under another policy
"""
