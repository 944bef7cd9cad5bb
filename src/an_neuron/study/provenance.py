"""From what, with what and in what time a study was built: one record for a build, as JSON and as a page.

study       its name
config      its block of the configuration with the defaults filled in, and device, formats and shards
code        version of the package; git commit, whether files differed from it, and which
versions    of Python and of each dependency
machine     platform, cores, and the device that computes, as the job sees them that writes the record
inputs      SHA-256 and size of each source file
rules       seconds and peak memory of each rule and of its jobs, by their wildcards, from Snakemake's benchmark files

Nothing in it is the time of day, so two builds on one machine differ in seconds and memory alone.
"""

import csv
import hashlib
import json
import os
import platform
import re
import subprocess
from collections.abc import Iterable, Mapping, Sequence
from importlib import metadata
from math import fsum, isfinite
from pathlib import Path
from typing import Any

import pandas as pd

from an_neuron.files.atomic import replacing
from an_neuron.files.pages import Section, write_sections
from an_neuron.model.devices import kind
from an_neuron.version import __version__

Record = dict[str, Any]
DISTRIBUTION = "an-neuron"
FETCHED = "fetched.json"
OWN_RULE = "record_provenance"
DEPENDENCIES = (
    "beautifulsoup4", "einops", "h5py", "huggingface-hub", "jsonschema", "kaleido", "numpy", "pandas", "plotly",
    "pooch", "pyyaml", "requests", "safetensors", "snakemake", "tokenizers", "torch", "tqdm", "transformer-lens",
    "transformers",
)  # fmt: skip
"""What the package needs, for where it is on the Python path but not installed."""
POINTERS = ("GIT_DIR", "GIT_WORK_TREE", "GIT_INDEX_FILE", "GIT_PREFIX")
"""Variables that, in a git hook for example, would make git answer for another repository."""
BAR_COLOR = "#cfe2f3"


def provenance(
    config: Mapping[str, Any],
    study: str,
    workflow: Path,
    origin: Iterable[str],
    built: Iterable[str],
    benchmarks: Path,
) -> Record:
    """Return the record of a build; the module's docstring says what is in it.

    Parameters
    ----------
    config
        The study's block under ``study``, and device, formats and shards.
    study
        The study's name.
    workflow
        A folder of the workflow, whose commit is recorded.
    origin
        The source files; the list of a fetched model stands for the files that it lists.
    built
        The files that the study is asked for, by which jobs of earlier builds are told from those of this one.
    benchmarks
        The folder of the study's benchmark files.

    Raises
    ------
    UserError
        If the configured device is not there.
    """
    return {
        "study": study,
        "config": dict(config),
        "code": {"version": __version__, **commit_of(workflow)},
        "versions": versions(),
        "machine": machine(config["device"]),
        "inputs": {str(path): checksum(path) for path in source_files(origin)},
        "rules": times(benchmarks, built),
    }


def commit_of(folder: Path) -> Record:
    """Return commit, dirty, and changed (paths, new ones too) of the repository that holds a folder's files.

    Where it cannot be known all three are None, and ``remark`` says why. A repository around the folder that does not
    hold its files is not meant.
    """
    try:
        if not _git(folder, "ls-files", "."):
            return _no_commit("the workflow's files are in no git repository")
        commit = _git(folder, "rev-parse", "--verify", "HEAD").strip()
        changed = [line[3:] for line in _git(folder, "status", "--porcelain").splitlines()]
    except subprocess.CalledProcessError:
        return _no_commit("the workflow lies in no git checkout with a commit that git can read")
    except OSError:
        return _no_commit("git is not installed")
    return {"commit": commit, "dirty": bool(changed), "changed": changed}


def _git(folder: Path, *arguments: str) -> str:
    environment = {name: value for name, value in os.environ.items() if name not in POINTERS}
    ran = subprocess.run(
        ["git", "--no-optional-locks", "-C", str(folder), *arguments],
        env=environment,
        stdin=subprocess.DEVNULL,
        capture_output=True,
        encoding="utf-8",
        errors="replace",
        check=True,
    )
    return ran.stdout


def _no_commit(remark: str) -> Record:
    return {"commit": None, "dirty": None, "changed": None, "remark": f"not known: {remark}"}


def versions() -> dict[str, str | None]:
    """Return the installed version of Python and of each dependency; None for one that is not installed."""
    return {"python": platform.python_version(), **{name: _version(name) for name in dependencies()}}


