"""The workflow of workflow/Snakefile, where Snakemake looks first: `snakemake STUDY` in this folder."""


include: "workflow/Snakefile"
