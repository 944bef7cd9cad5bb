"""The workflow on a Slurm of one node: jobs side by side on two GPUs, cancelled, killed for memory, or left alone."""

import json
import os
import re
import shutil
import signal
import subprocess
import time
from collections import defaultdict
from contextlib import contextmanager
from pathlib import Path

import pytest
from project import Project

pytestmark = [pytest.mark.slurm, pytest.mark.workflow]

NODE = Path(__file__).parent / "slurm" / "node.sh"
NEEDED = ("slurmctld", "slurmd", "munged", "sbatch")

# What differs from a cluster in use: no database to ask for states, and jobs of seconds on two cores.
PROFILE = [
    *("--workflow-profile", "profiles/slurm", "--cores", "2"),
    *("--slurm-status-command", "squeue", "--slurm-init-seconds-before-status-checks", "3"),
]

# Runs in every Python of a build, also in Slurm's jobs. A job that would give a listed result its name stops there, the
# first time, until it is killed; or it waits until the job that makes a certain other result is as far. Who made a
# result, and on which GPU, is noted.
WATCHER = """
import json, os, signal, sys

def watch(event, arguments):
    if event != "os.rename":
        return
    target, folder = os.path.relpath(os.fsdecode(arguments[1])), os.environ["WATCHED"]
    mark = os.path.join(folder, target.replace("/", "_"))
    if target in os.environ["STOPS"].split() and not os.path.exists(mark):
        open(mark, "w").close()
        signal.pause()
    for number, pair in enumerate(json.loads(os.environ["MEETINGS"])):
        if target in pair:  # a pipe opens when both ends do
            open(os.path.join(folder, f"meeting_{number}"), "rw"[pair.index(target)]).close()
    if target.startswith("results/"):
        note = [target, os.environ.get("SLURM_JOB_ID"), os.environ.get("CUDA_VISIBLE_DEVICES")]
        with open(os.path.join(folder, "made"), "a") as made:
            made.write(json.dumps(note) + "\\n")

sys.addaudithook(watch)
"""

LAYERS = [f"results/orchard/patching/neurons/layers_{layer}-{layer}.h5" for layer in (0, 1)]
SHARDS = [f"results/orchard/activations/shards/{number}-of-3.h5" for number in (1, 2)]
SITE = "results/orchard/patching/resid_pre.h5"


def why_not():
    """Return why no Slurm can be started here, if so."""
    if os.geteuid() != 0:
        return "only root can start Slurm"
    if missing := [program for program in NEEDED if not shutil.which(program)]:
        return f"Slurm is not installed: no {', '.join(missing)} (`make slurm` installs it on Debian)"
    if (found := Path("/etc/slurm/slurm.conf")).exists():
        return f"this machine has a Slurm of its own, or one that killed tests left ({found.resolve()})"
    return ""


@pytest.fixture(scope="session")
def slurm(tmp_path_factory):
    """A Slurm of one node with two GPUs, which are only declared: jobs that get one compute on the CPU all the same."""
    if reason := why_not():
        (pytest.fail if os.environ.get("REQUIRE_SLURM") else pytest.skip)(reason)
    folder = tmp_path_factory.mktemp("slurm") / "node"
    try:
        subprocess.run([NODE, "up", folder], check=True, timeout=120)
        yield
    finally:
        subprocess.run([NODE, "down", folder], check=True, timeout=120)


