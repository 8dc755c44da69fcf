"""Assert that recipe, archive record and container files agree with pyproject.toml.

python tests/check_packaging.py
"""

from __future__ import annotations

import json
import re
import sys
import tomllib
from pathlib import Path

import yaml

ROOT = Path(__file__).parents[1]


def main() -> None:
    read = {path: (ROOT / path).read_text(encoding="utf-8") for path in FILES}
    project = tomllib.loads(read["pyproject.toml"])["project"]
    recipe = yaml.safe_load(read["packaging/conda-forge/recipe.yaml"])
    agree("version", recipe["context"]["version"], project["version"])
    agree(
        "what it needs",
        {line.replace(" ", "") for line in recipe["requirements"]["run"][1:]},
        {line.lower() for line in project["dependencies"]},
    )
    record = json.loads(read[".zenodo.json"])
    citation = yaml.safe_load(read["CITATION.cff"])
    for key in ("title", "license", "keywords"):
        agree(key, record[key], citation[key])
    names = {person["name"] for person in record["creators"]}
    agree("creators", names, {person["name"] for person in project["authors"]})
    extras = set(project["optional-dependencies"])
    for path in ("Dockerfile", "packaging/semiseg.def"):
        (used,) = re.findall(r'"\.\[(.+?)\]"', read[path])
        agree(f"extras of {path}", set(used.split(",")) - extras, set())
    copied = re.findall(r"^!(\S+)", read[".dockerignore"], flags=re.M)
    in_image = re.findall(r"^ {4}(\S+) /build/", read["packaging/semiseg.def"], re.M)
    agree("files of the images", set(copied), set(in_image))


FILES = (
    "pyproject.toml",
    "packaging/conda-forge/recipe.yaml",
    "packaging/semiseg.def",
    "CITATION.cff",
    ".zenodo.json",
    "Dockerfile",
    ".dockerignore",
)


def agree(what: str, found: object, expected: object) -> None:
    if found != expected:
        sys.exit(f"{what}: expected {expected}, found {found}")


if __name__ == "__main__":
    main()
