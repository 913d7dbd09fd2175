"""Compares label maps of one run in several formats, as independent readers have them.

check_formats.py MASK.nii.gz MASK.seg.nrrd                     # of umedsam segment --format nifti,nrrd
check_formats.py MASK.mask.png MASK.geojson MASK.coco.json     # of --format png,geojson,coco

The NRRD must have every voxel where the NIfTI file has it (pynrrd 1.1.3 and SimpleITK 2.5.7, to 1e-4 mm). Outlines must be
valid (shapely 2.1) and, rasterised by their pixels' centres, be the mask; so must COCO's runs (pycocotools 2.0), and COCO's polygons
as numbers; how far pycocotools' own rasterising of polygons is from the mask is printed.
"""
import json
import sys

import numpy as np

files = sys.argv[1:]
if files[1].endswith(".nrrd"):
    import nibabel
    import nrrd
    import SimpleITK as sitk

    mask = nibabel.load(files[0])
    labels = np.asarray(mask.dataobj)
    values, header = nrrd.read(files[1])
    assert values.shape == labels.shape and (values == labels).all()
    lps = np.diag([-1, -1, 1]) @ mask.affine[:3]
    assert np.allclose(header["space directions"].T, lps[:, :3], atol=1e-6), header["space directions"]
    assert np.allclose(header["space origin"], lps[:, 3], atol=1e-4)
    assert header["space"] == "left-posterior-superior"
    image = sitk.ReadImage(files[1])
    assert (sitk.GetArrayFromImage(image) == labels.T).all()
    corner = [n - 1 for n in labels.shape]
    place = lps @ [*corner, 1]
    worst = np.abs(np.array(image.TransformIndexToPhysicalPoint(corner)) - place).max()
    names = {k: v for k, v in header.items() if k.endswith(("_Name", "_LabelValue"))}
    print(f"{files[1]}: {labels.shape} the same in pynrrd and SimpleITK, the last voxel within {worst:.1e} mm; {names}")
else:
    import shapely
    import shapely.geometry
    from PIL import Image
    from pycocotools import mask as coco_mask

    labels = np.asarray(Image.open(files[0]))
    height, width = labels.shape
    outlines = json.load(open(files[1]))
    y, x = np.mgrid[:height, :width] + 0.5
    for feature in outlines["features"]:
        shape = shapely.geometry.shape(feature["geometry"])
        assert shape.is_valid, shapely.is_valid_reason(shape)
        own = labels == feature["properties"]["label"]
        assert shape.area == own.sum() == feature["properties"]["pixels"]
        assert (shapely.contains_xy(shape, x, y) == own).all()
    coco = json.load(open(files[2]))
    for found in coco["annotations"]:
        own = labels == found["category_id"]
        kind = "polygons" if isinstance(found["segmentation"], list) else "runs"
        packed = found["segmentation"]
        packed = coco_mask.merge(coco_mask.frPyObjects(packed, height, width)) if kind == "polygons" else \
            coco_mask.frPyObjects(packed, height, width)
        theirs = coco_mask.decode(packed).astype(bool)
        differ = int((theirs != own).sum())
        assert kind == "polygons" or differ == 0
        rows, columns = own.nonzero()
        assert found["bbox"] == [columns.min(), rows.min(), np.ptp(columns) + 1, np.ptp(rows) + 1]
        assert found["area"] == own.sum()
        print(f"object {found['category_id']}: {own.sum()} px, {kind}; pycocotools differs in {differ} px")
    print(f"{files[1]}: {len(outlines['features'])} outlines, valid and the mask itself")
