"""A folder with two DICOM series of one patient."""

from __future__ import annotations

import pydicom

from dicom_files import write_oblique_series


def write_two_series(folder, *, alike=False, patient=""):
    """``T1 post`` of 21 November and, of a day before, ``scout``.

    The second is a slice shorter unless they are to be alike. The UIDs are 1.2.3.4, as
    `write_oblique_series` has it, and 1.2.3.8, with the patient's number behind.
    """
    write_oblique_series(folder)
    paths = sorted(folder.iterdir())
    for path in paths:
        item = pydicom.dcmread(path)
        item.SeriesInstanceUID = f"1.2.3.4{patient}"
        item.SeriesDescription, item.SeriesDate = "T1 post", "20201121"
        item.save_as(path)
        item.SeriesInstanceUID, item.SeriesNumber = f"1.2.3.8{patient}", 7
        item.SeriesDescription, item.SeriesDate = "scout", "20201120"
        item.SOPInstanceUID = f"{item.SOPInstanceUID}.8"
        item.file_meta.MediaStorageSOPInstanceUID = item.SOPInstanceUID
        item.save_as(path.with_name(f"scout_{path.name}"))

    if alike:
        return folder

    def height(path):
        return float(pydicom.dcmread(path).ImagePositionPatient[2])

    min(folder.glob("scout_*"), key=height).unlink()
    return folder
