"""The workflow of workflow/Snakefile, where Snakemake looks first: `snakemake STUDY` in this folder."""


include: "workflow/Snakefile"


# What a bare `snakemake` builds; the default of an included file does not count.
rule default:
    default_target: True
    input:
        rules.all.input,
