import json
import os
import shutil
import subprocess
import tomllib
from hashlib import sha256
from importlib import metadata
from pathlib import Path

import pytest
from bs4 import BeautifulSoup

from an_neuron.errors import UserError
from an_neuron.files.sealed import write_json
from an_neuron.files.version import __version__
from an_neuron.study import provenance
from an_neuron.study.provenance import checksum, commit_of, source_files, write_record
from an_neuron.study.provenance_page import write_html
from an_neuron.study.times import times

ROOT = Path(__file__).resolve().parents[3]
ABC = "ba7816bf8f01cfea414140de5dae2223b00361a396177a9cb410ff61f20015ad"  # SHA-256 of "abc", FIPS 180-2
HEADER = "s\th:m:s\tmax_rss\tmax_vms\tmax_uss\tmax_pss\tio_in\tio_out\tmean_load\tcpu_time\n"
BUILT = [
    "results/pear/patching/neurons/layers_1-1.h5",
    "results/pear/activations/shards/1-of-2.h5",
    "results/pear/examples/token_an_neuron_2.10.html",
    "results/pear/figures/png/token_an_neuron_2.10_top_prediction_fig.png",
]


def benchmarks(folder, **measured):
    """Write benchmark files of Snakemake's, given (s, max_rss) by rule__wildcards."""
    for name, values in measured.items():
        path = folder / f"{name.replace('__', '/').replace('_of_', '-of-')}.tsv"
        path.parent.mkdir(parents=True, exist_ok=True)
        rows = "".join(f"{s}\t0:00:01\t{rss}\t9\t9\t9\t9\t9\t9\t9\n" for s, rss in [values])
        path.write_text(HEADER + rows, encoding="utf-8")
    return folder


def git(folder, *arguments):
    settings = ("-c", "user.name=Pear", "-c", "user.email=pear@example.org", "-c", "commit.gpgsign=false")
    ran = subprocess.run(["git", "-C", folder, *settings, *arguments], capture_output=True, text=True, check=True)
    return ran.stdout.strip()


@pytest.fixture
def repository(tmp_path):
    folder = tmp_path / "repository"
    (folder / "workflow").mkdir(parents=True)
    (folder / "workflow" / "rule.smk").write_text("rule\n")
    git(folder, "init")
    git(folder, "add", ".")
    git(folder, "commit", "-m", "first")
    return folder


@pytest.fixture
def record(tmp_path, monkeypatch):
    """Return a record of a small study, made anew at each call."""
    monkeypatch.setattr(provenance, "versions", lambda: {"python": "3.11.7", "einops": None, "<i>": "1"})
    book = tmp_path / "book <b>.html"
    book.write_text("abc", encoding="utf-8")
    benchmarks(tmp_path / "benchmarks", slow=(3, 5), fast__z=(1, "NA"))
    study = {"model": {"folder": "mod<e>l"}, "answer": " an"}
    config = {"study": study, "device": "cpu", "formats": ["html"], "shards": 2}
    return lambda: provenance.provenance(config, "pear", tmp_path, [str(book)], BUILT, tmp_path / "benchmarks")


def test_the_checksum_of_a_known_text(tmp_path):
    path = tmp_path / "book.html"
    path.write_text("abc", encoding="utf-8")
    assert checksum(path) == {"sha256": ABC, "bytes": 3}


def test_a_file_larger_than_any_buffer_is_hashed_whole(tmp_path):
    content = bytes(range(256)) * 20_000
    (tmp_path / "model.safetensors").write_bytes(content)
    assert checksum(tmp_path / "model.safetensors")["sha256"] == sha256(content).hexdigest()


def test_the_list_of_a_fetched_model_stands_for_its_files(tmp_path):
    fetched = {"origin": {"hub": "a/pear"}, "files": {"model.safetensors": 3, "config.json": 2}}
    write_json(tmp_path / "fetched.json", fetched)
    (tmp_path / "config.json").write_text("abc")
    (tmp_path / "model.safetensors").symlink_to(tmp_path / "emptied cache")
    origin = [str(tmp_path / "fetched.json"), "book.html"]
    files = source_files(origin)
    assert files == [tmp_path / "config.json", tmp_path / "model.safetensors", Path("book.html")]
    assert [checksum(path)["sha256"] for path in files[:2]] == [ABC, None]
    assert provenance.model_origin(origin) == {"hub": "a/pear"}
    assert provenance.model_origin(["config.json", "book.html"]) is None


