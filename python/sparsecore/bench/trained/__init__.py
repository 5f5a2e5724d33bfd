"""A trained network, pruned, fine-tuned and converted: the accuracy that is kept, and the gain."""
