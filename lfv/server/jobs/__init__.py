"""Jobs that continue after an operation has answered: datasets, training, packaging."""
