"""Pictures that Pillow (libtiff, libwebp) writes, for edge-demo/tests/pictures.rs: a disc of 220 on 20 in 40 x 30 pixels.

pictures_made.py edge-demo/tests/data/pictures

Made with Pillow 13.0.
"""
import sys
from pathlib import Path

import numpy as np
from PIL import Image

folder = Path(sys.argv[1])
folder.mkdir(exist_ok=True)
y, x = np.mgrid[:30, :40]
disc = ((x - 17) ** 2 + (y - 12) ** 2 < 60).astype(np.uint8)
gray = Image.fromarray(disc * 200 + 20)
wide = Image.fromarray((disc * 200 + 20).astype(np.uint16) * 100)
for name, picture, options in [
    ("jpeg.tif", gray, {"compression": "jpeg", "quality": 95}),
    ("ycbcr.tif", gray.convert("RGB"), {"compression": "jpeg", "quality": 95}),
    ("lzw.tif", gray, {"compression": "tiff_lzw"}),
    ("deflate.tif", wide, {"compression": "tiff_adobe_deflate"}),
    ("packbits.tif", gray, {"compression": "packbits"}),
    ("big.tif", wide, {"big_tiff": True}),
    ("float.tif", Image.fromarray(disc * np.float32(200) + 20), {}),
    ("bits.tif", Image.fromarray(disc * 255).convert("1"), {"compression": "group4"}),
    ("cmyk.tif", gray.convert("CMYK"), {}),
    ("zstd.tif", gray, {"compression": "zstd"}),
    ("gray.bmp", gray, {}),
    ("rgb.bmp", gray.convert("RGB"), {}),
    ("lossless.webp", gray.convert("RGB"), {"lossless": True}),
    ("lossy.webp", gray.convert("RGB"), {"quality": 95}),
]:
    picture.save(folder / name, **options)
pages = [Image.fromarray((disc * 200 + 20).astype(np.uint16) * 100 + n) for n in range(4)]
pages[0].save(folder / "pages.tif", save_all=True, append_images=pages[1:], compression="tiff_lzw")
pages[0].save(folder / "uneven.tif", save_all=True, append_images=[pages[1].crop((0, 0, 20, 20))])
Image.fromarray(disc).save(folder / "mask.png")
