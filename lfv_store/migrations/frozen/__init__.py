"""Tables as the revisions created them; never edited after a release."""
