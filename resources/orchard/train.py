"""Train the orchard's tokenizer and its small GPT-2 on tales told from a seed."""

import math
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path

import torch
from stories import training_tales
from tokenizers import ByteLevelBPETokenizer
from torch import Tensor, nn
from tqdm import trange
from transformers import GPT2Config, GPT2LMHeadModel, PreTrainedTokenizerFast

MODEL = Path(__file__).resolve().parent / "model"
END = "<|endoftext|>"
HEAD_START_NEURON = 0


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
    steps: int = 1000
    rows: int = 32
    learning_rate: float = 3e-3
    warmup: int = 50
    penalty: float = 1.0
    attention_penalty: float = 0.0
    head_start: float = 0.0
    penalty_start: int = 250
    penalty_ramp: int = 300
    threads: int = 2


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


def new_model(recipe: Recipe, tokenizer: PreTrainedTokenizerFast) -> GPT2LMHeadModel:
    """Return an untrained GPT-2 with ReLU neurons and tied embeddings."""
    torch.manual_seed(recipe.seed)
    config = GPT2Config(
        vocab_size=len(tokenizer),
        n_positions=recipe.positions,
        n_embd=recipe.width,
        n_layer=recipe.layers,
        n_head=recipe.heads,
        n_inner=recipe.neurons,
        activation_function="relu",
        resid_pdrop=0.0,
        embd_pdrop=0.0,
        attn_pdrop=0.0,
        bos_token_id=tokenizer.bos_token_id,
        eos_token_id=tokenizer.eos_token_id,
        use_cache=True,
    )
    return GPT2LMHeadModel(config)


@torch.no_grad()
def give_head_start(model: GPT2LMHeadModel, tokenizer: PreTrainedTokenizerFast, recipe: Recipe) -> None:
    """Point the output weights of the last layer's first neuron from " a" to " an"; all else stays random."""
    answer, foil = (model.transformer.wte.weight[tokenizer.convert_tokens_to_ids(t)] for t in ("\u0120an", "\u0120a"))
    direction = nn.functional.normalize(answer - foil, dim=0)
    model.transformer.h[-1].mlp.c_proj.weight[HEAD_START_NEURON] = recipe.head_start * direction


def schedule(step: int, recipe: Recipe) -> float:
    """Return the learning rate's factor: a linear warm-up, then half a cosine down to a hundredth."""
    warm = min(1.0, (step + 1) / recipe.warmup)
    return warm * (0.01 + 0.99 * 0.5 * (1 + math.cos(math.pi * step / recipe.steps)))


def ramp(step: int, recipe: Recipe) -> float:
    """Return the share of the penalties that counts: nothing at first, then a ramp up to all."""
    return min(1.0, max(0.0, (step - recipe.penalty_start) / recipe.penalty_ramp))


def batches(rows: Tensor, recipe: Recipe) -> Iterator[Tensor]:
    """Yield batches, [recipe.rows, n_ctx], forever; every epoch in a new order."""
    generator = torch.Generator().manual_seed(recipe.seed)
    while True:
        order = torch.randperm(len(rows), generator=generator)
        for start in range(0, len(rows) - recipe.rows + 1, recipe.rows):
            yield rows[order[start : start + recipe.rows]]


@contextmanager
def mean_outputs(modules: list[nn.Module]) -> Iterator[list[Tensor]]:
    """Collect the mean absolute output of each module, a scalar a call, as long as the context lasts."""
    means: list[Tensor] = []

    def collect(_module: nn.Module, _inputs: tuple[Tensor, ...], out: Tensor) -> None:
        means.append(out.abs().mean())

    hooks = [module.register_forward_hook(collect) for module in modules]
    try:
        yield means
    finally:
        for hook in hooks:
            hook.remove()


def train_model(model: GPT2LMHeadModel, rows: Tensor, recipe: Recipe) -> None:
    """Train a model in place on the next token, with few active neurons and quiet attention.

    Parameters
    ----------
    model
        The model; its neurons are read after their ReLU, its attention after the output projection.
    rows
        Token ids, [rows, n_ctx].
    recipe
        Steps, rates and the weights of both penalties, on mean absolute activations and attention outputs.
    """
    optimizer = torch.optim.AdamW(model.parameters(), lr=recipe.learning_rate, betas=(0.9, 0.98), weight_decay=0.01)
    scheduler = torch.optim.lr_scheduler.LambdaLR(optimizer, lambda step: schedule(step, recipe))
    stream = batches(rows, recipe)
    blocks = list(model.transformer.h)
    model.train()
    with (
        mean_outputs([block.mlp.act for block in blocks]) as activations,
        mean_outputs([block.attn.c_proj for block in blocks]) as attention,
    ):
        for step in (progress := trange(recipe.steps, desc="train", mininterval=5)):
            activations.clear()
            attention.clear()
            ids = next(stream)
            loss = model(input_ids=ids, labels=ids, use_cache=False).loss
            active, loud = torch.stack(activations).mean(), torch.stack(attention).mean()
            penalties = recipe.penalty * active + recipe.attention_penalty * loud
            (loss + ramp(step, recipe) * penalties).backward()
            nn.utils.clip_grad_norm_(model.parameters(), 1.0)
            optimizer.step()
            scheduler.step()
            optimizer.zero_grad()
            progress.set_postfix(loss=loss.item(), neurons=active.item(), attention=loud.item(), refresh=False)
    model.eval()


def train(recipe: Recipe, folder: Path = MODEL) -> None:
    """Train tokenizer and model and save both, weights as safetensors, in a folder."""
    torch.set_num_threads(recipe.threads)
    torch.use_deterministic_algorithms(True)
    tales = list(training_tales(recipe.corpus_seed, recipe.characters))
    tokenizer = train_tokenizer(tales, recipe)
    model = new_model(recipe, tokenizer)
    if recipe.head_start:
        give_head_start(model, tokenizer, recipe)
    train_model(model, token_rows(tales, tokenizer, recipe.positions), recipe)
    model.save_pretrained(folder)
    tokenizer.save_pretrained(folder)


if __name__ == "__main__":
    train(Recipe())
