"""Results that are lost, damaged or cannot be written, in a whole study."""

import os
import re
import subprocess

import pytest
from project import Project

pytestmark = pytest.mark.workflow
# None of a list comes before another: of what is rebuilt anyway Snakemake does not tell that it is missing.
LOST = [
    [
        "ablation/prompts.csv",
        "checked.txt",
        "logit_lens.h5",
        "patching/heads/z.h5",
        "patching/neurons/top.csv",
        "prompts/predictions.csv",
    ],
    [
        "associations.html",
        "examples/token_an_neuron_2.104.csv",
        "figures/html/choice_scatter_fig.html",
        "finding.txt",
        "published.html",
    ],
]
RESULTS = "results/orchard"


@pytest.fixture(scope="module")
def copy(built, tmp_path_factory):
    return built.copied(tmp_path_factory.mktemp("faults") / "copy")


@pytest.fixture
def kept(copy):
    """Yield a project whose results are as they were when the test ends, times included."""
    before = {path: (path.read_bytes(), path.stat()) for path in (copy.folder / RESULTS).rglob("*") if path.is_file()}
    yield copy
    for path, (content, times) in before.items():
        if not path.exists() or path.read_bytes() != content:
            path.parent.mkdir(exist_ok=True)  # Snakemake removes a folder that it empties
            path.write_bytes(content)
            os.utime(path, ns=(times.st_atime_ns, times.st_mtime_ns))


@pytest.mark.parametrize("lost", LOST)
def test_every_result_is_asked_for_and_a_lost_one_is_planned(kept, lost):
    folder = kept.folder / RESULTS
    there = {path.relative_to(folder).as_posix() for path in folder.rglob("*") if path.is_file()}
    for name in lost:
        (folder / name).unlink()
    planned = kept.build("--dry-run", "orchard")
    missing = re.findall(r"Missing output files: (.*)", planned)
    assert {f"{RESULTS}/{name}" for name in lost} <= {name for listed in missing for name in listed.split(", ")}
    asked = re.search(r"^(?:local)?rule orchard:\n    input: (.*)", planned, re.MULTILINE)[1].split(", ")
    results = {f"{RESULTS}/{name}" for name in there if name.split("/")[0] not in ("logs", "benchmarks")}
    results.add("results/assets/plotly.min.js")  # which all studies share
    assert set(asked) == results


def test_a_lost_seal_is_planned(kept):
    """Its text is tokenized again, which a choice waits for, so that not all that is asked for is known."""
    (kept.folder / RESULTS / "corpus" / "text.txt.sha256").unlink()
    missing = re.findall(r"Missing output files: (.*)", kept.build("--dry-run", "orchard"))
    assert f"{RESULTS}/corpus/text.txt.sha256" in missing


def check(folder):
    """Return whether `sha256sum --check` finds all results as they were written, and what it says."""
    command = ["sha256sum", "--check", "--quiet", "checksums.sha256"]
    ran = subprocess.run(command, cwd=folder, capture_output=True, text=True, check=False)
    return ran.returncode == 0, ran.stdout


def test_checksums_are_of_all_results(kept):
    folder = kept.folder / RESULTS
    lines = (folder / "checksums.sha256").read_text(encoding="utf-8").splitlines()
    there = {path.relative_to(folder).as_posix() for path in folder.rglob("*") if path.is_file()}
    results = {name for name in there if name.split("/")[0] not in ("logs", "benchmarks")}
    assert [line[66:] for line in lines] == sorted(results - {"checksums.sha256"})
    assert check(folder) == (True, "")


UNREAD = ["figures/html/patched_neuron_fig.html", "finding.txt", "patching/neurons/top.csv", "published.html"]


