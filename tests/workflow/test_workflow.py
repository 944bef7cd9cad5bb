"""The workflow for real: the embedded study is built once in a folder of its own, then looked at and disturbed."""

import csv
import hashlib
import json
import os
import re
import shutil
import subprocess
import sys
import zipfile
from functools import partial
from http.server import SimpleHTTPRequestHandler, ThreadingHTTPServer
from threading import Thread

import pytest
from project import FORMATS, ROOT, Project

from an_neuron.files import hdf5

pytestmark = pytest.mark.workflow
PNG_SIZE = (4 * 672, 4 * 392)
CAPTIONS_OF_COMPARISON = ("comparison", "compare_studies")  # they stand in the report of the target `compare`
# They stand in that of `orchard_circuit`.
CAPTIONS_OF_CIRCUIT = ("ablation", "circuit", "curves", "dose_response", "driving_neurons", "faithfulness", "methods")


@pytest.fixture
def project(tmp_path):
    return Project(tmp_path / "project")


@pytest.fixture(scope="module")
def results(built):
    return built.folder / "results" / "orchard"


def first_words(caption):
    return " ".join(caption.read_text(encoding="utf-8").split()[:4])


def png_size(path):
    header = path.read_bytes()[:24]
    assert header[:8] == b"\x89PNG\r\n\x1a\n"
    return int.from_bytes(header[16:20], "big"), int.from_bytes(header[20:24], "big")


def test_the_notebooks_eight_figures_and_those_beyond_are_there_in_three_formats(results):
    neuron = json.loads((results / "neuron.json").read_text())
    associations = [association["name"] for association in json.loads((results / "associations.json").read_text())]
    assert associations[0] == f"token_an_neuron_{neuron['layer']}.{neuron['index']}"
    assert len(associations) == 4  # the three mutually exclusive ones besides
    names = {
        "logit_lens_fig",
        "patched_resid_fig",
        "patched_attn_fig",
        "patched_mlp_fig",
        "patched_neuron_fig",
        f"{associations[0]}_logit_activation_fig",
        f"{associations[0]}_neuron_dot_vocab_fig",
        "most_similar_neurons_fig",
    }
    names |= {"answer_dot_neurons_fig", "exclusive_congruence_fig", "top_predictions_together_fig"}
    names |= {"choice_scatter_fig", "choice_proportion_fig"}
    names |= {f"driving_{what}_fig" for what in ("resid", "attn", "mlp", "heads")}
    names |= {"neuron_map_fig", "attribution_fig", *(f"patched_heads_{site}_fig" for site in ("z", "v", "pattern"))}
    names |= {
        f"{association}_{kind}_fig"
        for association in associations
        for kind in ("logit_activation", "top_prediction", "precision_recall")
    }
    for suffix in ("png", "svg", "html"):
        assert {path.stem for path in (results / "figures" / suffix).glob(f"*.{suffix}")} == names
    assert {png_size(path) for path in (results / "figures" / "png").iterdir()} == {PNG_SIZE}


def test_each_pair_has_a_row_and_its_examples(results):
    associations = json.loads((results / "associations.json").read_text())
    with (results / "associations.csv").open(encoding="utf-8") as file:
        rows = list(csv.DictReader(file))
    assert [row["source"] for row in rows] == ["studied", "exclusive", "exclusive", "exclusive"]
    assert [(int(row["layer"]), int(row["index"])) for row in rows] == [(p["layer"], p["index"]) for p in associations]
    for association in associations:
        with (results / "examples" / f"{association['name']}.csv").open(encoding="utf-8") as file:
            assert len(list(csv.DictReader(file))) == 20
        assert "mark" in (results / "examples" / f"{association['name']}.html").read_text(encoding="utf-8")


def test_the_log_of_the_corpus_pass_tells_its_speed(results):
    log = (results / "logs" / "cache_activations" / "1-of-1.log").read_text()
    assert re.search(r"corpus: +100%.*69\.5k/69\.5k.*token/s", log)


def test_every_published_value_is_reproduced(results):
    with (results / "published.csv").open(encoding="utf-8") as file:
        rows = list(csv.DictReader(file))
    assert len(rows) >= 20
    assert [row for row in rows if row["verdict"] != "reproduced"] == []


def test_studied_neuron_is_the_best_of_all_sweeps(results):
    neuron = json.loads((results / "neuron.json").read_text())
    recovery = hdf5.read(results / "patching" / "neurons" / "layers_0-2.h5")["recovery"]
    assert neuron["recovery"] == pytest.approx(recovery.max(), abs=1e-6)
    assert recovery[neuron["layer"]].argmax() == neuron["index"]


