"""Where this library lies, and which of its modules a script stands on."""

import ast
import os
from collections.abc import Iterator
from functools import cache
from pathlib import Path

PACKAGE = Path(__file__).resolve().parents[1]
# The parts of a statement that hold statements; expressions import nothing, and to skip them is most of the speed.
_BLOCKS = ("body", "orelse", "finalbody", "handlers", "cases")


def put_on_python_path() -> None:
    """Let Python processes that are started from this one find the library where it is not installed.

    Jobs run in conda environments and on other machines of a shared file system, in which only its dependencies are.
    """
    source = str(PACKAGE.parent)
    paths = os.environ.get("PYTHONPATH", "").split(os.pathsep)
    if source not in paths:
        os.environ["PYTHONPATH"] = os.pathsep.join(filter(None, [source, *paths]))


def modules_behind(script: Path, package: Path = PACKAGE) -> list[Path]:
    """Return the modules of a package that a script's result depends on: those that it imports, and those that they do.

    Left out is what cannot reach a result: `jobs`, the exceptions (a job that raises one leaves no result), and every
    ``__init__``, which holds nothing but a docstring or names in strings. Imports inside functions count; those under
    ``if TYPE_CHECKING:`` do not, since no run reaches them. A module that only a string names
    (``importlib.import_module``) is not seen.

    Parameters
    ----------
    script
        A Python file outside the package.
    package
        The package's folder, by default this library's.

    Returns
    -------
    list of Path
        The files, sorted, relative to the working directory: Snakemake records the names of a job's inputs, and names
        that begin with the checkout's own place would make everything again wherever the checkout is moved.
    """
    package = package.resolve()
    found: set[Path] = set()
    unread = {script.resolve()}
    while unread:
        imported = _imported(unread.pop(), package) - found
        found |= imported
        unread |= imported
    place = Path(os.path.relpath(package))
    return [place / _inside(path, package) for path in sorted(found) if _counts(path, package)]


@cache
def _inside(path: Path, package: Path) -> Path:
    return path.relative_to(package)


@cache
def _counts(path: Path, package: Path) -> bool:
    return path.name != "__init__.py" and path != package / "errors.py" and package / "jobs" not in path.parents


@cache
def _imported(file: Path, package: Path) -> frozenset[Path]:
    """Return the files of a package that run when those imports of a file run that it names itself."""
    statements = ast.parse(file.read_bytes(), filename=str(file)).body
    names = (name for statement in _imports(statements) for name in _names(statement, file, package))
    return frozenset(path for name in names for path in _files(name, package))


def _imports(statements: list[ast.stmt]) -> Iterator[ast.Import | ast.ImportFrom]:
    for statement in statements:
        if isinstance(statement, ast.Import | ast.ImportFrom):
            yield statement
            continue
        for block in _BLOCKS:
            if not (block == "body" and _is_for_type_checking(statement)):
                yield from _imports(getattr(statement, block, []))


def _is_for_type_checking(statement: ast.stmt) -> bool:
    test = getattr(statement, "test", None)  # TYPE_CHECKING or typing.TYPE_CHECKING
    return "TYPE_CHECKING" in {getattr(test, "id", None), getattr(test, "attr", None)}


def _names(statement: ast.Import | ast.ImportFrom, file: Path, package: Path) -> Iterator[str]:
    """Yield the full dotted names that an import may mean; the last part of some is no module but what is in one."""
    if isinstance(statement, ast.Import):
        yield from (alias.name for alias in statement.names)
        return
    base = statement.module or ""
    if statement.level:
        if package not in file.parents:
            return  # a script is in no package, so its relative imports fail
        around = file.relative_to(package.parent).parts[: -statement.level]
        base = ".".join([*around, *filter(None, [base])])
    yield from (f"{base}.{alias.name}" for alias in statement.names)


@cache
def _files(name: str, package: Path) -> tuple[Path, ...]:
    """Return the files that run when a dotted name is imported: each package's own, then the module's."""
    first, *parts = name.split(".")
    if first != package.name:
        return ()
    folder, found = package, _if_file(package / "__init__.py")
    for part in parts:
        inside = folder / part
        if not (inside / "__init__.py").is_file() and inside.with_suffix(".py").is_file():
            return (*found, inside.with_suffix(".py"))
        folder, found = inside, found + _if_file(inside / "__init__.py")
    return tuple(found)


def _if_file(path: Path) -> list[Path]:
    return [path] if path.is_file() else []
