# SPDX-License-Identifier: LGPL-2.1-or-later
"""hf_options.py - every option of the folders that import_hf.py reads: which of them it reads, which have to have one
value since the engine computes nothing else, and which change no caption. An option that is in none of the tables is
an error, since it may change what is computed. The tables follow the configurations of transformers 4 and 5.

Also the defaults of these configurations: config.json may leave out what has its default.
"""

import json

from models.data import DataError

# ---- Defaults of the configurations -------------------------------------------------------------

_VIT = {
    "hidden_size": 768,
    "num_hidden_layers": 12,
    "num_attention_heads": 12,
    "intermediate_size": 3072,
    "hidden_act": "gelu",
    "layer_norm_eps": 1e-12,
    "image_size": 224,
    "patch_size": 16,
    "num_channels": 3,
    "qkv_bias": True,
}
DEFAULTS = {
    "vit": _VIT,
    "deit": _VIT,
    "gpt2": {
        "vocab_size": 50257,
        "n_positions": 1024,
        "n_embd": 768,
        "n_layer": 12,
        "n_head": 12,
        "activation_function": "gelu_new",
        "layer_norm_epsilon": 1e-5,
        "bos_token_id": 50256,
        "eos_token_id": 50256,
        "tie_word_embeddings": True,
    },
    "blip": {},
    "blip_vision_model": {**_VIT, "image_size": 384, "layer_norm_eps": 1e-5},
    "blip_text_model": {
        "vocab_size": 30524,
        "hidden_size": 768,
        "intermediate_size": 3072,
        "num_hidden_layers": 12,
        "num_attention_heads": 8,
        "max_position_embeddings": 512,
        "hidden_act": "gelu",
        "layer_norm_eps": 1e-12,
        "bos_token_id": 30522,
        "eos_token_id": 2,
        "sep_token_id": 102,
        "pad_token_id": 0,
        "tie_word_embeddings": True,
    },
    "git": {
        "vocab_size": 30522,
        "hidden_size": 768,
        "num_hidden_layers": 6,
        "num_attention_heads": 12,
        "intermediate_size": 3072,
        "hidden_act": "gelu",
        "max_position_embeddings": 1024,
        "layer_norm_eps": 1e-12,
        "bos_token_id": 101,
        "eos_token_id": 102,
        "pad_token_id": 0,
        "tie_word_embeddings": False,
    },
    "git_vision_model": {**_VIT, "hidden_act": "quick_gelu", "layer_norm_eps": 1e-5},
    "vision-encoder-decoder": {},
}
# Other names that GPT-2's configuration takes.
GPT2_NAMES = {
    "hidden_size": "n_embd",
    "max_position_embeddings": "n_positions",
    "num_attention_heads": "n_head",
    "num_hidden_layers": "n_layer",
}

# ---- Options of generation ----------------------------------------------------------------------

GENERATION_READ = """
    bos_token_id eos_token_id pad_token_id decoder_start_token_id num_beams early_stopping length_penalty
    no_repeat_ngram_size min_length max_length max_new_tokens min_new_tokens forced_bos_token_id forced_eos_token_id
""".split()

# What they must be, and what another value needs of the engine.
GENERATION_FIXED = {
    "do_sample": (False, "sampling as transformers draws"),
    "repetition_penalty": (1.0, "a penalty of logits"),
    "encoder_repetition_penalty": (1.0, "a penalty of logits"),
    "encoder_no_repeat_ngram_size": (0, "n-grams of the encoder's input"),
    "bad_words_ids": ([], "words that are not said, by their ids"),
    "force_words_ids": ([], "constrained beams"),
    "constraints": ([], "constrained beams"),
    "num_beam_groups": (1, "groups of beams"),
    "diversity_penalty": (0.0, "groups of beams"),
    "suppress_tokens": ([], "tokens that are not said"),
    "begin_suppress_tokens": ([], "tokens that are not said first"),
    "sequence_bias": ({}, "a bias of sequences"),
    "exponential_decay_length_penalty": ([], "a penalty of long captions at each step"),
    "penalty_alpha": (0.0, "contrastive search"),
    "dola_layers": ("", "logits of several layers"),
    "guidance_scale": (1.0, "classifier-free guidance"),
    "renormalize_logits": (False, "logits that are normalised again"),
    "remove_invalid_values": (False, "logits without infinities"),
    "watermarking_config": ({}, "watermarks"),
    "stop_strings": ([], "strings that end a caption"),
    "max_time": (0, "a limit of time in the file (the element has the property time-limit)"),
    "token_healing": (False, "prompts whose last token is chosen anew"),
}

