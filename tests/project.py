"""A copy of the repository in a folder of its own, in which tests run Snakemake for real."""

import os
import shutil
import subprocess
import sys
from pathlib import Path

import yaml

ROOT = Path(__file__).resolve().parents[1]
PARTS = ("Snakefile", "config.yaml", "workflow", "src", "profiles", "envs", "resources")
NOT_COMPARED = ("logs", "benchmarks", "provenance.json", "provenance.html")  # they tell times


class Project:
    """A fresh checkout, whose configuration a test may change."""

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

    def snakemake(self, *arguments: str | Path) -> subprocess.CompletedProcess[str]:
        """Run Snakemake to its end."""
        return subprocess.run(
            self.command(*arguments), cwd=self.folder, env=self.environment, capture_output=True, text=True, timeout=900
        )

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

    def results(self) -> dict[Path, bytes]:
        """Return the content of every file of the embedded study that two builds have in common."""
        folder = self.folder / "results" / "orchard"
        paths = [path.relative_to(folder) for path in sorted(folder.rglob("*")) if path.is_file()]
        return {path: (folder / path).read_bytes() for path in paths if path.parts[0] not in NOT_COMPARED}