def test_damage_that_no_job_would_read_is_named_and_mended(kept):
    folder = kept.folder / RESULTS
    before = {name: (folder / name).read_bytes() for name in UNREAD}
    for name, content in before.items():
        times = (folder / name).stat()
        (folder / name).write_bytes(bytes([content[0] ^ 1]) + content[1:])
        os.utime(folder / name, ns=(times.st_atime_ns, times.st_mtime_ns))  # as a disk would damage it
    assert kept.jobs("orchard") == {}
    assert check(folder) == (False, "".join(f"{name}: FAILED\n" for name in UNREAD))
    for name in UNREAD:
        (folder / name).unlink()
    kept.build("orchard")
    assert {name: (folder / name).read_bytes() for name in UNREAD} == before
    assert check(folder) == (True, "")


@pytest.mark.parametrize("name", ["associations.json", "neuron.json"])
@pytest.mark.parametrize("content", [b"", b'{"layer"', b"\xff"])
def test_a_damaged_choice_is_named_in_a_dry_run(kept, name, content):
    (kept.folder / RESULTS / name).write_bytes(content)
    ran = kept.snakemake("--dry-run", "orchard")
    said = ran.stdout + ran.stderr
    assert ran.returncode != 0
    assert f"{RESULTS}/{name} is damaged" in said
    assert "Delete it and run snakemake again." in said
    assert "Traceback (most recent call last)" not in said  # where in the rules it was asked for, Snakemake tells
    assert "JSONDecodeError" not in said


def test_a_text_cut_short_is_named(kept):
    text = kept.folder / RESULTS / "corpus/text.txt"
    times = text.stat()
    text.write_bytes(text.read_bytes()[: times.st_size // 2])
    os.utime(text, ns=(times.st_atime_ns, times.st_mtime_ns))  # as a disk would damage it
    ran = kept.snakemake("--force", f"{RESULTS}/corpus/parts/1-of-1.h5", "--allowed-rules", "tokenize_corpus")
    said = ran.stdout + ran.stderr
    assert ran.returncode != 0
    assert f"{RESULTS}/corpus/text.txt is damaged: its content is not what was written. Delete it and run" in said
    assert "Traceback" not in said


# Root may write to any folder, as long as it has these capabilities; what setpriv starts has them no more.
BOUND = ["setpriv", "--bounding-set", "-dac_override,-dac_read_search"] if os.geteuid() == 0 else []


@pytest.fixture
def read_only(tmp_path):
    """Return what makes a folder that nothing can be written to, not even by root."""
    made = []

    def make(folder):
        folder.mkdir(parents=True)
        folder.chmod(0o555)
        made.append(folder)
        try:
            tried = subprocess.run([*BOUND, "touch", folder / "file"], capture_output=True, check=False)
        except FileNotFoundError:
            pytest.skip("root needs setpriv (util-linux) to be refused anything")
        if tried.returncode == 0:
            pytest.skip("nothing refuses root a file here")

    yield make
    for folder in made:
        if folder.exists():  # Snakemake removes an empty folder of a job that failed
            folder.chmod(0o755)


READ_ONLY = {
    "results": "Results cannot be written to results: the folder {}/results is read-only; make it writable.",
    f"{RESULTS}/prompts": "prompts/tokens.h5 cannot be written (Permission denied); make its folder writable.",
}


@pytest.mark.parametrize("folder", READ_ONLY)
def test_a_folder_that_may_not_be_written_to_ends_in_a_sentence(tmp_path, read_only, folder):
    project = Project(tmp_path / "project")
    project.config["formats"] = ["html"]
    read_only(project.folder / folder)
    ran = subprocess.run(
        [*BOUND, *project.command(f"{RESULTS}/prompts/tokens.h5")], cwd=project.folder, env=project.environment,
        capture_output=True, encoding="utf-8", check=False,
    )  # fmt: skip
    shown = ran.stdout + ran.stderr
    assert ran.returncode != 0
    assert READ_ONLY[folder].format(project.folder) in shown
    assert "Traceback" not in shown
    assert list((project.folder / folder).rglob("*")) == []
