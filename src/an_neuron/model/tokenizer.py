"""A model's tokenizer: its folder's fast one."""

from pathlib import Path

from an_neuron.errors import UserError
from an_neuron.model.folder import read_json


class Tokenizer:
    """A folder's fast tokenizer, without special tokens unless asked for.

    Prompts and rows of a corpus begin with BOS; a model without one (Qwen) gets its end-of-text token there, as in
    TransformerLens.

    Raises
    ------
    UserError
        If tokenizer.json cannot be read or no beginning-of-text token is known.
    """

    def __init__(self, folder: Path) -> None:
        from tokenizers import Tokenizer as FastTokenizer

        try:
            self._fast = FastTokenizer.from_file(str(folder / "tokenizer.json"))
        except Exception as error:
            raise UserError(
                f"{folder / 'tokenizer.json'} cannot be read ({error}); save the tokenizer again."
            ) from error
        self._fast.no_truncation()
        self._fast.no_padding()
        self.bos = self._beginning(folder)

    def encode(self, text: str) -> list[int]:
        """Return a text's token ids, without BOS."""
        return list(self._fast.encode(text, add_special_tokens=False).ids)

    def prompt(self, text: str) -> list[int]:
        """Return a prompt's token ids, with BOS."""
        return [self.bos, *self.encode(text)]

    def text(self, token: int) -> str:
        """Return the text of one token; the empty string for an id that the tokenizer does not know."""
        return str(self._fast.decode([token], skip_special_tokens=False))

    def join(self, tokens: list[int]) -> str:
        """Return the text of successive tokens, of which several may make up one character."""
        return str(self._fast.decode(tokens, skip_special_tokens=False))

    def texts(self, tokens: list[int]) -> list[str]:
        """Return the text of each token."""
        return [self.text(token) for token in tokens]

    def vocabulary(self, d_vocab: int) -> list[str]:
        """Return the text of each id below d_vocab, [d_vocab]."""
        return self.texts(list(range(d_vocab)))

    def _beginning(self, folder: Path) -> int:
        settings = read_json(folder / "tokenizer_config.json") if (folder / "tokenizer_config.json").is_file() else {}
        for key in ("bos_token", "eos_token"):
            name = settings.get(key)
            name = name.get("content") if isinstance(name, dict) else name
            if name is not None and (token := self._fast.token_to_id(name)) is not None:
                return int(token)
        config = read_json(folder / "config.json")
        for key in ("bos_token_id", "eos_token_id"):
            if isinstance(config.get(key), int):
                return int(config[key])
        raise UserError(f"{folder} names neither bos_token nor eos_token; add one to its tokenizer_config.json.")


def single_token(tokenizer: Tokenizer, text: str) -> int:
    """Return the id of a text that is one token.

    Raises
    ------
    UserError
        If the text is several tokens; the message shows them.
    """
    ids = tokenizer.encode(text)
    if len(ids) == 1:
        return ids[0]
    pieces = " + ".join(repr(piece) for piece in tokenizer.texts(ids))
    hint = "" if text.startswith(" ") else f' A missing leading space is the usual cause: write " {text}".'
    raise UserError(f"{text!r} is not a single token of this model but {len(ids)}: {pieces}.{hint}")
