import asyncio
import os
import pkgutil
import re
import signal
import struct
import subprocess
import sys
from contextlib import suppress
from pathlib import Path
from time import sleep

import plotly.graph_objects as go
import pytest

from an_neuron import figures
from an_neuron.errors import UserError
from an_neuron.figures import export

SUFFIXES = ("png", "svg", "pdf", "html")
needs_browser = pytest.mark.skipif(export.browser_missing() is not None, reason="needs Chrome or Chromium")


def build(static):
    heights = [[0.0, 1.0], [2.0, 3.0]]
    figure = go.Figure(go.Heatmap(z=heights, coloraxis="coloraxis"))
    figure.add_trace(go.Scatter(x=[0, 1], y=[0, 1], mode="markers", name="static" if static else "interactive"))
    return figure.update_layout(showlegend=True)


@needs_browser
def test_static_files_have_their_size_and_the_same_bytes_twice(tmp_path):
    paths = [tmp_path / folder / f"small.{suffix}" for folder in ("one", "two") for suffix in SUFFIXES]
    export.save_figure(build, paths[:4])
    export.save_figure(build, paths[4:])
    first, second = ([path.read_bytes() for path in part] for part in (paths[:4], paths[4:]))
    assert first == second
    png, svg, pdf, html = first
    assert struct.unpack(">II", png[16:24]) == (4192, 2048)
    assert b'width="1048" height="512"' in svg
    assert b">static</text>" in svg
    assert pdf.startswith(b"%PDF-")
    assert re.search(rb"/MediaBox \[0 0 786(\.\d+)? 384(\.\d+)?\]", pdf), "a pixel is three quarters of a point"
    assert b"D:20000101000000" in pdf
    assert b"interactive" in html
    assert [path.name for path in sorted((tmp_path / "one").iterdir())] == sorted(
        f"small.{suffix}" for suffix in SUFFIXES
    )


def test_html_works_offline_and_is_named_after_its_file(tmp_path):
    path, again = tmp_path / "offline.html", tmp_path / "again" / "offline.html"
    export.save_figure(build(False), [path, again])
    text = path.read_text(encoding="utf-8")
    assert not re.search(r"<(?:script|link|img|iframe)\b[^>]*\b(?:src|href)=", text)
    assert 'id="offline"' in text
    assert len(text) > 1_000_000, "plotly.js is inside"
    assert again.read_bytes() == path.read_bytes()


def test_an_unknown_suffix_is_refused_before_anything_is_written(tmp_path):
    with pytest.raises(UserError, match=r"small\.gif"):
        export.save_figure(build, [tmp_path / "small.html", tmp_path / "small.gif"])
    assert not list(tmp_path.iterdir())


def test_a_failure_is_raised_and_leaves_the_old_file(tmp_path, monkeypatch):
    async def fails(kaleido, drawings):
        raise RuntimeError("no drawing")

    monkeypatch.setattr(export, "browser_missing", lambda: None)
    monkeypatch.setattr(export, "_drawn", fails)
    path = tmp_path / "old.png"
    path.write_bytes(b"old")
    with pytest.raises(RuntimeError, match="no drawing"):
        export.save_figure(build, [path])
    assert path.read_bytes() == b"old"
    assert list(tmp_path.iterdir()) == [path]


@pytest.mark.parametrize("end", ["dies", "hangs"])
def test_a_browser_that_dies_or_hangs_is_started_again(tmp_path, monkeypatch, end):
    async def draw(kaleido, drawings):
        with (tmp_path / "attempts").open("a") as attempts:
            attempts.write("once\n")
        if len((tmp_path / "attempts").read_text().split()) == 1:
            if end == "dies":
                os._exit(1)
            await asyncio.Event().wait()
        return [b"image"] * len(drawings)

    monkeypatch.setattr(export, "browser_missing", lambda: None)
    monkeypatch.setattr(export, "_drawn", draw)
    monkeypatch.setattr(export, "TIMEOUT", 0.5 if end == "hangs" else 60)
    export.save_figure(go.Figure(), [tmp_path / "figure.png"])
    assert (tmp_path / "figure.png").read_bytes() == b"image"
    assert (tmp_path / "attempts").read_text().split() == ["once", "once"]


def test_a_browser_that_never_draws_is_given_up(tmp_path, monkeypatch):
    async def draw(kaleido, drawings):
        os._exit(1)

    monkeypatch.setattr(export, "browser_missing", lambda: None)
    monkeypatch.setattr(export, "_drawn", draw)
    with pytest.raises(UserError, match="did not draw a figure in 3 attempts") as caught:
        export.save_figure(go.Figure(), [tmp_path / "figure.png"])
    assert caught.value.setting == "formats: [html]"
    assert list(tmp_path.iterdir()) == []


def test_a_missing_browser_is_named_with_the_ways_out(tmp_path, monkeypatch):
    from choreographer.browsers.chromium import Chromium

    monkeypatch.delenv("BROWSER_PATH", raising=False)
    monkeypatch.setattr(export, "WITHOUT_WINDOWS", ())
    monkeypatch.setattr(Chromium, "find_browser", classmethod(lambda cls, **_: None))
    remedy = export.browser_missing()
    assert remedy is not None
    assert all(way in remedy for way in ("apt-get install chromium", "plotly_get_chrome"))
    with pytest.raises(UserError, match="plotly_get_chrome") as caught:
        export.save_figure(build, [tmp_path / "small.png"])
    assert caught.value.setting == "formats: [html]"
    export.save_figure(build, [tmp_path / "small.html"])


