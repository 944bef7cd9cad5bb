"""Hooks of the documentation site: pages from outside docs/, and a page of the API for each folder of the library."""

import re
from pathlib import Path, PurePosixPath
from posixpath import normpath, relpath
from typing import Any

from mkdocs.structure.files import File

from an_neuron import PUBLIC

ROOT = Path(__file__).resolve().parents[1]
PAGES = {
    "README.md": "index.md",
    "CHANGELOG.md": "changelog.md",
    "CONTRIBUTING.md": "contributing.md",
    "benchmarks/README.md": "benchmarks.md",
    "resources/orchard/README.md": "orchard.md",
}
"""Where in the site those pages of the repository are that do not lie in docs/."""
API = {
    "notebook": "In a notebook",
    "patching": "Patching",
    "prompts": "Prompts and predictions",
    "model": "Models",
    "files": "Result files",
}
LINK = re.compile(r"(!?\[[^\]]*\])\(([^)#\s:]+)(#[^)\s]*)?\)")
FRONT_MATTER = re.compile(r"\A---\n.*?\n---\n", re.DOTALL)


def on_files(files: Any, config: Any) -> Any:
    """Add the pages that mkdocs does not find in docs/."""
    for source, page in PAGES.items():
        text = FRONT_MATTER.sub("", (ROOT / source).read_text(encoding="utf-8"))
        files.append(File.generated(config, page, content=text))
    for folder, title in API.items():
        names = [f"an_neuron.{module}.{name}" for name, module in PUBLIC.items() if module.startswith(f"{folder}.")]
        text = f"# {title}\n\n" + "\n\n".join(f"::: {name}" for name in names if not name.endswith("__"))
        files.append(File.generated(config, f"api/{folder}.md", content=text))
    return files


def on_page_markdown(markdown: str, page: Any, **_: Any) -> str:
    """Let links lead to where their targets are in the site; of files that are not in it only the text stays."""
    place = page.file.src_uri
    source = next((source for source, made in PAGES.items() if made == place), f"docs/{place}")

    def followed(found: re.Match[str]) -> str:
        text, target, anchor = found[1], found[2], found[3] or ""
        path = normpath(PurePosixPath(source).parent / target)
        made = PAGES.get(path) or (path.removeprefix("docs/") if path.startswith("docs/") else None)
        if made is None:
            return text.strip("[]") if (ROOT / path).exists() else found[0]
        return f"{text}({relpath(made, PurePosixPath(place).parent)}{anchor})"

    return LINK.sub(followed, markdown)
