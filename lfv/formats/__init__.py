"""What manifest rows, masks, images, answers, statuses and figures are. Pure: no I/O.

The pipeline and the model service share this package, so that both read every format alike.
"""
