from __future__ import annotations

import json
import os
import shutil
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest

from napari_semiseg.core.case import CaseState, Split
from napari_semiseg.core.config import TrainingConfig
from napari_semiseg.errors import ConfigError, ImageError, ProjectError
from napari_semiseg.io.masks import read_labels
from napari_semiseg.project.cases import records
from napari_semiseg.project.cases.versions import KEPT
from napari_semiseg.project.project import Project
from napari_semiseg.project.runs.run import Run
from synthetic import SIZE, ball, save_nifti, snapshot


def empty_label() -> np.ndarray:
    return np.zeros((SIZE, SIZE, SIZE), np.uint8)


def previous(project: Project, case: str) -> list[Path]:
    return sorted(project.layout.case(case).previous.glob("[0-9]*.nii.gz"))


class TestCreateAndOpen:
    def test_other_colours_leave_what_people_wrote_into_the_settings(
        self, tmp_path
    ) -> None:
        project = Project.create(tmp_path / "p", ["1=liver"])
        file = project.layout.project_file
        own = (
            "# as agreed\n[[labels]]\nvalue = 2\nname = 'tumour'\ncolour = '#112233'\n"
        )
        file.write_text(file.read_text() + own)
        project.recolour("bright")
        assert "# as agreed" in file.read_text()
        names = {item.name: item.colour for item in Project.open(tmp_path / "p").labels}
        assert list(names) == ["liver", "tumour"]
        assert names["tumour"] != "#112233"

    def test_labels_names_and_colours_come_back(self, tmp_path) -> None:
        made = Project.create(tmp_path / "p", ["2=tumour #112233", "1=liver"], name="A")
        opened = Project.open(tmp_path / "p")
        assert opened.labels == made.labels
        assert [item.name for item in opened.labels] == ["liver", "tumour"]
        assert opened.labels.classes[1].colour == "#112233"
        assert opened.name == "A"

    def test_a_project_is_not_made_twice(self, empty_project) -> None:
        before = snapshot(empty_project.folder)
        with pytest.raises(ProjectError, match="found a project"):
            Project.create(empty_project.folder, {"other": 1})
        assert snapshot(empty_project.folder) == before

    def test_wrong_labels_leave_no_folder(self, tmp_path) -> None:
        with pytest.raises(ConfigError, match="255"):
            Project.create(tmp_path / "p", ["255=all"])
        assert not (tmp_path / "p").exists()

    def test_an_unwritable_place_is_said_in_one_line(self, tmp_path) -> None:
        (tmp_path / "file").write_text("")
        with pytest.raises(ProjectError, match="writable") as caught:
            Project.create(tmp_path / "file" / "p", {"a": 1})
        assert "\n" not in str(caught.value)

    @pytest.mark.parametrize(
        ("text", "words"),
        [
            ("format = 99\nname = 'x'\nlabels = []", "update"),
            ("format = 2\nname = 'x'\nlabels = []", "correct the file"),
            ("format = [", "correct or restore"),
            ("format = 2\nname = 'x'\nlabls = []", "labels"),
        ],
    )
    def test_settings_that_are_wrong_name_the_file(self, tmp_path, text, words) -> None:
        (tmp_path / "project.toml").write_text(text)
        with pytest.raises(ProjectError, match=words) as caught:
            Project.open(tmp_path)
        assert "project.toml" in str(caught.value)

    def test_another_folder_is_no_project(self, tmp_path) -> None:
        with pytest.raises(ProjectError, match="semiseg init"):
            Project.open(tmp_path)


