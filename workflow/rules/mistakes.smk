"""How mistakes end: in a sentence, without the lines that Snakemake puts around an exception."""

import os
import re
from pathlib import Path

from an_neuron.errors import UserError
from an_neuron.study.written import check_written

if not isinstance(workflow.current_basedir, (str, os.PathLike)):
    raise SystemExit(
        "The rules compare the library by content, so both must lie on this machine: clone the repository, and name the "
        "workflow/Snakefile of the copy in `module`."
    )

WORKFLOW = Path(workflow.current_basedir).parent
"""The folder workflow/, whichever file Snakemake was started with."""


def end_in_sentence(check):
    """Run a check; end with the sentence of what it refuses."""
    try:
        check()
    except UserError as error:
        raise SystemExit(str(error)) from None


def rule_names():
    """Return the names of rules, which no study can have; each rule's script has its name."""
    scripts = WORKFLOW / "scripts"
    return {path.stem for path in scripts.glob("*.py")}


def no_such_study(wildcards):
    """Say which studies there are; asked for where a target is no rule, and no file that a rule makes."""
    raise SystemExit(
        f"There is no study {wildcards.unknown!r}; known studies: {', '.join(STUDIES)}."
    )


def no_file_of_studies():
    """Return a regular expression of targets that can only be meant as studies: words, but no source of a study."""
    sources = {
        os.path.normpath(path) for study in STUDIES.values() for path in study.sources
    }
    words = sorted(path for path in sources if re.fullmatch(r"[\w-]+", path))
    return f"(?!(?:{'|'.join(map(re.escape, words))})$)[\\w-]+" if words else r"[\w-]+"


def check_folders():
    """Say before the first job that no result can be written; one study's folder may be read-only beside others."""
    from an_neuron.files.atomic import unwritable

    folders = ["results", *(study.results for study in STUDIES.values())]
    refusals = [unwritable(folder) for folder in folders]
    if all(refusals):
        raise SystemExit(refusals[0])


def check_browser():
    """Say before the first job, not after hours, that static figures cannot be drawn."""
    from an_neuron.figures.export import browser_missing

    missing = browser_missing() if {"png", "svg", "pdf"} & set(FORMATS) else None
    if missing:
        raise SystemExit(missing)


if workflow.is_main_process:
    end_in_sentence(lambda: check_written(Path("config.yaml")))
