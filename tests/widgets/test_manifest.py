from __future__ import annotations

import json
import subprocess
import sys
import warnings
from typing import TYPE_CHECKING, Any

import nibabel as nib
import numpy as np
import pytest
from npe2 import PluginManifest

from napari_semiseg import _reader, _sample_data, _writer, commands
from napari_semiseg.errors import ImageError, SemisegError
from napari_semiseg.io.registry import writable
from napari_semiseg.project.review.flags import is_put_off
from napari_semiseg.widgets.common.preferences import SETTINGS
from napari_semiseg.widgets.dock import TABS, SemisegDock, find_panel
from napari_semiseg.widgets.review.actions import review_actions

if TYPE_CHECKING:
    from collections.abc import Callable
    from pathlib import Path

    from napari_semiseg.project.project import Project

OWN_MODULES = 6
"""Of this package, which napari loads with the plugin: as few as that."""


@pytest.fixture(scope="module")
def manifest() -> PluginManifest:
    return PluginManifest.from_distribution("napari-semiseg")


def test_the_manifest_is_valid_and_every_command_exists(
    manifest: PluginManifest,
) -> None:
    manifest.validate_imports()
    assert manifest.display_name == "Semiseg"


def test_commands_have_titles_for_the_palette(manifest: PluginManifest) -> None:
    titles = [command.title for command in manifest.contributions.commands or []]
    assert "Accept label and open next case" in titles
    assert "Start training" in titles
    assert len(set(titles)) == len(titles)


def test_the_manifest_has_the_commands_and_menus_of_the_actions(
    manifest: PluginManifest,
) -> None:
    actions = [action for action in commands.actions().values() if action.title]
    listed = manifest.contributions
    missing = []
    titles = {
        command.id: command.title
        for command in listed.commands or []
        if str(command.python_name).startswith(commands.__name__)
    }
    for action in actions:
        name = f"{manifest.name}.{action.id}"
        if titles.get(name) != action.title:
            missing.append(
                f"  commands:\n    - id: {name}\n      title: {action.title}\n"
                f"      python_name: {commands.__name__}:{action.id}"
            )
        menu = (listed.menus or {}).get(action.menu, [])
        if action.menu and name not in [item.command for item in menu]:
            missing.append(f"  menus:\n    {action.menu}:\n      - command: {name}")
    assert not missing, "add to napari.yaml:\n" + "\n".join(missing)
    extra = titles.keys() - {f"{manifest.name}.{action.id}" for action in actions}
    assert not extra, f"no action with a title has these ids: {sorted(extra)}"


def test_the_writer_takes_every_format_that_masks_are_read_back_from(
    manifest: PluginManifest,
) -> None:
    (writer,) = manifest.contributions.writers or []
    readable = [form for form in writable().values() if form.read is not None]
    endings = {ending for form in readable for ending in form.endings}
    assert set(writer.filename_extensions) == endings


def test_every_action_has_an_id_and_a_key_of_its_own() -> None:
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        assert "accept_and_next" in commands.actions()


def test_the_manifest_has_the_settings_and_the_keys_of_the_actions(
    manifest: PluginManifest,
) -> None:
    settings = getattr(manifest.contributions, "configurations", None)
    if settings is None:
        pytest.skip("npe2 before 0.8 knows no settings of plugins")
    panel, keys = settings["panel"].properties, settings["keys"].properties
    assert {name: one.default for name, one in panel.items()} == SETTINGS
    actions = {one.id: one for one in review_actions().values() if one.text}
    missing = [
        f"        {one.id}: {{title: {json.dumps(one.text)}, type: string, "
        f"default: {json.dumps(one.key)}}}"
        for one in actions.values()
        if one.id not in keys
        or (keys[one.id].title, keys[one.id].default) != (one.text, one.key)
    ]
    assert not missing, "write into napari.yaml, under keys:\n" + "\n".join(missing)
    assert not keys.keys() - actions.keys()


def test_menus_are_ones_that_napari_lets_plugins_use(
    manifest: PluginManifest,
) -> None:
    from napari._app_model.constants._menus import is_menu_contributable

    menus = manifest.contributions.menus
    assert menus
    assert all(is_menu_contributable(menu) for menu in menus)


def test_importing_the_plugin_is_quick_and_loads_no_gui() -> None:
    script = (
        "import sys\n"
        "before = set(sys.modules)\n"
        "import napari_semiseg.commands, napari_semiseg._reader\n"
        "new = sys.modules.keys() - before\n"
        "ours = {name for name in new if name.startswith('napari_semiseg')}\n"
        f"assert len(ours) <= {OWN_MODULES}, ours\n"
        "others = {name.partition('.')[0] for name in new - ours}\n"
        "assert others <= sys.stdlib_module_names, others\n"
    )
    done = subprocess.run(
        [sys.executable, "-c", script], capture_output=True, text=True, check=False
    )
    assert done.returncode == 0, done.stderr


