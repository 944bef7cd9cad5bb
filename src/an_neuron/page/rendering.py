"""Pages from the templates beside this module; whatever comes from a prompt, a token or a file is escaped."""

from pathlib import Path
from typing import Any

from jinja2 import Environment, FileSystemLoader, StrictUndefined

FOLDER = Path(__file__).parent / "templates"
INLINE = ("page.css", "page.js", "figures.js", "circuit.js")
"""What stands in pages as it is."""


def render(template: str, **values: Any) -> str:
    """Return a page: a template with these values, and in which style and scripts may stand, by names as page_css.

    Parameters
    ----------
    template
        A file in the folder templates.
    values
        What it shows. Texts are escaped, unless a template says that one is JSON.
    """
    environment = Environment(
        loader=FileSystemLoader(FOLDER),
        autoescape=True,
        undefined=StrictUndefined,
        trim_blocks=True,
        lstrip_blocks=True,
    )
    environment.filters["minus"] = lambda number: number.replace("-", "\N{MINUS SIGN}")
    files = {name.replace(".", "_"): (FOLDER / name).read_text(encoding="utf-8") for name in INLINE}
    return environment.get_template(template).render(**files, **values) + "\n"
