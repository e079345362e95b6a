"""The Prefect tasks of an inspection: one step each, one file a step.

Results are not persisted and parameters are not hashed: what has to last is in SQL, and a resumed
run reads it there.
"""
