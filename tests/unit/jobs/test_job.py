import sys
from pathlib import Path

import pytest

from an_neuron.jobs.job import job
from an_neuron.errors import UserError


def run(tmp_path, work, inputs=()):
    """Run work as a job; return what its log holds."""
    log = tmp_path / "logs" / "job.log"
    with pytest.raises(SystemExit) as ended, job(str(log), [str(path) for path in inputs]):
        work()
    assert ended.value.code == 1
    return log.read_text()


def test_a_users_mistake_ends_in_its_sentence_alone(tmp_path, capsys):
    def work():
        raise UserError("The pear is no apple.")

    assert run(tmp_path, work) == "\nThe pear is no apple.\n\n"
    assert "The pear is no apple." in capsys.readouterr().err


def test_too_little_memory_ends_in_a_sentence_below_where_it_was(tmp_path, refusal):
    def work():
        raise refusal

    said = run(tmp_path, work)
    assert "test_job.py" in said
    assert said.endswith("Run fewer jobs at a time (--cores 1), or take a larger machine.\n\n")


def test_another_runtime_error_is_a_bug(tmp_path):
    def work():
        raise RuntimeError("mat1 and mat2 shapes cannot be multiplied")

    assert "memory" not in run(tmp_path, work)


@pytest.mark.skipif(not Path("/dev/full").exists(), reason="needs /dev/full")
def test_a_log_on_a_full_disk_stops_no_job(capsys):
    with job("/dev/full"):
        print("said", file=sys.stderr)
    assert "said" in capsys.readouterr().err


def test_a_log_that_cannot_be_written_is_named(tmp_path, capsys):
    (tmp_path / "logs").touch()
    with pytest.raises(SystemExit), job(str(tmp_path / "logs" / "job.log")):
        raise AssertionError("nothing is computed")
    said = capsys.readouterr().err
    assert f"The log {tmp_path / 'logs' / 'job.log'} cannot be written" in said
    assert "Traceback" not in said


def test_a_bug_shows_where_it_is(tmp_path):
    said = run(tmp_path, lambda: 1 / 0)
    assert "ZeroDivisionError" in said
    assert "test_job.py" in said


def test_terminal_and_log_get_what_is_said(tmp_path, capsys):
    with job(str(tmp_path / "job.log")):
        print("half\rwhole", file=sys.stderr)
    assert (tmp_path / "job.log").read_text() == "half\nwhole\n"
    assert capsys.readouterr().err == "Running job …\nhalf\rwhole\n"


@pytest.mark.parametrize("how", ["written", "replaced", "deleted"])
def test_an_input_that_changes_under_a_job_makes_it_void(tmp_path, how):
    weights, other = tmp_path / "model.safetensors", tmp_path / "new"
    weights.write_text("one")
    other.write_text("two")

    def work():
        if how == "written":
            weights.write_text("three")
        elif how == "replaced":
            other.replace(weights)
        else:
            weights.unlink()

    assert f"{weights} changed while this job read it" in run(tmp_path, work, [weights])


def test_code_may_change_and_inputs_may_be_read(tmp_path):
    module, table = tmp_path / "module.py", tmp_path / "table.h5"
    module.write_text("A = 1")
    table.write_text("numbers")
    with job(str(tmp_path / "job.log"), [str(module), str(table)]):
        module.write_text("A = 2")
        assert table.read_text() == "numbers"


def test_a_mistake_is_said_before_a_change(tmp_path):
    table = tmp_path / "table.h5"
    table.write_text("one")

    def work():
        table.write_text("three")
        raise UserError("The pear is no apple.")

    assert run(tmp_path, work, [table]) == "\nThe pear is no apple.\n\n"
