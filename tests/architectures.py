"""A tiny random model of every decoder architecture that TransformerLens lists and transformers can make.

Every model is made from a configuration alone: no network, no code from elsewhere. A name is an architecture's, as
TransformerLens has it (`names`), or that of a further configuration (`VARIANTS`).
"""

import copy
import dataclasses
from typing import Any

import torch
import transformers
from transformer_lens.factories.architecture_adapter_factory import SUPPORTED_ARCHITECTURES
from transformers import PreTrainedConfig, PreTrainedModel
from transformers.models.auto.modeling_auto import MODEL_FOR_CAUSAL_LM_MAPPING_NAMES, MODEL_FOR_MASKED_LM_MAPPING_NAMES

WINDOW = 4  # shorter than the prompts that tests run
ORIGINAL_LENGTH = 8  # so that a prompt of 14 tokens crosses it, and one of 7 does not
SLIDING = ["sliding_attention", "full_attention"]
LINEAR = ["linear_attention", "full_attention"]
LOW_RANK = {"num_key_value_heads": 4}  # each head has keys of its own, made from the low rank

# Each configuration takes those that it knows; a head's size, experts and the like have names that many share.
SIZES: dict[str, Any] = {
    "vocab_size": 50,
    "bos_token_id": 0,
    "eos_token_id": 1,
    "pad_token_id": 2,
    "max_position_embeddings": 64,
    "num_hidden_layers": 2,
    "hidden_size": 32,
    "num_attention_heads": 4,
    "num_key_value_heads": 2,
    "head_dim": 8,
    "query_pre_attn_scalar": 8,
    "intermediate_size": 48,
    "ffn_dim": 48,
    "ffn_hidden_size": 48,
    "n_inner": 48,
    "rotary_dim": 4,
    # experts
    "num_experts": 4,
    "num_local_experts": 4,
    "n_routed_experts": 4,
    "num_experts_per_tok": 2,
    "n_group": 1,
    "topk_group": 1,
    "moe_intermediate_size": 24,
    "shared_expert_intermediate_size": 24,
    "shared_intermediate_size": 24,
    # attention through low ranks
    "q_lora_rank": 8,
    "kv_lora_rank": 8,
    "qk_rope_head_dim": 4,
    "qk_nope_head_dim": 4,
    "v_head_dim": 8,
    "index_n_heads": 2,
    "index_head_dim": 8,
    "index_topk": 4,
    # state spaces and linear attention
    "state_size": 4,
    "mamba_d_state": 4,
    "mamba_n_heads": 8,
    "n_mamba_heads": 8,
    "chunk_size": 8,
    "mamba_chunk_size": 8,
    "use_mamba_kernels": False,
    "linear_num_key_heads": 2,
    "linear_num_value_heads": 4,
    "linear_key_head_dim": 8,
    "linear_value_head_dim": 8,
}

