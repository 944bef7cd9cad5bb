"""Checkouts that several files share."""

import pytest
from browsing import opener, started_browser
from project import Project


@pytest.fixture(scope="module")
def browser():
    with started_browser() as started:
        yield started


@pytest.fixture
def opened(browser):
    """Open a file in a window of its own; at the end nothing was asked for but files, and no script had failed."""
    with opener(browser) as open_file:
        yield open_file


@pytest.fixture(scope="session")
def settled(built, shared_folder, tmp_path_factory):
    """The embedded study with a fixed neuron, so that a dry run sees all of it without waiting for a choice.

    Its layers are swept and its book is read in three jobs each, where `built` has one. Its figures need no browser.
    """

    def build(folder):
        project = built.copied(folder)
        project.config |= {"formats": ["html"], "sweeps": 3, "shards": 3}
        project.config["studies"]["orchard"] |= {"neuron": "2.104", "top": 0}
        project.build("orchard")
        assert project.jobs("orchard") == {}
        return project

    return Project.built_once(shared_folder / "settled", build).copied(tmp_path_factory.mktemp("settled") / "project")
