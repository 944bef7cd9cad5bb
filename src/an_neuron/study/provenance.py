"""From what, with what and in what time a study was built: one record for a build.

study       its name
config      its block of the configuration with the defaults filled in, and device, formats, sweeps and shards
code        version of the package; git commit, whether files differed from it, and which
versions    of Python and of each dependency
machine     platform, cores, and the device that computes, as the job sees them that writes the record
origin      of a fetched model: from where, and how its weights were rounded; null for a local folder
inputs      SHA-256 and size of each source file
rules       seconds and peak memory of each rule and of its jobs, by their wildcards, from Snakemake's benchmark files

Nothing in it is the time of day, so two builds on one machine differ in seconds and memory alone.
"""

import hashlib
import os
import platform
import re
import subprocess
import tomllib
from collections.abc import Iterable, Mapping
from importlib import metadata
from pathlib import Path
from typing import Any

from an_neuron.corpus.sources import DATASET_LIST
from an_neuron.errors import DamagedFileError
from an_neuron.files.atomic import write_json
from an_neuron.files.extras import EXTRAS
from an_neuron.files.schema import Schema
from an_neuron.files.sealed import read_json
from an_neuron.files.version import __version__
from an_neuron.model.devices import kind
from an_neuron.study.times import times

Record = dict[str, Any]
DISTRIBUTION = "an-neuron"
FETCHED = "fetched.json"
LISTS = (FETCHED, DATASET_LIST)
"""Files that stand for those that they list."""
PROJECT = Path(__file__).resolve().parents[3] / "pyproject.toml"
"""Tells what the package needs, for where it is on the Python path but not installed."""
RECORD = Schema("provenance.json", "from what, with what and in what time the study was built")
POINTERS = ("GIT_DIR", "GIT_WORK_TREE", "GIT_INDEX_FILE", "GIT_PREFIX")
"""Variables that, in a git hook for example, would make git answer for another repository."""


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
        The study's block under ``study``, and device, formats, sweeps and shards.
    study
        The study's name.
    workflow
        A folder of the workflow, whose commit is recorded.
    origin
        The source files; the list of a fetched model or dataset stands for the files that it lists.
    built
        The files that the study is asked for, by which jobs of earlier builds are told from those of this one.
    benchmarks
        The folder of the study's benchmark files.

    Raises
    ------
    UserError
        If the configured device is not there.
    """
    origin = list(origin)
    return {
        "study": study,
        "config": dict(config),
        "code": {"version": __version__, **commit_of(workflow)},
        "versions": versions(),
        "machine": machine(config["device"]),
        "origin": model_origin(origin),
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
    """Return what the workflow needs: by the package's metadata where it is installed, else by pyproject."""
    try:
        own, required = DISTRIBUTION, [one for one in metadata.requires(DISTRIBUTION) or [] if _of_workflow(one)]
    except metadata.PackageNotFoundError:
        own, required = _declared()
    return sorted({re.split(r"[^\w.-]", requirement, maxsplit=1)[0] for requirement in required} - {own})


def _of_workflow(requirement: str) -> bool:
    """Return whether a requirement of the metadata is one of the library, or of an extra that the workflow needs."""
    extra = re.search(r"extra == [\"'](\w+)", requirement)
    return extra is None or extra[1] in EXTRAS


def _declared() -> tuple[str, list[str]]:
    """Return the package's name and its requirements by pyproject.toml, where there is one."""
    if not PROJECT.exists():
        return DISTRIBUTION, []
    project = tomllib.loads(PROJECT.read_text(encoding="utf-8"))["project"]
    optional = project.get("optional-dependencies", {})
    return project["name"], [*project["dependencies"], *(one for extra in EXTRAS for one in optional.get(extra, []))]


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
    """Return the source files, with the files that the list of a fetched model or dataset names in the list's place."""
    found: list[Path] = []
    for path in map(Path, origin):
        listed = sorted(_fetched(path)["files"]) if path.name in LISTS else []
        found += [path.with_name(name) for name in listed] or [path]
    return found


def model_origin(origin: Iterable[str]) -> Record | None:
    """Return from where a model was fetched and how its weights were rounded; None for a local folder."""
    return next((_fetched(path)["origin"] for path in map(Path, origin) if path.name == FETCHED), None)


def _fetched(path: Path) -> Record:
    fetched = read_json(path)
    if not isinstance(fetched, dict) or not all(isinstance(fetched.get(key), dict) for key in ("files", "origin")):
        raise DamagedFileError(path, "lists no files that were fetched")
    return fetched


def checksum(path: Path) -> dict[str, str | int | None]:
    """Return SHA-256 and bytes of a file of any size; None for one that is there no more.

    A fetched model's files are links into a cache, which may have been emptied since they were used.
    """
    if not path.exists():
        return {"sha256": None, "bytes": None}
    with path.open("rb") as file:
        return {"sha256": hashlib.file_digest(file, "sha256").hexdigest(), "bytes": path.stat().st_size}


def write_record(path: Path, record: Record) -> None:
    """Write a record as JSON, sorted and indented; the same record gives the same bytes."""
    write_json(path, record, indent=2, sort_keys=True)