def test_files_agree_on_the_logit_differences(results):
    predictions = hdf5.read(results / "prompts" / "predictions.h5")
    clean, corrupted = predictions["logit_difference"]
    for name in ("resid_pre", "attn_out", "mlp_out", "neurons/layers_0-2"):
        sweep = hdf5.read(results / "patching" / f"{name}.h5")
        assert sweep["clean"] == pytest.approx([clean], abs=1e-4)
        assert sweep["corrupted"] == pytest.approx([corrupted], abs=1e-4)
    lens = hdf5.read(results / "logit_lens.h5")
    assert lens["mean_logit_difference"][-1] + lens["bias"][0] == pytest.approx(clean, abs=1e-4)


def test_files_say_where_they_come_from(results):
    for path in results.rglob("*.h5"):
        attributes = hdf5.read(path).attributes
        assert attributes["study"] == "orchard", path
        assert attributes["model"] == "resources/orchard/model", path
        assert attributes["dtype"] == "float32", path
        assert attributes["version"], path


def test_second_run_has_nothing_to_do(built):
    assert "Nothing to be done" in built.snakemake("orchard").stderr


def test_one_figure_by_its_path_runs_no_model(built, results):
    figures = [results / "figures" / suffix / f"patched_neuron_fig.{suffix}" for suffix in FORMATS]
    before, times = [figure.read_bytes() for figure in figures], [figure.stat() for figure in figures]
    for figure in figures:
        figure.unlink()
    target = str(figures[0].relative_to(built.folder))
    assert built.jobs(target) == {"plot_patched_neurons": 1}
    built.build(target)
    assert [figure.read_bytes() for figure in figures] == before
    for figure, was in zip(figures, times, strict=True):  # `built` stays as it is
        os.utime(figure, ns=(was.st_atime_ns, was.st_mtime_ns))


def test_report_shows_every_figure_with_caption_and_category(built, tmp_path):
    archive = tmp_path / "report.zip"
    ran = built.snakemake("orchard", "--report", str(archive))
    assert ran.returncode == 0, ran.stderr
    with zipfile.ZipFile(archive) as file:
        names = file.namelist()
        page = next(file.read(name).decode() for name in names if name.endswith("report.html"))
    assert len([name for name in names if name.endswith("_fig.png")]) == 33
    assert len([name for name in names if name.endswith("_fig.html")]) == 33
    for category in ("Discovering the neuron", "Finding 1", "Finding 2", "Finding 3", "Numbers"):
        assert category in page
    for caption in (ROOT / "workflow" / "report").glob("*.rst"):
        if caption.stem not in {
            *CAPTIONS_OF_COMPARISON,
            *CAPTIONS_OF_CIRCUIT,
            "prompt_set",
            "neuron_statistics",
        }:  # the orchard has none of these
            assert first_words(caption) in page, caption


def test_built_studies_are_compared_and_no_study_is_built(built, tmp_path):
    """The target `compare`: a study that is not built is left out by name; a changed map reruns the comparison."""
    project = built.copied(tmp_path / "compared")
    project.config["formats"] = ["html"]
    project.config["studies"]["second"] = {**project.config["studies"]["orchard"], "neuron": "1.5"}
    anew = {"compare_studies": 1, "plot_comparison": 1, "compare": 1}
    assert project.jobs("compare") == anew
    said = project.build("compare")
    left_out = "Left out, because they are not built: an_neuron, an_neuron_pile, second, smollm2."
    assert left_out in said
    results = project.folder / "results"
    assert left_out in (results / "index.html").read_text(encoding="utf-8")
    assert (results / "figures" / "html" / "comparison_fig.html").is_file()
    with (results / "comparison.csv").open(encoding="utf-8") as file:
        orchard, published = csv.DictReader(file)
    assert (orchard["study"], orchard["neuron"], orchard["depth"]) == ("orchard", "2.104", "1.0")
    assert float(orchard["recovery"]) == pytest.approx(0.7056, abs=1e-3)
    assert (published["neuron"], published["source"]) == ("31.892", "published, not measured here")
    assert {path.name for path in results.iterdir() if path.is_dir()} == {
        "orchard",
        "assets",
        "figures",
        "logs",
        "benchmarks",
    }
    assert not (project.folder / "downloads").exists()

    archive = tmp_path / "report.zip"
    project.build("compare", "--report", archive)
    with zipfile.ZipFile(archive) as file:
        page = next(file.read(name).decode() for name in file.namelist() if name.endswith("report.html"))
    for caption in CAPTIONS_OF_COMPARISON:
        assert first_words(ROOT / "workflow" / "report" / f"{caption}.rst") in page

    assert project.jobs("compare") == {}
    with (results / "orchard" / "patching" / "neurons" / "map.h5").open("ab") as file:
        file.write(b"changed")
    assert project.jobs("compare") == anew


