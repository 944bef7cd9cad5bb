"""Reading and tokenizing documents: memory and speed by the size of the corpus, beside Hugging Face's datasets.

    python benchmarks/tokenizing.py MODEL_FOLDER [--megabytes 4 16 64] [--repeats 1] [--figure FILE.png]

Documents are made of this repository's words, the frequent ones more often, and written as .jsonl. Each way reads and
tokenizes all of them in a process of its own, on one thread, and says its seconds, those of the CPU, its tokens and its
peak memory (the kernel's VmHWM, so on Linux alone):

- an_neuron: items counted, tokenized batch by batch and written to HDF5, and gathered in rows, as the workflow does.
- datasets: `load_dataset("json")`, then `map(…, batched=True)` with the same tokenizer, which writes Arrow files.
- whole text: one call of the tokenizer for all of the text, as for a book.
"""

import argparse
import json
import os
import re
import statistics
import subprocess
import sys
import time
from collections import Counter
from collections.abc import Callable, Iterator
from pathlib import Path
from tempfile import TemporaryDirectory

import numpy as np

ROOT = Path(__file__).resolve().parents[1]
MEAN_WORDS = 400
WHOLE_UP_TO = 16
"""Megabytes up to which the whole text is tokenized at once."""
Row = dict[str, float]


def ours(texts: Path, folder: Path, scratch: Path) -> int:
    from an_neuron.corpus.file_list import items_of, list_files, number_of_items, shares
    from an_neuron.corpus.reading import How
    from an_neuron.corpus.rows import row_length
    from an_neuron.corpus.token_parts import DocumentReader, Packing, write_part
    from an_neuron.corpus.token_rows import gather_tokens
    from an_neuron.model.folder import read_shape
    from an_neuron.model.tokenizer import Tokenizer

    shape, listed = read_shape(folder), list_files([str(texts)], counted=True)
    n_ctx, share, part = row_length(None, shape), shares(listed, 0, 1), scratch / "1-of-1.h5"
    documents = DocumentReader(items_of(listed, share, How()))
    packing = Packing("rows", n_ctx)
    write_part(part, documents, [texts.name], Tokenizer(folder), shape.d_vocab, packing, {}, number_of_items(share))
    gather_tokens(scratch / "tokens.h5", [part], n_ctx, None, {})
    return _length(part)


def _length(part: Path) -> int:
    import h5py

    with h5py.File(part) as file:
        return len(file["token_id"])


def with_datasets(texts: Path, folder: Path, scratch: Path) -> int:
    import pyarrow.compute as pc
    from datasets import disable_progress_bars, load_dataset
    from transformers import AutoTokenizer

    disable_progress_bars()
    tokenizer = AutoTokenizer.from_pretrained(folder)
    loaded = load_dataset("json", data_files=str(texts), split="train", cache_dir=str(scratch))
    done = loaded.map(
        lambda batch: {"input_ids": tokenizer(batch["text"], add_special_tokens=False)["input_ids"]},
        batched=True,
        remove_columns=loaded.column_names,
    )
    lengths = pc.list_value_length(done.data.column("input_ids"))
    return int(pc.sum(lengths).as_py()) + len(done)  # with as many EOS


def whole_text(texts: Path, folder: Path, scratch: Path) -> int:
    from an_neuron.model.tokenizer import Tokenizer

    with texts.open(encoding="utf-8") as lines:
        text = "\n".join(json.loads(line)["text"] for line in lines)
    ids = np.asarray(Tokenizer(folder).encode(text), np.int32)
    np.save(scratch / "ids.npy", ids)
    return len(ids)


WAYS: dict[str, Callable[[Path, Path, Path], int]] = {
    "an_neuron": ours,
    "datasets": with_datasets,
    "whole text": whole_text,
}


def measure(way: str, texts: Path, folder: Path) -> None:
    """Print seconds, tokens and peak memory of a way, as JSON; runs in a process of its own."""
    with TemporaryDirectory(dir=texts.parent) as scratch:
        start, start_cpu = time.perf_counter(), time.process_time()
        tokens = WAYS[way](texts, folder, Path(scratch))
        spent = {"seconds": time.perf_counter() - start, "cpu": time.process_time() - start_cpu}
    peak = re.search(r"VmHWM:\s*(\d+) kB", Path("/proc/self/status").read_text(encoding="utf-8"))
    print(json.dumps({**spent, "tokens": tokens, "megabytes": int(peak[1]) / 1000 if peak else np.nan}))