def test_the_browser_is_asked_for_before_a_figure_is_computed(tmp_path, monkeypatch):
    monkeypatch.setattr(export, "browser_missing", lambda: "There is no browser.")
    built = []
    with pytest.raises(UserError, match="There is no browser"):
        export.save_figure(lambda static: built.append(static), [tmp_path / "a.html", tmp_path / "a.png"])
    assert (built, list(tmp_path.iterdir())) == ([], [])


def test_a_browsers_last_word_is_not_told_as_an_error(caplog):
    """choreographer now and then reads it together with a message, and logs with a traceback that it passes over it."""
    from choreographer.channels import pipe

    channel = pipe.Pipe()
    channel.open()
    os.write(channel._write_from_browser, b'{bye}\n{"id": 2}\0')
    assert channel.read_jsons(blocking=False)[0] == []
    channel.close()
    told = [record for record in caplog.records if record.name == export.CHANNEL and record.levelname == "ERROR"]
    assert len(told) == 1
    assert not export._is_no_farewell(told[0])


def test_a_named_browser_that_is_not_there_is_missing(monkeypatch, tmp_path):
    gone = str(tmp_path / "gone")
    monkeypatch.setenv("BROWSER_PATH", gone)
    assert gone in (export.browser_missing() or "")


def test_a_browser_without_windows_comes_first_unless_one_is_named(monkeypatch, tmp_path):
    named, shell = tmp_path / "browser", tmp_path / "chromium-headless-shell"
    for path in (named, shell):
        path.touch(mode=0o755)
    monkeypatch.setenv("PATH", f"{tmp_path}:/usr/bin")
    monkeypatch.delenv("BROWSER_PATH", raising=False)
    assert export.find_browser() == str(shell)
    monkeypatch.setenv("BROWSER_PATH", str(named))
    assert export.find_browser() == str(named)


DRAWER = """
import sys
import plotly.graph_objects as go
from an_neuron.figures.export import save_figure

save_figure(go.Figure(go.Scatter(y=[1, 2])), [sys.argv[1]])
"""


def marked(mark):
    """Return the command lines of the processes that carry a mark in their environment, by id."""
    found = {}
    for process in Path("/proc").glob("[0-9]*"):
        with suppress(OSError):
            if mark.encode() in (process / "environ").read_bytes():
                found[int(process.name)] = (process / "cmdline").read_bytes()
    return found


def until(condition):
    """Wait until something is so, for a minute at most."""
    for _ in range(600):
        if condition():
            return
        sleep(0.1)
    raise AssertionError("it never came")


@needs_browser
@pytest.mark.skipif(not Path("/proc/self/environ").exists(), reason="looks for processes in /proc")
@pytest.mark.parametrize("sent", [signal.SIGKILL, signal.SIGHUP])
def test_a_killed_job_leaves_no_process_and_no_browser(tmp_path, sent):
    mark = f"drawn-in-{tmp_path}"
    job = subprocess.Popen([sys.executable, "-c", DRAWER, tmp_path / "one.png"], env={**os.environ, "MARK": mark})
    try:
        until(lambda: any(b"--headless" in command for command in marked(mark).values()))
        job.send_signal(sent)
        job.wait(timeout=60)
        until(lambda: not marked(mark))
    finally:
        for process in marked(mark):
            os.kill(process, signal.SIGKILL)
    assert list(tmp_path.iterdir()) == []


def test_only_ids_are_numbered():
    svg = (
        b'<g id="clip1a2b3cxy"/><g clip-path="url(#clip1a2b3cxy)"/><g class="trace scatter traceabcdef"/>'
        b'<path d="M0.1a2b3c,0.123456"/><text>clip1a2b3c</text>'
    )
    assert export._with_fixed_ids(svg) == (
        b'<g id="clip000000xy"/><g clip-path="url(#clip000000xy)"/><g class="trace scatter trace000001"/>'
        b'<path d="M0.1a2b3c,0.123456"/><text>clip1a2b3c</text>'
    )


def test_drawing_needs_no_torch():
    modules = [f"an_neuron.figures.{module.name}" for module in pkgutil.iter_modules(figures.__path__)]
    code = f"import sys, {', '.join(modules)}; sys.exit('torch' in sys.modules)"
    assert subprocess.run([sys.executable, "-c", code], check=False).returncode == 0


def test_several_figures_are_the_same_as_each_alone_from_one_browser(tmp_path, monkeypatch):
    drawn = []

    async def draw(kaleido, drawings):
        return [f"{figure.layout.title.text} as {name}".encode() for figure, name in drawings]

    def images(drawings, original=export._images):
        drawn.append(len(drawings))
        return original(drawings)

    monkeypatch.setattr(export, "browser_missing", lambda: None)
    monkeypatch.setattr(export, "_drawn", draw)
    monkeypatch.setattr(export, "_images", images)
    figures = [go.Figure(layout={"title": name}) for name in ("one", "two")]
    paths = [tmp_path / f"{name}.{suffix}" for name in ("one", "two") for suffix in ("png", "html", "svg")]
    export.save_figures(figures, paths)
    assert drawn == [4]
    assert [(tmp_path / f"{name}.png").read_text() for name in ("one", "two")] == ["one as png", "two as png"]
    assert (tmp_path / "two.svg").read_text() == "two as svg"
    assert "two" in (tmp_path / "two.html").read_text()