# What an architecture needs besides: both kinds of layers where it alternates, and sizes with names of its own.
SPECIAL: dict[str, dict[str, Any]] = {
    "AfmoeForCausalLM": {"layer_types": SLIDING, "sliding_window": WINDOW, "mup_enabled": True},
    "BambaForCausalLM": {"attn_layer_indices": [1]},
    "Cohere2ForCausalLM": {"layer_types": SLIDING, "sliding_window": WINDOW},
    "DeepseekV2ForCausalLM": {**LOW_RANK, "first_k_dense_replace": 1},
    "DeepseekV3ForCausalLM": {**LOW_RANK, "first_k_dense_replace": 1},
    "DeepseekV4ForCausalLM": {
        "num_key_value_heads": 1,
        "partial_rotary_factor": 0.5,
        "layer_types": ["heavily_compressed_attention", "compressed_sparse_attention"],
        "mlp_layer_types": ["hash_moe", "moe"],
        "compress_rates": {"compressed_sparse_attention": 2, "heavily_compressed_attention": 4},
        "sliding_window": WINDOW,
        "o_groups": 2,
        "o_lora_rank": 8,
    },
    "Exaone4ForCausalLM": {"layer_types": SLIDING, "sliding_window": WINDOW},
    "FalconH1ForCausalLM": {"mamba_d_ssm": 64},
    "Gemma2ForCausalLM": {"layer_types": SLIDING, "sliding_window": WINDOW},
    "Gemma3ForCausalLM": {"layer_types": SLIDING},
    "Gemma4ForCausalLM": {
        "layer_types": SLIDING,
        "sliding_window": WINDOW,
        "global_head_dim": 16,
        "vocab_size_per_layer_input": 50,
        "hidden_size_per_layer_input": 8,
        "num_experts": None,
        "moe_intermediate_size": None,
    },
    "Glm4MoeForCausalLM": {"first_k_dense_replace": 1},
    "Glm4MoeLiteForCausalLM": LOW_RANK,
    "GlmMoeDsaForCausalLM": {**LOW_RANK, "first_k_dense_replace": 1},
    "GPTNeoForCausalLM": {"attention_types": [[["global", "local"], 1]], "window_size": WINDOW},
    "GptOssForCausalLM": {"layer_types": SLIDING, "sliding_window": WINDOW},
    "GraniteMoeHybridForCausalLM": {"layer_types": LINEAR, "position_embedding_type": "rope"},
    "JambaForCausalLM": {"attn_layer_period": 2, "attn_layer_offset": 1},
    "LagunaForCausalLM": {"layer_types": SLIDING, "sliding_window": WINDOW},
    "Lfm2ForCausalLM": {"layer_types": ["conv", "full_attention"], "block_auto_adjust_ff_dim": False},
    "Lfm2MoeForCausalLM": {"layer_types": ["conv", "full_attention"], "num_dense_layers": 1},
    "Llama4ForCausalLM": {
        "interleave_moe_layer_step": 2,
        "no_rope_layers": [1, 0],
        "attention_chunk_size": WINDOW,
        "floor_scale": WINDOW,
        "intermediate_size_mlp": 48,
        "num_experts_per_tok": 1,
    },
    "Mamba2ForCausalLM": {"num_heads": 8, "n_groups": 2},
    "ModernBertDecoderForCausalLM": {"layer_types": SLIDING, "local_attention": 2 * WINDOW},
    "MptForCausalLM": {"max_seq_len": 64},
    "NemotronHForCausalLM": {
        "layers_block_type": ["linear_attention", "moe", "full_attention", "mlp"],
        "mamba_num_heads": 8,
        "mamba_head_dim": 8,
        "ssm_state_size": 4,
        "n_groups": 2,
        "moe_shared_expert_intermediate_size": 24,
    },
    "Olmo3ForCausalLM": {"layer_types": SLIDING, "sliding_window": WINDOW},
    "OlmoHybridForCausalLM": {"layer_types": LINEAR},
    "Qwen3NextForCausalLM": {"layer_types": LINEAR},
    "Qwen3_5ForCausalLM": {"layer_types": LINEAR},
    "Qwen3_5MoeForCausalLM": {"layer_types": LINEAR},
    "RecurrentGemmaForCausalLM": {"block_types": ["recurrent", "attention"], "attention_window_size": WINDOW},
    "SmolLM3ForCausalLM": {"no_rope_layers": [1, 0]},
    "VaultGemmaForCausalLM": {"layer_types": SLIDING, "sliding_window": WINDOW},
    "YoutuForCausalLM": {**LOW_RANK, "pad_token_id": None},  # its loading sets the padding token's embedding to zero
    "Zamba2ForCausalLM": {"layers_block_type": ["linear_attention", "hybrid"]},
}


def rope(kind: str, **settings: Any) -> dict[str, Any]:
    """Return an override of rotary settings; the base is small, that the slow frequencies turn within a prompt too."""
    return {"rope_parameters": {"rope_type": kind, "rope_theta": 100.0, **settings}}


GRANITE = {
    "embedding_multiplier": 3.0,
    "attention_multiplier": 0.5,
    "residual_multiplier": 0.7,
    "logits_scaling": 0.25,
}
FALCON_OLD = {"new_decoder_architecture": False, "alibi": False}

