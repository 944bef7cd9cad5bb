"""What a change makes again: the jobs of a dry run, against the exact set that must run."""

from collections import Counter
from copy import deepcopy

import pytest
from project import PARTS

from an_neuron.corpus.recordings import read_association

pytestmark = pytest.mark.workflow

PATCHING = {
    "patch_sites": 1,
    "patch_heads": 1,
    "patch_neurons": 3,
    "patch_drivers": 1,
    "map_neurons": 1,
    "attribute_neurons": 1,
}
PATCHING_FIGURES = {
    "plot_patched_sites": 1,
    "plot_patched_heads": 1,
    "plot_drivers": 1,
    "plot_patched_neurons": 1,
    "plot_neuron_map": 1,
    "plot_attribution": 1,
}
ASSOCIATION_FIGURES = {
    "plot_logit_activation": 1,
    "plot_predictor": 1,
    "plot_choice": 1,
    "plot_top_predictions_together": 1,
}
ONE_ASSOCIATION = {"describe_association": 1, "list_associations": 1, "list_examples": 1, **ASSOCIATION_FIGURES}
CORPUS = {"cache_activations": 3, "gather_activations": 1, "describe_choice": 1, **ONE_ASSOCIATION}
BOOK = {"extract_text": 1, "tokenize_corpus": 1, "gather_tokens": 1, **CORPUS}
PROMPTS = {"tokenize_prompts": 1, "predict_prompts": 1, "ablate_prompts": 1, "read_logit_lens": 1, "plot_logit_lens": 1}
ANSWER = {"measure_answer_congruence": 1, "plot_answer_dot_neurons": 1}
RANKED = {"rank_congruence": 1, "rank_exclusive": 1, "plot_most_similar_neurons": 1, "plot_exclusive_congruence": 1}
CONGRUENCE = {"measure_congruence": 1, "plot_neuron_dot_vocab": 1, **ANSWER, **RANKED}
ENDS = {"compare_published": 1, "record_provenance": 1}
# Jobs of which the finding tells.
TOLD = {"predict_prompts", "ablate_prompts", "map_neurons", "patch_drivers", "describe_association"}
SWEEP_FIGURES = {"plot_patched_sites": 1, "plot_patched_heads": 1, "plot_drivers": 1, "plot_patched_neurons": 1}
FIGURES = {
    "plot_logit_lens": 1,
    "plot_patched_sites": 1,
    "plot_patched_neurons": 1,
    "plot_neuron_dot_vocab": 1,
    "plot_most_similar_neurons": 1,
    "plot_answer_dot_neurons": 1,
    "plot_exclusive_congruence": 1,
    "plot_logit_activation": 1,
}
ONCE = {"check_study": 1, "select_associations": 1, "write_plotly": 1}
EVERYTHING = PROMPTS | PATCHING | PATCHING_FIGURES | BOOK | CONGRUENCE | ENDS | ONCE
ON_THE_PAGE = {"compare_published", "map_neurons"}  # jobs beside which a result that the page shows is made again


def orchard(project):
    return project.config["studies"]["orchard"]


@pytest.fixture
def changed(settled):
    """Yield a project that is as it was when the test ends."""
    kept = {path: path.read_bytes() for part in PARTS for path in files(settled.folder / part)}
    config = settled.config
    settled.config = deepcopy(config)
    yield settled
    settled.config = config
    for path, content in kept.items():
        if path.read_bytes() != content:
            path.write_bytes(content)


def files(path):
    return [path] if path.is_file() else [file for file in path.rglob("*") if file.is_file() and file.suffix != ".pyc"]


def replace(file, old, new):
    """Return a change of a file's text."""

    def change(project):
        path = project.folder / file
        text = path.read_text(encoding="utf-8")
        assert old in text
        path.write_text(text.replace(old, new), encoding="utf-8")

    return change


def append(file, text):
    def change(project):
        path = project.folder / file
        path.write_text(path.read_text(encoding="utf-8") + text, encoding="utf-8")

    return change


def setting(**values):
    """Return a change of the study's configuration."""
    return lambda project: orchard(project).update(values)


def corpus(**values):
    return lambda project: orchard(project)["corpus"].update(values)


def corrupted_prompt(project):
    prompt = orchard(project)["prompts"][0]
    prompt["corrupted"] = prompt["corrupted"].replace("lemon", "pear")


def unrelated(project):
    project.config["default_study"] = "orchard"


def another_study(project):
    project.config["studies"]["an_neuron"].update(top_k=9, foil=" the", layers=[31])


def written_out(project):
    study = orchard(project)
    study.update(further_prompts=[], associations=[], top_k=5, readout="unembedding")
    study["model"]["processing"] = ["center_unembed", "fold_ln", "center_writing_weights"]
    study["corpus"].update(boilerplate="keep", precision="highest", keep="all", dtype="float32")
    project.config["device"] = "auto"


def swapped(project):
    study = orchard(project)
    study["answer"], study["foil"] = study["foil"], study["answer"]


