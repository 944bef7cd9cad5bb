"""What the rules share: the checked configuration, its studies, and what stands behind a rule."""

import os
from operator import attrgetter
from pathlib import Path

import yaml
from an_neuron.errors import UserError
from an_neuron.jobs.job import with_remedy
from an_neuron.jobs.modules import PACKAGE, modules_behind, put_on_python_path
from an_neuron.study import cost
from an_neuron.study.checks import check_config
from an_neuron.study.study import Study

put_on_python_path()

SCHEMA = WORKFLOW / "schemas" / "config.schema.yaml"

if workflow.is_main_process:
    end_in_sentence(
        lambda: check_config(
            config, yaml.safe_load(SCHEMA.read_text(encoding="utf-8")), rule_names()
        )
    )

validate(config, str(SCHEMA))  # fills in the defaults that the schema names

STUDIES = {name: Study.of(name, block) for name, block in config["studies"].items()}
DEFAULT_STUDY = config.get("default_study", next(iter(STUDIES)))
FORMATS = config["formats"]
DEVICE = config["device"]
ENVIRONMENT = "../../envs/an_neuron.yaml"

TARGETS = {}
"""What a study builds: for each stage a function of the study; every rule file adds its own.

All results stand here, those too that only other jobs read: Snakemake notices a lost file only where a target asks for it.
"""
CIRCUIT_TARGETS = {}
"""What `snakemake NAME_circuit` builds besides, in the same way: what takes minutes more, and not every reader needs."""


def targets(name=None, stages=TARGETS):
    """Return input functions, one per stage, of a named study, else of the job's.

    A stage that waits for a choice of the model holds up no other.
    """
    return {
        stage: lambda wildcards, built=built: built(STUDIES[name or wildcards.study])
        for stage, built in stages.items()
    }


def study_of(wildcards):
    return STUDIES[wildcards.study]


def of_study(question):
    """Return an input or params function that asks a study for one of its properties, or its corpus' (`corpus.rows`)."""
    return lambda wildcards: attrgetter(question)(study_of(wildcards))


def processing(wildcards):
    return list(study_of(wildcards).model.processing)


def part(*keys):
    """Return a params function: the keys of a study that a rule depends on, and no others."""
    return lambda wildcards: study_of(wildcards).part(*keys)


def behind(rule):
    """Return a rule's script, and the library's modules that it stands on, by names relative to the working directory.

    As inputs they are compared by content, so that a changed module reruns the rules that use it, and no others.
    """
    script = WORKFLOW / "scripts" / f"{rule}.py"
    return [os.path.relpath(script), *map(str, modules_behind(script))]


def templates_of(folder):
    """Return what pages are made of besides modules, by names relative to the working directory: their templates."""
    found = (PACKAGE / folder / "templates").rglob("*.*")
    return sorted(os.path.relpath(path) for path in found)


def sealed(path):
    """Return a text that other jobs read, and its seal: the file beside it that `an_neuron.files.sealed` writes."""
    return [path, f"{path}.sha256"]


def read_result(read, path):
    """Read a result while Snakemake plans; a damaged one is named, with what mends it."""
    try:
        return read(path)
    except UserError as error:
        raise WorkflowError(with_remedy(error)) from None
