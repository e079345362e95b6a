"""What revisions created, as it was: never edited after a release."""