def test_without_network_or_weights_one_sentence_says_what_is_missing(project):
    ran = project.snakemake("--resources", "gpu=1")
    said = ran.stdout + ran.stderr
    assert ran.returncode != 0
    assert "The weights of openai-community/gpt2-large are not on this machine and cannot be fetched" in said
    assert "the study orchard needs neither network nor GPU" in said
    assert "In config.yaml: `model: {folder: PATH}`." in said
    assert "Traceback" not in said
    made = [path for part in ("results", "downloads") for path in (project.folder / part).rglob("*") if path.is_file()]
    of_no_model = ("plotly.min.js", "write_plotly.tsv")
    assert [path.name for path in made if path.suffix != ".log" and path.name not in of_no_model] == []


def test_published_study_is_planned_as_far_as_it_is_known_without_its_model(project):
    """How many layers are swept is known when the model is there."""
    jobs = project.jobs()
    assert jobs["fetch_model"] == 1
    assert jobs["patch_sites"] == 1
    assert jobs["patch_heads"] == 1
    assert "patch_neurons" not in jobs
    assert sum(count for rule, count in jobs.items() if rule.startswith("plot_")) == 17
    assert jobs["describe_choice"] == jobs["plot_choice"] == 1
    assert jobs["plot_logit_activation"] == jobs["describe_association"] == 2


def test_mistakes_are_said_before_anything_runs(project):
    orchard = project.config["studies"]["orchard"]
    orchard["top_q"] = 3
    orchard["neuron"] = "8.0"
    ran = project.snakemake("orchard")
    said = ran.stdout + ran.stderr
    assert ran.returncode != 0
    assert "studies.orchard.top_q: unknown key; do you mean 'top_k'?" in said
    assert "studies.orchard.neuron: layer 8 is out of range; this model has 0 to 2." in said
    assert not (project.folder / "results").exists()


@pytest.mark.parametrize("name", ["orchid", "or-chard", "orchard2"])
def test_unknown_study_is_named_in_few_lines(project, name):
    ran = project.snakemake(name)
    said = ran.stdout + ran.stderr
    assert ran.returncode != 0
    assert f"There is no study {name!r}; known studies: an_neuron, an_neuron_pile, orchard, smollm2." in said
    assert len(said.splitlines()) <= 5
    assert project.jobs("orchard"), "nothing is locked"


def test_a_file_of_a_word_is_no_unknown_study(project):
    (project.folder / "book").write_text("A pear and an apple. " * 200, encoding="utf-8")
    project.config["studies"]["orchard"]["corpus"] = {"file": "book"}
    assert project.jobs("results/orchard/corpus/tokens.h5") == {
        "extract_text": 1,
        "tokenize_corpus": 1,
        "gather_tokens": 1,
    }


@pytest.mark.parametrize(
    ("change", "said"),
    [
        (lambda text: text.replace("sweeps: 1", "sweps: 1"), "sweps: unknown key; do you mean 'sweeps'?"),
        (lambda text: text + "  orchard: {}\n", "studies.orchard: stands in line "),
        (lambda text: text + "\t: [\n", "config.yaml is no YAML: line "),
        (lambda text: text.replace("resources/orchard/model", "no/where"), "studies.orchard.model: there is no folder"),
        (
            lambda text: text.replace("  orchard:", "  patch_sites:"),
            "studies.patch_sites: 'patch_sites' is the name of",
        ),
        (lambda text: "", "config.yaml holds no keys; take the shipped config.yaml as a pattern."),
    ],
)
def test_a_mistake_in_the_configuration_is_all_that_is_shown(project, change, said):
    arguments = project.command("orchard")[3:]
    path = project.folder / "config.yaml"
    path.write_text(change((ROOT / "config.yaml").read_text(encoding="utf-8")), encoding="utf-8")
    ran = subprocess.run(
        [sys.executable, "-m", "snakemake", *arguments], cwd=project.folder, env=project.environment,
        capture_output=True, encoding="utf-8", check=False,
    )  # fmt: skip
    assert ran.returncode != 0
    shown = [line for line in ran.stderr.splitlines() if not line.startswith("Using workflow specific profile")]
    assert said in "\n".join(shown)
    assert len(shown) <= 3, shown
    assert not (project.folder / "results").exists()