def test_wall_times_are_added_and_the_largest_memory_is_kept(tmp_path):
    folder = benchmarks(tmp_path, patch_heads__z=(1.25, 300.5), patch_heads__v=(2.5, 200.0), check_study=(0.5, 20))
    assert times(folder, BUILT) == {
        "check_study": {
            "seconds": 0.5,
            "peak_memory_mib": 20.0,
            "jobs": {"": {"seconds": 0.5, "peak_memory_mib": 20.0}},
        },
        "patch_heads": {
            "seconds": 3.75,
            "peak_memory_mib": 300.5,
            "jobs": {
                "v": {"seconds": 2.5, "peak_memory_mib": 200.0},
                "z": {"seconds": 1.25, "peak_memory_mib": 300.5},
            },
        },
    }


def test_what_was_not_measured_is_none(tmp_path):
    folder = benchmarks(tmp_path, short=("NA", "NA"), some__z=(2, "NA"), some__v=(3, "-"))
    (folder / "broken.tsv").touch()
    found = times(folder, BUILT)
    assert {rule: (of["seconds"], of["peak_memory_mib"]) for rule, of in found.items()} == {
        "broken": (None, None),
        "short": (None, None),
        "some": (5, None),
    }


def test_repeated_measurements_are_added(tmp_path):
    rows = "1.5\t-\t10\n2.25\t-\t30\n"
    (tmp_path / "again.tsv").write_text("s\th:m:s\tmax_rss\n" + rows)
    assert times(tmp_path, BUILT)["again"]["jobs"] == {"": {"seconds": 3.75, "peak_memory_mib": 30.0}}


@pytest.mark.parametrize(
    ("job", "counts"),
    [
        ("layers_1-1", True),
        ("layers_2-2", True),  # the studied neuron's, which is swept even where its layer is not listed
        ("layers_1-2", False),
        ("layers_10-10", False),
        ("1_of_2", True),
        ("1_of_3", False),
        ("token_an_neuron_2.10", True),
        ("token_an_neuron_2.1", False),
        ("token_n_neuron_2.10", False),
        ("2.10", True),
        ("2.1", False),
        ("resid_pre", True),
    ],
)
def test_jobs_of_earlier_builds_do_not_count(tmp_path, job, counts):
    assert bool(times(benchmarks(tmp_path, **{f"rule__{job}": (1, 1)}), BUILT)) == counts


def test_the_record_leaves_its_own_time_out(tmp_path):
    assert times(benchmarks(tmp_path, record_provenance=(1, 1), sum_results=(1, 1)), BUILT) == {}


def test_a_clean_repository(repository):
    commit = git(repository, "rev-parse", "HEAD")
    assert len(commit) == 40
    assert commit_of(repository / "workflow") == {"commit": commit, "dirty": False, "changed": []}


def test_a_dirty_repository_names_changed_and_new_files(repository):
    (repository / "workflow" / "rule.smk").write_text("other rule\n")
    (repository / "new.py").touch()
    found = commit_of(repository / "workflow")
    assert (found["dirty"], found["changed"]) == (True, ["workflow/rule.smk", "new.py"])


def test_ignored_files_do_not_make_it_dirty(repository):
    (repository / ".gitignore").write_text("results\n")
    git(repository, "add", ".")
    git(repository, "commit", "-m", "second")
    (repository / "results").mkdir()
    (repository / "results" / "figure.png").touch()
    assert commit_of(repository / "workflow")["dirty"] is False


def test_variables_of_a_git_hook_do_not_mislead(repository, tmp_path, monkeypatch):
    git(tmp_path, "init", "other")
    monkeypatch.setenv("GIT_DIR", str(tmp_path / "other" / ".git"))
    assert commit_of(repository / "workflow")["dirty"] is False


def test_without_a_repository_a_remark_says_so(tmp_path, capfd):
    unknown = {"commit": None, "dirty": None, "changed": None}
    found = commit_of(tmp_path)
    assert found == unknown | {"remark": found["remark"]}
    assert found["remark"].startswith("not known: the workflow lies in no git checkout")
    assert capfd.readouterr() == ("", "")


def test_without_a_commit_there_is_none(tmp_path):
    git(tmp_path, "init")
    (tmp_path / "rule.smk").touch()
    git(tmp_path, "add", ".")
    assert commit_of(tmp_path)["commit"] is None


def test_a_repository_around_a_copy_is_not_meant(repository):
    (repository / "copy").mkdir()
    (repository / "copy" / "rule.smk").touch()
    found = commit_of(repository / "copy")
    assert found["commit"] is None
    assert found["remark"] == "not known: the workflow's files are in no git repository"


def test_without_git_a_remark_says_so(repository, tmp_path, monkeypatch):
    monkeypatch.setenv("PATH", str(tmp_path))
    assert commit_of(repository)["remark"] == "not known: git is not installed"


