"""Jobs that continue after an operation's response: datasets, training, packaging."""
