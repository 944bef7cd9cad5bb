from pathlib import Path

import pytest
import yaml
from snakemake.utils import validate

from an_neuron.corpus.boilerplate import without_boilerplate
from an_neuron.errors import UserError

ROOT = Path(__file__).resolve().parents[3]
BOOK = "THE OLIVE\n\nCHAPTER I\n\nShe ate an olive.\n\n  * * *\n\nHe ate a plum."
HEAD = "The Project Gutenberg EBook of The Olive\n\nTitle: The Olive\n\n"
FOOT = "\n\nTo protect the Project Gutenberg-tm mission, ...\n\n*** END: FULL LICENSE ***\n"
START = "*** START OF THE PROJECT GUTENBERG EBOOK THE OLIVE ***"
END = "*** END OF THE PROJECT GUTENBERG EBOOK THE OLIVE ***"


def cut(text):
    return without_boilerplate(text, Path("olive.txt"))


def refusal(text):
    with pytest.raises(UserError) as caught:
        cut(text)
    message = str(caught.value)
    assert "\n" not in message
    assert "olive.txt" in message
    assert caught.value.setting == "corpus: {boilerplate: keep}"
    return message


@pytest.mark.parametrize(
    "start",
    [
        START,
        "*** START OF THIS PROJECT GUTENBERG EBOOK THE OLIVE ***",
        "***START OF THE PROJECT GUTENBERG EBOOK THE OLIVE***",
        "*** START OF THE PROJECT GUTENBERG EBOOK 12345 ***",
        "*** START OF THE PROJECT GUTENBERG ETEXT, THE OLIVE ***",
        "*** START OF THE COPYRIGHTED PROJECT GUTENBERG EBOOK THE OLIVE ***",
        "*** START OF THE PROJECT GUTENBERG EBOOK THE OLIVE, OR A\nSTORY OF FRUIT ***",
        "*** START OF THIS PROJECT\nGUTENBERG\nEBOOK THE\nOLIVE ***",
        "*** START OF THE PROJECT GUTENBERG EBOOK THE OLIVE",
        "***START**THE SMALL PRINT!**FOR PUBLIC DOMAIN ETEXTS**START***\nWhy is it here?\n"
        "*END*THE SMALL PRINT! FOR PUBLIC DOMAIN ETEXTS*Ver.04.29.93*END*",
        "*END THE SMALL PRINT! FOR PUBLIC DOMAIN EBOOKS*Ver.02/11/02*END*",
        "*END*THE SMALL PRINT! FOR PUBLIC DOMAIN\nETEXTS*Ver.04.29.93*END*",
        f"{START}\n\nThe Project Gutenberg EBook of The Olive\n\n{START}",
        f"{START}\n\nAn older header\n\n*END*THE SMALL PRINT! FOR PUBLIC DOMAIN ETEXTS*Ver.04.29.93*END*",
    ],
)
def test_every_start_marker(start):
    assert cut(f"{HEAD}{start}\n\n\n{BOOK}\n\n{END}{FOOT}") == BOOK
    assert cut(f"{HEAD}{start}\n\n\n{BOOK}\n") == BOOK


@pytest.mark.parametrize(
    "end",
    [
        END,
        "*** END OF THIS PROJECT GUTENBERG EBOOK THE OLIVE ***",
        "***END OF THE PROJECT GUTENBERG EBOOK THE OLIVE***",
        "*** END OF THE PROJECT\nGUTENBERG EBOOK THE OLIVE ***",
        "*** END OF THE COPYRIGHTED PROJECT GUTENBERG EBOOK THE OLIVE ***",
        f"End of the Project Gutenberg EBook of The Olive, by\nA. Tree\n\n{END}",
        f"End of Project Gutenberg's The Olive, by A. Tree\n{END}",
        f"End of Project Gutenberg’s The Olive, by A. Tree\n\n \n{END}",
        "End of the Project Gutenberg EBook of The Olive",
        "End of The Project Gutenberg Etext of The Olive",
        "The End of this Project Gutenberg etext",
        "***End of the Project Gutenberg E-text of The Olive",
        'Ende dieses Project Gutenberg Etextes "Die Olive"',
        "Fin de Project Gutenberg's L'olive",
        f"{END}\n\nlicence\n\n*END THE SMALL PRINT! FOR PUBLIC DOMAIN EBOOKS*Ver.02/11/02*END*",
        "End of the Project Gutenberg Etext of The Olive\n\n*END THE SMALL PRINT! FOR PUBLIC DOMAIN ETEXTS*END*",
    ],
)
def test_every_end_marker(end):
    assert cut(f"{HEAD}{START}\n\n\n{BOOK}\n\n{end}{FOOT}") == BOOK
    assert cut(f"{BOOK}\n\n{end}{FOOT}") == BOOK


