"""Activation patching: exact sweeps of sites, heads and neurons, and the estimate of attribution patching."""
