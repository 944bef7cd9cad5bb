"""`docs/architectures.md`: what is patched exactly in which architecture, as the tests of all of them find it."""

from collections.abc import Iterable, Sequence
from dataclasses import astuple, dataclass
from pathlib import Path
from typing import Any

import architectures

PAGE = Path(__file__).resolve().parent.parent / "docs" / "architectures.md"
NONE = "–"
INTRODUCTION = """# Architectures

Which architectures are patched, and what was checked. `make architectures` runs the checks and writes this page;
`make test` runs those of a quarter of them with two of the five prompt pairs, and holds their rows against this page.

Every architecture that TransformerLens lists and transformers can make gets a tiny model with random weights, all of
them large enough to matter: norms' weights, biases, sinks. A name behind a comma is a further configuration of an
architecture. Five prompt pairs, which differ in the middle, at several tokens, at the first one after BOS, at the
last one and at BOS itself, are swept, and the values are held against those of a loop of one ordinary forward per
patch: a model of its own that TransformerLens never saw, the whole prompt, no cache, eager attention, plain hooks on
its modules. Sites are compared at all positions from the first difference on, all heads, and of each layer's neurons
a drawn half (patched at all positions) and a dozen (patched at one). The pattern, which no module gives out, is
compared with patching TransformerLens' own hook; where that only shows the pattern, it is compared with what the hook
shows.

Exact means: no value differs by more than 1e-5 of the largest of 1, the two prompts' logit differences, and the
spread of the patches' effects. That is rounding in float32; what it was in a sweep of yours is the sweep's
`rounding`.

- **fast**: one pass for all patches. **ordinary**: one forward per patch, because the architecture does not allow the
  fast way; the remark says why. The results are the same. A warning says so when it happens, and the sweep's `way`
  records it. It may depend on the prompt (Llama 4); here it is that of the longest prompt pair.
- **sites**: resid_pre, attn_out and mlp_out. They are what TransformerLens' hooks of these names see. Where a norm
  stands between a part and the residual stream (Gemma 2, OLMo 2), attn_out and mlp_out are behind it. Where what a
  part adds is multiplied by a number (Granite), TransformerLens shows the product; patching it before the product
  comes to the same.
- **heads**: q, k and v are what leaves their projections, before any norm or rotation (and with the gate beside q
  where there is one); z is what enters the output projection, behind any gate. The pattern is what the softmax gives.
  Where heads share keys, k and v have fewer heads. Heads are patched where every layer attends.
- **neurons**: the inputs of an MLP's output projection. Experts' neurons are refused with a sentence, since which
  expert runs differs from prompt to prompt; sites and heads of such models are patched, and so are the neurons of
  their dense layers. An expert that every token passes through (a shared one) counts as part of the experts.

"""
HEADER = ("architecture", "way", "sites", "heads", "neurons", "remark")
LEFT_OUT = """
## Left out

These are in TransformerLens' list, but no tiny decoder of them can be made:

"""


@dataclass(frozen=True)
class Row:
    """What a name's test found, in words that are the same wherever it runs."""

    name: str
    way: str
    sites: str = NONE
    heads: str = NONE
    neurons: str = NONE
    remark: str = ""

    def line(self) -> str:
        """Return the row of the table."""
        return f"| {' | '.join(astuple(self))} |"


def cell(found: Sequence[Any], possible: Sequence[Any]) -> str:
    """Return in a word, or a few, which of the possible ones are patched exactly."""
    if not found:
        return NONE
    return "exact" if len(found) == len(possible) else f"exact: {', '.join(map(str, found))}"


def all_names() -> list[str]:
    """Return every architecture and variant of which a tiny model is made, in the table's order."""
    made = [name for name in architectures.names() if architectures.left_out(name) is None]
    return sorted([*made, *architectures.VARIANTS], key=lambda name: (name.lower().partition(",")[0], name.lower()))


def page(lines: Iterable[str]) -> str:
    """Return the page around the rows of the table."""
    reasons = {name: architectures.left_out(name) for name in sorted(architectures.names(), key=str.lower)}
    left_out = [f"- {name}: {reason}" for name, reason in reasons.items() if reason is not None]
    table = [f"| {' | '.join(HEADER)} |", f"|{' --- |' * len(HEADER)}", *lines]
    return INTRODUCTION + "\n".join(table) + "\n" + LEFT_OUT + "\n".join(left_out) + "\n"


def lines_of_page() -> dict[str, str]:
    """Return the rows of the page as it is, by name."""
    lines = [line for line in PAGE.read_text().splitlines() if line.startswith("| ")][1:]
    return {line.split("|")[1].strip(): line for line in lines if not line.startswith("| ---")}


def finish(terminal: Any, exit_status: int) -> None:
    """Say the largest difference of a run of all architectures, and write the page if all of them passed."""
    found = [dict(report.user_properties) for report in terminal.stats.get("passed", [])]
    rows = {properties["line"].split("|")[1].strip(): properties for properties in found if "line" in properties}
    worst = max(rows, key=lambda name: rows[name]["difference"], default=None)
    if worst is not None:
        terminal.write_line(
            f"Largest difference, as a share of the bound's size: {rows[worst]['difference']:.1e} ({worst})"
        )
    if exit_status == 0 and rows.keys() == {*all_names()}:
        PAGE.write_text(page(rows[name]["line"] for name in all_names()))
        terminal.write_line(f"{PAGE} is written.")
    else:
        terminal.write_line(f"{PAGE} is left as it was: not all architectures ran and passed.")
