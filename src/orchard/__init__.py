"""The programs that made the embedded study's book and model, from their seeds: `python -m orchard.make`."""
