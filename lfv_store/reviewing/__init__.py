"""Reviews in SQL.

reviews             recorded, and read
effective_reviews   those that were not undone
review_queue        what waits for a review
review_leases       each part to one person at a time
same_picture        inspections of other runs that a review also counts for
"""
