"""Compares a DICOM segmentation with the NIfTI mask of the same run, as independent readers have them.

check_seg.py SOURCE MASK.seg.dcm MASK.nii.gz

SOURCE is the DICOM file, or the folder of the series, that was segmented, once with --format seg and once with
--format nifti. highdicom reads the segmentation by its source images (of a multi-frame image by its frames), and every
voxel must be the same, and every frame must lie where its source lies, to 1e-3 mm. How far highdicom's volume is from the
NIfTI file, whose slices are evenly apart whatever the source's are, is printed. dciodvfy
must print no error but of UIDs that are the source's own. Needs highdicom (0.28.2), nibabel and dciodvfy (of Debian's dicom3tools).
"""
import subprocess
import sys
from pathlib import Path

import highdicom
import nibabel
import numpy as np
import pydicom

source, seg_path, nifti_path = map(Path, sys.argv[1:])
images = []
for path in sorted(source.rglob("*")) if source.is_dir() else [source]:
    if path.is_file():
        images.append(pydicom.dcmread(path, stop_before_pixels=True, force=True))
seg = highdicom.seg.segread(seg_path)
mask = nibabel.load(nifti_path)
expected = np.asarray(mask.dataobj).transpose(2, 1, 0)
if len(images) == 1 and int(images[0].get("NumberOfFrames", 1) or 1) > 1:
    image = images[0]
    groups = image.get("PerFrameFunctionalGroupsSequence", [])
    frames = list(range(1, int(image.NumberOfFrames) + 1))
    if "FrameOfReferenceUID" in seg:
        shared = image.SharedFunctionalGroupsSequence[0]
        def normal(group):
            holder = group if "PlaneOrientationSequence" in group else shared
            turned = np.array(holder.PlaneOrientationSequence[0].ImageOrientationPatient, float)
            return np.cross(turned[:3], turned[3:])
        place = lambda n: np.dot(groups[n - 1].PlanePositionSequence[0].ImagePositionPatient, normal(groups[0]))
        frames.sort(key=place)
    found = seg.get_pixels_by_source_frame(
        image.SOPInstanceUID, frames, combine_segments=True, assert_missing_frames_are_empty=True,
        ignore_spatial_locations="FrameOfReferenceUID" not in seg)
else:
    if len(images) > 1:
        turned = np.array(images[0].ImageOrientationPatient, float)
        images.sort(key=lambda i: np.dot(i.ImagePositionPatient, np.cross(turned[:3], turned[3:])))
    found = seg.get_pixels_by_source_instance(
        [i.SOPInstanceUID for i in images], combine_segments=True, assert_missing_frames_are_empty=True,
        ignore_spatial_locations="FrameOfReferenceUID" not in seg)
assert found.shape == expected.shape, (found.shape, expected.shape)
assert (found == expected).all(), f"{(found != expected).sum()} voxels differ"
by_uid = {i.SOPInstanceUID: i for i in images}
placed = 0
for group in seg.PerFrameFunctionalGroupsSequence:
    origin = group.DerivationImageSequence[0].SourceImageSequence[0]
    image = by_uid[origin.ReferencedSOPInstanceUID]
    if "FrameOfReferenceUID" in seg:
        if "ReferencedFrameNumber" in origin:
            image = image.PerFrameFunctionalGroupsSequence[origin.ReferencedFrameNumber - 1].PlanePositionSequence[0]
        position = group.PlanePositionSequence[0].ImagePositionPatient
        assert np.allclose(np.array(position, float), np.array(image.ImagePositionPatient, float), rtol=0, atol=1e-3)
        placed += 1
worst = None
if "FrameOfReferenceUID" in seg and len(found) > 1:
    volume = seg.get_volume(combine_segments=True, rtol=0.05)
    ones = np.argwhere(volume.array > 0)
    there = (volume.affine @ np.c_[ones, np.ones(len(ones))].T)[:3].T * [-1, -1, 1]
    theirs = (mask.affine @ np.c_[np.argwhere(np.asarray(mask.dataobj) > 0), np.ones(len(ones))].T)[:3].T
    order = lambda p: p[np.lexsort(p.round(2).T)]
    worst = float(np.abs(order(there) - order(theirs)).max())
said = subprocess.run(["dciodvfy", seg_path], capture_output=True, text=True).stderr
own = {i.get(key) for i in images for key in ("SOPInstanceUID", "SeriesInstanceUID", "StudyInstanceUID",
                                              "FrameOfReferenceUID")}
theirs = lambda line: "Illegal root for UID" in line and line.split('"')[1] in own
errors = [line for line in said.splitlines() if line.startswith("Error")]
excused = [line for line in errors if theirs(line)]
errors = [line for line in errors if not theirs(line)]
warnings = [line for line in said.splitlines() if line.startswith("Warning")]
print(f"{seg_path.name}: {found.shape} the same, {int((found > 0).sum())} voxels labelled, "
      f"{seg.number_of_segments} segments, "
      f"{placed} of {len(seg.PerFrameFunctionalGroupsSequence)} frames placed as the source, NIfTI within {worst} mm; dciodvfy: {len(errors)} errors, "
      f"{len(excused)} of the source's UIDs, {warnings}")
assert not errors, errors