CHANGES = {
    "a figure's title": (replace("src/an_neuron/figures/patching.py", "MLP Layer", "MLP"), SWEEP_FIGURES),
    "a colour of all figures": (
        replace("src/an_neuron/figures/style.py", "#0077bb", "#123456"),
        FIGURES | PATCHING_FIGURES | ASSOCIATION_FIGURES,
    ),
    "the corpus file": (
        append("resources/orchard/book.html", "<p>One more apple.</p>"),
        BOOK | {"compare_published": 1},
    ),
    "the boilerplate choice": (corpus(boilerplate="drop"), BOOK | {"compare_published": 1, "check_study": 1}),
    "the corrupted prompt": (
        corrupted_prompt,
        PROMPTS | PATCHING | PATCHING_FIGURES | {"compare_published": 1, "check_study": 1},
    ),
    "the foil": (
        setting(foil=" the"),
        PROMPTS | PATCHING | PATCHING_FIGURES | CORPUS | {"compare_published": 1, "check_study": 1},
    ),
    "the neuron, of the same layer": (
        setting(neuron="2.5"),
        CORPUS
        | {
            "select_associations": 1,
            "ablate_prompts": 1,
            "patch_drivers": 1,
            "plot_drivers": 1,
            "measure_congruence": 1,
            "plot_neuron_dot_vocab": 1,
            "plot_answer_dot_neurons": 1,
            "compare_published": 1,
            "check_study": 1,
        },
    ),
    "the list of layers": (
        setting(layers=[1, 2]),
        {"map_neurons": 1, "attribute_neurons": 1, "plot_neuron_map": 1, "plot_attribution": 1, "check_study": 1},
    ),
    "top k": (setting(top_k=7), {"predict_prompts": 1, "ablate_prompts": 1, "compare_published": 1, "check_study": 1}),
    "a further prompt": (
        setting(further_prompts=["Mia picked"]),
        {"predict_prompts": 1, "ablate_prompts": 1, "compare_published": 1, "check_study": 1},
    ),
    "defaults in writing, and processing in another order": (written_out, {}),
    "the precision": (corpus(precision="bfloat16"), CORPUS | {"compare_published": 1, "check_study": 1}),
    "what only patching uses": (
        append("src/an_neuron/patching/wavefront.py", "\nMORE = 1\n"),
        PATCHING | PATCHING_FIGURES | {"compare_published": 1},
    ),
    "what only figures of associations use": (
        append("src/an_neuron/figures/corpus.py", "\nMORE = 1\n"),
        ASSOCIATION_FIGURES,
    ),
    "what one figure alone uses": (
        replace("src/an_neuron/figures/top_predictions.py", "#687187", "#687188"),
        {"plot_predictor": 1},
    ),
    "what only the circuit uses": (append("src/an_neuron/corpus/ablator.py", "\nMORE = 1\n"), {}),
    "what everything uses": (append("src/an_neuron/files/atomic.py", "\nMORE = 1\n"), EVERYTHING),
    "an exception": (append("src/an_neuron/errors.py", "\nMORE = 1\n"), {}),
    "the page's style": (
        append("src/an_neuron/page/templates/page.css", "/* A remark. */"),
        {"write_page": 1},
    ),
    "a script": (
        append("workflow/scripts/patch_sites.py", "# A remark.\n"),
        {"patch_sites": 1, "plot_patched_sites": 1, "compare_published": 1},
    ),
    "the model": (
        append("resources/orchard/model/config.json", "\n"),
        {**EVERYTHING, "extract_text": 0, "write_plotly": 0},
    ),
    "what a job says": (
        replace("src/an_neuron/jobs/job.py", "Delete it and run snakemake again.", "Delete it; run snakemake again."),
        {},
    ),
    "published values": (append("resources/published/orchard.csv", "more,1,,here\n"), {"compare_published": 1}),
    "an unrelated key": (unrelated, {}),
    "another study": (another_study, {}),
    "answer and foil, swapped": (
        swapped,
        PROMPTS
        | PATCHING
        | PATCHING_FIGURES
        | CORPUS
        | ANSWER
        | {"select_associations": 1, "plot_neuron_dot_vocab": 1, "compare_published": 1, "check_study": 1},
    ),
}


@pytest.mark.parametrize("name", CHANGES)
def test_a_change_makes_again_what_depends_on_it(changed, name):
    change, expected = CHANGES[name]
    change(changed)
    if TOLD & set(expected):
        expected = {**expected, "tell_finding": 1}
    if ON_THE_PAGE & set(expected):
        expected = {**expected, "write_page": 1}
    if expected:
        expected = {**expected, "record_provenance": 1, "sum_results": 1}
    assert Counter(changed.jobs("orchard")) == Counter(expected)


def test_touching_every_file_makes_nothing_again(settled):
    for part in (*PARTS, "results"):
        for path in files(settled.folder / part):
            path.touch()
    assert settled.jobs("orchard") == {}


def test_a_fresh_checkout_beside_old_results_makes_nothing_again(settled, tmp_path):
    clone = settled.copied(tmp_path / "elsewhere" / "clone")
    assert clone.jobs("orchard") == {}


def test_a_lost_shard_is_read_again_alone(settled):
    shard = settled.folder / "results/orchard/activations/shards/2-of-3.h5"
    kept = shard.rename(settled.folder / "kept")
    lost = settled.jobs("results/orchard/activations/associations.h5", shard.relative_to(settled.folder))
    kept.rename(shard)
    assert lost == {"cache_activations": 1, "gather_activations": 1}


def test_three_shards_give_the_unsharded_pass(settled, built):
    tables = "results/orchard/activations/associations.h5"
    three, one = (read_association(project.folder / tables, "token_an_neuron_2.104") for project in (settled, built))
    assert set(three.datasets) == set(one.datasets)
    assert all((three[key] == one[key]).all() for key in one.datasets)
