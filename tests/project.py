"""A copy of the repository in a folder of its own, in which tests run Snakemake for real."""

import gc
import multiprocessing
import os
import shutil
import subprocess
import sys
from collections.abc import Callable
from contextlib import ExitStack
from copy import deepcopy
from pathlib import Path
from tempfile import TemporaryDirectory

import prepared
import yaml
from filelock import FileLock

ROOT = Path(__file__).resolve().parents[1]
PARTS = ("Snakefile", "config.yaml", "workflow", "src", "profiles", "envs", "resources")
NOT_COMPARED = ("logs", "benchmarks", "provenance.json", "provenance.html", "checksums.sha256")  # they tell times
FORMATS = ("png", "svg", "html")
TIMEOUT = 900  # seconds

# Importing Snakemake takes longer than planning a study. One process imports it, and each call runs in a fork of that.
SNAKEMAKE = ("snakemake.cli", "snakemake.utils", "snakemake.report.html_reporter", "jsonschema", "tokenizers")
FORKS = multiprocessing.get_context("forkserver")
FORKS.set_forkserver_preload(["pytest", *SNAKEMAKE, *prepared.MODULES])


def call_snakemake(
    arguments: list[str], folder: Path, environment: dict[str, str], said: Path, forked: bool, leads: bool
) -> None:
    """Run Snakemake in this process, which ends with it, as `python -m snakemake` would."""
    if leads:
        os.setsid()
    gc.freeze()  # what was imported before the fork stays, and need not be looked through
    for descriptor, name in enumerate(("stdout", "stderr"), start=1):
        os.dup2(os.open(said / name, os.O_WRONLY | os.O_CREAT | os.O_APPEND), descriptor)
    os.chdir(folder)
    with ExitStack() as stack:
        if forked:
            sys.executable = str(stack.enter_context(prepared.python_of_forks(said, environment)))
        os.environ.clear()
        os.environ.update(environment)
        sys.path[:0] = environment["PYTHONPATH"].split(os.pathsep)

        from snakemake.cli import main

        main(arguments)


class Call:
    """A call of Snakemake that runs, in a process of its own; `pid` is also its group's where it leads one."""

    def __init__(self, project: "Project", command: list[str], leads: bool) -> None:
        self.command = command
        self.said = TemporaryDirectory()
        options = command[command.index("snakemake") + 1 :]
        arguments = options, project.folder, project.environment, Path(self.said.name), project.forks_jobs, leads
        self.process = FORKS.Process(target=call_snakemake, args=arguments)
        self.process.start()
        self.pid = self.process.pid

    def ended(self, timeout: float = TIMEOUT) -> subprocess.CompletedProcess[str]:
        """Wait for its end; return what it said."""
        with self.said as folder:
            self.process.join(timeout)
            if self.process.exitcode is None:
                self.process.kill()
                raise subprocess.TimeoutExpired(self.command, timeout)
            said = [(Path(folder) / name).read_text() for name in ("stdout", "stderr")]
            return subprocess.CompletedProcess(self.command, self.process.exitcode, *said)


class Project:
    """A fresh checkout, whose configuration a test may change."""

    forks_jobs = True  # which then need not import what takes longest

    def __init__(self, folder: Path) -> None:
        self.folder = folder
        folder.mkdir(parents=True, exist_ok=True)
        for part in PARTS:
            copy = shutil.copytree if (ROOT / part).is_dir() else shutil.copyfile
            copy(ROOT / part, folder / part)
        self.config = yaml.safe_load((ROOT / "config.yaml").read_text())

    @property
    def environment(self) -> dict[str, str]:
        """The copy's library comes first; nothing is fetched."""
        source = str(self.folder / "src")
        return {**os.environ, "PYTHONPATH": source, "HF_HUB_OFFLINE": "1", "HF_HOME": str(self.folder / "hub")}

    def command(self, *arguments: str | Path) -> list[str]:
        """Write the configuration; return the command line of a call of Snakemake."""
        (self.folder / "config.yaml").write_text(yaml.safe_dump(self.config), encoding="utf-8")
        return [sys.executable, "-m", "snakemake", "--cores", "2", *map(str, arguments)]

    def started(self, *arguments: str | Path, leads: bool = False) -> Call:
        """Start Snakemake; where it leads a process group, that can be killed with all its jobs."""
        return Call(self, self.command(*arguments), leads)

    def snakemake(self, *arguments: str | Path) -> subprocess.CompletedProcess[str]:
        """Run Snakemake to its end."""
        return self.started(*arguments).ended()

    def build(self, *arguments: str | Path) -> str:
        """Run Snakemake, which must succeed; return what it said."""
        ran = self.snakemake(*arguments)
        assert ran.returncode == 0, ran.stdout + ran.stderr
        return ran.stdout + ran.stderr

    def jobs(self, *arguments: str | Path) -> dict[str, int]:
        """Return the rules that a dry run would run, and how often."""
        lines = self.build("--dry-run", *arguments).splitlines()
        if "Job stats:" not in lines:
            return {}
        table = lines[lines.index("Job stats:") + 3 :]
        counts = dict(line.split() for line in table[: table.index("")])
        return {rule: int(count) for rule, count in counts.items() if rule not in ("total", *self.config["studies"])}

    def results(self, formats: tuple[str, ...] = FORMATS) -> dict[Path, bytes]:
        """Return what two builds of the embedded study have in common: each file's content; figures in some formats."""
        folder = self.folder / "results" / "orchard"
        paths = [path.relative_to(folder) for path in sorted(folder.rglob("*")) if path.is_file()]
        unwanted = [("figures", suffix) for suffix in FORMATS if suffix not in formats]
        return {
            path: (folder / path).read_bytes()
            for path in paths
            if path.parts[0] not in NOT_COMPARED and path.parts[:2] not in unwanted
        }

    @classmethod
    def built_once(cls, folder: Path, build: Callable[[Path], "Project"]) -> "Project":
        """Return what `build` makes in a folder; of several processes that ask for it the first one builds."""
        with FileLock(folder.with_suffix(".lock")):
            if not folder.exists():
                return build(folder)
        project = cls.__new__(cls)
        project.folder, project.config = folder, yaml.safe_load((folder / "config.yaml").read_text())
        return project

    def copied(self, folder: Path) -> "Project":
        """Return a copy that knows what was built, and may be changed."""
        copy = Project(folder)
        copy.config = deepcopy(self.config)
        built = [self.folder / part for part in ("results", ".snakemake")]
        subprocess.run(["cp", "-a", *built, folder], check=True)
        return copy
