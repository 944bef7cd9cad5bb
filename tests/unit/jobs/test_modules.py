import ast
import json
import os
import re
import subprocess
import sys
from pathlib import Path

import pytest

import an_neuron
from an_neuron.jobs.modules import PACKAGE, modules_behind, put_on_python_path

WORKFLOW = Path(__file__).resolve().parents[3] / "workflow"
SCRIPTS = sorted((WORKFLOW / "scripts").glob("*.py"))

# For each script: what it is about to import, told by Python itself. Nothing below `__main__` runs.
IMPORT_EACH = """
import json, runpy, sys
for script in sys.argv[1:]:
    for name in [name for name in sys.modules if name.split(".")[0] == "an_neuron"]:
        del sys.modules[name]
    runpy.run_path(script, run_name="imported")
    files = [module.__file__ for name, module in sys.modules.items() if name.split(".")[0] == "an_neuron"]
    print(json.dumps(files))
"""


def test_processes_started_from_here_find_the_library(monkeypatch, tmp_path):
    monkeypatch.setenv("PYTHONPATH", str(tmp_path))
    put_on_python_path()
    put_on_python_path()
    source = str(Path(an_neuron.__file__).resolve().parents[1])
    assert os.environ["PYTHONPATH"].split(os.pathsep) == [source, str(tmp_path)]
    command = [sys.executable, "-S", "-c", "import an_neuron; print(an_neuron.__file__)"]  # -S: nothing installed
    ran = subprocess.run(command, capture_output=True, text=True, cwd=tmp_path, check=True)
    assert ran.stdout.strip().startswith(source)


@pytest.fixture
def behind(tmp_path, monkeypatch):
    """Return a function that writes a script and returns what is behind it in a small package, without .py."""
    files = {
        "__init__": "",
        "alone": "",
        "chain": "from pack.link import end\nif TYPE_CHECKING:\n    import pack.typed\n",
        "link": "def late():\n    from pack import alone\n",
        "circle": "import pack.round\n",
        "round": "import pack.circle\n",
        "typed": "",
        "sub/__init__": "from . import inner\n",
        "sub/inner": "from ..alone import something\n",
        "sub/other": "from .. import circle\nfrom .inner import x\n",
        "bare/module": "",  # a folder without __init__.py is a package too
    }
    for name, text in files.items():
        file = tmp_path / "pack" / f"{name}.py"
        file.parent.mkdir(parents=True, exist_ok=True)
        file.write_text(text)
    monkeypatch.chdir(tmp_path)

    def names(text):
        script = tmp_path / "script.py"
        script.write_text(text)
        found = modules_behind(script, tmp_path / "pack")
        assert found == sorted(found)
        return " ".join(path.relative_to("pack").with_suffix("").as_posix() for path in found)

    return names


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        ("", ""),
        ("import os, packer\nfrom packer.alone import x\nfrom . import alone", ""),
        ("import pack", ""),
        ("import pack.alone as a", "alone"),
        ("import os, pack.alone", "alone"),
        ("from pack import alone", "alone"),
        ("from pack import __version__", ""),
        ("from pack.alone import alone, function as f", "alone"),
        ("from pack.alone import *", "alone"),
        ("import pack.missing", ""),
        ("import pack.chain", "alone chain link"),
        ("import pack.circle", "circle round"),
        ("from pack.sub import x", "alone sub/inner"),
        ("import pack.sub.other", "alone circle round sub/inner sub/other"),
        ("import pack.bare.module", "bare/module"),
        ("def f():\n    import pack.alone", "alone"),
        ("class A:\n    async def f(self):\n        with x:\n            import pack.alone", "alone"),
        ("try:\n    x\nexcept ImportError:\n    import pack.alone", "alone"),
        ("try:\n    x\nfinally:\n    import pack.alone", "alone"),
        ("for x in y:\n    pass\nelse:\n    import pack.alone", "alone"),
        ("match x:\n    case 1:\n        import pack.alone", "alone"),
        ("if TYPE_CHECKING:\n    import pack.typed\nelse:\n    import pack.alone", "alone"),
        ("if typing.TYPE_CHECKING:\n    import pack.typed\nelif x:\n    import pack.alone", "alone"),
        ("if not TYPE_CHECKING:\n    import pack.alone", "alone"),
        ('if __name__ == "__main__":\n    import pack.alone', "alone"),
    ],
)
def test_modules_behind_a_script(behind, text, expected):
    assert behind(text) == expected


