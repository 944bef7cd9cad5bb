"""What the jobs of a build took, from the benchmark files that Snakemake writes."""

import csv
import re
from collections.abc import Iterable, Mapping
from math import fsum, isfinite
from pathlib import Path
from typing import Any

Record = dict[str, Any]
LAST_RULES = ("record_provenance", "sum_results")
"""Those that run when the times are read, or later: what lies there of them is of an earlier build."""


def times(benchmarks: Path, built: Iterable[str]) -> dict[str, Record]:
    """Return what the jobs of a build took, from the benchmark files ``{rule}.tsv`` and ``{rule}/{wildcards}.tsv``.

    Parameters
    ----------
    benchmarks
        The folder of the benchmark files. Those of earlier builds' jobs stay there.
    built
        The files that the study is asked for. A job of a layer, neuron, association or shard counts if one of
        them bears that name; the others always do.

    Returns
    -------
    dict
        For each rule seconds (the sum of its jobs), peak_memory_mib (the largest), and jobs: the same of each, by its
        wildcards, "" where the rule has none. None where Snakemake could not measure.
    """
    names = {Path(path).stem for path in built}
    jobs: dict[str, dict[str, Record]] = {}
    for path in sorted(benchmarks.rglob("*.tsv")):
        rule, _, wildcards = path.relative_to(benchmarks).with_suffix("").as_posix().partition("/")
        if rule not in LAST_RULES and _is_of(names, wildcards):
            jobs.setdefault(rule, {})[wildcards] = _measured(path)
    return {rule: {**_together(of_rule.values()), "jobs": of_rule} for rule, of_rule in jobs.items()}


def _is_of(names: Iterable[str], wildcards: str) -> bool:
    """Tell whether a job is of a build that has files of these names; only names with numbers come and go."""
    if not re.search(r"\d", wildcards):
        return True
    wanted = re.escape(re.sub(r"^(\d+\.\d+)$", r"neuron_\1", wildcards))
    if layers := re.fullmatch(
        r"layers_(\d+)-\1", wildcards
    ):  # the studied neuron's is swept even where it is not listed
        wanted += rf"|neuron_{layers[1]}\.\d+"
    whole = re.compile(rf"(^|_)({wanted})(_|$)")
    return any(whole.search(name) for name in names)


def _measured(path: Path) -> Record:
    """Return what a job took; a rule that is benchmarked several times has a row for each."""
    with path.open(encoding="utf-8", newline="") as file:
        rows = list(csv.DictReader(file, delimiter="\t"))
    return _together({"seconds": _number(row, "s"), "peak_memory_mib": _number(row, "max_rss")} for row in rows)


def _number(row: Mapping[str, str | None], column: str) -> float | None:
    try:
        value = float(row.get(column) or "")
    except ValueError:  # NA, or "-" of older Snakemakes
        return None
    return value if isfinite(value) else None


def _together(measured: Iterable[Record]) -> Record:
    seconds, memory = [], []
    for one in measured:
        seconds.append(one["seconds"])
        memory.append(one["peak_memory_mib"])
    known = [value for value in seconds if value is not None]
    return {
        "seconds": round(fsum(known), 4) if known else None,
        "peak_memory_mib": max((value for value in memory if value is not None), default=None),
    }
