"""Jobs that are killed: the same command again completes, redoes nothing whole, and gives the same bytes."""

import json
import os
import signal
from collections import Counter
from http.server import SimpleHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from threading import Thread

import pytest
from project import ROOT, Call, Project

from an_neuron.corpus.sources import book_name

pytestmark = pytest.mark.workflow

# Runs in every Python of a build. A job that would give a listed result its name waits, the first time, until all the
# others of its list are as far; then the last one kills all processes of the build. At one certain result a job waits
# until a test opens the other end of a pipe. All names are noted.
KILLER = """
import json, os, signal, sys

def mark(target):
    return os.path.join(os.environ["WATCHED"], target.replace("/", "_"))

def watch(event, arguments):
    if event != "os.rename":
        return
    target, folder = os.path.relpath(os.fsdecode(arguments[1])), os.environ["WATCHED"]
    for together in json.loads(os.environ["VICTIMS"]):
        if target in together and not os.path.exists(mark(target)):
            open(mark(target), "w").close()
            if all(os.path.exists(mark(other)) for other in together):
                os.killpg(0, signal.SIGKILL)
            signal.alarm(300)  # should another one never come, this job fails
            signal.pause()
    if target == os.environ["WAITS"]:
        open(os.path.join(folder, "gate")).read()
    if target.startswith("results/"):
        with open(os.path.join(folder, "made"), "a") as made:
            made.write(target + "\\n")

sys.addaudithook(watch)
"""

# One of each rule that runs the model: those that need no other, and those that need all layers' sweeps.
VICTIMS = [
    [
        f"results/orchard/{path}"
        for path in (
            "prompts/predictions.h5",
            "logit_lens.h5",
            "patching/resid_pre.h5",
            "patching/heads/z.h5",
            "patching/neurons/layers_0-2.h5",
            "congruence/top_neurons.h5",
            "congruence/neuron_2.104.h5",
        )
    ],
    [
        f"results/orchard/{path}"
        for path in (
            "patching/neurons/map.h5",
            "patching/neurons/attribution.h5",
            "activations/shards/1-of-1.h5",
            "ablation/prompts.h5",
        )
    ],
]


class Interrupted(Project):
    """A checkout whose builds are killed."""

    def __init__(self, folder, victims=(), waits=""):
        super().__init__(folder)
        self.watched = folder.parent / "watched"
        self.watched.mkdir()
        (self.watched / "sitecustomize.py").write_text(KILLER)
        self.victims, self.waits = victims, waits
        os.mkfifo(self.watched / "gate")

    @property
    def environment(self):
        own = super().environment
        path = os.pathsep.join([str(self.watched), own["PYTHONPATH"]])
        watch = {"WATCHED": str(self.watched), "VICTIMS": json.dumps(self.victims), "WAITS": self.waits}
        return {**own, **watch, "PYTHONPATH": path}

    def made(self):
        """Return how often each result got its name."""
        return Counter((self.watched / "made").read_text().split())


@pytest.fixture(scope="module")
def interrupted(tmp_path_factory):
    """A build of the embedded study that was killed twice, with a job of each rule at its last moment."""
    project = Interrupted(tmp_path_factory.mktemp("interrupted") / "project", VICTIMS)
    project.config["formats"] = ["html"]
    for together in VICTIMS:
        # As many cores as jobs: all of them wait for the last one. What they stand on is noted as done by then.
        killed = project.started("--cores", "8", *together, leads=True).ended()
        assert killed.returncode == -signal.SIGKILL, killed.stdout + killed.stderr
        assert [target for target in together if (project.folder / target).exists()] == []
        refused = project.snakemake(*together)
        assert refused.returncode != 0
        assert "--unlock" in refused.stdout + refused.stderr  # Snakemake's own message
        project.build("--unlock")
    project.build("orchard")
    return project


def test_a_killed_build_completes_and_redoes_nothing_whole(interrupted):
    made = interrupted.made()
    assert {target for together in VICTIMS for target in together} <= set(made)
    assert {target: often for target, often in made.items() if often > 1} == {}
    assert [path for path in interrupted.folder.rglob("*.tmp") if "results" in path.parts] == []
    assert interrupted.jobs("orchard") == {}


def test_a_killed_build_gives_the_bytes_of_an_undisturbed_one(interrupted, built):
    found, expected = interrupted.results(), built.results(formats=("html",))
    assert set(found) == set(expected)
    other = {path for path, content in found.items() if content != expected[path]}
    assert {path.as_posix() for path in other} <= {"index.html"}  # which links the formats of the figures there are


