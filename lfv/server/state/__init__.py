"""The service's state: one module for each resource, with its SQL and its rules."""