class TestAdd:
    def test_images_are_referenced_relative_and_never_copied(
        self, empty_project, spheres
    ) -> None:
        before = snapshot(spheres.images)
        report = empty_project.add(spheres.images)
        assert report.added == list(spheres.ids)
        assert not report.skipped
        record = json.loads(empty_project.layout.case("case_0").json.read_text())
        assert record["channels"][0]["image"] == "../cohort/images/case_0.nii.gz"
        assert empty_project.case("case_0").image == spheres.images / "case_0.nii.gz"
        assert snapshot(spheres.images) == before
        assert not list(empty_project.layout.cases.rglob("*.nii*"))

    def test_the_whole_tree_can_be_moved(self, ball_project, tmp_path) -> None:
        moved = tmp_path / "elsewhere"
        moved.mkdir()
        for name in ("cohort", "atrium"):
            shutil.move(tmp_path / name, moved / name)
        project = Project.open(moved / "atrium")
        assert project.check_images() == {}
        assert project.case("case_0").read_image().data.shape == (SIZE, SIZE, SIZE)

    def test_the_same_file_is_skipped_with_a_reason(
        self, ball_project, spheres
    ) -> None:
        before = snapshot(ball_project.folder)
        image = spheres.images / "case_1.nii.gz"
        report = ball_project.add(image)
        assert report.added == []
        assert report.skipped == {str(image): "already in the project as 'case_1'"}
        assert snapshot(ball_project.folder) == before

    def test_another_file_of_a_known_name_gets_its_folders_name(
        self, ball_project, tmp_path
    ) -> None:
        other = save_nifti(tmp_path / "centre_b" / "case_0.nii.gz", 7 * ball(2))
        record = ball_project.layout.case("case_0").json.read_bytes()
        assert ball_project.add(other).added == ["centre_b_case_0"]
        assert ball_project.layout.case("case_0").json.read_bytes() == record
        assert ball_project.case("centre_b_case_0").image == other

    def test_names_that_folders_do_not_tell_apart_are_refused(
        self, empty_project, tmp_path
    ) -> None:
        save_nifti(tmp_path / "in" / "x.nii.gz", ball(0))
        save_nifti(tmp_path / "in" / "x.nii", ball(1))
        before = snapshot(empty_project.folder)
        with pytest.raises(ProjectError, match="rename one") as caught:
            empty_project.add(tmp_path / "in")
        assert "x.nii.gz" in str(caught.value)
        assert snapshot(empty_project.folder) == before

    def test_a_list_takes_some_and_reports_what_is_not_there(
        self, empty_project, spheres
    ) -> None:
        report = empty_project.add(
            spheres.images, split="test", cases=["case_3", "ghost"]
        )
        assert report.added == ["case_3"]
        assert report.skipped == {"ghost": "no image of this id was found"}
        assert empty_project.case("case_3").split is Split.TEST

    def test_a_broken_image_stops_only_when_it_was_named(
        self, empty_project, spheres
    ) -> None:
        broken = spheres.images / "torn.nii.gz"
        broken.write_bytes(b"not an image")
        before = snapshot(empty_project.folder)
        with pytest.raises(ImageError):
            empty_project.add(spheres.images / "case_0.nii.gz", broken)
        assert snapshot(empty_project.folder) == before
        report = empty_project.add(spheres.images)
        assert report.added == list(spheres.ids)
        assert list(report.skipped) == [str(broken)]

    def test_wildcards_and_missing_paths(self, empty_project, spheres) -> None:
        pattern = str(spheres.images / "case_[12].nii.gz")
        assert empty_project.add(pattern).added == ["case_1", "case_2"]
        with pytest.raises(ProjectError, match="nothing there"):
            empty_project.add(spheres.images / "no*.nii.gz")

    def test_the_projects_own_masks_are_no_images(
        self, ball_project, predict_ball, tmp_path
    ) -> None:
        run = Run.create(ball_project, TrainingConfig())
        case = ball_project.case("case_2")
        run.write_prediction(predict_ball(run, case), case.image)
        (tmp_path / "cohort" / "masks").rename(tmp_path.parent / "away")
        report = ball_project.add(tmp_path)
        (tmp_path.parent / "away").rename(tmp_path / "masks")
        assert report.added == []
        assert len(report.skipped) == 5

    def test_a_link_keeps_its_own_name(self, empty_project, spheres, tmp_path) -> None:
        link = tmp_path / "links" / "patient.nii.gz"
        link.parent.mkdir()
        link.symlink_to(spheres.images / "case_0.nii.gz")
        assert empty_project.add(link).added == ["patient"]
        assert empty_project.check_images() == {}


