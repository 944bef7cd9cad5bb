"""Operations and bytes that grow with model, prompts and corpus, against sums done by hand."""

import pytest

from an_neuron.model.folder import Shape
from an_neuron.study import operations

# Attention's four matrices have 4·100 parameters, the MLP's two 2·10·40 = 800.
SHAPE = Shape(n_layers=3, d_model=10, d_mlp=40, n_ctx=64, d_vocab=80)
GATED = Shape(n_layers=3, d_model=10, d_mlp=40, n_ctx=64, d_vocab=80, gated=True)


def test_the_gate_is_a_third_matrix():
    assert (SHAPE.mlp_parameters, GATED.mlp_parameters) == (800, 1200)
    assert GATED.n_parameters - SHAPE.n_parameters == 3 * 400


def test_a_row_goes_through_whole_blocks_and_through_the_last_with_one_position():
    # 4 of 6 positions. Keys and values of 4 positions: 2 · 4 · 200. Of each position: 2 · (200 + 800) for query, output
    # and MLP, and 4 · 6 · 10 for the attention to 6 positions.
    keys, each = 1600, 2000 + 240
    whole, last = keys + 4 * each, keys + each
    assert [operations.row_operations(SHAPE, 4, 6, first) for first in range(4)] == [
        2 * whole + last,
        whole + last,
        last,
        0,
    ]
    assert operations.row_operations(GATED, 4, 6, 2) == last + 2 * 400


def test_neurons_enter_behind_their_layer_and_sites_before_it():
    assert operations.neuron_operations(SHAPE, 4, 6, 0) == 40 * operations.row_operations(SHAPE, 4, 6, 1)
    assert operations.neuron_operations(SHAPE, 4, 6, 2) == 0
    assert operations.site_operations(SHAPE, 4, 6) == 4 * sum(
        operations.row_operations(SHAPE, 4, 6, first) for first in (0, 1, 2)
    )


def test_all_neurons_of_gpt2_large_need_what_the_benchmark_counted():
    large = Shape(n_layers=36, d_model=1280, d_mlp=5120, n_ctx=1024, d_vocab=50257)
    needed = sum(operations.neuron_operations(large, 4, 20, layer) for layer in range(36))
    assert needed / 1e12 == pytest.approx(491, abs=0.5)


def test_patching_is_three_sites_and_the_layers_that_are_swept():
    both = operations.patching_operations(SHAPE, [(4, 6), (2, 5)], [0, 2])
    sites = operations.site_operations(SHAPE, 4, 6) + operations.site_operations(SHAPE, 2, 5)
    neurons = operations.neuron_operations(SHAPE, 4, 6, 0) + operations.neuron_operations(SHAPE, 2, 5, 0)
    assert both == 3 * sites + neurons  # behind layer 2 nothing is left to run
    whole, half = (operations.patching_operations(SHAPE, [(4, 6)], [0, 1], number) for number in (80, 40))
    assert whole == operations.patching_operations(SHAPE, [(4, 6)], [0, 1])
    assert whole - half == half - 3 * operations.site_operations(SHAPE, 4, 6)
    assert operations.patching_operations(SHAPE, [(4, 6)], []) == 3 * operations.site_operations(SHAPE, 4, 6)


def test_a_head_is_64_wide():
    rows = sum(operations.row_operations(SHAPE, 4, 6, layer) for layer in range(3))
    assert operations.head_operations(SHAPE, 4, 6) == rows  # a width of 10 has one head
    wide = Shape(n_layers=1, d_model=130, d_mlp=40, n_ctx=64, d_vocab=80)
    assert operations.head_operations(wide, 4, 6) == 3 * operations.row_operations(wide, 4, 6, 0)


def test_a_token_needs_every_parameter_and_half_of_its_row_in_attention():
    # Of rows of 16 tokens: 3 blocks of 2 · 1200 and 2 · 16 · 10, and an unembedding of 2 · 800.
    assert operations.token_operations(SHAPE, 16) == 3 * (2400 + 320) + 1600


def test_hours_are_operations_at_the_share_of_the_rate():
    assert operations.hours(7.2e12, rate=4e9, share=0.5) == 1.0


def test_a_token_keeps_an_activation_and_a_margin_of_each_association():
    assert operations.kept_bytes(1000) == 8000
    assert operations.kept_bytes(1000, "float16") == 4000
