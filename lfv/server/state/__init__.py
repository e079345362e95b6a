"""What the service knows, by resource: one module each with its SQL and its rules."""
