"""One call for a notebook: the neuron behind a token, and what is to be seen of it."""
