from __future__ import annotations

import os

import pytest

from napari_semiseg.errors import ProjectError
from napari_semiseg.io.atomic import atomic_path, read_json, write_json, write_text


def test_the_temporary_file_lies_beside_the_target_and_keeps_its_suffixes(tmp_path):
    for name in ("patient.1.nii.gz", "case.json", "m.nrrd", "plain"):
        target = tmp_path / "new" / name
        with atomic_path(target) as temporary:
            assert temporary.parent == target.parent
            assert not target.exists()
            temporary.write_bytes(b"whole")
        assert target.read_bytes() == b"whole"
        assert not temporary.exists()
        for suffix in (".nii.gz", ".json", ".nrrd"):
            assert temporary.name.endswith(suffix) == name.endswith(suffix)


def test_a_failure_leaves_the_old_file_and_no_other(tmp_path):
    target = tmp_path / "case.json"
    target.write_text("old")

    def fail():
        with atomic_path(target) as temporary:
            temporary.write_text("half")
            raise RuntimeError("stop")

    with pytest.raises(RuntimeError, match="stop"):
        fail()
    assert [file.name for file in tmp_path.iterdir()] == ["case.json"]
    assert target.read_text() == "old"


def test_the_file_is_flushed_before_it_is_renamed(tmp_path, monkeypatch):
    calls = []
    real_fsync, real_replace = os.fsync, os.replace

    def fsync(descriptor):
        calls.append("fsync")
        real_fsync(descriptor)

    def replace(source, target):
        calls.append("replace")
        real_replace(source, target)

    monkeypatch.setattr(os, "fsync", fsync)
    monkeypatch.setattr(os, "replace", replace)
    write_text(tmp_path / "a.txt", "text")
    assert calls[:2] == ["fsync", "replace"]


def test_a_folder_that_cannot_be_written_is_named_in_one_line(tmp_path):
    (tmp_path / "file").write_text("in the way")
    with pytest.raises(ProjectError) as caught:
        write_json(tmp_path / "file" / "case.json", {})
    message = str(caught.value)
    assert "case.json" in message
    assert "writable" in message
    assert "\n" not in message


def test_json_round_trips(tmp_path):
    value = {"name": "Vorhof links é", "numbers": [1, 2.5, None, True]}
    write_json(tmp_path / "a.json", value)
    assert read_json(tmp_path / "a.json") == value
    assert "é" in (tmp_path / "a.json").read_text(encoding="utf-8")


@pytest.mark.parametrize("content", [b'{"a": [1, 2', b"", b"\xff\xfe\x00"])
def test_torn_json_is_named(tmp_path, content):
    path = tmp_path / "case.json"
    path.write_bytes(content)
    with pytest.raises(ProjectError, match=r"case\.json: expected JSON") as caught:
        read_json(path)
    assert "\n" not in str(caught.value)


def test_missing_json_is_named(tmp_path):
    with pytest.raises(ProjectError, match=r"none\.json"):
        read_json(tmp_path / "none.json")
