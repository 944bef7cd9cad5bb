"""Checkouts that several files share."""

import pytest


@pytest.fixture(scope="session")
def settled(built, tmp_path_factory):
    """The embedded study with a fixed neuron, so that a dry run sees all of it without waiting for a choice.

    Its book is read in three shards, where `built` has one, and its new figures need no browser.
    """
    project = built.copied(tmp_path_factory.mktemp("settled") / "project")
    project.config |= {"formats": ["html"], "shards": 3}
    project.config["studies"]["orchard"] |= {"neuron": "2.104", "top": 0}
    project.build("orchard")
    assert project.jobs("orchard") == {}
    return project
