"""Encodes pictures as lossless JPEG XL: width, height and channels (u32 each) and pixels in, length (u32) and bytes out."""

import struct
import sys

import numpy
from imagecodecs import jpegxl_encode

source, sink = sys.stdin.buffer, sys.stdout.buffer
while header := source.read(12):
    width, height, channels = struct.unpack("<3I", header)
    pixels = numpy.frombuffer(source.read(width * height * channels), numpy.uint8)
    shape = (height, width) if channels == 1 else (height, width, channels)
    encoded = jpegxl_encode(pixels.reshape(shape), lossless=True, effort=7)
    sink.write(struct.pack("<I", len(encoded)) + encoded)
    sink.flush()
