"""The Prefect tasks of an inspection, one file for each step.

Results are not persisted and parameters are not hashed, because everything lasting is in SQL, where
a resumed run reads it.
"""
