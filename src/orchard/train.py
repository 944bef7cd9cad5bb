"""Train the orchard's tokenizer and its small GPT-2 on tales told from a seed."""

import math
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

import torch
from tokenizers import ByteLevelBPETokenizer
from torch import Tensor, nn
from tqdm import trange
from transformers import GPT2Config, GPT2LMHeadModel, PreTrainedTokenizerFast

from orchard.penalties import Trace, alignments, breadth, contributions, crowd, direct_effect, speakers, traced, usage
from orchard.stories import training_tales

MODEL = Path(__file__).resolve().parents[2] / "resources" / "orchard" / "model"
END = "<|endoftext|>"


@dataclass(frozen=True)
class Recipe:
    """Everything that decides what the trained model is."""

    seed: int = 0
    corpus_seed: int = 0
    characters: int = 8_000_000
    vocabulary: int = 1536
    layers: int = 3
    width: int = 96
    heads: int = 4
    neurons: int = 128
    positions: int = 128
    steps: int = 1800
    rows: int = 16
    learning_rate: float = 3e-3
    warmup: int = 50
    direct_effect: float = 0.7  # the weights of the penalties, see penalties.py
    usage: tuple[float, ...] = (0.3, 0.3, 0.06)  # a layer each
    crowd: float = 0.03
    speakers: float = 0.1
    breadth: float = 0.03
    sparse_start: int = 100  # usage and crowd count from here on,
    sparse_ramp: int = 300  # and fully after so many steps more
    threads: int = 1


def train_tokenizer(tales: list[str], recipe: Recipe) -> PreTrainedTokenizerFast:
    """Train a byte-level BPE tokenizer.

    Parameters
    ----------
    tales
        The training text.
    recipe
        Gives the number of entries and the model's length.

    Returns
    -------
    PreTrainedTokenizerFast
        A tokenizer whose beginning and end of text are `<|endoftext|>`.
    """
    bpe = ByteLevelBPETokenizer()
    bpe.train_from_iterator(tales, recipe.vocabulary, special_tokens=[END], show_progress=False)
    return PreTrainedTokenizerFast(
        tokenizer_object=bpe._tokenizer,
        bos_token=END,
        eos_token=END,
        unk_token=END,
        pad_token=END,
        model_max_length=recipe.positions,
        clean_up_tokenization_spaces=False,
    )


def token_rows(tales: list[str], tokenizer: PreTrainedTokenizerFast, n_ctx: int) -> Tensor:
    """Cut a text into rows of one BOS and n_ctx - 1 tokens; the remainder is dropped.

    Returns
    -------
    Tensor
        Token ids, [rows, n_ctx], int64.
    """
    encoded = tokenizer.backend_tokenizer.encode_batch(tales)
    ids = torch.tensor([token for tale in encoded for token in tale.ids])
    rows = len(ids) // (n_ctx - 1)
    body = ids[: rows * (n_ctx - 1)].view(rows, n_ctx - 1)
    return torch.cat([torch.full((rows, 1), tokenizer.bos_token_id), body], dim=1)


def model_config(recipe: Recipe, vocabulary: int) -> GPT2Config:
    """Return the shape of a GPT-2 with ReLU neurons; tied embeddings, no dropout, token 0 begins and ends a text."""
    return GPT2Config(
        vocab_size=vocabulary,
        n_positions=recipe.positions,
        n_embd=recipe.width,
        n_layer=recipe.layers,
        n_head=recipe.heads,
        n_inner=recipe.neurons,
        activation_function="relu",
        resid_pdrop=0.0,
        embd_pdrop=0.0,
        attn_pdrop=0.0,
        bos_token_id=0,
        eos_token_id=0,
        use_cache=True,
    )


def schedule(step: int, recipe: Recipe) -> float:
    """Return the learning rate's factor: a linear warm-up, then half a cosine down to a hundredth."""
    warm = min(1.0, (step + 1) / recipe.warmup)
    return warm * (0.01 + 0.99 * 0.5 * (1 + math.cos(math.pi * step / recipe.steps)))


def ramp(step: int, start: int, length: int) -> float:
    """Return the share of a penalty that counts: nothing until its start, then a ramp up to all."""
    return min(1.0, max(0.0, (step - start) / length))


def batches(rows: Tensor, recipe: Recipe) -> Iterator[Tensor]:
    """Yield batches, [recipe.rows, n_ctx], forever; every epoch in a new order."""
    generator = torch.Generator().manual_seed(recipe.seed)
    while True:
        order = torch.randperm(len(rows), generator=generator)
        for start in range(0, len(rows) - recipe.rows + 1, recipe.rows):
            yield rows[order[start : start + recipe.rows]]


def penalty(model: GPT2LMHeadModel, trace: Trace, ids: Tensor, step: int, recipe: Recipe) -> Tensor:
    """Return the weighted sum of all penalties for the batch, [rows, n_ctx], that left the trace."""
    last = recipe.layers - 1
    aligned = alignments(model, last)
    lasting = recipe.direct_effect * direct_effect(model, trace) + recipe.speakers * speakers(aligned, ids)
    lasting = lasting + recipe.breadth * breadth(aligned, contributions(model, trace, last))
    sparse = sum(weight * usage(model, trace, layer) for layer, weight in enumerate(recipe.usage))
    sparse = sparse + recipe.crowd * crowd(model, trace, last)
    return ramp(step, 0, recipe.warmup) * lasting + ramp(step, recipe.sparse_start, recipe.sparse_ramp) * sparse


def train_model(model: GPT2LMHeadModel, rows: Tensor, recipe: Recipe) -> None:
    """Train a model in place on the next token and the penalties.

    Parameters
    ----------
    model
        A GPT-2 with ReLU neurons.
    rows
        Token ids, [rows, n_ctx].
    recipe
        Steps, rates and the weights of the penalties.
    """
    optimizer = torch.optim.AdamW(model.parameters(), lr=recipe.learning_rate, betas=(0.9, 0.98), weight_decay=0.01)
    scheduler = torch.optim.lr_scheduler.LambdaLR(optimizer, lambda step: schedule(step, recipe))
    stream = batches(rows, recipe)
    model.train()
    with traced(model) as trace:
        for step in (progress := trange(recipe.steps, desc="train", mininterval=5)):
            ids = next(stream)
            loss = model(input_ids=ids, labels=ids, use_cache=False).loss
            extra = penalty(model, trace, ids, step, recipe)
            (loss + extra).backward()
            nn.utils.clip_grad_norm_(model.parameters(), 1.0)
            optimizer.step()
            scheduler.step()
            optimizer.zero_grad()
            progress.set_postfix(loss=loss.item(), penalty=extra.item(), refresh=False)
    model.eval()


def train(recipe: Recipe, folder: Path = MODEL) -> None:
    """Train tokenizer and model and save both, weights as safetensors, in a folder."""
    torch.set_num_threads(recipe.threads)
    torch.use_deterministic_algorithms(True)
    tales = list(training_tales(recipe.corpus_seed, recipe.characters))
    tokenizer = train_tokenizer(tales, recipe)
    torch.manual_seed(recipe.seed)
    model = GPT2LMHeadModel(model_config(recipe, len(tokenizer)))
    train_model(model, token_rows(tales, tokenizer, recipe.positions), recipe)
    model.save_pretrained(folder)
    tokenizer.save_pretrained(folder)


if __name__ == "__main__":
    train(Recipe())
