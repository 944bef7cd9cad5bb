"""What was measured twice, what is weak, where it comes from, and where all of it lies."""

from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pandas as pd

from an_neuron.files.hdf5 import Table
from an_neuron.page.results import Results, Section, links_of
from an_neuron.page.sections.places import HEADS, SITES
from an_neuron.study.finding import read_finding

SWEEPS = {
    **{site: f"{title}, patched" for site, title in SITES.items()},
    **{site: f"{title}, patched" for site, title in HEADS.items()},
    "sweep": "neurons, patched",
    **{f"driving_{site}": f"{title}, what drives the neuron" for site, title in SITES.items()},
    "driving_z": f"{HEADS['z']}, what drives the neuron",
}


def controls_section(results: Results) -> Section:
    """Show the spot checks of every sweep, what is weak, and how often published values were met."""
    _, weak = read_finding(results.path("finding"))
    checks = [
        row for name, title in SWEEPS.items() for table in results.tables(name) for row in spot_checks(table, title)
    ]
    verdicts = _verdicts(results.path("published")) if "published" in results else {}
    shown = {"weak": weak, "checks": checks, "rounding": max((row["difference"] for row in checks), default=0.0)}
    return Section("controls", "Controls", shown | {"verdicts": verdicts})


def spot_checks(table: Table, title: str) -> Iterator[dict[str, Any]]:
    """Yield what was measured again by ordinary forwards: as the sweep has it, as they give it, and the difference."""
    measured = "spot_check_activation" if "spot_check_activation" in table.datasets else "spot_check_logit_difference"
    columns = (table["spot_check"].tolist(), table[measured].tolist(), table["spot_check_ordinary"].tolist())
    for what, fast, ordinary in zip(*columns, strict=True):
        yield {"sweep": title, "what": what, "fast": fast, "ordinary": ordinary, "difference": abs(fast - ordinary)}


def _verdicts(path: Path) -> dict[str, int]:
    return {str(name): int(number) for name, number in pd.read_csv(path)["verdict"].value_counts().sort_index().items()}


def provenance_section(results: Results) -> Section:
    """Say which model was studied, how to cite, and where each file is."""
    of = results.table("map").attributes
    facts = {name: str(of[name]) for name in ("study", "model", "revision", "dtype", "version")}
    return Section("provenance", "Provenance, citation, files", {"facts": facts, "files": links_of(results)})
