"""A model's tokenizer: its folder's fast one."""

from collections.abc import Callable, Iterable
from pathlib import Path
from typing import Any

from an_neuron.errors import UserError
from an_neuron.model.folder import is_file, read_json


class Tokenizer:
    """A folder's fast tokenizer, without special tokens unless asked for.

    Prompts and rows of a corpus begin with BOS; a model without one (Qwen) gets its end-of-text token there, as in
    TransformerLens. EOS stands between documents; a model without one gets BOS there. Special tokens are none of a
    text's: where "<|endoftext|>" is written it is thirteen characters.

    Raises
    ------
    UserError
        If tokenizer.json cannot be read or no beginning-of-text token is known.
    """

    def __init__(self, folder: Path) -> None:
        from tokenizers import Tokenizer as FastTokenizer

        self._file = folder / "tokenizer.json"
        self._fast = self._asked(FastTokenizer.from_file, str(self._file))
        self._fast.no_truncation()
        self._fast.no_padding()
        self._fast.encode_special_tokens = True  # as plain text
        added = self._fast.get_added_tokens_decoder().values()
        self.special = tuple(token.content for token in added if token.special and token.content)
        self.bos, self.eos = self._ends(folder)

    @property
    def unknown(self) -> int | None:
        """The token that stands for what the tokenizer does not know; None for a tokenizer that knows every text."""
        name = getattr(self._fast.model, "unk_token", None)
        return self._fast.token_to_id(name) if isinstance(name, str) else None

    def encode(self, text: str) -> list[int]:
        """Return a text's token ids, without BOS."""
        return list(self._asked(self._fast.encode, text, add_special_tokens=False).ids)

    def encode_batch(self, texts: list[str]) -> list[list[int]]:
        """Return the token ids of each text, without BOS, as `encode` gives them."""
        return [encoded.ids for encoded in self._asked(self._fast.encode_batch_fast, texts, add_special_tokens=False)]

    def prompt(self, text: str) -> list[int]:
        """Return a prompt's token ids, with BOS."""
        return [self.bos, *self.encode(text)]

    def text(self, token: int) -> str:
        """Return the text of one token; the empty string for an id that the tokenizer does not know."""
        return self.join([token])

    def join(self, tokens: list[int]) -> str:
        """Return the text of successive tokens, of which several may make up one character."""
        return str(self._asked(self._fast.decode, tokens, skip_special_tokens=False))

    def texts(self, tokens: list[int]) -> list[str]:
        """Return the text of each token."""
        return [self.text(token) for token in tokens]

    def vocabulary(self, d_vocab: int) -> list[str]:
        """Return the text of each id below d_vocab, [d_vocab]."""
        return self.texts(list(range(d_vocab)))

    def check_vocabulary(self, ids: Iterable[int], d_vocab: int) -> None:
        """Refuse tokens that the model does not have, BOS among them, as a tokenizer of another model makes them.

        Raises
        ------
        UserError
            With the largest token.
        """
        if (largest := max([self.bos, *ids])) >= d_vocab:
            raise UserError(
                f"The tokenizer makes token {largest} ({self.text(largest)!r}), beyond the model's vocabulary of "
                f"{d_vocab}; its tokenizer.json belongs to another model."
            )

    def _asked(self, call: Callable[..., Any], *arguments: Any, **options: Any) -> Any:
        """Return what the tokenizer's library answers; its panics are no Exceptions."""
        try:
            return call(*arguments, **options)
        except (KeyboardInterrupt, SystemExit):
            raise
        except BaseException as error:
            raise UserError(f"{self._file} cannot be read ({error}); save the tokenizer again.") from error

    def _ends(self, folder: Path) -> tuple[int, int]:
        """Return BOS and EOS: by the tokenizer's settings, else the model's configuration."""
        settings = read_json(folder / "tokenizer_config.json") if is_file(folder / "tokenizer_config.json") else {}
        config = read_json(folder / "config.json")
        bos, eos = (
            [self._named(settings.get(key)), _id(config.get(f"{key}_id"))] for key in ("bos_token", "eos_token")
        )
        first = next((token for token in (bos[0], eos[0], bos[1], eos[1]) if token is not None), None)
        if first is None:
            raise UserError(f"{folder} names neither bos_token nor eos_token; add one to its tokenizer_config.json.")
        return first, next((token for token in eos if token is not None), first)

    def _named(self, name: object) -> int | None:
        """Return the id of a special token as the tokenizer's settings name it."""
        name = name.get("content") if isinstance(name, dict) else name
        return self._asked(self._fast.token_to_id, name) if isinstance(name, str) else None


def _id(given: object) -> int | None:
    """Return the id, of several the first, that a model's configuration gives a special token."""
    first = given[0] if isinstance(given, list) and given else given
    return first if type(first) is int and first >= 0 else None


def single_token(tokenizer: Tokenizer, text: str) -> int:
    """Return the id of a text that is one token.

    Raises
    ------
    UserError
        If the text is several tokens, which the message shows, or none, or one that stands for all unknown texts.
    """
    ids = tokenizer.encode(text)
    if not ids:
        raise UserError(f"{text!r} is no token of this model: its tokenizer drops the whole text; choose another.")
    if len(ids) == 1 and ids[0] == tokenizer.unknown:
        raise UserError(
            f"{text!r} is unknown to this model: {tokenizer.text(ids[0])!r} stands for it and all else that the "
            "tokenizer does not know; choose another text."
        )
    if len(ids) == 1:
        return ids[0]
    pieces = " + ".join(repr(piece) for piece in tokenizer.texts(ids))
    hint = "" if text.startswith(" ") else f' A missing leading space is the usual cause: write " {text}".'
    raise UserError(f"{text!r} is not a single token of this model but {len(ids)}: {pieces}.{hint}")