# Settings that change what a block computes, each as its architecture and what differs from the architecture's own.
VARIANTS: dict[str, tuple[str, dict[str, Any]]] = {
    "LlamaForCausalLM, linear rope": ("LlamaForCausalLM", rope("linear", factor=4.0)),
    "LlamaForCausalLM, llama3 rope": (
        "LlamaForCausalLM",
        rope(
            "llama3",
            factor=8.0,
            low_freq_factor=1.0,
            high_freq_factor=4.0,
            original_max_position_embeddings=2 * ORIGINAL_LENGTH,
        ),
    ),
    "LlamaForCausalLM, yarn rope": (
        "LlamaForCausalLM",
        rope("yarn", factor=8.0, beta_fast=4.0, original_max_position_embeddings=ORIGINAL_LENGTH),
    ),
    # Its original length is its context.
    "LlamaForCausalLM, dynamic rope": (
        "LlamaForCausalLM",
        {**rope("dynamic", factor=4.0), "max_position_embeddings": ORIGINAL_LENGTH},
    ),
    "LlamaForCausalLM, tied": ("LlamaForCausalLM", {"tie_word_embeddings": True}),
    "LlamaForCausalLM, narrow heads": ("LlamaForCausalLM", {"head_dim": 4}),
    "LlamaForCausalLM, one head of keys": ("LlamaForCausalLM", {"num_key_value_heads": 1}),
    "MistralForCausalLM, sliding window": ("MistralForCausalLM", {"sliding_window": WINDOW}),
    "MistralForCausalLM, no window": ("MistralForCausalLM", {"sliding_window": None}),
    "Gemma3ForCausalLM, sliding window": ("Gemma3ForCausalLM", {"sliding_window": WINDOW}),
    "Gemma3ForCausalLM, soft caps": (
        "Gemma3ForCausalLM",
        {"attn_logit_softcapping": 2.0, "final_logit_softcapping": 3.0},
    ),
    "Gemma2ForCausalLM, low soft caps": (
        "Gemma2ForCausalLM",
        {"attn_logit_softcapping": 2.0, "final_logit_softcapping": 3.0},
    ),
    "GemmaForCausalLM, untied": ("GemmaForCausalLM", {"tie_word_embeddings": False}),
    "Qwen2ForCausalLM, sliding window": (
        "Qwen2ForCausalLM",
        {"use_sliding_window": True, "sliding_window": WINDOW, "max_window_layers": 1},
    ),
    "Qwen2ForCausalLM, tied": ("Qwen2ForCausalLM", {"tie_word_embeddings": True}),
    "Qwen3ForCausalLM, sliding window": (
        "Qwen3ForCausalLM",
        {"use_sliding_window": True, "sliding_window": WINDOW, "max_window_layers": 1},
    ),
    "Qwen3ForCausalLM, biases and narrow heads": ("Qwen3ForCausalLM", {"attention_bias": True, "head_dim": 4}),
    "Phi3ForCausalLM, longrope": (
        "Phi3ForCausalLM",
        {
            **rope(
                "longrope",
                short_factor=[1.0, 1.1, 1.2, 1.3],
                long_factor=[1.0, 2.0, 3.0, 4.0],
                partial_rotary_factor=1.0,
            ),
            "original_max_position_embeddings": ORIGINAL_LENGTH,
        },
    ),
    "Phi3ForCausalLM, sliding window": ("Phi3ForCausalLM", {"sliding_window": WINDOW}),
    "Phi3ForCausalLM, partial rotary": ("Phi3ForCausalLM", rope("default", partial_rotary_factor=0.5)),
    "PhiForCausalLM, qk norm": ("PhiForCausalLM", {"qk_layernorm": True}),
    "GraniteForCausalLM, multipliers": ("GraniteForCausalLM", GRANITE),
    "GraniteForCausalLM, biases": ("GraniteForCausalLM", {**GRANITE, "attention_bias": True, "mlp_bias": True}),
    "GraniteMoeForCausalLM, multipliers": ("GraniteMoeForCausalLM", GRANITE),
    "GraniteMoeHybridForCausalLM, attention alone": (
        "GraniteMoeHybridForCausalLM",
        {**GRANITE, "layer_types": ["full_attention", "full_attention"]},
    ),
    "CohereForCausalLM, logit scale": ("CohereForCausalLM", {"logit_scale": 2.5}),
    "CohereForCausalLM, qk norm": ("CohereForCausalLM", {"logit_scale": 0.5, "use_qk_norm": True}),
    "Cohere2ForCausalLM, logit scale": ("Cohere2ForCausalLM", {"logit_scale": 2.5}),
    "GPT2LMHeadModel, scaled by layer": (
        "GPT2LMHeadModel",
        {"scale_attn_by_inverse_layer_idx": True, "reorder_and_upcast_attn": True},
    ),
    "GPT2LMHeadModel, scaled by layer alone": ("GPT2LMHeadModel", {"scale_attn_by_inverse_layer_idx": True}),
    "GPT2LMHeadModel, unscaled": ("GPT2LMHeadModel", {"scale_attn_weights": False}),
    "GPT2LMHeadModel, relu": ("GPT2LMHeadModel", {"activation_function": "relu"}),
    "GPT2LMHeadModel, untied": ("GPT2LMHeadModel", {"tie_word_embeddings": False}),
    "GPTBigCodeForCausalLM, many heads of keys": ("GPTBigCodeForCausalLM", {"multi_query": False}),
    "GPTNeoXForCausalLM, serial": ("GPTNeoXForCausalLM", {"use_parallel_residual": False}),
    "GPTNeoXForCausalLM, no biases": ("GPTNeoXForCausalLM", {"attention_bias": False}),
    "GPTNeoXForCausalLM, tied": ("GPTNeoXForCausalLM", {"tie_word_embeddings": True}),
    "FalconForCausalLM, old": ("FalconForCausalLM", {**FALCON_OLD, "multi_query": True, "parallel_attn": True}),
    "FalconForCausalLM, old, serial, biases": (
        "FalconForCausalLM",
        {**FALCON_OLD, "multi_query": False, "parallel_attn": False, "bias": True},
    ),
    "FalconForCausalLM, new": ("FalconForCausalLM", {"new_decoder_architecture": True, "num_kv_heads": 2}),
    "FalconForCausalLM, new, one norm": (
        "FalconForCausalLM",
        {"new_decoder_architecture": True, "num_kv_heads": 2, "num_ln_in_parallel_attn": 1},
    ),
    "FalconForCausalLM, alibi": (
        "FalconForCausalLM",
        {"alibi": True, "multi_query": False, "parallel_attn": False, "bias": True},
    ),
    "OPTForCausalLM, norms after": ("OPTForCausalLM", {"do_layer_norm_before": False}),
    "OPTForCausalLM, narrow embeddings": ("OPTForCausalLM", {"word_embed_proj_dim": 16}),
    "OPTForCausalLM, norms after, narrow embeddings": (
        "OPTForCausalLM",
        {"do_layer_norm_before": False, "word_embed_proj_dim": 16},
    ),
    "OPTForCausalLM, no biases": ("OPTForCausalLM", {"enable_bias": False, "layer_norm_elementwise_affine": False}),
    "BloomForCausalLM, residual after norm": (
        "BloomForCausalLM",
        {"apply_residual_connection_post_layernorm": True},
    ),
    "MptForCausalLM, clipped": ("MptForCausalLM", {"attn_config": {"clip_qkv": 1.0, "softmax_scale": 0.5}}),
    "StableLmForCausalLM, parallel": ("StableLmForCausalLM", {"use_parallel_residual": True, "qk_layernorm": True}),
    "StableLmForCausalLM, qk norm": ("StableLmForCausalLM", {"qk_layernorm": True}),
    "StableLmForCausalLM, biases": ("StableLmForCausalLM", {"use_qkv_bias": True}),
    "OlmoForCausalLM, clipped": ("OlmoForCausalLM", {"clip_qkv": 1.0}),
    "OlmoeForCausalLM, clipped": ("OlmoeForCausalLM", {"clip_qkv": 1.0, "norm_topk_prob": True}),
    "Starcoder2ForCausalLM, sliding window": ("Starcoder2ForCausalLM", {"sliding_window": WINDOW}),
    "SeedOssForCausalLM, biases": ("SeedOssForCausalLM", {"attention_out_bias": True, "mlp_bias": True}),
    "MixtralForCausalLM, sliding window": ("MixtralForCausalLM", {"sliding_window": WINDOW}),
    "MixtralForCausalLM, one expert": ("MixtralForCausalLM", {"num_experts_per_tok": 1}),
    "Qwen2MoeForCausalLM, dense first": ("Qwen2MoeForCausalLM", {"mlp_only_layers": [0], "norm_topk_prob": True}),
    "Qwen3MoeForCausalLM, dense first": ("Qwen3MoeForCausalLM", {"mlp_only_layers": [0], "norm_topk_prob": True}),
    "FalconH1ForCausalLM, multipliers": (
        "FalconH1ForCausalLM",
        {
            "embedding_multiplier": 3.0,
            "lm_head_multiplier": 2.0,
            "mlp_multipliers": [0.5, 2.0],
            "key_multiplier": 0.5,
            "attention_in_multiplier": 0.7,
            "attention_out_multiplier": 0.6,
        },
    ),
    "Gemma4ForCausalLM, experts": (
        "Gemma4ForCausalLM",
        {"enable_moe_block": True, "num_experts": 4, "top_k_experts": 2, "moe_intermediate_size": 24},
    ),
    "Gemma4ForCausalLM, shared keys": (
        "Gemma4ForCausalLM",
        {"num_hidden_layers": 4, "layer_types": 2 * SLIDING, "num_kv_shared_layers": 2, "attention_k_eq_v": True},
    ),
    "Glm4MoeForCausalLM, qk norm": ("Glm4MoeForCausalLM", {"use_qk_norm": True}),
    "Ernie4_5ForCausalLM, biases": ("Ernie4_5ForCausalLM", {"use_bias": True}),
    "Starcoder2ForCausalLM, no biases": ("Starcoder2ForCausalLM", {"use_bias": False}),
    "Qwen2MoeForCausalLM, no biases": ("Qwen2MoeForCausalLM", {"qkv_bias": False}),
    "ModernBertDecoderForCausalLM, biases": (
        "ModernBertDecoderForCausalLM",
        {"attention_bias": True, "mlp_bias": True, "norm_bias": True},
    ),
}
BOTH_BIASES = ("Arcee", "Llama", "Nemotron", "SmolLM3")
ATTENTION_BIASES = (
    *("Afmoe", "Apertus", "Cohere", "Cohere2", "FlexOlmo", "Gemma", "Gemma2", "Gemma3", "Glm4Moe", "GraniteMoe"),
    *("HunYuanDenseV1", "NanoChat", "Olmo", "Olmo2", "Olmo3", "Olmoe", "Qwen3Moe"),
)
NO_BIASES = ("Glm", "Glm4", "GptOss", "Jais2", "SeedOss")
for families, change, settings in (
    (BOTH_BIASES, "biases", {"attention_bias": True, "mlp_bias": True}),
    (ATTENTION_BIASES, "biases", {"attention_bias": True}),
    (NO_BIASES, "no biases", {"attention_bias": False}),
):
    VARIANTS |= {f"{family}ForCausalLM, {change}": (f"{family}ForCausalLM", settings) for family in families}