def dependencies() -> list[str]:
    """Return the names of what the package needs, by its own metadata where it is installed."""
    try:
        required = metadata.requires(DISTRIBUTION) or DEPENDENCIES
    except metadata.PackageNotFoundError:
        required = DEPENDENCIES
    needed = [requirement for requirement in required if "extra ==" not in requirement]
    return sorted(re.split(r"[^\w.-]", requirement, maxsplit=1)[0] for requirement in needed)


def _version(name: str) -> str | None:
    try:
        return metadata.version(name)
    except metadata.PackageNotFoundError:
        return None


def machine(device: str) -> Record:
    """Return platform, number of cores, the device that a configured name means, and the name of a GPU."""
    chosen = kind(device)
    return {"platform": platform.platform(), "cores": os.cpu_count(), "device": chosen, "gpu": _gpu(chosen)}


def _gpu(device: str) -> str | None:
    if not device.startswith("cuda"):
        return None
    import torch

    return str(torch.cuda.get_device_name(device))


def source_files(origin: Iterable[str]) -> list[Path]:
    """Return the source files, with the files that the list of a fetched model names in the list's place."""
    found: list[Path] = []
    for path in map(Path, origin):
        listed = sorted(json.loads(path.read_text(encoding="utf-8"))) if path.name == FETCHED else []
        found += [path.with_name(name) for name in listed] or [path]
    return found


def checksum(path: Path) -> dict[str, str | int | None]:
    """Return SHA-256 and bytes of a file of any size; None for one that is there no more.

    A fetched model's files are links into a cache, which may have been emptied since they were used.
    """
    if not path.exists():
        return {"sha256": None, "bytes": None}
    with path.open("rb") as file:
        return {"sha256": hashlib.file_digest(file, "sha256").hexdigest(), "bytes": path.stat().st_size}


def times(benchmarks: Path, built: Iterable[str]) -> dict[str, Record]:
    """Return what the jobs of a build took, from the benchmark files ``{rule}.tsv`` and ``{rule}/{wildcards}.tsv``.

    Parameters
    ----------
    benchmarks
        The folder of the benchmark files. Those of earlier builds' jobs stay there.
    built
        The files that the study is asked for. A job of a layer, neuron, association or shard counts if one of them bears that
        name; the others always do.

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
        if rule != OWN_RULE and _is_of(names, wildcards):
            jobs.setdefault(rule, {})[wildcards] = _measured(path)
    return {rule: {**_together(of_rule.values()), "jobs": of_rule} for rule, of_rule in jobs.items()}


def _is_of(names: Iterable[str], wildcards: str) -> bool:
    """Tell whether a job is of a build that has files of these names; only names with numbers come and go."""
    if not re.search(r"\d", wildcards):
        return True
    wanted = re.escape(re.sub(r"^(\d+\.\d+)$", r"neuron_\1", wildcards))
    if layer := re.fullmatch(r"layer_(\d+)", wildcards):  # the studied neuron's is swept even where it is not listed
        wanted += rf"|neuron_{layer[1]}\.\d+"
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


def write_json(record: Record, path: Path) -> None:
    """Write a record as JSON, sorted and indented; the same record gives the same bytes."""
    with replacing(path) as temporary:
        text = json.dumps(record, indent=2, sort_keys=True, ensure_ascii=False)
        temporary.write_text(f"{text}\n", encoding="utf-8")


def write_html(record: Record, path: Path) -> None:
    """Write a record as a page: what matters first, then the rules, the longest first, then versions."""
    title = f"Provenance of {record['study']}"
    write_sections(path, title, [_facts(record), _inputs(record), _rules(record), _versions(record)])


def _facts(record: Record) -> Section:
    code, host, model = record["code"], record["machine"], record["config"]["study"]["model"]
    rows = [
        ("study", record["study"]),
        ("model", f"{model['hub']} at {model['revision']}" if "hub" in model else model["folder"]),
        ("commit", _commit(code)),
        ("version", code["version"]),
        ("device", f"{host['device']} ({host['gpu']})" if host["gpu"] else host["device"]),
        ("machine", f"{host['platform']}, {host['cores']} cores"),
    ]
    return Section("", _table(["", " "], rows))


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
    said = f"{sum(row[1] for row in rows)} jobs, {total:,.0f} s in all; each counts, also those that ran side by side."
    return Section("Time and memory of the rules", shown, said)


def _versions(record: Record) -> Section:
    rows = [(name, version or "not installed") for name, version in record["versions"].items()]
    return Section("Versions", _table(["package", "version"], sorted(rows)))


def _table(columns: Sequence[str], rows: Sequence[Sequence[str]]) -> Any:
    return pd.DataFrame(rows, columns=list(columns)).style.format(escape="html")
