"""Hosted models: an inference unit is a process, and a pool of them serves one model."""