@pytest.mark.parametrize(
    "made",
    [
        "Produced by an anonymous Project Gutenberg volunteer and A. Tree",
        "Produced by A. Tree and the Online\nDistributed Proofreading Team at http://www.pgdp.net",
        "E-text prepared by A. Tree\n\nHTML version by B. Bush",
        "This etext was prepared by A. Tree, email a@tree",
        "This eBook was produced by A. Tree",
        "Transcribed from the 1887 edition by A. Tree",
        "Scanned and proofed by A. Tree",
        "E-text prepared by A. Tree\n\n\n\nNote: Project Gutenberg also has an HTML version of this\n      file.",
    ],
)
def test_credits_after_the_start_are_cut(made):
    assert cut(f"{HEAD}{START}\n\n\n{made}\n\n\n{BOOK}\n\n{END}{FOOT}") == BOOK


def test_a_credit_takes_no_more_than_its_line_where_nothing_ends_its_paragraph():
    book = "\n".join(["THE OLIVE", *["She ate an olive."] * 100])
    assert cut(f"{START}\nProduced by A. Tree\n{book}\n{END}") == book


@pytest.mark.parametrize(
    "sentence",
    [
        "Johannes Gutenberg printed it; Project Gutenberg did not.",
        "Project Gutenberg was the end of the project, Gutenberg or not.",
        "End of Project Gutenberg, she thought.",
        "She wrote *** over the START OF THE PROJECT, and END OF THE PROJECT below.",
        "End of the Project Gutenberg EBook of Another Fruit\n\nVolume II begins here.",
        "Produced by the sun, an olive is bitter.",
    ],
)
def test_what_a_book_says_of_gutenberg_stays(sentence):
    book = f"THE OLIVE\n\n{sentence}\n\nAn end."
    assert cut(f"{HEAD}{START}\n\n{book}\n\n{END}{FOOT}") == book


def test_white_space_and_marker_like_lines_inside_stay():
    book = "THE OLIVE\n\n\n\n***\n\n  an\N{NO-BREAK SPACE}olive  \n\n*** The end of the day ***\n\nx"
    assert cut(f"{START}\n{book}\n{END}") == book


@pytest.mark.parametrize("text", [BOOK, "A novel of Johannes Gutenberg and Project Gutenberg.", HEAD + BOOK])
def test_a_text_without_markers_is_refused(text):
    assert "no marker of Project Gutenberg" in refusal(text)


@pytest.mark.parametrize(
    "text",
    [f"{HEAD}{START}\n\n \n{END}{FOOT}", f"{HEAD}{START}\n", END, f"{START}\n\nProduced by A. Tree\n\n{END}"],
)
def test_nothing_between_the_markers_is_refused(text):
    assert "nothing between" in refusal(text)


def test_several_books_in_one_file_are_refused():
    assert "several books" in refusal(f"{START}\n\n{BOOK}\n\n{END}\n\n" * 2)


def test_the_schema_fills_in_that_nothing_is_cut():
    config = yaml.safe_load((ROOT / "config.yaml").read_text())
    config["studies"]["orchard"]["corpus"]["boilerplate"] = "drop"
    validate(config, str(ROOT / "workflow" / "schemas" / "config.schema.yaml"))
    assert config["studies"]["an_neuron"]["corpus"]["boilerplate"] == "keep"
    assert config["studies"]["orchard"]["corpus"]["boilerplate"] == "drop"
