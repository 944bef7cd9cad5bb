"""What stands in several files says the same in all of them."""

import re
import tomllib
from pathlib import Path

import yaml

import an_neuron

ROOT = Path(__file__).resolve().parents[1]
PROJECT = tomllib.loads((ROOT / "pyproject.toml").read_text())["project"]


def pins(lines):
    return dict(re.match(r"([\w.-]+)==([\w.]+)", line).groups() for line in lines)


def constraints():
    lines = [line for line in (ROOT / "constraints.txt").read_text().splitlines() if not line.startswith("#")]
    return pins(line for line in lines if "python_full_version >= '3.12'" not in line)


def test_conda_environment_pins_what_the_project_needs_at_the_constraints_versions():
    environment = yaml.safe_load((ROOT / "envs" / "an_neuron.yaml").read_text())
    packages = next(entry["pip"] for entry in environment["dependencies"] if isinstance(entry, dict))
    needed = {re.match(r"[\w-]+", requirement)[0] for requirement in PROJECT["dependencies"]}
    assert set(pins(packages)) == needed
    assert pins(packages) == {name: constraints()[name] for name in needed}


def test_constraints_name_no_host_and_no_path():
    text = (ROOT / "constraints.txt").read_text()
    assert "://" not in text
    assert "file:" not in text
    assert "@" not in text


def test_version_is_the_same_everywhere():
    citation = yaml.safe_load((ROOT / "CITATION.cff").read_text())
    assert an_neuron.__version__ == PROJECT["version"] == citation["version"]
    assert f"## {an_neuron.__version__}" in (ROOT / "CHANGELOG.md").read_text()


def test_each_rule_has_a_script_log_and_benchmark_of_its_name():
    for path in (ROOT / "workflow" / "rules").glob("*.smk"):
        for block in re.split(r"^(?=rule|checkpoint)", path.read_text(), flags=re.MULTILINE)[1:]:
            rule = re.match(r"\w+ (\w+):", block)[1]
            assert f'"../scripts/{rule}.py"' in block, rule
            assert re.search(rf'log:\s+"[\w/{{}}]*logs/{rule}\b', block), rule
            assert re.search(rf'benchmark:\s+"[\w/{{}}]*benchmarks/{rule}\b', block), rule
            assert f'library=behind("{rule}"),' in block, rule  # a changed module makes its users again
            assert len(block.splitlines()) <= 33, rule
