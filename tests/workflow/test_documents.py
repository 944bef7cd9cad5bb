"""A corpus of documents: read, tokenized and recorded in three parts, by Snakemake."""

import csv
import gzip
import json
import re

import numpy as np
import pytest
from project import Project

from an_neuron.corpus.documents import Documents
from an_neuron.files import hdf5

pytestmark = pytest.mark.workflow

TOKENS, EXAMPLES = "results/orchard/corpus/tokens.h5", "results/orchard/examples/token_an_neuron_2.104.csv"
PARTS = [f"results/orchard/corpus/parts/{part}-of-3.h5" for part in (1, 2, 3)]


@pytest.fixture(scope="module")
def documents(tmp_path_factory):
    """The embedded study over the paragraphs of its book, in two files, with a line that is none."""
    project = Project(tmp_path_factory.mktemp("documents") / "project")
    book = (project.folder / "resources/orchard/book.html").read_text(encoding="utf-8")
    texts = [re.sub(r"<[^>]+>", "", text) for text in re.findall(r"<p>(.*?)</p>", book, re.DOTALL)[:300]]
    lines = [json.dumps({"body": text}).encode() for text in texts]
    (project.folder / "a.jsonl").write_bytes(b"\n".join([*lines[:200], b"{"]))
    (project.folder / "b.jsonl.gz").write_bytes(gzip.compress(b"\n".join(lines[200:])))
    project.config |= {"shards": 3, "formats": ["html"]}
    corpus = {"files": [f"{project.folder}/?.jsonl*"], "column": "body", "on_bad_line": "skip", "n_ctx": 64}
    project.config["studies"]["orchard"] |= {"neuron": "2.104", "top": 0, "corpus": corpus}
    project.said = project.build(TOKENS, EXAMPLES)
    return project


def test_three_parts_hold_the_corpus_of_one(documents, tmp_path):
    tokens = hdf5.read(documents.folder / TOKENS)
    parts = [hdf5.read(documents.folder / part) for part in PARTS]
    assert [int(part.attributes["n_documents"]) for part in parts] == [100, 100, 100]
    stream = np.concatenate([part["token_id"] for part in parts])
    body = tokens["token_id"][:, 1:].ravel()
    assert (body == stream[: len(body)]).all()
    assert 0 <= len(stream) - 1 - len(body) == tokens.attributes["n_dropped"] < 63
    assert tokens.attributes["n_skipped"] == 1
    assert tokens["file"].tolist() == [f"{documents.folder}/{name}" for name in ("a.jsonl", "b.jsonl.gz")]

    whole = documents.copied(tmp_path / "whole")
    whole.config["shards"] = 1
    whole.build(TOKENS)
    again = hdf5.read(whole.folder / TOKENS)
    assert all((again[name] == values).all() for name, values in tokens.datasets.items())


def test_what_is_skipped_is_told_in_the_log(documents):
    log = (documents.folder / "results/orchard/logs/tokenize_corpus/3-of-3.log").read_text()
    assert "a.jsonl, line 201, is no JSON" in log
    assert "1 lines or files were skipped, since they are no documents" in log


def test_examples_name_their_documents(documents):
    with hdf5.opened(documents.folder / TOKENS) as file:
        known = Documents.of_file(file)
    with (documents.folder / EXAMPLES).open(encoding="utf-8") as file:
        rows = list(csv.DictReader(file))
    places = (np.array([int(row[name]) for row in rows]) for name in ("row", "pos"))
    assert [row["document"] for row in rows] == known.names(*places)
    assert len({row["document"] for row in rows}) > 1
    page = (documents.folder / EXAMPLES.replace(".csv", ".html")).read_text(encoding="utf-8")
    assert rows[0]["document"] in page


def test_a_lost_part_is_made_alone(documents):
    part = documents.folder / PARTS[1]
    kept = part.rename(documents.folder / "kept")
    lost = documents.jobs(PARTS[1], TOKENS)
    kept.rename(part)
    assert lost == {"tokenize_corpus": 1, "gather_tokens": 1}


def test_a_line_that_is_none_stops_the_build_where_nothing_is_said(documents, tmp_path):
    project = documents.copied(tmp_path / "stops")
    del project.config["studies"]["orchard"]["corpus"]["on_bad_line"]
    ran = project.snakemake("--force", PARTS[2])
    said = ran.stdout + ran.stderr
    assert ran.returncode != 0
    assert "a.jsonl, line 201, is no JSON" in said
    assert "In config.yaml: `corpus: {on_bad_line: skip}`." in said
    assert "Traceback" not in said