def test_versions_are_those_of_the_projects_dependencies(monkeypatch):
    project = tomllib.loads((ROOT / "pyproject.toml").read_text())["project"]
    optional = [one for extra in ("plot", "workflow") for one in project["optional-dependencies"][extra]]
    required = [one for one in [*project["dependencies"], *optional] if not one.startswith("an-neuron")]
    found = provenance.versions()
    assert found["python"].startswith("3.")
    assert found == {"python": found["python"]} | {
        name: metadata.version(name) for name in (line.split(">=")[0] for line in required)
    }
    monkeypatch.setattr(provenance, "DISTRIBUTION", "no-such-package")
    assert provenance.versions() == found


def test_a_package_that_is_not_installed_has_no_version(monkeypatch, tmp_path):
    monkeypatch.setattr(provenance, "DISTRIBUTION", "no-such-package")
    monkeypatch.setattr(provenance, "PROJECT", tmp_path / "pyproject.toml")
    assert provenance.dependencies() == []
    (tmp_path / "pyproject.toml").write_text('[project]\nname = "a"\ndependencies = ["numpy>=2", "no-such-package"]\n')
    assert provenance.versions()["no-such-package"] is None


def test_the_machine_names_the_device_that_computes():
    found = provenance.machine("cpu")
    assert (found["device"], found["gpu"], found["cores"]) == ("cpu", None, os.cpu_count())
    with pytest.raises(UserError, match="cannot be used"):
        provenance.machine("no such device")


def test_a_record_holds_everything(record, tmp_path):
    found = record()
    assert list(found) == ["study", "config", "code", "versions", "machine", "origin", "inputs", "rules"]
    assert found["code"]["version"] == __version__
    assert found["config"]["study"]["answer"] == " an"
    assert found["inputs"] == {str(tmp_path / "book <b>.html"): {"sha256": ABC, "bytes": 3}}
    assert {rule: of["seconds"] for rule, of in found["rules"].items()} == {"fast": 1, "slow": 3}


def test_the_same_build_gives_the_same_bytes(record, tmp_path):
    for name in ("one", "two"):
        write_record(tmp_path / f"{name}.json", record())
        write_html(record(), tmp_path / f"{name}.html")
    for suffix in ("json", "html"):
        assert (tmp_path / f"one.{suffix}").read_bytes() == (tmp_path / f"two.{suffix}").read_bytes()
    text = (tmp_path / "one.json").read_text(encoding="utf-8")
    assert json.loads(text) == record()
    assert text == json.dumps(record(), indent=2, sort_keys=True) + "\n"


def test_the_page_shows_what_matters_first_and_the_longest_rule_first(record, tmp_path):
    write_html(record(), tmp_path / "page.html")
    page = BeautifulSoup((tmp_path / "page.html").read_text(encoding="utf-8"), "html.parser")
    tables = [[[cell.get_text() for cell in row("td")] for row in table("tr")[1:]] for table in page("table")]
    assert tables[0][0] == ["study", "pear"]
    assert tables[0][4] == ["device", "cpu"]
    assert tables[1] == [[str(tmp_path / "book <b>.html"), "3", ABC]]
    assert tables[2] == [["slow", "1", "3.0", "5.0"], ["fast", "1", "1.0", "–"]]
    assert tables[3] == [["<i>", "1"], ["einops", "not installed"], ["python", "3.11.7"]]
    assert [heading.get_text() for heading in page("h2")] == [
        "Source files",
        "Time and memory of the rules",
        "Versions",
    ]
    assert page.p.get_text().startswith("2 jobs, 4 s in all")


def test_the_page_is_escaped_and_loads_nothing(record, tmp_path):
    found = record()
    found["study"] = "<script>alert(1)</script>"
    found["code"] = {"version": "1", "commit": "c0ffee", "dirty": True, "changed": [f"<b>{n}" for n in range(7)]}
    found["inputs"]["gone"] = {"sha256": None, "bytes": None}
    found["rules"]["<u>"] = {"seconds": None, "peak_memory_mib": None, "jobs": {}}
    write_html(found, tmp_path / "page.html")
    text = (tmp_path / "page.html").read_text(encoding="utf-8")
    page = BeautifulSoup(text, "html.parser")
    assert [page(name) for name in ("script", "b", "i", "u", "e", "link", "img")] == [[]] * 7
    assert page.title.get_text() == page.h1.get_text() == "Provenance of <script>alert(1)</script>"
    said = "c0ffee, with changes that are not committed: <b>0, <b>1, <b>2, <b>3, <b>4 and 2 more"
    assert said in page.get_text()
    assert "not there any more" in page.get_text()
    assert "://" not in text


def test_a_study_without_benchmarks_has_a_page(record, tmp_path):
    shutil.rmtree(tmp_path / "benchmarks")
    write_html(record(), tmp_path / "page.html")
    assert "0 jobs, 0 s in all" in (tmp_path / "page.html").read_text(encoding="utf-8")
