"""Reads a DICOM series by SimpleITK, one request a line.

reading.py FOLDER SLICES

FOLDER is filled with a CT series of so many slices if it is empty. Answers: `version`; `read` (milliseconds); `voxels`
(number, sum, least and greatest of the values, and the spacing).
"""
import os
import sys
import time
from pathlib import Path

import numpy as np
import SimpleITK as sitk

# The pipe is for answers only: whatever a library prints goes to standard error.
answers = os.fdopen(os.dup(1), "w", buffering=1)
os.dup2(2, 1)
folder, slices = Path(sys.argv[1]), int(sys.argv[2])


def make():
    """512x512 voxels of 12 bits in a slice: a body with noise, whose files are in no order of place."""
    import pydicom
    from pydicom.dataset import FileDataset, FileMetaDataset

    random = np.random.default_rng(1)
    y, x = np.mgrid[:512, :512]
    body = np.where((x - 256) ** 2 / 1.4 + (y - 256) ** 2 < 170**2, 1060, 20)
    series, study, frame = (pydicom.uid.generate_uid() for _ in range(3))
    for z in range(slices):
        meta = FileMetaDataset()
        meta.TransferSyntaxUID = pydicom.uid.ExplicitVRLittleEndian
        meta.MediaStorageSOPClassUID = pydicom.uid.CTImageStorage
        meta.MediaStorageSOPInstanceUID = pydicom.uid.generate_uid()
        d = FileDataset("", {}, file_meta=meta, preamble=b"\0" * 128)
        d.SOPClassUID, d.SOPInstanceUID = meta.MediaStorageSOPClassUID, meta.MediaStorageSOPInstanceUID
        d.SeriesInstanceUID, d.StudyInstanceUID, d.FrameOfReferenceUID = series, study, frame
        d.Modality, d.PatientName, d.PatientID, d.InstanceNumber = "CT", "", "", z + 1
        d.Rows = d.Columns = 512
        d.SamplesPerPixel, d.PhotometricInterpretation, d.PixelRepresentation = 1, "MONOCHROME2", 0
        d.BitsAllocated, d.BitsStored, d.HighBit = 16, 12, 11
        d.RescaleSlope, d.RescaleIntercept = 1, -1024
        d.ImagePositionPatient, d.ImageOrientationPatient = [-180, -180, 1.25 * z], [1, 0, 0, 0, 1, 0]
        d.PixelSpacing, d.SliceThickness = [0.7, 0.7], 1.25
        d.PixelData = (body + random.integers(0, 60, body.shape)).astype("<u2").tobytes()
        d.save_as(folder / f"{z * 7919 % 100003:06}.dcm", enforce_file_format=True)


if not any(folder.iterdir()):
    make()


def read():
    reader = sitk.ImageSeriesReader()
    reader.SetFileNames(reader.GetGDCMSeriesFileNames(str(folder)))
    return reader.Execute()


print("ready", file=answers)
for request in sys.stdin:
    match request.strip():
        case "version":
            print(sitk.Version.VersionString(), file=answers)
        case "read":
            start = time.perf_counter()
            read()
            print((time.perf_counter() - start) * 1e3, file=answers)
        case "voxels":
            image = read()
            values = sitk.GetArrayViewFromImage(image)
            numbers = [values.size, values.sum(dtype="i8"), values.min(), values.max(), *image.GetSpacing()]
            print(*(f"{float(n):.6f}" for n in numbers), file=answers)