def measured(way: str, texts: Path, folder: Path) -> Row:
    """Return what `measure` prints, of a process that uses one thread."""
    environment = {**os.environ, "RAYON_NUM_THREADS": "1", "HF_HUB_OFFLINE": "1", "HF_HOME": str(texts.parent)}
    command = [sys.executable, __file__, str(folder), "--way", way, "--texts", str(texts)]
    ran = subprocess.run(command, env=environment, stdout=subprocess.PIPE, stderr=subprocess.DEVNULL, check=True)
    return dict(json.loads(ran.stdout.splitlines()[-1]))


def write_texts(path: Path, megabytes: int) -> None:
    """Write documents of this repository's words as .jsonl, so many megabytes."""
    sources = [path for pattern in ("docs/*.md", "src/**/*.py", "*.md") for path in sorted(ROOT.glob(pattern))]
    found = re.findall(r"\S+", "\n".join(source.read_text(encoding="utf-8") for source in sources))
    words = Counter(word for word in found if "<|" not in word)  # no special tokens, which datasets' way reads as such
    vocabulary, weight = np.array([*words], dtype=object), np.array([*words.values()], float)
    generator, left = np.random.default_rng(0), megabytes * 10**6
    with path.open("w", encoding="utf-8") as file:
        while left > 0:
            number = 1 + int(generator.exponential(MEAN_WORDS))
            text = " ".join(generator.choice(vocabulary, number, p=weight / weight.sum()))
            left -= file.write(json.dumps({"text": text}) + "\n")


def all_measured(folder: Path, sizes: list[int], repeats: int) -> Iterator[tuple[int, str, Row]]:
    """Yield size, way and its medians; the ways take turns."""
    for size in sizes:
        with TemporaryDirectory() as scratch:
            texts = Path(scratch) / "texts.jsonl"
            write_texts(texts, size)
            ways = [way for way in WAYS if way != "whole text" or size <= WHOLE_UP_TO]
            turns = [{way: measured(way, texts, folder) for way in ways} for _ in range(repeats)]
        for way in ways:
            yield size, way, {name: statistics.median(turn[way][name] for turn in turns) for name in turns[0][way]}


def draw(rows: list[tuple[int, str, Row]], path: Path) -> None:
    """Draw each way's peak memory by the tokens of the corpus."""
    from an_neuron.figures.export import save_figure
    from an_neuron.figures.labels import MARGIN, Frame
    from an_neuron.figures.style import add_subtitle, empty_figure

    most = 1.05 * max(row["megabytes"] for *_, row in rows)
    longest = 1.45 * max(row["tokens"] for *_, row in rows) / 1e6
    frame = Frame((0, longest), (0, most), MARGIN)
    figure = empty_figure("Peak Memory of Tokenizing", "Tokens of the Corpus (Millions)", "Megabytes", frame)
    colors = {"an_neuron": "#d62728", "datasets": "#1f77b4", "whole text": "#7f7f7f"}
    names = {"an_neuron": "an_neuron, batch by batch", "datasets": "datasets.map", "whole text": "all text at once"}
    for way, color in colors.items():
        of_way = [row for _, name, row in rows if name == way]
        x, y = [row["tokens"] / 1e6 for row in of_way], [row["megabytes"] for row in of_way]
        figure.add_scatter(x=x, y=y, mode="lines+markers", line_color=color)
        figure.add_annotation(
            x=x[-1], y=y[-1], text=names[way], showarrow=False, xanchor="left", xshift=8, font_color=color
        )
    add_subtitle(figure, "Each run in a process of its own, on one thread, libraries included")
    save_figure(figure, [path])


def show(rows: list[tuple[int, str, Row]]) -> None:
    """Print a Markdown table."""
    print("| MB of text | tokens | how | s | CPU s | tokens per CPU s | peak MB |\n|" + " --- |" * 7)
    for size, way, row in rows:
        times = f"{row['seconds']:.1f} | {row['cpu']:.1f} | {row['tokens'] / row['cpu']:,.0f}"
        print(f"| {size} | {row['tokens']:,.0f} | {way} | {times} | {row['megabytes']:.0f} |")


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("folder", type=Path, help="a model's folder, of which config.json and tokenizer.json are read")
    parser.add_argument("--megabytes", type=int, nargs="+", default=[4, 16, 64])
    parser.add_argument("--repeats", type=int, default=1)
    parser.add_argument("--figure", type=Path)
    parser.add_argument("--way", choices=WAYS, help=argparse.SUPPRESS)
    parser.add_argument("--texts", type=Path, help=argparse.SUPPRESS)
    arguments = parser.parse_args()
    if arguments.way:
        return measure(arguments.way, arguments.texts, arguments.folder)
    rows = list(all_measured(arguments.folder.resolve(), arguments.megabytes, arguments.repeats))
    show(rows)
    if arguments.figure:
        draw(rows, arguments.figure)


if __name__ == "__main__":
    main()
