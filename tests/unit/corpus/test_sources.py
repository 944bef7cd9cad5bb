import hashlib

import pytest

from an_neuron.corpus.sources import check_book
from an_neuron.errors import UserError


def test_a_book_that_is_not_the_expected_one_is_refused(tmp_path):
    book = tmp_path / "book.html"
    book.write_bytes(b"A pear.")
    expected = hashlib.sha256(b"A pear.").hexdigest()
    check_book(book, None)
    check_book(book, expected)
    check_book(book, expected.upper())
    book.write_bytes(b"A peach.")
    with pytest.raises(
        UserError, match=rf"book\.html has SHA-256 [0-9a-f]{{64}}, not the expected {expected}"
    ) as caught:
        check_book(book, expected)
    assert caught.value.setting == f"corpus: {{sha256: {hashlib.sha256(b'A peach.').hexdigest()}}}"
