"""Verdicts after a run, by people or under another policy.

review          people's reviews, and training data from them
drawn_masks     masks that reviewers draw
decide          verdicts under another policy
policy_trial    what another policy would decide, without storing it
reinspect       the same images with another version
"""
