from pathlib import Path

from an_neuron.files.catalogue import render, schemas

PAGE = Path(__file__).parents[3] / "docs" / "files.md"


def test_the_page_of_files_is_that_of_the_schemas():
    again = "run python -m an_neuron.files.catalogue > docs/files.md"
    assert PAGE.read_text(encoding="utf-8") == render(schemas()), again


def test_no_two_schemas_declare_one_file():
    paths = [schema.path for schema in schemas()]
    assert len(paths) == len(set(paths))
