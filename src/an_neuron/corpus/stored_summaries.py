"""Summaries of a corpus pass as fields of its files, with `keep: summary`."""

from collections.abc import Sequence
from dataclasses import fields

import h5py

from an_neuron.corpus.recorded import WHOLE_NUMBERS
from an_neuron.corpus.summaries import Places, Summary
from an_neuron.files.hdf5 import Writer
from an_neuron.files.schema import Field

PLACE = "association place"
SUMMARY_FIELDS = {
    "count": Field(
        "association activation_bin margin_bin", "int64", "tokens", "tokens of the corpus in these bins", optional=True
    ),
    "prediction_count": Field(
        "association octave d_vocab",
        "int64",
        "tokens",
        "tokens with an activation in this octave, by top prediction",
        optional=True,
    ),
    "place_activation": Field(PLACE, "float32", "", "at the most activating places, best first", optional=True),
    "place_margin": Field(PLACE, "float32", "logits", "the token's margin there", optional=True),
    "place_row": Field(PLACE, "int32", "", "row of the corpus", optional=True),
    "place_pos": Field(PLACE, "int32", "", "position in the row", optional=True),
    "place_top_prediction": Field(PLACE, "int32", "token id", "most likely next token there", optional=True),
}
COLUMNS = tuple(field.name for field in fields(Places))


def add_summaries(writer: Writer, summaries: Sequence[Summary]) -> None:
    """Add the summary of each association."""
    writer.add("count", [summary.count for summary in summaries], **WHOLE_NUMBERS)
    writer.add("prediction_count", [summary.prediction_count for summary in summaries], **WHOLE_NUMBERS)
    for name in COLUMNS:
        writer.add(f"place_{name}", [getattr(summary.places, name) for summary in summaries])


def read_summary(file: h5py.File, number: int) -> Summary:
    """Return the summary of an association by its number."""
    summary = Summary(file["prediction_count"].shape[-1])
    summary.count = file["count"][number]
    summary.prediction_count = file["prediction_count"][number]
    summary.places = Places(*(file[f"place_{name}"][number] for name in COLUMNS))
    return summary