class TestStates:
    def test_every_state_follows_from_files(
        self, ball_project, predict_ball, spheres
    ) -> None:
        run = Run.create(ball_project, TrainingConfig())
        case = ball_project.case("case_2")
        run.write_prediction(predict_ball(run, case), case.image)
        partial = np.full((SIZE, SIZE, SIZE), 255, np.uint8)
        partial[3] = 0
        ball_project.set_label("case_1", partial)
        ball_project.save_draft("case_3", empty_label())
        ball_project.set_excluded("case_4", True)
        states = {case.id: str(case.state) for case in ball_project.cases()}
        assert states == {
            "case_0": "labelled",
            "case_1": "partial",
            "case_2": "proposed",
            "case_3": "draft",
            "case_4": "excluded",
        }
        assert ball_project.case("case_1").annotated_fraction == 1 / SIZE
        assert [case.id for case in ball_project.cases("proposed")] == ["case_2"]
        chosen = ball_project.cases({CaseState.DRAFT, CaseState.EXCLUDED}, Split.TRAIN)
        assert [case.id for case in chosen] == ["case_3", "case_4"]
        assert "state" not in ball_project.layout.case("case_1").json.read_text()

    def test_labels_are_decoded_only_when_the_file_is_not_the_accepted_one(
        self, ball_project, monkeypatch
    ) -> None:
        decoded = []
        measure = records.measured_fraction
        monkeypatch.setattr(
            records,
            "measured_fraction",
            lambda label, geometry: decoded.append(1) or measure(label, geometry),
        )
        project = Project.open(ball_project.folder)
        assert project.case("case_0").state is CaseState.LABELLED
        assert not decoded
        label = project.layout.case("case_0").label
        os.utime(label, ns=(1, 1))
        assert project.case("case_0").state is CaseState.LABELLED
        assert project.case("case_0").annotated_fraction == 1.0
        assert len(decoded) == 1

    def test_an_unknown_case_names_the_closest(self, ball_project) -> None:
        with pytest.raises(ProjectError, match="did you mean case_2"):
            ball_project.case("case_2x")
        for trick in ("../cases/case_0", "", ".", "/"):
            with pytest.raises(ProjectError):
                ball_project.case(trick)

    def test_a_torn_record_is_named(self, ball_project) -> None:
        path = ball_project.layout.case("case_1").json
        path.write_text(path.read_text()[:40])
        with pytest.raises(ProjectError, match=r"case_1.*case\.json"):
            ball_project.cases()

    def test_split_and_exclusion_are_kept_with_who_and_when(self, ball_project) -> None:
        ball_project.set_split("case_2", "validation")
        ball_project.set_excluded("case_2", True)
        ball_project.set_excluded("case_2", False)
        case = Project.open(ball_project.folder).case("case_2")
        assert case.split is Split.VALIDATION
        actions = [entry.action for entry in case.record.history]
        assert actions == ["add", "split", "exclude", "include"]


class TestSetLabel:
    def test_the_voxels_and_the_grid_come_back(self, ball_project, spheres) -> None:
        import nibabel as nib

        stored = nib.load(ball_project.layout.case("case_0").label)
        given = nib.load(spheres.masks / "case_0.nii.gz")
        assert np.array_equal(stored.get_fdata(), given.get_fdata())
        assert np.array_equal(stored.affine, given.affine)
        assert stored.get_data_dtype() == np.uint8

    def test_the_last_five_labels_are_kept(self, ball_project) -> None:
        first = ball_project.case("case_0").read_label()
        for number in range(7):
            labels = empty_label()
            labels[number] = 1
            ball_project.set_label("case_0", labels, minutes=number)
            assert len(previous(ball_project, "case_0")) == min(number + 1, 5)
            if number == 0:
                case = ball_project.case("case_0")
                kept = read_labels(previous(ball_project, "case_0")[0], case.geometry)
                assert np.array_equal(kept, first)
        case = ball_project.case("case_0")
        slices = [
            int(read_labels(path, case.geometry).any((1, 2)).argmax())
            for path in previous(ball_project, "case_0")
        ]
        assert slices == [1, 2, 3, 4, 5]
        assert [e.minutes for e in case.record.history if e.action == "label"][-1] == 6

    def test_the_draft_is_done_with(self, ball_project) -> None:
        labels = empty_label()
        labels[5] = 1
        ball_project.save_draft("case_2", labels)
        assert np.array_equal(ball_project.case("case_2").read_draft(), labels)
        ball_project.set_label(
            "case_2", labels, by="Ada", details={"seen_fraction": 0.9}
        )
        case = ball_project.case("case_2")
        assert not case.has_draft
        entry = case.record.history[-1]
        assert entry.by == "Ada"
        assert entry.seen_fraction == 0.9

    @pytest.mark.parametrize(
        ("mask", "words"),
        [
            (np.full((SIZE, SIZE, SIZE), 255, np.uint8), "annotated"),
            (np.full((SIZE, SIZE, SIZE), 3, np.uint8), r"\[3\]"),
            (np.zeros((SIZE, SIZE, 2), np.uint8), "shape"),
            (np.full((SIZE, SIZE, SIZE), 0.5), "whole numbers"),
            (np.full((SIZE, SIZE, SIZE), 256, np.int16), "whole numbers"),
        ],
    )
    def test_what_is_no_label_changes_nothing(self, ball_project, mask, words) -> None:
        before = snapshot(ball_project.folder)
        for case in ("case_0", "case_2"):
            with pytest.raises(ImageError, match=words):
                ball_project.set_label(case, mask)
        assert snapshot(ball_project.folder) == before

    def test_a_mask_on_another_grid_changes_nothing(
        self, ball_project, tmp_path
    ) -> None:
        shifted = save_nifti(tmp_path / "shifted.nii.gz", ball(0), shift=4.0)
        before = snapshot(ball_project.folder)
        with pytest.raises(ImageError):
            ball_project.set_label("case_0", shifted)
        with pytest.raises(ProjectError, match="no file"):
            ball_project.set_label("case_0", tmp_path / "none.nii.gz")
        assert snapshot(ball_project.folder) == before

    def test_a_failed_write_keeps_the_label(self, ball_project, monkeypatch) -> None:
        label = ball_project.layout.case("case_0").label.read_bytes()

        def fail(*_args: object) -> None:
            raise OSError(28, "No space left on device")

        monkeypatch.setattr("napari_semiseg.io.atomic.os.replace", fail)
        with pytest.raises(ProjectError, match="No space"):
            ball_project.set_label("case_0", empty_label())
        monkeypatch.undo()
        assert ball_project.layout.case("case_0").label.read_bytes() == label
        assert not list(ball_project.folder.rglob(".tmp-*"))