class OnSlurm(Project):
    """A checkout whose jobs Slurm runs."""

    forks_jobs = False  # Slurm starts them

    def __init__(self, folder, stops=(), meetings=()):
        super().__init__(folder)
        self.config |= {"formats": ["html"], "sweeps": 3, "shards": 3}
        self.config["studies"]["orchard"]["top"] = 0
        self.name_gpus()
        self.stops, self.meetings = stops, meetings
        self.watched = folder.parent / "watched"
        self.watched.mkdir()
        (self.watched / "sitecustomize.py").write_text(WATCHER)
        for number, _ in enumerate(meetings):
            os.mkfifo(self.watched / f"meeting_{number}")
        self.said = folder.parent / "said"

    def name_gpus(self):
        """Use the profile's example of how to name partition and model, which is a comment."""
        profile = self.folder / "profiles" / "slurm" / "config.yaml"
        text, lines = re.subn(r"^# (?=set-resources:|  \w+: [&*]gpu)", "", profile.read_text(), flags=re.MULTILINE)
        assert lines > 2
        profile.write_text(text)

    @property
    def environment(self):
        own = super().environment
        path = os.pathsep.join([str(self.watched), own["PYTHONPATH"]])
        plan = {"STOPS": " ".join(self.stops), "MEETINGS": json.dumps(self.meetings)}
        return {**own, **plan, "WATCHED": str(self.watched), "PYTHONPATH": path}

    def command(self, *arguments):
        return super().command(*PROFILE, *arguments)

    @contextmanager
    def running(self, *arguments):
        """Start Snakemake in a process group of its own, and end that and what it submitted in every case."""
        with self.said.open("w") as said:
            process = subprocess.Popen(
                self.command(*arguments),
                cwd=self.folder,
                env=self.environment,
                stdout=said,
                stderr=subprocess.STDOUT,
                start_new_session=True,
            )
        try:
            yield process
        finally:
            kill(process)
            if run := self.run():
                ask("scancel", "--name", run)

    def run(self):
        """Return the name that the jobs of the last call of Snakemake have in Slurm."""
        found = re.search(r"SLURM run ID: (\S+)", self.said.read_text())
        return found[1] if found else None

    def stopped(self):
        """Return whether a job stands where it was to stop."""
        return all((self.watched / target.replace("/", "_")).exists() for target in self.stops)

    def made(self):
        """Return for each result the jobs that made it, each with its GPU."""
        found = defaultdict(list)
        for line in (self.watched / "made").read_text().splitlines():
            target, job, gpu = json.loads(line)
            found[target].append((job, gpu))
        return dict(found)


def ask(*command, **options):
    return subprocess.run(command, check=True, stdout=subprocess.PIPE, text=True, timeout=60, **options).stdout


def kill(process):
    if process.poll() is None:
        os.killpg(process.pid, signal.SIGKILL)
        process.wait(timeout=60)


def jobs_of(run, states="all"):
    """Return id, state and rule or group of a run's jobs, the oldest first."""
    lines = ask("squeue", "--noheader", "--states", states, "--name", run, "--format", "%i|%T|%k").splitlines()
    jobs = sorted((line.split("|") for line in lines), key=lambda job: int(job[0]))
    return [(job, state, re.match("rule_([a-z]+(_[a-z]+)*)", comment)[1]) for job, state, comment in jobs]


def wait_until(reached, seconds=120):
    deadline = time.monotonic() + seconds
    while not reached():
        assert time.monotonic() < deadline, f"waited {seconds} s in vain"
        time.sleep(0.2)


@pytest.fixture(scope="module")
def study(slurm, tmp_path_factory):
    """The embedded study; two layers, and two shards, can only be made while the other one is being made."""
    project = OnSlurm(tmp_path_factory.mktemp("study") / "project", meetings=[LAYERS, SHARDS])
    project.said.write_text(project.build("orchard"))
    return project


def test_layers_and_shards_run_side_by_side_each_on_a_gpu_of_its_own(study):
    made = study.made()
    for pair in (LAYERS, SHARDS):
        (one, first_gpu), (other, second_gpu) = (made[target][0] for target in pair)
        assert one != other
        assert {first_gpu, second_gpu} == {"0", "1"}


def test_jobs_that_run_the_model_ask_for_a_gpu_where_gpus_are(study):
    for job, state, name in jobs_of(study.run()):
        assert state == "COMPLETED", name
        asked = re.findall(r"(?:Partition|TresPerJob)=(\S+)", ask("scontrol", "show", "job", job))
        needs_none = name.startswith(("corpus", "describe_", "plot_logit_activation"))
        assert asked == (["main"] if needs_none else ["gpu", "gres:gpu:a100:1"]), name


