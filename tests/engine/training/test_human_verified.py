from __future__ import annotations

import pytest

from napari_semiseg.core.case import Split
from napari_semiseg.core.config import TrainingConfig
from napari_semiseg.engine.data.cache import select
from napari_semiseg.errors import ProjectError
from napari_semiseg.project.review.accept import accept, reopen
from napari_semiseg.project.runs.run import Run


def test_what_was_accepted_unseen_teaches_and_scores_nothing(
    ball_project, predict_ball
) -> None:
    run = Run.create(ball_project, TrainingConfig())
    for case in ball_project.cases():
        run.write_prediction(predict_ball(run, case), case.image)
    ball_project.set_split("case_4", Split.VALIDATION)
    accept(ball_project, ["case_2", "case_4"])
    accept(ball_project, ["case_3"], seen=True)
    cohort = select(ball_project)
    assert [case.id for case in cohort.labelled] == ["case_0", "case_1", "case_3"]
    assert [case.id for case in cohort.unlabelled] == ["case_2"]
    assert cohort.validation == ()
    reopen(ball_project, ["case_0", "case_1", "case_3"])
    with pytest.raises(ProjectError, match="label at least one"):
        select(ball_project)