WRITER = """
import sys, numpy as np
from napari_semiseg.project.project import Project
project = Project.open(sys.argv[1])
number = int(sys.argv[2])
sys.stdout.write("ready\\n"); sys.stdout.flush()
while True:
    number += 1
    labels = np.random.default_rng(number).integers(0, 2, (24, 24, 24), np.uint8)
    labels[0, 0, :8] = [number >> bit & 1 for bit in range(8)]
    project.set_label("case_0", labels)
"""


def test_killed_at_any_moment_nothing_is_torn_or_lost(ball_project) -> None:
    rng = np.random.default_rng(0)
    case = ball_project.case("case_0")
    oldest_seen = ball_project.layout.case("case_0").label.read_bytes()
    for number in range(20):
        writer = subprocess.Popen(
            [sys.executable, "-c", WRITER, str(ball_project.folder), str(number)],
            stdout=subprocess.PIPE,
        )
        assert writer.stdout is not None
        assert writer.stdout.readline() == b"ready\n"
        try:
            writer.wait(timeout=float(rng.uniform(0.0, 0.08)))
        except subprocess.TimeoutExpired:
            writer.kill()
        writer.wait()
        writer.stdout.close()
        project = Project.open(ball_project.folder)
        now = project.case("case_0")
        assert now.state is CaseState.LABELLED
        label = now.read_label()
        assert label is not None
        assert set(np.unique(label)) <= {0, 1}
        kept = previous(project, "case_0")
        assert len(kept) <= KEPT + 1
        for path in kept:
            read_labels(path, case.geometry)
        current = project.layout.case("case_0").label.read_bytes()
        if current != oldest_seen and len(kept) < KEPT:
            assert oldest_seen in [path.read_bytes() for path in kept]
    ball_project.set_label("case_0", empty_label())
    assert not list(ball_project.layout.cases.rglob(".tmp-*"))
    assert len(previous(ball_project, "case_0")) <= KEPT


class TestImages:
    def test_a_moved_folder_is_found_again_by_name_and_content(
        self, ball_project, spheres, tmp_path
    ) -> None:
        moved = tmp_path / "archive" / "scans"
        moved.parent.mkdir()
        spheres.images.rename(moved)
        save_nifti(moved / "case_4.nii.gz", ball(0))
        assert set(ball_project.check_images()) == set(spheres.ids)
        report = ball_project.relocate(tmp_path / "archive")
        assert report.added == ["case_0", "case_1", "case_2", "case_3"]
        assert "another one" in report.skipped["case_4"]
        assert list(ball_project.check_images()) == ["case_4"]
        assert ball_project.case("case_0").record.history[-1].action == "relocate"

    def test_a_changed_image_is_reported(self, ball_project, spheres) -> None:
        save_nifti(spheres.images / "case_3.nii.gz", 3 * ball(0))
        problems = ball_project.check_images()
        assert list(problems) == ["case_3"]
        assert "changed" in problems["case_3"]

    def test_a_touched_image_is_not_a_changed_one(self, ball_project, spheres) -> None:
        os.utime(spheres.images / "case_3.nii.gz")
        assert ball_project.check_images() == {}
