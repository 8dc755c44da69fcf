"""Fetch real scans for the tests that read some: 27 MB of hippocampi.

    python tests/fetch_scans.py

They are Task04 of the Medical Segmentation Decathlon (Antonelli et al., Nat. Commun.
2022; CC BY-SA 4.0), 260 parts of T1-weighted MR with masks, and go where `real_data`
looks. The tests themselves never need the network: without scans they skip.
"""

from __future__ import annotations

import argparse
import tarfile
from pathlib import Path, PurePosixPath

from real_data import ROOT

URL = "https://msd-for-monai.s3-us-west-2.amazonaws.com/Task04_Hippocampus.tar"
HASH = "md5:9d24dba78a72977dbd1d2e110310f31b"
"""The archive as MONAI's `DecathlonDataset` names and checks it."""
KINDS = "imagesTr", "labelsTr"


def fetch(target: Path, url: str = URL, known_hash: str = HASH) -> int:
    """Download the archive, check it, and unpack its scans and masks into a folder.

    Returns
    -------
    int
        Number of the scans with a mask.
    """
    import pooch

    archive = pooch.retrieve(url, known_hash, progressbar=False)
    with tarfile.open(archive) as packed:
        for member in packed:
            path = PurePosixPath(member.name)
            # What begins with a point was left by the file manager of a Mac.
            if path.parent.name not in KINDS or path.name.startswith("."):
                continue
            content = packed.extractfile(member)
            if content is not None:
                place = target / path.parent.name / path.name
                place.parent.mkdir(parents=True, exist_ok=True)
                place.write_bytes(content.read())
    images, masks = ({one.name for one in (target / kind).iterdir()} for kind in KINDS)
    return len(images & masks)


if __name__ == "__main__":
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--to", type=Path, default=ROOT, help="folder of data sets")
    folder = parser.parse_args().to / "Hippocampus"
    print(f"{fetch(folder)} scans with a mask in {folder}")  # noqa: T201