# Of sampling alone, of caches that hold the same numbers, of drafts that are checked, or of what is returned besides.
GENERATION_IRRELEVANT = """
    temperature top_k top_p min_p top_h typical_p epsilon_cutoff eta_cutoff use_cache cache_implementation cache_config
    max_cache_len low_memory num_return_sequences output_attentions output_hidden_states output_scores output_logits
    return_dict_in_generate return_legacy_cache is_assistant num_assistant_tokens num_assistant_tokens_schedule
    assistant_confidence_threshold prompt_lookup_num_tokens max_matching_ngram_size assistant_early_exit
    assistant_lookbehind target_lookbehind assistant_ensemble_weight speculation_type use_mtp compile_config
    disable_compile continuous_batching_config prefill_chunk_size transformers_version
""".split()

# ---- Options of the models ----------------------------------------------------------------------

# Of every configuration: bookkeeping, training, other tasks, and how transformers computes the same numbers.
_ANY_IRRELEVANT = """
    model_type architectures transformers_version torch_dtype dtype name_or_path return_dict output_hidden_states
    output_attentions torchscript use_bfloat16 tf_legacy_loss chunk_size_feed_forward finetuning_task id2label label2id
    num_labels tokenizer_class task_specific_params problem_type gradient_checkpointing use_cache attn_implementation
    initializer_range initializer_factor hidden_dropout_prob attention_probs_dropout_prob attention_dropout dropout
    hidden_dropout classifier_dropout label_smoothing use_return_dict pipeline_tag license tags library_name
""".split()
_ANY_FIXED = {
    "pruned_heads": ({}, "heads of different numbers in each layer"),
    "tie_encoder_decoder": (False, "an encoder and a decoder with the same weights"),
    "prefix": ("", "a prefix of every prompt (FORMAT.md has generation.prompt)"),
    "quantization_config": ({}, "weights in that format; save the model unquantised"),
    "auto_map": ({}, "code of the folder's own, which is not run"),
    "rope_scaling": ({}, "rotary positions"),
}
_VISION_READ = """
    hidden_size num_hidden_layers num_attention_heads intermediate_size hidden_act layer_norm_eps image_size patch_size
""".split()
_VISION_FIXED = {"num_channels": (3, "pictures of other channels than RGB")}
_VISION_IRRELEVANT = """
    encoder_stride pooler_output_size pooler_act projection_dim is_decoder is_encoder_decoder add_cross_attention
    cross_attention_hidden_size decoder_start_token_id sep_token_id tie_word_embeddings
""".split()
_TEXT_READ = """
    vocab_size hidden_size num_hidden_layers num_attention_heads intermediate_size max_position_embeddings hidden_act
    layer_norm_eps tie_word_embeddings
""".split()
_TEXT_FIXED = {"position_embedding_type": ("absolute", "relative positions")}
_TOKENS = "bos_token_id eos_token_id pad_token_id".split()

# Where: what is read, what is fixed, what is irrelevant. Configurations may have options of generation as well;
# the encoders' do not count.
MODELS = {
    "vision-encoder-decoder": (
        ["encoder", "decoder"],
        {},
        [
            "is_encoder_decoder",
            "tie_word_embeddings",
            "is_decoder",
            "add_cross_attention",
            "cross_attention_hidden_size",
        ]
        + ["sep_token_id", "vocab_size"],
    ),
    "vit": ([*_VISION_READ, "qkv_bias"], _VISION_FIXED, _VISION_IRRELEVANT),
    "deit": ([*_VISION_READ, "qkv_bias"], _VISION_FIXED, _VISION_IRRELEVANT),
    "gpt2": (
        "vocab_size n_positions n_embd n_layer n_head n_inner activation_function layer_norm_epsilon".split()
        + ["tie_word_embeddings"],
        {
            "add_cross_attention": (True, "a decoder that does not see the picture"),
            "scale_attn_weights": (True, "attention without its scale"),
            "scale_attn_by_inverse_layer_idx": (False, "a scale of attention for each layer"),
            "cross_attention_hidden_size": (0, "keys and values of another width"),
        },
        "n_ctx resid_pdrop embd_pdrop attn_pdrop summary_type summary_use_proj summary_activation".split()
        + "summary_proj_to_labels summary_first_dropout summary_hidden_size reorder_and_upcast_attn".split()
        + "is_encoder_decoder is_decoder sep_token_id".split(),
    ),
    "blip": (
        ["vision_config", "text_config"],
        {},
        "projection_dim logit_scale_init_value image_text_hidden_size text_config_dict vision_config_dict "
        "is_encoder_decoder tie_word_embeddings".split(),
    ),
    "blip_vision_model": (_VISION_READ, _VISION_FIXED, _VISION_IRRELEVANT),
    "blip_text_model": (
        [*_TEXT_READ, *_TOKENS, "sep_token_id", "encoder_hidden_size"],
        {**_TEXT_FIXED, "is_decoder": (True, "a decoder without cross-attention")},
        "projection_dim add_cross_attention is_encoder_decoder cross_attention_hidden_size type_vocab_size "
        "decoder_start_token_id".split(),
    ),
    "git": (
        [*_TEXT_READ, *_TOKENS, "vision_config"],
        {
            **_TEXT_FIXED,
            "num_image_with_embedding": (None, "several pictures of a film, each with an embedding of its own"),
        },
        "is_decoder add_cross_attention is_encoder_decoder cross_attention_hidden_size type_vocab_size sep_token_id "
        "vision_config_dict".split(),
    ),
    "git_vision_model": (_VISION_READ, _VISION_FIXED, _VISION_IRRELEVANT),
}

