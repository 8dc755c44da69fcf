from __future__ import annotations

import json
from pathlib import Path

import pytest

from napari_semiseg.errors import ConfigError
from napari_semiseg.io.label_tables import read_label_table

TABLES = {
    "dataset.json": json.dumps(
        {"labels": {"background": 0, "left atrium": 1, "aorta": 2, "ignore": 3}}
    ),
    "decathlon.json": json.dumps(
        {"labels": {"0": "background", "1": "left atrium", "2": "aorta"}}
    ),
    "labels.txt": "# heart\n1=left atrium #FF0000\n2=aorta #00ff10\n",
    "words.txt": "1 left atrium\n2\taorta\n",
    "snap.txt": """\
################################################
# ITK-SnAP Label Description File
################################################
    0     0    0    0        0  0  0    "Clear Label"
    1   255    0    0        1  1  1    "left atrium"
    2     0  255   16      0.5  1  1    "aorta"
""",
    "Heart.ctbl": """\
# Slicer Color File heart.ctbl
# 3 values
0 background 0 0 0 0
1 left_atrium 255 0 0 255
2 aorta 0 255 16 255
""",
    "FreeSurferColorLUT.txt": """\
#No. Label Name:                            R   G   B   A
  0   Unknown                                 0   0   0   0
  1   left_atrium                           255   0   0   0
  2   aorta                                   0 255  16   0
""",
    "dseg.tsv": "index\tname\tcolor\n1\tleft atrium\t#FF0000\n2\taorta\t#00ff10\n",
}
TABLES["pandas.tsv"] = TABLES["dseg.tsv"].replace("\n1", "\n1.0")
COLOURED = {"labels.txt", "snap.txt", "Heart.ctbl", "FreeSurferColorLUT.txt"}


@pytest.mark.parametrize("name", TABLES)
def test_tables_of_other_programs(tmp_path: Path, name: str) -> None:
    path = tmp_path / name
    path.write_text(TABLES[name])
    found = read_label_table(path)
    assert [(item.value, item.name) for item in found] == [
        (1, "left atrium"),
        (2, "aorta"),
    ]
    if name in COLOURED | {"dseg.tsv"}:
        assert [item.colour.upper() for item in found] == ["#FF0000", "#00FF10"]


@pytest.mark.parametrize(
    ("text", "says"),
    [
        ("1 a 0 0 0 0\n1001 ctx-lh-bankssts 25 100 40 0\n", "beyond, as 1001=ctx-lh"),
        ('{"labels": {"tumour": [1, 2]}}', "regions of several values"),
        ("left atrium\n", "expected a line of a label table"),
        ("0 background\n", "expected structures"),
        ("1 a\n1 b\n", "two labels have the value 1"),
        ("1 a 0 0 300 0\n", "colours from 0 to 255"),
        ("index\tname\nn/a\tatrium\n", "index of a structure .*'n/a'"),
        ("index\tname\n\tatrium\n", "index of a structure .*'atrium'"),
    ],
)
def test_other_files_are_refused(tmp_path: Path, text: str, says: str) -> None:
    path = tmp_path / "table.txt"
    path.write_text(text)
    with pytest.raises(ConfigError, match=says):
        read_label_table(path)
    with pytest.raises(ConfigError, match="check the path"):
        read_label_table(tmp_path / "none.txt")
