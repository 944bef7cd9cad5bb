"""What stands in the tutorials: Python runs and prints what the page says, and studies are valid."""

import re
from pathlib import Path

import pytest
import yaml
from jsonschema import Draft202012Validator

ROOT = Path(__file__).resolve().parents[3]
TUTORIALS = sorted((ROOT / "docs" / "tutorials").glob("*.md"))


def blocks(page: str, language: str) -> list[str]:
    return re.findall(rf"```{language}\n(.*?)```", page, re.DOTALL)


def without_rounding(text: str) -> str:
    return re.sub(r"within [\d.e-]+", "within", text).strip()


def test_the_tutorial_on_models_prints_what_it_says(monkeypatch, capsys):
    page = (ROOT / "docs" / "tutorials" / "own_model.md").read_text(encoding="utf-8")
    (program,), (printed,) = blocks(page, "python"), blocks(page, "text")
    monkeypatch.chdir(ROOT)
    exec(compile(program, "own_model.md", "exec"), {})
    assert without_rounding(capsys.readouterr().out) == without_rounding(printed)


@pytest.mark.parametrize("path", TUTORIALS, ids=lambda path: path.stem)
def test_the_studies_of_a_tutorial_fit_the_configurations_schema(path):
    schema = yaml.safe_load((ROOT / "workflow/schemas/config.schema.yaml").read_text(encoding="utf-8"))
    for block in blocks(path.read_text(encoding="utf-8"), "yaml"):
        Draft202012Validator(schema).validate({"studies": yaml.safe_load(block)})