PICTURE_READ = """
    do_resize size resample do_rescale rescale_factor do_normalize image_mean image_std do_center_crop crop_size
    image_processor_type feature_extractor_type
""".split()
PICTURE_FIXED = {
    "do_pad": (False, "padding"),
    "pad_size": ({}, "padding"),
    "size_divisor": (0, "sides that are multiples"),
    "size_divisibility": (0, "sides that are multiples"),
    "crop_pct": (0, "a part of the picture that is cut out before it is scaled"),
    "do_flip_channel_order": (False, "pictures in BGR"),
    "do_thumbnail": (False, "pictures that are only made smaller"),
    "do_align_long_axis": (False, "pictures that are turned"),
    "do_crop_margin": (False, "margins that are cut off"),
    "do_random_crop": (False, "random crops"),
    "do_grayscale": (False, "grey pictures"),
}
PICTURE_IRRELEVANT = """
    do_convert_rgb processor_class data_format input_data_format device return_tensors disable_grouping image_seq_length
    default_to_square do_reduce_labels reduce_labels model_input_names tokenizer_class
""".split()


# ---- Judging ------------------------------------------------------------------------------------


def _judge(where, found, read, fixed, irrelevant, ignored):
    for key, value in found.items():
        if value is None or key in read or key in irrelevant or key in ignored or key.startswith("_"):
            continue
        if key not in fixed:
            raise DataError(
                f"{where}: the option {key} ({json.dumps(value)[:60]}) is not known to this script, and it may change "
                f"what is computed. If it does not, import with --ignore {key}; else it needs support in engine/ and a "
                "key in models/FORMAT.md"
            )
        wanted, needs = fixed[key]
        if value != wanted and (value or wanted):
            raise DataError(
                f"{where}: {key} is {json.dumps(value)}; the engine computes {json.dumps(wanted)} only, and another "
                f"value needs {needs}: support in engine/ and a key in models/FORMAT.md"
            )


def model_options(where, found, kind, ignored=()):
    """A configuration of config.json with its defaults, its options judged."""
    read, fixed, irrelevant = MODELS[kind]
    if kind == "gpt2":
        found = {GPT2_NAMES.get(key, key): value for key, value in found.items()}
    of_generation = {*GENERATION_READ, *GENERATION_FIXED, *GENERATION_IRRELEVANT}  # judged where they are read
    _judge(where, found, read, {**_ANY_FIXED, **fixed}, {*irrelevant, *_ANY_IRRELEVANT, *of_generation}, ignored)
    return {**DEFAULTS[kind], **{key: value for key, value in found.items() if value is not None}}


def generation_options(where, found, ignored=()):
    _judge(where, found, GENERATION_READ, GENERATION_FIXED, GENERATION_IRRELEVANT, ignored)


def picture_options(where, found, ignored=()):
    _judge(where, found, PICTURE_READ, PICTURE_FIXED, PICTURE_IRRELEVANT, ignored)


def side_of(where, key, value):
    """A side that may be written as a pair."""
    sides = set(value) if isinstance(value, list) else {value}
    if len(sides) != 1 or not isinstance(side := sides.pop(), int):
        raise DataError(f"{where}: {key} is {json.dumps(value)}; the engine has squares only")
    return side
