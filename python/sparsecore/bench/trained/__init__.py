"""A trained network, pruned, fine-tuned and converted: does it keep its accuracy, and what is won?"""
