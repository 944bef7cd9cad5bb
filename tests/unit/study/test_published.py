import numpy as np
import pytest
from book_pass import gathered
from bs4 import BeautifulSoup

from an_neuron.congruence.neuron import neuron_congruence, write_neuron_congruence
from an_neuron.congruence.ranking import rank_congruence, write_top_neurons
from an_neuron.corpus.associations import Association
from an_neuron.corpus.description import describe_association, write_association
from an_neuron.errors import UserError
from an_neuron.files import hdf5
from an_neuron.files.schema import Field, Schema
from an_neuron.model.loading import process_weights
from an_neuron.patching.ablated_prompts import predict_ablated, write_ablated_prompts
from an_neuron.patching.metric import LogitDifference, NeuronActivation
from an_neuron.patching.prompt_set import write_prompt_set
from an_neuron.patching.sweep_files import DRIVING_HEADS, SITE, write_neurons, write_sweep
from an_neuron.patching.sweeps import SITES, patch_heads, patch_neurons, patch_sites
from an_neuron.prompts.lens import logit_lens, write_lens
from an_neuron.prompts.pairs import PromptPair
from an_neuron.prompts.predictions import predict, write_predictions
from an_neuron.prompts.prompt_set import WrittenPair
from an_neuron.study.published import compare, measure, read_published, summary, write_html

MAP = Schema(
    "mlp_out.h5", "a map of which only the recovery is told", {"recovery": Field("layer pos", "float32", "", "")}
)
CHOICE = Schema("choice.h5", "what is told of a choice", {"mean_p_answer": Field("bin", "float32", "", "")})
HEADER = "quantity,published,tolerance,source\n"
ASSOCIATION = PromptPair([0, 1], [0, 2])


@pytest.fixture
def csv(tmp_path):
    def write(text):
        path = tmp_path / "published.csv"
        path.write_text(text, encoding="utf-8")
        return path

    return write


@pytest.fixture(scope="module")
def measured(micro, tmp_path_factory):
    """What is measured on the tables of a whole study of the model that can be worked out by hand."""
    return measure(study_tables(micro, tmp_path_factory.mktemp("study")))


def study_tables(micro, folder):
    names = ("predictions", "lens", *SITES, "neurons", "neuron", "top_neurons", "association", "drivers", "ablated")
    paths = {name: folder / f"{name}.h5" for name in names}
    model, vocabulary, origin = (
        micro.raw,
        micro.tokenizer.vocabulary(5),
        {"answer": "c", "foil": "d", "answer_id": 3, "foil_id": 4},
    )
    prompts = [ASSOCIATION.clean, ASSOCIATION.corrupted]
    predictions = [predict(model, ids, 3, 4, 2) for ids in prompts]
    write_predictions(paths["predictions"], predictions, prompts, ["clean", "corrupted"], micro.tokenizer, origin)
    ablated = predict_ablated(model, prompts, (0, 0), (3, 4), 2)
    of_neuron = {**origin, "neuron_layer": 0, "neuron_index": 0}
    write_ablated_prompts(paths["ablated"], *ablated, prompts, ["clean", "corrupted"], micro.tokenizer, of_neuron)
    processed = micro.load()
    process_weights(processed)
    write_lens(paths["lens"], [logit_lens(processed, ASSOCIATION.clean, 3, 4)], origin)
    tokens = np.full((1, 2), "", dtype=object)
    texts = {"clean_token": tokens, "corrupted_token": tokens}
    for site, sweep in patch_sites(model, [ASSOCIATION], LogitDifference(3, 4)).items():
        write_sweep(paths[site], SITE, sweep, {**origin, "site": site}, **texts)
    neurons = patch_neurons(model, [ASSOCIATION], LogitDifference(3, 4))
    write_neurons(paths["neurons"], neurons, [0], origin)
    heads = patch_heads(model, [ASSOCIATION], NeuronActivation(0, index=0), ["z"])["z"]
    driven = {"site": "z", "neuron_layer": 0, "neuron_index": 0}
    write_sweep(paths["drivers"], DRIVING_HEADS, heads, {**origin, **driven})
    write_neuron_congruence(
        paths["neuron"], neuron_congruence(model, 0, 0), vocabulary, {**origin, "layer": 0, "index": 0}
    )
    write_top_neurons(paths["top_neurons"], rank_congruence(model)[0], vocabulary, origin)
    rows, associations = np.array([[0, 1, 3], [0, 2, 1]], dtype=np.int32), [Association("c", 3, 0, 0, "studied")]
    paths["activations"] = gathered(folder, micro, rows, associations)
    described, _ = describe_association(paths["activations"], "token_c_neuron_0.0", micro.tokenizer)
    write_association(paths["association"], described, origin)
    return paths


def test_what_drives_the_neuron_is_told(measured):
    """Neuron 0 is 1 at the clean prompt's token and 0 at the corrupted one's; the only head does nothing."""
    told = {name: measured[f"drivers: {name}"] for name in ("clean activation", "corrupted activation", "its recovery")}
    assert told == pytest.approx({"clean activation": 1, "corrupted activation": 0, "its recovery": 0})
    assert measured["drivers: strongest head"] == "0.0"


