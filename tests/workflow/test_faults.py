"""Results that are lost, damaged or cannot be written, in a whole study."""

import os
import re

import pytest

pytestmark = pytest.mark.workflow
# None of a list comes before another: of what is rebuilt anyway Snakemake does not tell that it is missing.
LOST = [
    [
        "checked.txt",
        "corpus/text.txt.sha256",
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
    ran = kept.snakemake("--force", f"{RESULTS}/corpus/tokens.h5", "--allowed-rules", "tokenize_corpus")
    said = ran.stdout + ran.stderr
    assert ran.returncode != 0
    assert f"{RESULTS}/corpus/text.txt is damaged: its content is not what was written. Delete it and run" in said
    assert "Traceback" not in said