def test_names_do_not_say_where_the_checkout_lies(behind, tmp_path, monkeypatch):
    assert behind("import pack.alone") == "alone"
    (tmp_path / "run").mkdir()
    monkeypatch.chdir(tmp_path / "run")
    found = modules_behind(Path("../script.py"), Path("../pack"))
    assert found == [Path("../pack/alone.py")]


def test_no_script_imports_what_is_not_behind_it():
    command = [sys.executable, "-c", IMPORT_EACH, *map(str, SCRIPTS)]
    ran = subprocess.run(command, capture_output=True, text=True, check=True)
    for script, line in zip(SCRIPTS, ran.stdout.splitlines(), strict=True):
        imported = {Path(file).relative_to(PACKAGE) for file in json.loads(line)}
        behind = {path.resolve().relative_to(PACKAGE) for path in modules_behind(script)}
        assert Path("jobs/job.py") in imported
        harmless = {path for path in imported if path.name in ("__init__.py", "errors.py") or path.parts[0] == "jobs"}
        assert imported - harmless <= behind, script.name


def test_a_script_does_not_rest_on_the_whole_library():
    plot = next(script for script in SCRIPTS if script.name == "plot_logit_lens.py")
    names = {path.stem for path in modules_behind(plot)}
    assert {"prompts", "export", "hdf5", "labels"} <= names
    assert not {"engine", "loading", "text", "hub"} & names


def test_the_helper_itself_is_light():
    code = "import sys, an_neuron.jobs.modules; print(*{'torch', 'numpy', 'h5py', 'pandas'} & set(sys.modules))"
    ran = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert not ran.stdout.strip()


def test_each_start_of_snakemake_imports_neither_torch_nor_statistics():
    """They take longer than planning a study."""
    rules = "\n".join(path.read_text() for path in sorted(WORKFLOW.rglob("*.smk")))
    modules = sorted(set(re.findall(r"^from (an_neuron[\w.]*) import", rules, re.MULTILINE)))
    assert "an_neuron.study.built" in modules
    code = f"import sys, {', '.join(modules)}; print(*{{'torch', 'scipy.stats'}} & set(sys.modules))"
    ran = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert not ran.stdout.strip()


def test_only_scripts_that_run_the_model_import_torch():
    behind = {script: {path.stem for path in modules_behind(script)} for script in SCRIPTS}
    light = [str(script) for script, names in behind.items() if not {"loading", "devices"} & names]
    light += [str(script) for script in SCRIPTS if script.stem == "check_study"]  # asks for a device inside a function
    assert len(light) >= 20
    code = """
import runpy, sys
for script in sys.argv[1:]:
    runpy.run_path(script, run_name="imported")
    assert "torch" not in sys.modules, script
"""
    subprocess.run([sys.executable, "-c", code, *light], check=True)


def test_what_a_job_does_around_its_work_is_behind_no_rule():
    """A reworded log line reruns nothing."""
    for script in SCRIPTS:
        assert not [path for path in modules_behind(script) if "jobs" in path.parts]


def imports_of(file):
    """Yield the dotted name of each thing of this package that a file imports, wherever in it."""
    for node in ast.walk(ast.parse(file.read_bytes())):
        if isinstance(node, ast.Import):
            yield from (alias.name for alias in node.names if alias.name.split(".")[0] == "an_neuron")
        elif isinstance(node, ast.ImportFrom):
            assert not node.level, file
            if node.module.split(".")[0] == "an_neuron":
                yield from (f"{node.module}.{alias.name}" for alias in node.names)


def test_folders_hold_a_docstring_alone_and_the_package_imports_nothing_of_itself():
    for file in PACKAGE.glob("*/**/__init__.py"):
        body = ast.parse(file.read_text()).body
        assert [type(statement) for statement in body] == [ast.Expr], file
    assert list(imports_of(PACKAGE / "__init__.py")) == []


def test_nothing_is_imported_through_the_public_page():
    for file in [*SCRIPTS, *PACKAGE.rglob("*.py")]:
        through = {
            name for name in imports_of(file) if name.split(".")[1:2] in ([], *([name] for name in an_neuron.PUBLIC))
        }
        assert not through, file


def test_every_public_name_can_be_loaded():
    assert all(getattr(an_neuron, name) is not None for name in an_neuron.PUBLIC)
    assert dir(an_neuron) == sorted(an_neuron.PUBLIC)
