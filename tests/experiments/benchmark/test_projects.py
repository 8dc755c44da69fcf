from __future__ import annotations

import json

import pytest

from napari_semiseg.core.config import TrainingConfig
from napari_semiseg.errors import ConfigError, ProjectError
from napari_semiseg.experiments.benchmark.projects import (
    make_project,
    refuse_absent_classes,
)
from napari_semiseg.project.project import Project
from napari_semiseg.project.runs.run import Run
from synthetic import ball, save_nifti

SPLITS = {f"case_{number}": "train" if number < 4 else "test" for number in range(7)}


def make(bench) -> Project:
    folder = bench.out / "two"
    list(make_project(folder, bench.benchmark, "two", bench.dataset, bench.scheme))
    return Project.open(folder)


def splits(project: Project) -> dict[str, str]:
    return {case.id: str(case.split) for case in project.cases()}


def test_cases_of_several_channels_go_in_whole(two_channels, make_bench) -> None:
    project = make(make_bench())
    assert splits(project) == SPLITS
    assert project.case("case_2").channel_names == ("0", "1")
    assert project.case("case_0").has_label


def test_a_project_that_was_killed_in_its_making_is_completed(
    two_channels, make_bench, monkeypatch
) -> None:
    bench = make_bench()

    def killed(*_) -> None:
        raise KeyboardInterrupt

    with monkeypatch.context() as patch:
        patch.setattr(Project, "set_split", killed)
        with pytest.raises(KeyboardInterrupt):
            make(bench)
    project = make(bench)
    assert splits(project) == SPLITS
    assert [case.id for case in project.cases() if case.has_label] == [
        "case_0",
        "case_1",
    ]
    # A run has learned from what it found: nothing is put right behind its back.
    Run.create(project, TrainingConfig(steps=1))
    project.set_split("case_5", "train")
    with pytest.raises(ProjectError, match="cases and classes of list 'two'"):
        make(bench)


def test_a_project_of_other_cases_is_refused(make_bench) -> None:
    make(make_bench())
    with pytest.raises(ProjectError, match="cases and classes of list 'two'"):
        make(make_bench(unlabelled=()))


def test_a_class_that_no_labelled_mask_shows_is_refused(data, make_bench) -> None:
    labels = {"background": 0, "ball": 1, "ring": 2}
    (data / "dataset.json").write_text(json.dumps({"labels": labels}))

    def refuse(test: str, **labelled: tuple[str, ...]) -> None:
        bench = make_bench(labelled=labelled, test=(test,), unlabelled=())
        with_mask = [test, *(name for ids in labelled.values() for name in ids)]
        shown = bench.dataset.check(with_mask, bench.scheme)
        refuse_absent_classes(bench.benchmark, bench.scheme, shown)

    with pytest.raises(ConfigError) as refusal:
        refuse("case_4", two=("case_0", "case_1"))
    assert str(refusal.value) == (
        "expected labelled masks that show 'ring' (2) in list 'two', found none; "
        "label some, or leave the class out with --label '1=ball'"
    )
    mask = ball(2)
    mask[:2] = 2
    save_nifti(data / "labelsTr" / "case_2.nii.gz", mask)
    # Without the class the mask of the test case would be refused.
    with pytest.raises(ConfigError, match=r"'ring' .* found none; label some$"):
        refuse("case_2", two=("case_0", "case_1"))
    with pytest.raises(ConfigError, match="in list 'one'"):
        refuse("case_4", two=("case_0", "case_2"), one=("case_0",))
    refuse("case_4", two=("case_0", "case_2"))