def test_a_prompt_beyond_the_context_is_refused_before_anything_runs(project):
    project.config["studies"]["orchard"]["further_prompts"] = ["apple " * 200]
    ran = project.snakemake("orchard")
    said = ran.stdout + ran.stderr
    assert ran.returncode != 0
    assert "studies.orchard.further_prompts[0]: the prompt has " in said
    assert "more than the 128 of the model's context; shorten it." in said
    assert not (project.folder / "results").exists()


def test_text_that_is_no_ascii_needs_no_locale(project, monkeypatch):
    monkeypatch.setenv("LC_ALL", "C")
    monkeypatch.setenv("PYTHONUTF8", "0")
    monkeypatch.setenv("PYTHONCOERCECLOCALE", "0")
    prompts = project.config["studies"]["orchard"]["prompts"][0]
    prompts.update({key: f"é中 — {text}" for key, text in prompts.items()})
    project.build("results/orchard/checked.txt", "results/orchard/prompts/tokens.h5")


def test_results_that_cannot_be_written_are_said_before_a_job(project):
    (project.folder / "results").touch()
    ran = project.snakemake("results/orchard/prompts/tokens.h5")
    said = ran.stdout + ran.stderr
    assert ran.returncode != 0
    assert "Results cannot be written to results: " in said
    assert "results is no folder." in said
    assert "Running tokenize_prompts" not in said


def test_corpus_shorter_than_a_row_is_refused(project):
    (project.folder / "book.txt").write_text("A pear and an apple.", encoding="utf-8")
    project.config["studies"]["orchard"]["corpus"] = {"file": "book.txt"}
    ran = project.snakemake("results/orchard/corpus/tokens.h5")
    assert "The corpus has 6 tokens, fewer than the 127 of one row" in ran.stdout + ran.stderr
    assert ran.returncode != 0
    assert not (project.folder / "results/orchard/corpus/tokens.h5").exists()


@pytest.fixture
def served():
    """Serve the folder of the embedded book; yield its address."""
    handler = partial(QuietHandler, directory=str(ROOT / "resources" / "orchard"))
    server = ThreadingHTTPServer(("127.0.0.1", 0), handler)
    Thread(target=server.serve_forever, daemon=True).start()
    yield f"http://127.0.0.1:{server.server_address[1]}"
    server.shutdown()
    server.server_close()


class QuietHandler(SimpleHTTPRequestHandler):
    """Counts how often a file was asked for."""

    asked = 0

    def do_GET(self):
        type(self).asked += 1
        super().do_GET()

    def log_message(self, *arguments):
        pass


def test_a_book_is_downloaded_once_for_all_studies_and_held_against_its_checksum(project, served):
    """Of two studies one expects another book; neither needs the other's results."""
    book = (ROOT / "resources" / "orchard" / "book.html").read_bytes()
    first = project.config["studies"]["orchard"]
    corpus = {"url": f"{served}/book.html", "sha256": hashlib.sha256(book).hexdigest()}
    project.config["studies"]["second"] = {**first, "top": 0, "corpus": dict(corpus)}
    first["corpus"] = corpus
    texts = [f"results/{study}/corpus/text.txt" for study in ("orchard", "second")]
    project.build(texts[0])
    served_once = QuietHandler.asked
    content = (project.folder / texts[0]).read_bytes()

    project.build(texts[1])
    assert (project.folder / texts[1]).read_bytes() == content
    assert QuietHandler.asked == served_once

    corpus["sha256"] = "0" * 64
    ran = project.snakemake(texts[0])
    assert ran.returncode != 0
    assert "not the expected 0000" in ran.stdout + ran.stderr
    kept = [path.read_bytes() for path in (project.folder / "downloads" / "books").glob("*book.html")]
    assert kept == [book]

    shutil.rmtree(project.folder / "results" / "orchard")
    assert project.jobs(texts[1]) == {}
    corpus["sha256"] = hashlib.sha256(book).hexdigest()
    served_before = QuietHandler.asked  # the refused one asked again
    project.build(texts[0])
    assert (project.folder / texts[0]).read_bytes() == content
    assert QuietHandler.asked == served_before


