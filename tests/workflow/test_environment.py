"""What stands in several files says the same in all of them."""

import re
import tomllib
from pathlib import Path

import yaml

import an_neuron
from an_neuron.files.extras import EXTRAS

ROOT = Path(__file__).resolve().parents[2]
PROJECT = tomllib.loads((ROOT / "pyproject.toml").read_text())["project"]


def pins(lines):
    return dict(re.match(r"([\w.-]+)==([\w.]+)", line).groups() for line in lines)


def constraints():
    lines = [line for line in (ROOT / "constraints.txt").read_text().splitlines() if not line.startswith("#")]
    return pins(line for line in lines if "python_full_version >= '3.12'" not in line)


def test_conda_environment_pins_what_the_project_needs_at_the_constraints_versions():
    environment = yaml.safe_load((ROOT / "envs" / "an_neuron.yaml").read_text())
    packages = next(entry["pip"] for entry in environment["dependencies"] if isinstance(entry, dict))
    extras = PROJECT["optional-dependencies"]
    requirements = [*PROJECT["dependencies"], *extras["plot"], *extras["workflow"]]
    needed = {re.match(r"[\w-]+", requirement)[0] for requirement in requirements} - {PROJECT["name"]}
    assert set(pins(packages)) == needed
    assert pins(packages) == {name: constraints()[name] for name in needed}


def test_extras_are_those_that_a_missing_package_is_named_with():
    modules = {"beautifulsoup4": "bs4", "pyyaml": "yaml"}
    for extra, known in EXTRAS.items():
        named = {re.match(r"[\w-]+", one)[0] for one in PROJECT["optional-dependencies"][extra]} - {PROJECT["name"]}
        assert {modules.get(name, name) for name in named} == {*known} - {"choreographer"}  # kaleido brings that


def test_constraints_name_no_host_and_no_path():
    text = (ROOT / "constraints.txt").read_text()
    assert "://" not in text
    assert "file:" not in text
    assert "@" not in text


def test_version_is_the_same_everywhere():
    citation = yaml.safe_load((ROOT / "CITATION.cff").read_text())
    assert an_neuron.__version__ == PROJECT["version"] == citation["version"]
    assert f"## {an_neuron.__version__}" in (ROOT / "CHANGELOG.md").read_text()


def test_each_rule_has_a_script_log_and_benchmark_of_its_name_and_says_what_it_needs():
    for path in (ROOT / "workflow" / "rules").glob("*.smk"):
        for block in re.split(r"^(?=rule|checkpoint)", path.read_text(), flags=re.MULTILINE)[1:]:
            rule = re.match(r"\w+ (\w+):", block)[1]
            assert f'"../scripts/{rule}.py"' in block, rule
            assert re.search(rf'log:\s+"[\w/{{}}]*logs/{rule}\b', block), rule
            assert re.search(rf'benchmark:\s+"[\w/{{}}]*benchmarks/{rule}\b', block), rule
            if rule not in ("download_book", "fetch_dataset"):  # what a server sends depends on no module
                assert f'library=behind("{rule}"),' in block, rule  # a changed module reruns its users
            assert "        runtime=" in block or "gpu=1" not in block, rule  # other jobs take the profile's defaults
            assert len(block.splitlines()) <= 36, rule


def test_each_listed_figure_has_a_script_and_a_caption_of_its_name():
    single, _, sets = (ROOT / "workflow/rules/figure_list.smk").read_text().partition("SETS = [")
    alone, together = (re.findall(r'"(plot_\w+)"', part) for part in (single, sets))
    assert len({*alone, *together}) == len(alone) + len(together) == 12 + 6
    captions = {drawer.removeprefix("plot_") for drawer in alone}
    captions |= {"patched_site", "patched_heads", "driving_site", "driving_heads", "top_prediction", "precision_recall"}
    captions |= {"choice_scatter", "choice_proportion", "circuit", "curves", "faithfulness", "dose_response"}
    captions |= {"driving_neurons"}
    for drawer in (*alone, *together):
        assert (ROOT / "workflow/scripts" / f"{drawer}.py").is_file(), drawer
    for caption in captions:
        assert (ROOT / "workflow/report" / f"{caption}.rst").is_file(), caption
        assert f'"{caption}"' in sets or f'"plot_{caption}"' in single, caption


def test_the_profile_for_slurm_repeats_the_default_one_and_lists_the_jobs_that_use_a_gpu():
    default, slurm = (ROOT / "profiles" / name / "config.yaml" for name in ("default", "slurm"))
    assert yaml.safe_load(default.read_text()).items() <= yaml.safe_load(slurm.read_text()).items()
    rules = "\n".join(path.read_text() for path in (ROOT / "workflow" / "rules").glob("*.smk"))
    blocks = re.split(r"^(?:rule|checkpoint) ", rules, flags=re.MULTILINE)[1:]
    using = {block.split(":")[0] for block in blocks if "gpu=1" in block}
    assert set(re.findall(r"^#   (\w+): [&*]gpu", slurm.read_text(), flags=re.MULTILINE)) == using
