"""How many neurons a screen patches where nobody says; beside `screened`, since Snakemake reads this as it starts."""

SCREEN, SAMPLE = 2000, 1000
"""Those that attribution puts first, and those drawn at random of the others."""