def test_the_ablated_predictions_have_verdicts(measured, csv):
    """With neuron 0 at zero the answer's logit is 21 instead of 39, negated -9; the other prompt's is -24 as it is."""
    rows = (
        "\"clean, zero: token 1\",'c',,E",
        '"clean, zero: logit difference",21,0.01,E',
        '"clean, negated: logit of the answer",-9,0.01,E',
        '"clean, negated: probability of the answer in %",0.00309,0.0001,E',
        '"corrupted, negated: logit of the answer",-24,0.01,E',
        '"corrupted, negated: logit of the foil",5.5,0.01,E',
        '"clean, none: logit 1",39,0.01,E',
    )
    compared = compare(read_published(csv(HEADER + "\n".join(rows) + "\n")), measured)
    assert compared["verdict"].tolist() == ["reproduced"] * 5 + ["differs", "not measured"]


def verdict(csv, row, value):
    compared = compare(read_published(csv(f"{HEADER}{row},paper\n")), {} if value is None else {"peak": value})
    return compared["verdict"].item()


def page_of(path, measured, folder):
    write_html(compare(read_published(path), measured), folder / "page.html")
    return BeautifulSoup((folder / "page.html").read_text(encoding="utf-8"), "html.parser")


@pytest.mark.parametrize(
    ("row", "value", "expected"),
    [
        ("peak,0.485,0.02", 0.505, "reproduced"),
        ("peak,0.485,0.02", 0.465, "reproduced"),
        ("peak,20.52,0.02", 20.54, "reproduced"),
        ("peak,0.485,0.02", 0.5051, "differs"),
        ("peak,0.485,0.02", 0.4649, "differs"),
        ("peak,-3.2884,0.002", -3.2900, "reproduced"),
        ("peak,-3.2884,0.002", 3.2884, "differs"),
        ("peak,892,", 892, "reproduced"),
        ("peak,892,", 893, "differs"),
        ("peak,31.5,", "31.5", "reproduced"),
        ("peak,' an',", "' an'", "reproduced"),
        ("peak,' an',", "'an'", "differs"),
        ("peak,0.485,0.02", float("nan"), "differs"),
        ("peak,0.485,0.02", None, "not measured"),
    ],
)
def test_verdicts(csv, row, value, expected):
    assert verdict(csv, row, value) == expected


def test_measured_values_stand_beside_the_published_ones(csv):
    published = read_published(csv(f"{HEADER}peak,1.09,0.02,paper\nshape,36x20,,notebook\ngone,1,0.5,paper\n"))
    compared = compare(published, {"peak": 1.0912345, "shape": "36x20", "more": 1})
    assert compared.to_numpy().tolist() == [
        ["peak", "1.09", "1.0912", 0.02, "reproduced", "paper"],
        ["shape", "36x20", "36x20", "exact", "reproduced", "notebook"],
        ["gone", "1", "", 0.5, "not measured", "paper"],
    ]


def test_texts_of_published_tokens_keep_their_quotes_and_commas(csv):
    path = csv(f'{HEADER}"a, b: token 1",\' an\',,"N, E"\nNA,NaN,,\n')
    assert read_published(path).to_numpy().tolist() == [["a, b: token 1", "' an'", 0, "N, E"], ["NA", "NaN", 0, ""]]


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("quantity,value\npeak,1\n", r"published\.csv has the columns \['quantity', 'value'\]; it needs"),
        (f"{HEADER}peak,1,small,paper\n", "line 2: the tolerance of 'peak' is 'small', which is not a number"),
        (f"{HEADER}peak,' an',0.1,paper\n", "peak.*' an'.*not a number"),
        (f"{HEADER}peak,1,-0.1,paper\n", "peak.*-0.1.*negative"),
    ],
)
def test_a_bad_file_is_refused(csv, text, message):
    with pytest.raises(UserError, match=message):
        read_published(csv(text))


def test_the_summary_counts_and_names(csv):
    published = read_published(csv(f"{HEADER}one,1,,\ntwo,2,,\nthree,3,,\nfour,4,,\n"))
    compared = compare(published, {"one": 1, "two": 2, "three": 4})
    assert summary(compared) == "2 of 4 published values reproduced; differs: three; not measured: four."
    assert summary(compared[:2]) == "2 of 2 published values reproduced."


def test_the_page_shows_verdicts_in_colour(csv, tmp_path):
    page = page_of(csv(f"{HEADER}one,1,0.5,paper\ntwo,2,,paper\n"), {"one": 1.25, "two": 3}, tmp_path)
    cells = [cell.get_text() for cell in page.select("td")]
    assert cells == ["one", "1", "1.25", "0.5", "reproduced", "paper", "two", "2", "3", "exact", "differs", "paper"]
    assert ("#1a7f37" in str(page), "#cf222e" in str(page), "#6e7781" in str(page)) == (True, True, False)
    assert page.p.get_text() == "1 of 2 published values reproduced; differs: two."


