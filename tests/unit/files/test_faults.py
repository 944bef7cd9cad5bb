"""Writers that are killed, or whose disk is full, at every step; readers of what was damaged in any way."""

import itertools
import os
import resource
import signal
import subprocess
import sys
from pathlib import Path

import h5py
import numpy as np
import pandas as pd
import plotly.graph_objects as go
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from an_neuron.corpus.associations import Association, read_associations, write_associations
from an_neuron.errors import DamagedFileError, FullDiskError, UserError
from an_neuron.figures import export
from an_neuron.figures.comparison import read_comparison
from an_neuron.files import atomic, hdf5, pages, sealed
from an_neuron.files.catalogue import schemas
from an_neuron.files.schema import Field, Schema
from an_neuron.patching.selection import read_neuron
from an_neuron.prompts.prompt_set import read_prompt_file
from an_neuron.study.comparison import COMPARISON
from an_neuron.study.provenance import source_files
from an_neuron.study.published import read_published

NUMBERS = Schema("numbers.h5", "", {"number": Field("row", "int64", "", "")})
FRAME = pd.DataFrame({"token": [f" ä{number}" for number in range(500)], "number": range(500)})


def save_png(path):
    export._images, export.browser_missing = (
        lambda drawings: [b"image" * 999] * len(drawings),
        lambda: None,
    )  # in a fork
    export.save_figure(go.Figure(), [path])


WRITERS = {
    "table.h5": lambda path: hdf5.write(path, NUMBERS, {"number": range(5000)}, {"study": "pear"}),
    "table.csv": lambda path: atomic.write_csv(path, FRAME),
    "read.csv": lambda path: sealed.write_csv(path, FRAME),
    "record.json": lambda path: atomic.write_json(path, list(range(5000))),
    "neuron.json": lambda path: sealed.write_json(path, list(range(5000))),
    "checked.txt": lambda path: atomic.write_text(path, "ä\r\n" * 5000),
    "text.txt": lambda path: sealed.write_text(path, "ä\r\n" * 5000),
    "page.html": lambda path: pages.write_page(path, FRAME.style, "all"),
    "figure.png": save_png,
}
SEALED = {"read.csv", "neuron.json", "text.txt"}


def in_a_fork(work):
    """Run work in a fork of this process; return its exit status, or minus the signal that killed it."""
    child = os.fork()
    if child == 0:
        try:
            work()
        except FullDiskError:
            os._exit(3)
        except BaseException:
            os._exit(4)
        os._exit(0)
    return os.waitstatus_to_exitcode(os.waitpid(child, 0)[1])


def die():
    os.kill(os.getpid(), signal.SIGKILL)


def at_event(number):
    """Return what kills a process when it opens, renames or removes a temporary file for the so-manieth time."""

    def arrange():
        count = itertools.count()

        def watch(event, arguments):
            temporary = event in ("open", "os.rename", "os.remove") and str(arguments[0]).endswith(".tmp")
            if temporary and next(count) == number:
                die()

        sys.addaudithook(watch)

    return arrange


def at_byte(size, end=signal.SIG_DFL):
    """Return what kills a process that writes beyond a file's size, or with SIG_IGN, makes that fail."""

    def arrange():
        signal.signal(signal.SIGXFSZ, end)
        resource.setrlimit(resource.RLIMIT_FSIZE, (size, size))

    return arrange


def at_fsync():
    os.fsync = lambda descriptor: die()


