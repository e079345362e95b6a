"""Defaults that commands and flows have in common. Imports nothing, so that commands start fast."""

#: The confidence limit if neither a confidence nor a policy is given.
DEFAULT_CONFIDENCE = 0.8
#: How long a file must be unchanged, in seconds, before a run on new images inspects it.
DEFAULT_SETTLE_SECONDS = 5.0