class HalfWay(SimpleHTTPRequestHandler):
    """Serves the embedded book; the first time, half of it, and then kills who asked."""

    project: Interrupted
    call: Call
    asked = 0

    def do_GET(self):
        book = (ROOT / "resources" / "orchard" / "book.html").read_bytes()
        self.send_response(200)
        self.send_header("Content-Length", str(len(book)))
        self.end_headers()
        type(self).asked += 1
        if self.asked == 1:
            self.wfile.write(book[: len(book) // 2])
            self.wfile.flush()
            os.killpg(self.call.pid, signal.SIGKILL)
        else:
            self.wfile.write(book)

    def log_message(self, *arguments):
        pass


def test_a_killed_download_leaves_nothing_and_is_made_again(tmp_path):
    project = Interrupted(tmp_path / "project")
    handler = type("Handler", (HalfWay,), {})
    server = ThreadingHTTPServer(("127.0.0.1", 0), handler)
    Thread(target=server.serve_forever, daemon=True).start()
    try:
        url = f"http://127.0.0.1:{server.server_address[1]}/book.html"
        project.config["studies"]["orchard"]["corpus"] = {"url": url}
        book = project.folder / "downloads/books" / book_name(url)
        handler.call = project.started("results/orchard/corpus/text.txt", leads=True)
        assert handler.call.ended().returncode == -signal.SIGKILL
        assert not book.exists()
        project.build("--unlock")
        project.build("results/orchard/corpus/text.txt")
        assert handler.asked == 2
        assert book.read_bytes() == (ROOT / "resources/orchard/book.html").read_bytes()
    finally:
        server.shutdown()
        server.server_close()


def damaged(content, kind):
    if kind == "truncated":
        return content[:-100]
    middle = len(content) // 2
    return content[:middle] + bytes([content[middle] ^ 4]) + content[middle + 1 :]


@pytest.fixture
def copy(built, tmp_path):
    return built.copied(tmp_path / "copy")


@pytest.mark.parametrize("kind", ["truncated", "flipped"])
def test_a_damaged_input_is_named(copy, kind):
    table = copy.folder / "results/orchard/patching/resid_pre.h5"
    times = table.stat()
    table.write_bytes(damaged(table.read_bytes(), kind))
    os.utime(table, ns=(times.st_atime_ns, times.st_mtime_ns))  # as a disk would damage it
    figure = "results/orchard/figures/html/patched_resid_fig.html"
    (copy.folder / figure).unlink()
    ran = copy.snakemake(figure)
    said = ran.stdout + ran.stderr
    assert ran.returncode != 0
    assert "results/orchard/patching/resid_pre.h5 is damaged" in said
    assert "Traceback" not in said


def test_the_same_bytes_made_again_cause_nothing_further(copy):
    text = "results/orchard/corpus/text.txt"
    before = (copy.folder / text).read_bytes()
    copy.build("--force", text)
    assert (copy.folder / text).read_bytes() == before
    assert copy.jobs("orchard") == {}


def test_a_second_snakemake_is_refused_and_harms_nothing(tmp_path):
    text = "results/orchard/corpus/text.txt"
    project = Interrupted(tmp_path / "project", waits=text)
    first = project.started(text)
    with (project.watched / "gate").open("w"):  # the first one's job waits until this is closed
        second = project.snakemake(text)
        assert second.returncode != 0
        assert "Directory cannot be locked" in second.stdout + second.stderr
        assert not (project.folder / text).exists()
    ended = first.ended()
    assert ended.returncode == 0, ended.stdout + ended.stderr
    assert project.made() == {text: 1, f"{text}.sha256": 1}


def test_an_unreadable_file_is_named(copy):
    text = copy.folder / "results/orchard/corpus/text.txt"
    text.unlink()
    text.mkdir()  # root may read whatever can be read, but no folder as a file
    (text / "inside").touch()
    ran = copy.snakemake("--force", "results/orchard/corpus/parts/1-of-1.h5", "--allowed-rules", "tokenize_corpus")
    assert ran.returncode != 0
    assert "corpus/text.txt" in ran.stdout + ran.stderr


# Runs in every Python of a build: kills a job at one step of writing a result, the first time for each result.
DYING = """
import os, re, signal, sys

def die(path, step):
    found = re.search("results/orchard/(.*/)?[.]([^/]+)[.][0-9]+[.]tmp$", str(path))
    mark = found and os.path.join(os.environ["WATCHED"], step + "_" + found[2])
    if found and step == os.environ["STEP"] and not os.path.exists(mark):
        open(mark, "w").close()
        os.kill(os.getpid(), signal.SIGKILL)

def watch(event, arguments):
    if event in ("open", "os.rename") and isinstance(arguments[0], (str, os.PathLike)):
        die(os.path.abspath(arguments[0]), event)

to_disk = os.fsync
os.fsync = lambda file: (die(os.readlink(f"/proc/self/fd/{file}"), "os.fsync"), to_disk(file))[1]
sys.addaudithook(watch)
"""
STEPS = ("open", "os.fsync", "os.rename")
OF_EACH_KIND = [  # none of a list comes before another
    ["neuron.json"],
    ["associations.csv", "activations/choice.h5", "figures/html/logit_lens_fig.html"],
]


class Dying(Project):
    """A checkout whose jobs are killed."""

    step = ""

    @property
    def environment(self):
        own, watched = super().environment, self.folder.parent / "watched"
        path = os.pathsep.join([str(watched), own["PYTHONPATH"]])
        return {**own, "PYTHONPATH": path, "WATCHED": str(watched), "STEP": self.step}


@pytest.mark.skipif(not Path("/proc/self/fd").exists(), reason="needs /proc")
@pytest.mark.parametrize("names", OF_EACH_KIND, ids=lambda names: names[0])
def test_a_job_killed_at_any_step_of_writing_leaves_nothing_and_gives_the_same_bytes(built, tmp_path, names):
    project = built.copied(tmp_path / "project")
    project.__class__, project.config["formats"] = Dying, ["html"]
    (tmp_path / "watched").mkdir()
    (tmp_path / "watched" / "sitecustomize.py").write_text(DYING)
    results = project.folder / "results" / "orchard"
    expected = {name: (results / name).read_bytes() for name in names}
    for name in names:
        (results / name).unlink()
    targets = [f"results/orchard/{name}" for name in names]
    for project.step in STEPS:
        assert project.snakemake("--keep-going", *targets).returncode != 0
        died = {path.name for path in (tmp_path / "watched").glob(f"{project.step}_*")}
        assert died == {f"{project.step}_{Path(name).name}" for name in names}
        assert [name for name in names if (results / name).exists()] == []
    project.step = ""
    project.build(*targets)
    assert {name: (results / name).read_bytes() for name in names} == expected
    assert list(results.rglob("*.tmp")) == []
