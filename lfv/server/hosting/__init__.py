"""Hosted models. An inference unit is a process, and a pool of units serves one model."""