# -- the panel


def test_the_panel_is_docked_once(make_napari_viewer: Callable[..., Any]) -> None:
    viewer = make_napari_viewer()
    panel = commands.open_panel(viewer)
    assert isinstance(panel, SemisegDock)
    assert commands.open_panel() is panel
    assert find_panel(viewer) is panel


def test_without_a_window_there_is_no_panel(qapp: object) -> None:
    with pytest.raises(SemisegError, match="start napari first"):
        commands.open_panel()


def test_start_training_without_a_label_says_why(
    make_napari_viewer: Callable[..., Any], project: Project
) -> None:
    panel = commands.open_project_in_viewer(project.folder, make_napari_viewer())
    commands.start_training()
    assert panel.tabs.tabText(panel.tabs.currentIndex()) == "Train"
    assert panel.training.reason.text() == "Label at least one case first."


def test_a_case_is_put_off_by_command(window: None, project: Project) -> None:
    panel = commands.open_project_in_viewer(project.folder)
    commands.skip_case()
    assert panel.tabs.currentIndex() == TABS.index("Review")
    assert not any(is_put_off(case, None) for case in project.cases())
    assert panel.case_view.open("case_0")
    commands.next_worst_slice()
    assert panel.status.text().startswith("No prediction of this case yet")
    commands.skip_case()
    assert is_put_off(project.case("case_0"), None)
    assert panel.session.case_id == "case_1"


# -- reader


def test_the_reader_takes_projects_and_nothing_else(
    project: Project, tmp_path: Path, images: list[Path]
) -> None:
    assert _reader.get_reader(str(project.folder)) is not None
    assert _reader.get_reader(str(project.folder / "project.toml")) is not None
    assert _reader.get_reader(str(tmp_path)) is None
    assert _reader.get_reader(str(images[0])) is None
    assert _reader.get_reader([str(project.folder)]) is None
    foreign = tmp_path / "other" / "project.toml"
    foreign.parent.mkdir()
    foreign.write_text("[tool]\nname = 'x'\n", encoding="utf-8")
    assert _reader.get_reader(str(foreign)) is None


def test_opening_a_project_folder_in_napari_opens_the_panel(
    make_napari_viewer: Callable[..., Any], project: Project
) -> None:
    viewer = make_napari_viewer()
    viewer.open(str(project.folder), plugin="napari-semiseg")
    panel = find_panel(viewer)
    assert panel is not None
    assert panel.session.project is not None
    assert panel.session.project.folder == project.folder
    assert len(viewer.layers) == 0


# -- writer


def metadata(project: Project, case_id: str) -> dict[str, Any]:
    known = {"project": str(project.folder), "case": case_id}
    return {"name": "mask", "metadata": {"semiseg": known}}


def test_a_mask_is_written_on_the_grid_of_its_image(
    project: Project, tmp_path: Path
) -> None:
    case = project.case("case_1")
    mask = np.zeros(case.geometry.shape_zyx, np.uint8)
    mask[2, 3, 4] = 1
    target = tmp_path / "out.nii.gz"
    written = _writer.write_labels_layer(str(target), mask, metadata(project, "case_1"))
    assert written == [str(target)]
    saved, source = nib.load(target), nib.load(case.image)
    assert saved.shape == source.shape
    np.testing.assert_array_equal(saved.affine, source.affine)
    assert saved.header["sform_code"] == source.header["sform_code"]
    np.testing.assert_array_equal(
        case.geometry.to_canonical(np.asarray(saved.dataobj)), mask
    )


def test_a_layer_of_unknown_origin_is_refused(tmp_path: Path) -> None:
    target = tmp_path / "out.nii.gz"
    with pytest.raises(ImageError, match="does not say which image"):
        _writer.write_labels_layer(
            str(target), np.zeros((2, 2, 2), np.uint8), {"name": "new", "metadata": {}}
        )
    assert not target.exists()


def test_a_layer_of_another_shape_is_refused(project: Project, tmp_path: Path) -> None:
    target = tmp_path / "out.nii.gz"
    with pytest.raises(ImageError, match="expected labels from 0 to 255 of shape"):
        _writer.write_labels_layer(
            str(target), np.zeros((2, 2, 2), int), metadata(project, "case_1")
        )
    assert not target.exists()


# -- sample data


def test_sample_data_are_an_image_and_its_mask() -> None:
    pytest.importorskip("nilearn")
    (image, image_meta, image_type), (mask, mask_meta, mask_type) = (
        _sample_data.sample_data()
    )
    assert (image_type, mask_type) == ("image", "labels")
    assert image.shape == mask.shape
    assert image_meta["scale"] == mask_meta["scale"]
    assert set(np.unique(mask)) == {0, 1}