def test_own_study_in_ten_lines_with_two_prompt_pairs(project):
    """A fixed neuron and a listed group, a summary of three shards with every neuron of a layer, html figures only."""
    shutil.copyfile(ROOT / "resources" / "orchard" / "book.html", project.folder / "mine.html")
    project.config = {
        "formats": ["html"],
        "shards": 3,
        "studies": {
            "mine": {
                "model": {"folder": "resources/orchard/model"},
                "prompts": [
                    {"clean": f"{start} the apple tree and picked", "corrupted": f"{start} the lemon tree and picked"}
                    for start in ("I climbed up the pear tree and picked a pear. I climbed up", "Mia climbed up")
                ],
                "answer": " an",
                "foil": " a",
                "neuron": "1.5",
                "associations": [{"tokens": [" the", " a"], "neuron": "2.104"}],
                "layers": [1],
                "corpus": {
                    "file": "mine.html",
                    "n_ctx": 64,
                    "rows": 90,
                    "keep": "summary",
                    "neurons": [1],
                    "precision": "high",
                },
            }
        },
    }
    ran = project.snakemake()
    assert ran.returncode == 0, ran.stdout + ran.stderr
    results = project.folder / "results" / "mine"
    sweep = hdf5.read(results / "patching" / "resid_pre.h5")
    assert sweep["recovery_per_prompt_pair"].shape == (2, 3, 20)
    assert (
        sweep["recovery_per_prompt_pair"][1][:, :11] != sweep["recovery_per_prompt_pair"][1][:, :11]
    ).all()  # NaN: no such place
    assert hdf5.read(results / "corpus" / "tokens.h5")["token_id"].shape[1] == 64
    for association in ("token_an_neuron_1.5", "token_the_a_neuron_2.104"):
        assert (results / "figures" / "html" / f"{association}_logit_activation_fig.html").is_file()
    # Neuron 5 of layer 1 is never active.
    assert hdf5.read(results / "activations" / "token_an_neuron_1.5.h5")["density"].tolist() == [[0]]
    assert hdf5.read(results / "activations" / "token_the_a_neuron_2.104.h5")["density"].sum() > 100
    assert {path.name for path in (results / "activations" / "shards").iterdir()} == {
        f"{number}-of-3.h5" for number in (1, 2, 3)
    }
    neurons = hdf5.read(results / "activations" / "neurons.h5")
    assert (neurons["layer"].tolist(), neurons.attributes["n_tokens"]) == ([1], 90 * 63)
    assert neurons["firing_rate"][0, 5] == 0
    figures = {path.name for path in (results / "figures" / "html").iterdir()}
    assert {"choice_scatter_fig.html", "token_an_neuron_1.5_neuron_statistics_fig.html"} <= figures
    assert not (results / "figures" / "png").exists()
    assert [path.name for path in (results / "patching" / "neurons").glob("layers_*.h5")] == ["layers_1-1.h5"]


@pytest.fixture
def known(settled, tmp_path):
    """A project whose neuron is known and whose corpus is tokenized, but not yet read."""
    project = settled.copied(tmp_path / "known")
    shutil.rmtree(project.folder / "results/orchard/activations")
    project.config["shards"] = 1
    return project


GATHERED = "results/orchard/activations/associations.h5"


def test_more_shards_than_rows_are_refused(known):
    known.config["shards"] = 600
    ran = known.snakemake("results/orchard/activations/shards/1-of-600.h5")
    assert ran.returncode != 0
    assert "The corpus has 543 rows, which cannot be divided among 600 shards" in ran.stdout + ran.stderr
    assert "Traceback" not in ran.stdout + ran.stderr


def test_a_full_disk_is_said_and_leaves_nothing(known):
    folder = known.folder / "results" / "orchard" / "activations"
    folder.mkdir(parents=True)
    mounted = subprocess.run(["mount", "-t", "tmpfs", "-o", "size=300k", "tmpfs", folder], capture_output=True)
    if mounted.returncode:
        pytest.skip("only root can mount a small disk")
    (folder / "other").touch()  # Snakemake removes empty folders, and fails at a mounted one
    try:
        ran = known.snakemake(GATHERED)
        said = ran.stdout + ran.stderr
        assert ran.returncode != 0
        assert "The disk is too full: results/orchard/activations/shards/1-of-1.h5 needs" in said
        assert "SIGSEGV" not in said
        assert [path.name for path in folder.rglob("*") if path.is_file()] == ["other"]
    finally:
        subprocess.run(["umount", folder], check=True)
    assert known.snakemake(GATHERED).returncode == 0
