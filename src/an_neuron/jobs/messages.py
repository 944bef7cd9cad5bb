"""The table of all messages: docs/messages.md, made from the places in the library that refuse something.

python -m an_neuron.jobs.messages > docs/messages.md

Nothing is run: the modules' texts are parsed. What is filled in when a message is said stands in braces, by its name in
the code.
"""

import ast
import re
from collections.abc import Iterable, Iterator, Mapping
from pathlib import Path

from an_neuron.jobs.job import with_remedy
from an_neuron import errors

PACKAGE = Path(__file__).resolve().parents[1]
STAGES = ("files", "model", "prompts", "congruence", "patching", "corpus", "study", "figures", "notebook", "jobs")
INTRODUCTION = """# Messages

What the library says when it refuses something, by the folder that says it, with what mends it in a workflow. In braces
is what is filled in. Mistakes in `config.yaml` begin with the key that they are about;
[`troubleshooting.md`](troubleshooting.md) tells causes.

`make docs` writes this page from the code.
"""
SAID = {
    name: kind for name, kind in vars(errors).items() if isinstance(kind, type) and issubclass(kind, errors.UserError)
}
"""The exceptions that are said to a user, by their names."""

Texts = Mapping[str, str]


def page() -> str:
    """Return the page: a table of messages for each folder of the library."""
    sources = {path: path.read_text(encoding="utf-8") for path in sorted(PACKAGE.glob("*/*.py"))}
    shared = {name: said for source in sources.values() for name, said in _constants(ast.parse(source)).items()}
    sections = []
    for stage in STAGES:
        rows = [
            f"| {_as_code(said)} | `{path.stem}` |\n"
            for path, source in sources.items()
            if path.parent.name == stage
            for said in messages(source, shared)
        ]
        if rows:
            sections.append(f"## {stage}\n\n| message | module |\n| --- | --- |\n{''.join(rows)}")
    return "\n".join([INTRODUCTION, *sections])


def messages(source: str, shared: Texts | None = None) -> list[str]:
    """Return the messages of a module, in the order of its lines, each once.

    Parameters
    ----------
    source
        The module's text.
    shared
        Texts that other modules' constants hold, by their names.
    """
    tree = ast.parse(source)
    known = {**(shared or {}), **_constants(tree)}
    found = [
        (node.lineno, said)
        for function in ast.walk(tree)
        if isinstance(function, ast.FunctionDef)
        for given in _calls(tree, function)
        for node, said in _said(function, {**known, **_assigned(list(ast.walk(function)), known), **given})
    ]
    return list(dict.fromkeys(said for _, said in sorted(found) if not re.fullmatch(r"\{\w+\}", said)))


def _constants(tree: ast.Module) -> dict[str, str]:
    """Return the constants of a module that are texts."""
    return {name: said for name, said in _assigned(tree.body, {}).items() if name.isupper()}


def _assigned(nodes: Iterable[ast.AST], known: Texts) -> dict[str, str]:
    """Return the names to which a text is assigned, once."""
    given: dict[str, list[ast.expr]] = {}
    for node in nodes:
        if isinstance(node, ast.Assign) and isinstance(node.targets[0], ast.Name):
            given.setdefault(node.targets[0].id, []).append(node.value)
    return {name: text(values[0], known) for name, values in given.items() if len(values) == 1 and _is_text(values[0])}


def _is_text(node: ast.expr) -> bool:
    return isinstance(node, ast.JoinedStr) or (isinstance(node, ast.Constant) and isinstance(node.value, str))


def _calls(tree: ast.Module, function: ast.FunctionDef) -> list[Texts]:
    """Return what a module's calls give to a function that only makes an exception; nothing for others."""
    makes = any(isinstance(node, ast.Return) and _is_exception(node.value) for node in ast.walk(function))
    names = [argument.arg for argument in function.args.args]
    calls = [node for node in ast.walk(tree) if isinstance(node, ast.Call) and _name(node.func) == function.name]
    return [_given(names, call) for call in calls if makes] or [{}]


def _given(names: list[str], call: ast.Call) -> Texts:
    named = {keyword.arg: keyword.value for keyword in call.keywords if keyword.arg}
    given = {**dict(zip(names, call.args, strict=False)), **named}
    return {name: text(value, {}) for name, value in given.items() if not isinstance(value, ast.Name)}


def _said(function: ast.FunctionDef, known: Texts) -> Iterator[tuple[ast.expr, str]]:
    """Yield the messages of a function: of exceptions it makes, and the mistakes it yields where it is named so."""
    for node in ast.walk(function):
        if isinstance(node, ast.Call) and _is_exception(node):
            named = {keyword.arg: text(keyword.value, known) for keyword in node.keywords if keyword.arg}
            error = SAID[_name(node.func)](*(text(argument, known) for argument in node.args), **named)
            yield node, " ".join(with_remedy(error).split())
        elif isinstance(node, ast.Yield) and "mistakes" in function.name and node.value and _is_text(node.value):
            yield node, " ".join(text(node.value, known).split())


def _is_exception(node: ast.expr | None) -> bool:
    return isinstance(node, ast.Call) and _name(node.func) in SAID


def _name(node: ast.expr) -> str:
    return node.id if isinstance(node, ast.Name) else ""


def text(node: ast.expr, known: Texts) -> str:
    """Return what an expression says, with what is filled in, in braces."""
    match node:
        case ast.Constant():
            return str(node.value)
        case ast.JoinedStr():
            return "".join(text(part, known) for part in node.values)
        case ast.FormattedValue():
            return text(node.value, known)
        case ast.Name():
            return known.get(node.id, f"{{{node.id}}}")
        case ast.Attribute(attr="__name__", value=value):
            return text(value, known)
        case ast.Attribute():
            return f"{{{node.attr.lstrip('_')}}}"
        case ast.List() | ast.Tuple():
            return " ".join(text(part, known) for part in node.elts)
        case ast.BinOp(op=ast.Div(), left=left):
            return text(left, known)
        case ast.BinOp() | ast.UnaryOp():
            return "{" + re.sub(r"\w+\.", "", ast.unparse(node)) + "}"
        case _:
            return _of_parts(node, known)


def _of_parts(node: ast.expr, known: Texts) -> str:
    """Return what an expression stands for by a part of it that has a name: of a call, what is handed over."""
    match node:
        case ast.Call(func=ast.Attribute(value=value, attr="format")):
            return text(value, known)
        case ast.Call(args=[_, *_]):
            return text(next((one for one in node.args if not isinstance(one, ast.Constant)), node.args[0]), known)
        case ast.Call(func=ast.Attribute(value=part)) | ast.Call(func=part):
            return text(part, known)
        case ast.ListComp() | ast.GeneratorExp():
            return text(node.generators[0].iter, known)
        case ast.BoolOp(values=[part, *_]) | ast.IfExp(body=part) | ast.Subscript(value=part) | ast.Starred(value=part):
            return text(part, known)
        case _:
            return "{…}"


def _as_code(said: str) -> str:
    """Return a message as code in a cell of a table."""
    fence = "``" if "`" in said else "`"
    padding = " " if "`" in said else ""
    return f"{fence}{padding}{said.replace('|', chr(92) + '|')}{padding}{fence}"


if __name__ == "__main__":
    print(page(), end="")
