"""What goes on after an operation has answered: datasets, training, packaging."""