INPUTS = {"input_values": "sound", "pixel_values": "images"}


def names() -> list[str]:
    """Return every architecture that TransformerLens lists, in its order."""
    return list(SUPPORTED_ARCHITECTURES)


def left_out(name: str) -> str | None:
    """Return why no tiny decoder of an architecture can be made here, or None where one can."""
    made = getattr(transformers, name, None)
    if made is None:
        return "transformers has no such class"
    if getattr(made.config_class, "is_encoder_decoder", False):
        return "an encoder-decoder"
    if "text_config" in made.config_class.sub_configs:
        return "multimodal"
    if made.main_input_name != "input_ids":
        return f"reads {INPUTS[made.main_input_name]}, not tokens"
    if name in MODEL_FOR_MASKED_LM_MAPPING_NAMES.values() or name == "BertLMHeadModel":  # TransformerLens' is BERT
        return "predicts masked tokens, not next ones"
    if name in MODEL_FOR_CAUSAL_LM_MAPPING_NAMES.values():
        return None
    return "has no unembedding"


def architecture_of(name: str) -> str:
    """Return the architecture of a variant; an architecture's name is its own."""
    return VARIANTS[name][0] if name in VARIANTS else name


def tiny_config(name: str) -> PreTrainedConfig:
    """Return the configuration of an architecture's or a variant's tiny model."""
    architecture = architecture_of(name)
    config_class = getattr(transformers, architecture).config_class
    known = {field.name for field in dataclasses.fields(config_class)} | set(config_class.attribute_map)
    settings = {key: value for key, value in SIZES.items() if key in known} | SPECIAL.get(architecture, {})
    if name in VARIANTS:
        settings |= VARIANTS[name][1]
    return config_class(**copy.deepcopy(settings), architectures=[architecture])  # it may write into what it is given


def tiny_model(name: str, seed: int = 0) -> PreTrainedModel:
    """Return a tiny model whose every weight, norms' and biases' too, is large enough to matter."""
    model_class = getattr(transformers, architecture_of(name))
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(seed)
        model = model_class._from_config(tiny_config(name), attn_implementation="eager", dtype=torch.float32)
        model = model.eval().requires_grad_(False)
        for weight in learnt(model):
            weight.add_(0.4 * torch.randn_like(weight))
    return model


def learnt(model: PreTrainedModel) -> list[torch.Tensor]:
    """Return what training changes in a model, tied weights once: a router's biases and a layer's scale are buffers."""
    buffers = [buffer for name, buffer in model.named_buffers() if name.endswith(("_bias", "layer_scalar"))]
    return [*model.parameters(), *buffers]
