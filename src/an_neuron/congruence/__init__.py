"""Congruence: which tokens a neuron writes, and which neurons write a token, by the weights alone."""
