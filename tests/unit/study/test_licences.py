"""docs/licences.md names every direct dependency, with the licence that its installed distribution names."""

import re
import tomllib
from importlib import metadata
from pathlib import Path

import pytest

ROOT = Path(__file__).resolve().parents[3]
PAGE = (ROOT / "docs" / "licences.md").read_text(encoding="utf-8")
LICENCES = dict(re.findall(r"^\| `([\w-]+)` \| ([\w. -]+) \|$", PAGE, re.MULTILINE))
NAMES = {"MIT": "MIT", "BSD-3-Clause": "BSD", "Apache-2.0": "Apache", "MPL-2.0": "MPL"}


def test_the_table_lists_what_the_package_needs():
    project = tomllib.loads((ROOT / "pyproject.toml").read_text(encoding="utf-8"))["project"]
    optional = [one for extra in ("plot", "workflow") for one in project["optional-dependencies"][extra]]
    needed = {re.match(r"[\w-]+", one)[0] for one in [*project["dependencies"], *optional]}
    assert list(LICENCES) == sorted(needed - {project["name"]})


@pytest.mark.parametrize("package", LICENCES)
def test_a_licence_is_that_of_the_installed_distribution(package):
    said = metadata.metadata(package)
    own = [said.get("License-Expression"), said.get("License"), *(said.get_all("Classifier") or ())]
    text = " ".join(part for part in own if part and (not part.startswith("Programming")))
    if package == "scipy":  # its metadata holds the licence's text, which does not name itself
        text += " BSD" if "Redistributions in binary form must reproduce" in text else ""
    assert all(NAMES[licence] in text for licence in LICENCES[package].split(" AND ")), text
