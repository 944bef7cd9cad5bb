import pytest

from an_neuron.model.folder import Shape
from an_neuron.study import cost, operations
from an_neuron.study.study import Prompts

SMALL = Shape(n_layers=3, d_model=10, d_mlp=40, n_ctx=64, d_vocab=80)
GPT2_LARGE = Shape(n_layers=36, d_model=1280, d_mlp=5120, n_ctx=1024, d_vocab=50257)
LLAMA_7B = Shape(n_layers=32, d_model=4096, d_mlp=11008, n_ctx=4096, d_vocab=32000, gated=True)
PROMPT_PAIR = Prompts("under the apple tree", "under the lemon tree")
# Peaks in MB at GPT-2 Large's size, from benchmarks/README.md.
MEASURED = {
    "processing": 10_461,
    "corpus": 4_904,
    "patching": 3_682,
}


@pytest.mark.parametrize("kind", MEASURED)
def test_memory_covers_what_was_measured_and_no_more_than_twice_that(kind):
    assert 1.2 * MEASURED[kind] < cost.model_mb(kind, GPT2_LARGE) < 2 * MEASURED[kind]


def test_memory_is_that_of_the_weights_and_something_beside():
    # 3 blocks of 4·10² + 2·10·40, and 10·80 each for embedding and unembedding, in four bytes: 20,800.
    assert cost.weight_bytes(SMALL) == 4 * (3 * 1200 + 2 * 800)
    assert cost.model_mb("patching", SMALL) == 2000
    # A block: 4·4096² + 3·4096·11008 = 202.4 million; with two embeddings 6.74 billion parameters, 27 GB.
    assert cost.weight_bytes(LLAMA_7B) == 4 * (32 * 202_375_168 + 2 * 131_072_000)
    assert cost.model_mb("patching", LLAMA_7B) == 2000 + 32_343
    assert cost.model_mb("processing", LLAMA_7B) == 2000 + 94_334


def test_minutes_are_a_start_the_weights_way_and_twice_the_operations():
    assert cost.model_minutes(SMALL, 0, on_cpu=False) == 15
    assert cost.model_minutes(LLAMA_7B, 0, on_cpu=False) == 15 + 4  # 270 s
    assert cost.model_minutes(SMALL, 5e12 * 60, on_cpu=False) == 15 + 2
    assert cost.model_minutes(SMALL, 3e10 * 60, on_cpu=True) == 15 + 2


def test_positions_of_a_prompt_are_counted_by_characters_from_the_first_difference_on():
    assert cost.positions([PROMPT_PAIR]) == [(10 // 2 + 2, 20 // 2 + 2)]
    assert cost.positions([Prompts("ab", "abcdef")]) == [(4 // 2 + 2, 6 // 2 + 2)]


def test_a_sweep_costs_more_in_early_layers_and_with_more_prompt_pairs():
    first, second, last = (cost.sweep_operations("patch_neurons", SMALL, [PROMPT_PAIR], [layer]) for layer in range(3))
    assert first == operations.neuron_operations(SMALL, 7, 12, 0) > second > last == 0
    assert cost.sweep_operations("patch_neurons", SMALL, [PROMPT_PAIR, PROMPT_PAIR], [0]) == 2 * first
    assert cost.sweep_operations("patch_neurons", SMALL, [PROMPT_PAIR], range(3)) == first + second + last
    assert cost.sweep_operations("patch_sites", SMALL, [PROMPT_PAIR]) == 3 * operations.site_operations(SMALL, 7, 12)
    rows = sum(operations.row_operations(SMALL, 7, 12, layer) for layer in range(3))
    assert cost.sweep_operations("patch_heads", SMALL, [PROMPT_PAIR]) == 3 * rows  # a width of 10 has one head


def test_a_screen_costs_a_gradient_and_a_row_for_each_neuron_as_if_all_were_in_the_first_layer():
    def cost_of(screened, layers=(0, 1, 2)):
        return cost.sweep_operations("patch_neurons", SMALL, [PROMPT_PAIR], layers, screened)

    assert cost_of(7) == 7 * operations.row_operations(SMALL, 7, 12, 1)
    assert cost_of(7, [1, 2]) == 7 * operations.row_operations(SMALL, 7, 12, 2)
    assert cost_of(1000) == cost_of(None), "there are 120"
    gradient = 4 * 12 * operations.token_operations(SMALL, 12)
    assert cost.sweep_operations("screen_neurons", SMALL, [PROMPT_PAIR] * 3) == 3 * gradient


def test_congruence_is_one_product_of_all_neurons_and_all_tokens():
    assert cost.congruence_operations(SMALL) == 2 * 120 * 10 * 80


def test_a_shard_costs_its_share_of_the_tokens():
    whole = cost.corpus_operations(SMALL, 32, 1000, 1)
    assert whole == 1000 * operations.token_operations(SMALL, 32)
    assert cost.corpus_operations(SMALL, None, 1000, 3) == 334 * operations.token_operations(SMALL, 64)


def test_an_ablation_costs_a_pass_and_three_for_each_neuron_at_most():
    assert cost.ablation_operations(SMALL, 32, 1000, 2) == 7 * cost.corpus_operations(SMALL, 32, 1000, 1)


def test_tokens_are_counted_by_the_best_files_that_are_there(tmp_path):
    first, second, text, book, packed = (
        tmp_path / name for name in ("1.h5", "2.h5", "text.txt", "b.html", "c.jsonl.zst")
    )

    def counted():
        return cost.corpus_tokens([first, second], [text], [], [book, packed])

    assert counted() == cost.A_BOOK
    book.write_bytes(b"x" * 300)
    assert counted() == cost.A_BOOK
    packed.write_bytes(b"x" * 50)
    assert counted() == 100 + 50, "a compressed file holds three times its size"
    text.write_bytes(b"x" * 150)
    assert counted() == 50
    for part, size in ((first, 100), (second, 60)):
        part.write_bytes(b"x" * size)
    assert counted() == 40


def test_texts_and_tables_grow_with_the_corpus():
    assert (cost.text_mb(0), cost.text_mb(2_000_000)) == (1000, 2200)
    assert (cost.text_minutes(0), cost.text_minutes(30_000_000)) == (10, 40)
    assert (cost.table_mb(1500, 0), cost.table_mb(2500, 10_000_000)) == (1500, 3500)
