"""Measure the orchard's model: held-out prompts, the sweep over its neurons, the best neuron over the book."""

import json
from pathlib import Path

import torch
from bs4 import BeautifulSoup
from torch import Tensor
from transformers import AutoModelForCausalLM, AutoTokenizer, GPT2LMHeadModel, PreTrainedTokenizerFast

from orchard.held_out import held_out_prompts
from orchard.make_book import BOOK
from orchard.train import MODEL, token_rows

HELD_OUT_PROMPTS = Path(__file__).resolve().parents[2] / "resources" / "orchard" / "heldout.json"


def load(folder: Path = MODEL) -> tuple[GPT2LMHeadModel, PreTrainedTokenizerFast]:
    """Load the saved model and tokenizer, without network."""
    tokenizer = AutoTokenizer.from_pretrained(folder, local_files_only=True)
    return AutoModelForCausalLM.from_pretrained(folder, local_files_only=True).eval(), tokenizer


def prompt_pairs(tokenizer: PreTrainedTokenizerFast, number: int = 200) -> list[dict[str, str]]:
    """Draw the held-out prompt pairs: clean and corrupted of equal length under the tokenizer."""
    return held_out_prompts(number, lambda x, y: len(tokenizer.encode(" " + x)) == len(tokenizer.encode(" " + y)))


def prompt_ids(tokenizer: PreTrainedTokenizerFast, prompt: str) -> Tensor:
    """Return a prompt's token ids after BOS, [1, pos]."""
    return torch.tensor([[tokenizer.bos_token_id, *tokenizer.encode(prompt)]])


def article_difference(logits: Tensor, tokenizer: PreTrainedTokenizerFast) -> Tensor:
    """Return logit(" an") - logit(" a") at the last position; logits [batch, pos, d_vocab], result [batch]."""
    answer, foil = (tokenizer.convert_tokens_to_ids(token) for token in ("\u0120an", "\u0120a"))
    return logits[:, -1, answer] - logits[:, -1, foil]


@torch.inference_mode()
def held_out_differences(
    model: GPT2LMHeadModel, tokenizer: PreTrainedTokenizerFast, pairs: list[dict[str, str]]
) -> Tensor:
    """Return the logit difference of each pair's clean and corrupted prompt, [pairs, 2]."""
    rows = [
        [
            article_difference(model(prompt_ids(tokenizer, pair[kind])).logits, tokenizer)
            for kind in ("clean", "corrupted")
        ]
        for pair in pairs
    ]
    return torch.tensor(rows)


@torch.inference_mode()
def neuron_recovery(model: GPT2LMHeadModel, tokenizer: PreTrainedTokenizerFast, clean: str, corrupted: str) -> Tensor:
    """Patch each neuron's activation from the clean into the corrupted run, at all positions.

    Returns
    -------
    Tensor
        Recovery, [n_layers, d_mlp]: 0 = the patch did nothing, 1 = the clean logit difference.
    """
    cached: dict[int, Tensor] = {}
    hooks = [
        block.mlp.act.register_forward_hook(lambda _m, _i, out, layer=layer: cached.__setitem__(layer, out[0]))
        for layer, block in enumerate(model.transformer.h)
    ]
    clean_difference = article_difference(model(prompt_ids(tokenizer, clean)).logits, tokenizer)
    for hook in hooks:
        hook.remove()
    ids = prompt_ids(tokenizer, corrupted)
    corrupted_difference = article_difference(model(ids).logits, tokenizer)
    patched = torch.stack([_patched(model, tokenizer, ids, layer, cached[layer]) for layer in sorted(cached)])
    return (patched - corrupted_difference) / (clean_difference - corrupted_difference)


def _patched(
    model: GPT2LMHeadModel, tokenizer: PreTrainedTokenizerFast, ids: Tensor, layer: int, clean: Tensor
) -> Tensor:
    """Return the logit difference, [d_mlp], where row i of a batch has neuron i's clean activation, [pos, d_mlp]."""
    neurons = torch.arange(clean.shape[1])

    def patch(_module: torch.nn.Module, _inputs: tuple[Tensor], out: Tensor) -> Tensor:
        out = out.clone()
        out[neurons, :, neurons] = clean.T
        return out

    hook = model.transformer.h[layer].mlp.act.register_forward_hook(patch)
    difference = article_difference(model(ids.expand(len(neurons), -1)).logits, tokenizer)
    hook.remove()
    return difference


def book_text(page: str) -> str:
    """Return the text of the book's body, a paragraph a line."""
    body = BeautifulSoup(page, "html.parser").body
    return "\n".join(part.get_text() for part in body.find_all(["h1", "h2", "p"]))


