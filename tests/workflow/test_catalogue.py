"""What others find the workflow by: its standard place, the catalogue's file, and the citation."""

import re
import shutil
import subprocess

import pytest
import yaml
from jsonschema import Draft202012Validator
from project import ROOT, Project

MODULE = """
configfile: "config.yaml"


module an_neuron:
    snakefile:
        "{}"
    config:
        config


use rule * from an_neuron
"""


@pytest.mark.workflow
def test_both_snakefiles_plan_the_same_jobs(tmp_path):
    project = Project(tmp_path / "project")
    jobs = project.jobs("orchard")
    assert jobs["patch_neurons"] == 1
    assert project.jobs("--snakefile", "workflow/Snakefile", "orchard") == jobs
    bare, other = project.jobs(), project.jobs("--snakefile", "workflow/Snakefile")
    assert bare.pop("default") == other.pop("all") == 1
    assert bare == other
    assert bare["fetch_model"] == 1  # of the default study


@pytest.mark.workflow
def test_as_a_module_of_another_workflow_it_plans_the_same_jobs(tmp_path):
    """As `snakedeploy deploy-workflow` writes it: a Snakefile of the user's own, a configuration, and no library."""
    jobs = Project(tmp_path / "project").jobs("orchard")
    deployed = Project(tmp_path / "deployed")
    shutil.rmtree(deployed.folder / "src")
    shutil.rmtree(deployed.folder / "workflow")
    (deployed.folder / "Snakefile").write_text(MODULE.format(ROOT / "workflow" / "Snakefile"), encoding="utf-8")
    assert deployed.jobs("orchard") == jobs


@pytest.mark.workflow
def test_a_module_whose_files_lie_elsewhere_ends_in_a_sentence(tmp_path):
    """Taken out of a repository by its address, the rules would come without the library that they compare."""
    project = Project(tmp_path / "project")
    author = "-c", "user.name=a", "-c", "user.email=a@b"
    for command in (["init", "-q"], ["add", "workflow"], [*author, "commit", "-qm", "all"]):
        subprocess.run(["git", *command], cwd=project.folder, check=True)
    there = f'gitfile("{project.folder}", path="workflow/Snakefile", ref="HEAD")'
    (project.folder / "Snakefile").write_text(MODULE.replace('"{}"', there), encoding="utf-8")
    ran = project.snakemake("--dry-run", "orchard")
    assert ran.returncode
    assert "so both must lie on this machine: clone the repository" in ran.stdout + ran.stderr
    assert "Traceback" not in ran.stdout + ran.stderr


def test_the_catalogue_is_told_how_to_use_the_workflow():
    usage = yaml.safe_load((ROOT / ".snakemake-workflow-catalog.yml").read_text(encoding="utf-8"))["usage"]
    assert usage["software-stack-deployment"] == {"conda": True}
    assert usage["report"] is True
    page = (ROOT / "config" / "README.md").read_text(encoding="utf-8")
    (block,) = re.findall(r"```yaml\n(.*?)```", page, re.DOTALL)
    schema = yaml.safe_load((ROOT / "workflow/schemas/config.schema.yaml").read_text(encoding="utf-8"))
    Draft202012Validator(schema).validate(yaml.safe_load(block))


def test_the_citation_names_the_original_study_and_its_authors():
    citation = yaml.safe_load((ROOT / "CITATION.cff").read_text(encoding="utf-8"))
    (reference,) = citation["references"]
    assert [author["family-names"] for author in reference["authors"]] == ["Miller", "Neo"]
    assert str(citation["date-released"]) >= "2026"
    assert citation["license"] == "MIT"
