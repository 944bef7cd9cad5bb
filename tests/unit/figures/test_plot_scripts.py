from pathlib import Path

import pytest

SCRIPTS = sorted((Path(__file__).resolve().parents[3] / "workflow" / "scripts").glob("plot_*.py"))
WITHOUT_A_STUDY = {"plot_comparison"}  # of all studies, whose looks may differ: its rule passes none


@pytest.mark.parametrize("script", SCRIPTS, ids=lambda script: script.stem)
def test_each_figure_of_a_study_is_drawn_as_its_configuration_says(script):
    looks = "looking(**snakemake.params.look)" in script.read_text(encoding="utf-8")
    assert looks == (script.stem not in WITHOUT_A_STUDY)