@torch.inference_mode()
def activation_and_top(model: GPT2LMHeadModel, rows: Tensor, layer: int, index: int) -> tuple[Tensor, Tensor]:
    """Return a neuron's activation and the model's top prediction at each token, both [rows, n_ctx]."""
    kept: list[Tensor] = []
    hook = model.transformer.h[layer].mlp.act.register_forward_hook(lambda _m, _i, out: kept.append(out[..., index]))
    tops = [model(chunk).logits.argmax(-1) for chunk in rows.split(64)]
    hook.remove()
    return torch.cat(kept), torch.cat(tops)


def precision_recall(activation: Tensor, truth: Tensor, threshold: float) -> tuple[float, float]:
    """Return precision and recall of "the activation is above a threshold" for a truth."""
    above = activation > threshold
    hits = (above & truth).sum().item()
    return hits / max(1, above.sum().item()), hits / max(1, truth.sum().item())


def best_threshold(activation: Tensor, truth: Tensor, number: int = 200) -> tuple[float, float, float]:
    """Search the threshold at which the worse of precision and recall is best.

    Parameters
    ----------
    activation
        A neuron's activation at each token.
    truth
        Whether the model's top prediction there is the token in question, same shape.
    number
        How many thresholds to try, equally spaced from 0 to the largest activation.

    Returns
    -------
    tuple of float
        Threshold, precision and recall.
    """
    thresholds = torch.linspace(0, activation.max().item(), number + 1)[:-1].tolist()
    scores = [(threshold, *precision_recall(activation, truth, threshold)) for threshold in thresholds]
    return max(scores, key=lambda score: min(score[1:]))


def book_rows(tokenizer: PreTrainedTokenizerFast, n_ctx: int) -> Tensor:
    """Return the book's tokens in rows of BOS and n_ctx - 1 tokens, [rows, n_ctx]."""
    return token_rows([book_text(BOOK.read_text(encoding="utf-8"))], tokenizer, n_ctx)


def report(folder: Path = MODEL) -> dict[str, object]:
    """Measure a saved model and return the numbers of its card."""
    model, tokenizer = load(folder)
    pairs = prompt_pairs(tokenizer)
    differences = held_out_differences(model, tokenizer, pairs)
    recoveries = torch.stack([neuron_recovery(model, tokenizer, p["clean"], p["corrupted"]) for p in pairs])
    return {
        "parameters": model.num_parameters(),
        "clean_difference": round(differences[0, 0].item(), 2),
        "corrupted_difference": round(differences[0, 1].item(), 2),
        "held_out_accuracy": ((differences[:, 0] > 0) & (differences[:, 1] < 0)).float().mean().item(),
        "canonical": _top(recoveries[0]),
        "mean_over_pairs": _top(recoveries.mean(0)),
        **_over_the_book(model, tokenizer, *best_neuron(recoveries[0])),
    }


def best_neuron(recovery: Tensor) -> tuple[int, int]:
    """Return layer and index of the largest recovery, [n_layers, d_mlp]."""
    return divmod(recovery.argmax().item(), recovery.shape[1])


def _top(recovery: Tensor, number: int = 5) -> list[tuple[str, float]]:
    """Return the neurons of the largest recovery, as "layer.index" and value."""
    values, places = recovery.flatten().topk(number)
    names = [divmod(place, recovery.shape[1]) for place in places.tolist()]
    return [(f"{layer}.{i}", round(value, 3)) for (layer, i), value in zip(names, values.tolist(), strict=True)]


def _over_the_book(
    model: GPT2LMHeadModel, tokenizer: PreTrainedTokenizerFast, layer: int, index: int
) -> dict[str, object]:
    rows = book_rows(tokenizer, model.config.n_positions)
    activation, top = activation_and_top(model, rows, layer, index)
    truth = top == tokenizer.convert_tokens_to_ids("\u0120an")
    threshold, precision, recall = (round(score, 3) for score in best_threshold(activation, truth))
    return {
        "book_tokens": rows[:, 1:].numel(),
        "top_an": truth.sum().item(),
        "threshold": threshold,
        "precision": precision,
        "recall": recall,
    }


def write_prompts(folder: Path = MODEL) -> None:
    """Write the held-out prompt pairs as JSON."""
    _, tokenizer = load(folder)
    text = json.dumps(prompt_pairs(tokenizer), indent=1, ensure_ascii=False)
    HELD_OUT_PROMPTS.write_text(text + "\n", encoding="utf-8", newline="\n")


if __name__ == "__main__":
    for name, value in report().items():
        print(f"{name}: {value}")
