"""Shared fixtures: where the optional data lies, and which CPU targets the machine has."""