def test_short_jobs_are_sent_together_or_not_at_all(study):
    names = [name.split("_wildcards")[0] for _, _, name in jobs_of(study.run())]
    assert set(names) == {
        *(
            "measure_congruence",
            "measure_answer_congruence",
            "rank_congruence",
            "attribute_neurons",
            "cache_activations",
            "map_neurons",
            "predict_prompts",
        ),
        *(
            "read_logit_lens",
            "ablate_prompts",
            "patch_drivers",
            "patch_heads",
            "patch_neurons",
            "patch_sites",
            "describe_association",
            "describe_choice",
            "record_provenance",
        ),
        *("plot_logit_activation", "corpus_extract_text_tokenize_corpus"),
    }
    assert names.count("corpus_extract_text_tokenize_corpus") == 1


def test_every_rule_was_started_as_usual(study, settled):
    """Jobs are forked elsewhere; so none needs what another one imported."""

    def rules(project):
        return {path.name for path in (project.folder / "results" / "orchard" / "benchmarks").iterdir()}

    assert rules(settled) - rules(study) == {"check_candidates.tsv"}, "which only `top` runs"


def test_nothing_is_left_to_do_on_slurm_or_without(study):
    assert study.jobs("orchard") == {}
    local = Project.command(study, "orchard")
    assert "Nothing to be done" in ask(*local, cwd=study.folder, env=study.environment, stderr=subprocess.STDOUT)


def test_slurm_gives_the_bytes_of_a_local_build(study, settled, built):
    """Where the neuron was not chosen, since it was given."""
    found, expected = (project.results(formats=("html",)) for project in (study, settled))
    before = built.results(formats=("html",))  # whose parts and associations still lie beside those of `settled`
    chosen = json.loads(found.pop(Path("neuron.json")))
    assert (chosen["layer"], chosen["index"]) == (2, 104)
    assert [path for path in found if found[path] != expected.get(path)] == []
    assert set(expected) - set(found) <= set(before)
    assert {path.parts[0] for path in found} | {"neuron.json"} == {path.parts[0] for path in expected}


def test_a_cancelled_job_and_one_killed_for_memory_are_made_again(slurm, tmp_path):
    project = OnSlurm(tmp_path / "project", stops=LAYERS[:1])
    too_little_at_first = "patch_sites:mem_mb=400 + 3000 * (attempt - 1)"
    with project.running(LAYERS[0], SITE, "--set-resources", too_little_at_first) as process:
        wait_until(project.stopped)
        cancelled = next(job for job, _, name in jobs_of(project.run()) if name.startswith("patch_neurons"))
        ask("scancel", cancelled)
        assert process.wait(timeout=300) == 0, project.said.read_text()
    states = defaultdict(list)
    for _, state, name in jobs_of(project.run()):
        states[name.split("_wildcards")[0]].append(state)
    assert states == {
        "patch_neurons": ["CANCELLED", "COMPLETED"],
        "patch_sites": ["FAILED", "COMPLETED"],
    }
    assert [len(project.made()[target]) for target in (LAYERS[0], SITE)] == [1, 1]


def test_snakemake_killed_on_a_cluster_goes_on_once_its_jobs_are_cancelled(slurm, tmp_path):
    """What docs/cluster.md says to do."""
    project = OnSlurm(tmp_path / "project", stops=LAYERS[:1])
    with project.running(LAYERS[0]) as process:
        wait_until(project.stopped)
        kill(process)
        run = project.run()
        assert [state for _, state, _ in jobs_of(run)] == ["RUNNING"]  # it would still write its result
        ask("scancel", "--name", run)
        wait_until(lambda: not jobs_of(run, "PENDING,RUNNING,COMPLETING"))
    refused = project.snakemake(LAYERS[0])
    assert "--unlock" in refused.stdout + refused.stderr
    project.build("--unlock")
    project.build(LAYERS[0])
    assert len(project.made()[LAYERS[0]]) == 1
