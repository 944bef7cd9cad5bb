"""The table of all files: docs/files.md, made from the schemas of the package's modules.

python -m an_neuron.files.catalogue > docs/files.md
"""

from collections.abc import Iterable, Iterator, Mapping
from importlib import import_module
from pathlib import Path

from an_neuron.files.schema import Field, Schema

PACKAGE = Path(__file__).resolve().parents[1]
INTRODUCTION = """# Files

Every result, as the schemas in the code declare it; paths are below `results/{study}/`, unless they begin with
`downloads/` or `results/`. Each HDF5 file also has the root attributes study, model, revision, dtype and version, and
each of its datasets the attributes dims, unit and description. A text, JSON or CSV that later jobs read has its SHA-256
beside it, in a file of its name and `.sha256`; HDF5 files end with theirs.

`make docs` writes this page.
"""


def schemas() -> list[Schema]:
    """Return every schema that a module of the package declares, by path."""
    paths = [path for path in sorted(PACKAGE.rglob("*.py")) if "Schema(" in path.read_text(encoding="utf-8")]
    names = [".".join(path.relative_to(PACKAGE.parent).with_suffix("").parts) for path in paths]
    values = [value for name in names for value in vars(import_module(name)).values() if isinstance(value, Schema)]
    unique = {id(schema): schema for schema in values}  # a module may import another's
    return sorted(unique.values(), key=lambda schema: schema.path)


def render(declared: list[Schema]) -> str:
    """Return the page: one table of all files, then the fields and attributes of each."""
    overview = _table(("file", "what it holds"), [(f"`{schema.path}`", schema.description) for schema in declared])
    sections = [_section(schema) for schema in declared if schema.fields or schema.attributes]
    return "\n".join([INTRODUCTION, overview, *sections])


def _section(schema: Schema) -> str:
    parts = [f"## {schema.path}\n\n{schema.description[:1].upper()}{schema.description[1:]}.\n"]
    if schema.fields:
        parts.append(_table(("field", "dims", "kind", "unit", "description"), _rows(schema.fields)))
    if schema.attributes:
        parts.append(
            _table(("attribute", "description"), [(f"`{name}`", text) for name, text in schema.attributes.items()])
        )
    return "\n".join(parts)


def _rows(fields: Mapping[str, Field]) -> Iterator[tuple[str, ...]]:
    for name, field in fields.items():
        text = f"{field.description} (not in every file)" if field.optional else field.description
        yield f"`{name}`", ", ".join(field.axes), field.kind, field.unit, text


def _table(head: tuple[str, ...], rows: Iterable[tuple[str, ...]]) -> str:
    lines = [head, ("---",) * len(head), *rows]
    return "".join("| " + " | ".join(cell.replace("|", "\\|") for cell in line) + " |\n" for line in lines)


if __name__ == "__main__":
    print(render(schemas()), end="")