@pytest.mark.parametrize("before", [None, b"old"])
@pytest.mark.parametrize("name", WRITERS)
def test_a_writer_killed_at_any_step_leaves_the_whole_file_or_none(tmp_path, name, before):
    path, write = tmp_path / "folder" / name, WRITERS[name]
    assert in_a_fork(lambda: write(tmp_path / "whole" / name)) == 0
    expected = {found.name: found.read_bytes() for found in (tmp_path / "whole").iterdir()}
    size = len(expected[name])
    steps = [at_byte(0), at_byte(1), at_byte(size // 2), at_byte(size - 1), at_fsync]
    killed = 0
    for step in itertools.chain(steps, map(at_event, itertools.count())):
        path.parent.mkdir(exist_ok=True)
        if before is not None:
            path.write_bytes(before)
        status = in_a_fork(lambda step=step: (step(), write(path)))
        assert status in (0, -signal.SIGKILL, -signal.SIGXFSZ)
        if status == 0:
            break  # there is no such event any more
        killed += 1
        left = path.read_bytes() if path.exists() else None
        assert left in (before, expected[name])
        if name in SEALED:
            refused_or_whole(path, expected)
    assert killed > 7
    assert in_a_fork(lambda: write(path)) == 0
    assert {found.name: found.read_bytes() for found in path.parent.iterdir()} == expected


def refused_or_whole(path, expected):
    readable(lambda path: sealed.read_text(path).encode(), path, expected[path.name])


@pytest.mark.parametrize("share", [0, 0.5])
@pytest.mark.parametrize("name", WRITERS)
def test_a_file_that_there_is_no_room_for_leaves_nothing(tmp_path, name, share):
    path, write = tmp_path / "folder" / name, WRITERS[name]
    assert in_a_fork(lambda: write(tmp_path / "whole" / name)) == 0
    size = int(share * (tmp_path / "whole" / name).stat().st_size)
    assert in_a_fork(lambda: (at_byte(size, signal.SIG_IGN)(), write(path))) == 3
    assert list(path.parent.iterdir()) == []


@pytest.mark.parametrize(
    ("number", "said"), [("ENOSPC", "disk is full"), ("EDQUOT", "disk is full"), ("EFBIG", "ulimit")]
)
def test_a_full_disk_is_said_in_a_sentence(tmp_path, monkeypatch, number, said):
    def fails(self, content):
        raise OSError(getattr(atomic.errno, number), "refused")

    monkeypatch.setattr(Path, "write_bytes", fails)
    with pytest.raises(FullDiskError, match=said):
        atomic.write_text(tmp_path / "text.txt", "text")
    assert list(tmp_path.iterdir()) == []


def test_room_is_asked_for_before_a_file_is_begun(tmp_path):
    atomic.check_room(tmp_path / "not" / "there.h5", 1000)
    with pytest.raises(FullDiskError, match=r"there\.h5 needs 1,000,000,000,000\.0 MB"):
        atomic.check_room(tmp_path / "not" / "there.h5", 1e18)


def test_a_folder_that_refuses_files_is_named(tmp_path, monkeypatch):
    assert atomic.unwritable(tmp_path / "results") is None
    (tmp_path / "file").touch()
    assert "is no folder" in (atomic.unwritable(tmp_path / "file" / "results") or "")
    monkeypatch.setattr(os, "access", lambda path, mode: False)  # root may write to any folder
    assert f"the folder {tmp_path} is read-only" in (atomic.unwritable(tmp_path / "results") or "")

    def refuses(self, content):
        raise PermissionError(13, "Permission denied", str(self))

    monkeypatch.setattr(Path, "write_bytes", refuses)
    with pytest.raises(UserError, match=r"text\.txt cannot be written \(Permission denied\); make its folder writable"):
        atomic.write_text(tmp_path / "text.txt", "text")


def test_a_folder_that_refuses_hdf5_is_named(tmp_path, monkeypatch):
    path, said = (
        tmp_path / "numbers.h5",
        "unable to open file: name = '{}', errno = 13, error message = 'Permission denied'",
    )

    def refuses(name, *arguments, **options):
        raise PermissionError(13, said.format(name))  # as h5py does: the file's name is in the text alone

    monkeypatch.setattr(h5py, "File", refuses)
    with pytest.raises(UserError, match=r"numbers\.h5 cannot be written \(Permission denied\); make its folder writ"):
        hdf5.write(path, NUMBERS, {"number": [1]}, {})
    said = said.replace("{}", "another.h5")
    with pytest.raises(PermissionError):
        hdf5.write(path, NUMBERS, {"number": [1]}, {})


def test_a_plain_seal_is_that_of_sha256sum(tmp_path):
    sealed.write_text(tmp_path / "text.txt", "abc")
    digest = "ba7816bf8f01cfea414140de5dae2223b00361a396177a9cb410ff61f20015ad"  # SHA-256 of "abc", FIPS 180-2
    assert (tmp_path / "text.txt.sha256").read_text() == f"{digest}  text.txt\n"


# Hypothesis would share a fixture's folder among its examples; and a file that was verified is known by name and time.
def fresh(folder, suffix):
    return folder / f"{next(COUNT)}{suffix}"


COUNT = itertools.count()
TABLES = [schema for schema in schemas() if schema.path.endswith(".h5")]
EXAMPLES = settings(suppress_health_check=[HealthCheck.function_scoped_fixture])
KINDS = {"float32": 0.5, "float64": 0.5, "int32": 7, "int64": 7, "bool": True, "text": "ä"}


def table_of(schema):
    """Return the bytes of a small file of a schema: two of everything."""
    values = {
        name: np.full([2] * len(field.axes), KINDS[field.kind], dtype=object if field.kind == "text" else None)
        for name, field in schema.fields.items()
    }
    return values, dict.fromkeys(schema.attributes, 1)


def damaged_bytes(data, content):
    """Return a content with some bytes changed, cut off, put in or put behind."""
    how = data.draw(st.sampled_from(["flip", "cut", "put in", "zeros"]))
    place = data.draw(st.integers(0, len(content) - 1))
    if how == "flip":
        return content[:place] + bytes([content[place] ^ data.draw(st.integers(1, 255))]) + content[place + 1 :]
    if how == "cut":
        return content[:place]
    if how == "zeros":
        return content[:place] + bytes(len(content) - place)
    return content[:place] + data.draw(st.binary(min_size=1, max_size=9)) + content[place:]


def readable(read, path, expected=None):
    """Read a file: a UserError must name it; what is read must be as expected, where that is given."""
    try:
        found = read(path)
    except UserError as error:
        said = str(error)
    else:
        said = str(path)
        assert expected is None or found == expected
    assert str(path) in said


@EXAMPLES
@given(st.data())
def test_damaged_hdf5_is_named_whatever_it_holds(tmp_path, data):
    schema, path = data.draw(st.sampled_from(TABLES)), fresh(tmp_path, ".h5")
    hdf5.write(path, schema, *table_of(schema))
    damaged = path.with_name(f"damaged_{path.name}")
    damaged.write_bytes(damaged_bytes(data, path.read_bytes()))
    if damaged.read_bytes() != path.read_bytes():
        with pytest.raises(DamagedFileError, match=damaged.name):
            hdf5.read(damaged, schema)


def drop_field(file, data, name):
    del file[name]


def drop_attribute(file, data, name):
    of = file if data.draw(st.booleans()) else file[name]
    if len(of.attrs):
        del of.attrs[data.draw(st.sampled_from(sorted(of.attrs)))]


def other_kind(file, data, name):
    attributes, shape = dict(file[name].attrs), file[name].shape
    del file[name]
    kind = data.draw(st.sampled_from(["f2", "f8", "i1", "u8", "S3", "?", "c8", h5py.string_dtype()]))
    file.create_dataset(name, shape, kind).attrs.update(attributes)


def other_shape(file, data, name):
    attributes, kind = dict(file[name].attrs), file[name].dtype
    del file[name]
    shape = data.draw(st.lists(st.integers(0, 3), max_size=4))
    file.create_dataset(name, shape, kind).attrs.update(attributes)


def other_dims(file, data, name):
    file[name].attrs["dims"] = data.draw(st.sampled_from(["", "row", "row row", 3, np.zeros(2), b"\xff"]))


def into_group(file, data, name):
    del file[name]
    file.create_group(name)


def more(file, data, name):
    file["more"] = [1, 2]


CHANGES = [drop_field, drop_attribute, other_kind, other_shape, other_dims, into_group, more]


@EXAMPLES
@given(st.data())
def test_hdf5_of_another_form_is_named_or_as_it_was(tmp_path, data):
    schema, path = data.draw(st.sampled_from(TABLES)), fresh(tmp_path, ".h5")
    hdf5.write(path, schema, *table_of(schema))
    content = path.read_bytes()
    path.write_bytes(content[: -len(hdf5.SEAL) - 64])
    with h5py.File(path, "r+") as file:
        data.draw(st.sampled_from(CHANGES))(file, data, data.draw(st.sampled_from(sorted(file))))
    hdf5.seal(path)

    def used(path):
        for table in (hdf5.read(path, schema), hdf5.read(path)):
            _ = [table[name] for name, field in schema.fields.items() if not field.optional]
            _ = [table.attributes[name] for name in schema.attributes]

    readable(used, path)


PROMPTS = "part,clean,corrupted\nmain,a pear,a plum\nheld_out,an apple,a fig\n"
PUBLISHED = "quantity,published,tolerance,source\nneurons: best,892,,paper\nneurons: best recovery,0.6,0.01,paper\n"
COMPARED = ",".join(COMPARISON.fields) + "\npear,gpt2, an,1.2,3,0.5,0.61,,1,,measured\n"
FETCHED = '{"origin": {"hub": "a/pear"}, "files": {"config.json": 2}}'
ASSOCIATION = (
    '[{"token": " an", "token_id": 3, "layer": 1, "index": 2, "source": "listed", "further_ids": [], "name": "an"}]'
)
READERS = {
    "prompts.csv": (read_prompt_file, PROMPTS, False),
    "published.csv": (read_published, PUBLISHED, False),
    "comparison.csv": (read_comparison, COMPARED, True),
    "fetched.json": (lambda path: source_files([path]), FETCHED, True),
    "neuron.json": (read_neuron, '{"layer": 1, "index": 2, "recovery": 0.5}', True),
    "associations.json": (read_associations, ASSOCIATION, True),
    "text.txt": (sealed.read_text, "a pear\nan äpple\n", True),
}


@pytest.mark.parametrize("name", READERS)
@pytest.mark.parametrize("resealed", [False, True])
def test_a_damaged_text_is_named(tmp_path, name, resealed):
    read, text, is_sealed = READERS[name]

    @settings(max_examples=settings().max_examples // 4)
    @given(st.data())
    def damage(data):
        path = fresh(tmp_path, "") / name
        path.parent.mkdir()
        sealed.write_text(path, text)
        content = damaged_bytes(data, text.encode())
        path.write_bytes(content)
        if resealed:
            sealed.seal_of(path).write_bytes(sealed._seal(name, content))
        elif is_sealed and content != text.encode():
            with pytest.raises(DamagedFileError, match=name):
                read(path)
        readable(read, path)

    read_whole = tmp_path / name
    sealed.write_text(read_whole, text)
    assert len(read(read_whole))
    if is_sealed or resealed:
        damage()


def test_a_lost_seal_is_named(tmp_path):
    path = tmp_path / "associations.json"
    write_associations(path, [Association(" an", 3, 1, 2, "listed")])
    sealed.seal_of(path).unlink()
    with pytest.raises(DamagedFileError, match=r"associations\.json has no seal that can be read in associations"):
        read_associations(path)


IN_C = """
import sys, pandas as pd
from pathlib import Path
from an_neuron.files import atomic, hdf5, pages, sealed
from an_neuron.files.schema import Field, Schema

folder, texts = Path(sys.argv[1]), ["\\u00e4\\U0001f642"]
sealed.write_json(folder / "one.json", texts)
sealed.write_text(folder / "one.txt", texts[0])
atomic.write_csv(folder / "one.csv", pd.DataFrame({"token": texts}))
pages.write_page(folder / "one.html", pd.DataFrame({"token": texts}).style, texts[0])
hdf5.write(folder / "one.h5", Schema("one.h5", "", {"token": Field("row", "text", "", "")}), {"token": texts}, {})
assert sealed.read_json(folder / "one.json") == texts and sealed.read_text(folder / "one.txt") == texts[0]
print("Running \\u2026", file=sys.stderr)
"""


def test_files_are_utf8_whatever_the_locale(tmp_path):
    found = []
    for name, locale in (("utf8", {"PYTHONUTF8": "1"}), ("c", {"LC_ALL": "C", "LANG": "C", "PYTHONUTF8": "0"})):
        (tmp_path / name).mkdir()
        environment = {**os.environ, "PYTHONCOERCECLOCALE": "0", **locale}
        subprocess.run([sys.executable, "-c", IN_C, tmp_path / name], env=environment, check=True)
        found.append({path.name: path.read_bytes() for path in (tmp_path / name).iterdir()})
    assert found[0] == found[1]
    assert all("ä🙂".encode() in content for name, content in found[0].items() if not name.endswith("sha256"))
