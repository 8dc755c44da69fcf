"""DICOM series and structure sets for tests, of a patient who is not to be named."""

from __future__ import annotations

import numpy as np
import pydicom
from pydicom.dataset import Dataset
from scipy.spatial.transform import Rotation

SHAPE = (12, 20, 24)
SPACING = (2.0, 0.8, 0.9)


def write_oblique_series(folder):
    """A series with all that a SEG refers to, its files in no anatomical order."""
    turn = Rotation.from_euler("xyz", (10, 25, -5), degrees=True).as_matrix()
    folder.mkdir(parents=True)
    rng = np.random.default_rng(1)
    for index in range(SHAPE[0]):
        item = Dataset()
        item.file_meta = pydicom.dataset.FileMetaDataset()
        item.file_meta.TransferSyntaxUID = pydicom.uid.ExplicitVRLittleEndian
        item.SOPClassUID = item.file_meta.MediaStorageSOPClassUID = (
            pydicom.uid.MRImageStorage
        )
        item.SOPInstanceUID = f"1.2.3.4.{index + 1}"
        item.file_meta.MediaStorageSOPInstanceUID = item.SOPInstanceUID
        item.PatientName, item.PatientID = "Secret^Name", "S1"
        item.PatientBirthDate = item.PatientSex = item.StudyID = ""
        item.StudyDate = item.StudyTime = item.AccessionNumber = ""
        item.ReferringPhysicianName = ""
        item.StudyInstanceUID, item.SeriesInstanceUID = "1.2.3", "1.2.3.4"
        item.FrameOfReferenceUID, item.Modality = "1.2.9", "MR"
        item.SeriesNumber, item.InstanceNumber = 1, SHAPE[0] - index
        item.PixelSpacing = list(SPACING[1:])
        item.SliceThickness = SPACING[0]
        item.ImageOrientationPatient = [round(v, 9) for v in turn.T[:2].ravel()]
        place = np.array([-30.0, 12.0, 5.0]) + turn[:, 2] * SPACING[0] * index
        item.ImagePositionPatient = [round(v, 9) for v in place]
        item.Rows, item.Columns = SHAPE[1:]
        item.SamplesPerPixel, item.PhotometricInterpretation = 1, "MONOCHROME2"
        item.BitsAllocated = item.BitsStored = 16
        item.HighBit, item.PixelRepresentation = 15, 0
        values = rng.integers(0, 900, SHAPE[1:]).astype(np.uint16)
        item.PixelData = values.tobytes()
        name = f"{(index * 5) % SHAPE[0]:02}.dcm"
        item.save_as(folder / name, enforce_file_format=True)
    return folder


def contour(geometry, z, corners):
    """Contour data, LPS mm, of (y, x) corners on a canonical slice."""
    points = np.array([[z, y, x, 1.0] for y, x in corners]) @ geometry.affine.T
    made = Dataset()
    made.ContourGeometricType = "CLOSED_PLANAR"
    made.ContourData = [
        round(v, 6) for v in (points[:, :3] * (-1, -1, 1)).ravel().tolist()
    ]
    return made


def structure_set(path, rois):
    """Write an RTSTRUCT file of contours by name."""
    made = Dataset()
    made.file_meta = pydicom.dataset.FileMetaDataset()
    made.file_meta.TransferSyntaxUID = pydicom.uid.ExplicitVRLittleEndian
    made.SOPClassUID = pydicom.uid.RTStructureSetStorage
    made.SOPInstanceUID = "1.2.3.5.1"
    made.file_meta.MediaStorageSOPClassUID = made.SOPClassUID
    made.file_meta.MediaStorageSOPInstanceUID = made.SOPInstanceUID
    made.Modality = "RTSTRUCT"
    frame, study, referenced = Dataset(), Dataset(), Dataset()
    referenced.SeriesInstanceUID = "1.2.3.4"
    study.RTReferencedSeriesSequence = [referenced]
    frame.RTReferencedStudySequence = [study]
    made.ReferencedFrameOfReferenceSequence = [frame]
    made.StructureSetROISequence, made.ROIContourSequence = [], []
    for number, (name, contours) in enumerate(rois.items(), start=1):
        roi, drawn = Dataset(), Dataset()
        roi.ROINumber, roi.ROIName = number, name
        drawn.ReferencedROINumber, drawn.ContourSequence = number, contours
        made.StructureSetROISequence.append(roi)
        made.ROIContourSequence.append(drawn)
    path.parent.mkdir(exist_ok=True)
    made.save_as(path, enforce_file_format=True)
    return path


def square(low, high):
    """Corners (y, x) between voxels."""
    return [(low, low), (low, high), (high, high), (high, low)]