def test_tokens_that_look_like_html_are_shown_as_text(csv, tmp_path):
    page = page_of(csv(f"{HEADER}W_U: '<s>',1,,\n"), {}, tmp_path)
    assert page.td.get_text() == "W_U: '<s>'"
    assert page.p.get_text().endswith("not measured: W_U: '<s>'.")


def test_every_quantity_is_measured_on_the_tables_of_a_study(measured):
    expected = {
        "answer id": 3,
        "foil id": 4,
        "clean: tokens": 2,
        "clean: logit difference": 39,
        "clean: token 1": "'c'",
        "clean: logit 1": 39,
        "clean: probability 1 in %": 100,
        "clean: logit of the answer": 39,
        "clean: probability of the foil in %": 0,
        "corrupted: token 1": "'d'",
        "corrupted: logit 1": 5,
        "corrupted: logit difference": -29,
        "logit lens: points": 3,
        "logit lens: peak at layer": "1",
        "logit lens: peak": 33,
        "resid_pre: shape": "1x2",
        "resid_pre: peak at layer": 0,
        "resid_pre: peak at position": 1,
        "resid_pre: peak recovery": 1,
        "attn_out: peak recovery": 0,
        "mlp_out: peak at position": 1,
        "mlp_out: peak recovery": (105 / np.sqrt(17) + 35) / 68,
        "mlp_out: two strongest layers": "0",
        "neurons: layer": 0,
        "neurons: best": 0,
        "neurons: best recovery": 40 / 68,
        "neurons: second best": 1,
        "neurons: second recovery": 20 / 68,
        "neurons: worst": 2,
        "neurons: worst recovery": 0,
        "top neurons: shape": "5x2",
        "W_out_dot_W_U: best token": "'c'",
        "W_out_dot_W_U: 'c'": 120,
        "W_out_dot_W_E: '<|endoftext|>'": 16,
        "W_in_dot_W_E: 'a'": 3,
        "corpus: rows": 2,
        "corpus: tokens per row": 3,
        "corpus: occurrences": 1,
        "corpus: top predictions": 5,
        "corpus: first tokens": "'a' 'c'",
    }
    for quantity, value in expected.items():
        wanted = value if isinstance(value, str) else pytest.approx(value, abs=1e-5)
        assert measured[quantity] == wanted, quantity


def test_the_strongest_mlp_layers_are_in_order_of_layers(micro, tmp_path):
    paths = study_tables(micro, tmp_path)
    recovery = np.array([[0.1, 0.5], [np.nan, 0.2], [0.9, 0.0]])
    hdf5.write(paths["mlp_out"], MAP, {"recovery": recovery}, {})
    found = measure(paths)
    assert found["mlp_out: two strongest layers"] == "0 2"
    assert (found["mlp_out: peak at layer"], found["mlp_out: peak at position"]) == (2, 0)


def test_a_missing_table_is_named(micro, tmp_path):
    paths = study_tables(micro, tmp_path)
    paths["lens"].unlink()
    with pytest.raises(UserError, match=r"lens\.h5 cannot be read"):
        measure(paths)


def test_a_prompt_set_and_the_choice_are_measured_where_there_are_any(micro, tmp_path):
    paths = study_tables(micro, tmp_path)
    pairs = [WrittenPair(part, "a", "b") for part in ("development", "held_out", "held_out")]
    patched = np.array([[1.0, 2.0], [2.0, 1.0], [3.0, 1.0]], dtype=np.float32)
    ends = np.full(3, 4.0), np.zeros(3)
    names = {"answer": "c", "foil": "d", "answer_id": 3, "foil_id": 4, "n_tests": 2}
    write_prompt_set(tmp_path / "prompt_set.h5", patched, ends, [(0, 0), (0, 1)], pairs, names)
    numbers = {"n_positions": 9, "pearson": 0.75, "spearman": 0.5}
    hdf5.write(tmp_path / "choice.h5", CHOICE, {"mean_p_answer": [0.25, 0.5, 0.875]}, numbers)
    more = {name: tmp_path / f"{name}.h5" for name in ("prompt_set", "choice")}
    measured = measure({**paths, **more})
    assert measured["prompt set, development: times best"] == 0
    assert measured["prompt set, held_out: prompt pairs"] == measured["prompt set, held_out: times best"] == 2
    # Recovery 0.5 and 0.75: mean 0.625, deviation 0.1768, standard error 0.125.
    assert measured["prompt set, held_out: mean recovery"] == pytest.approx(0.625)
    assert measured["prompt set, held_out: standard error"] == pytest.approx(0.125)
    assert measured["prompt set, held_out: low end of the interval"] == pytest.approx(0.5)
    assert measured["prompt set, held_out: high end of the interval"] == pytest.approx(0.75)
    assert measured["prompt set, held_out: corrected p"] == 1
    assert (measured["choice: positions"], measured["choice: pearson"], measured["choice: spearman"]) == (9, 0.75, 0.5)
    assert (measured["choice: least active, p(answer)"], measured["choice: most active, p(answer)"]) == (0.25, 0.875)
