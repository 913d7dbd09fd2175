//! DICOM files made here, to be cut and contradicted.
#![allow(dead_code, missing_docs, unreachable_pub, reason = "a part of a test")]

/// A slice of CT with 6 x 4 pixels whose values are its number minus 1000.
#[derive(Clone)]
pub struct Slice {
    pub z: i16,
    pub rows: u16,
    pub stored: u16,
    pub orientation: &'static str,
    pub position: String,
    pub thickness: f64,
    pub frames: &'static str,
    pub series: &'static str,
    pub echo: &'static str,
    pub kind: &'static str,
}

/// Slice `z` of a series of slices so far apart.
pub fn slice(z: i16, spacing: f64) -> Slice {
    Slice {
        z,
        rows: 4,
        stored: 16,
        orientation: "1\\0\\0\\0\\1\\0",
        position: format!("-10\\20\\{}", 30.0 + f64::from(z) * spacing),
        thickness: spacing,
        frames: "1",
        series: "1.2",
        echo: "1",
        kind: "ORIGINAL\\PRIMARY\\AXIAL",
    }
}

/// An element in explicit VR, little-endian.
fn element(group: u16, number: u16, vr: &str, value: &[u8]) -> Vec<u8> {
    let mut bytes = [group.to_le_bytes(), number.to_le_bytes()].concat();
    bytes.extend(vr.as_bytes());
    let length = value.len() + value.len() % 2;
    if matches!(vr, "OB" | "OW" | "SQ" | "UN") {
        bytes.extend([0, 0]);
        bytes.extend((length as u32).to_le_bytes());
    } else {
        bytes.extend((length as u16).to_le_bytes());
    }
    bytes.extend(value);
    bytes.resize(bytes.len() + length - value.len(), if vr == "UI" { 0 } else { b' ' });
    bytes
}

/// What is before the elements of a file in this transfer syntax.
pub fn preamble(syntax: &str) -> Vec<u8> {
    let mut bytes = vec![0; 128];
    bytes.extend(b"DICM");
    bytes.extend(element(2, 0x10, "UI", syntax.as_bytes()));
    bytes
}

/// The file of a slice.
pub fn file(slice: &Slice, syntax: &str) -> Vec<u8> {
    let pixels: Vec<u8> = std::iter::repeat_n(slice.z, 24).flat_map(i16::to_le_bytes).collect();
    with_pixels(slice, syntax, element(0x7fe0, 0x10, "OW", &pixels))
}

/// The file of a slice whose pixels are compressed.
pub fn encapsulated(slice: &Slice, syntax: &str, frame: &[u8]) -> Vec<u8> {
    let mut pixels = b"\xe0\x7f\x10\0OB\0\0\xff\xff\xff\xff\xfe\xff\0\xe0\0\0\0\0\xfe\xff\0\xe0".to_vec();
    pixels.extend((frame.len() as u32 + frame.len() as u32 % 2).to_le_bytes());
    pixels.extend(frame);
    pixels.resize(pixels.len() + frame.len() % 2, 0);
    pixels.extend(b"\xfe\xff\xdd\xe0\0\0\0\0");
    with_pixels(slice, syntax, pixels)
}

fn with_pixels(slice: &Slice, syntax: &str, pixels: Vec<u8>) -> Vec<u8> {
    let text = |group, number, vr, value: &str| element(group, number, vr, value.as_bytes());
    let number = |number, value: u16| element(0x28, number, "US", &value.to_le_bytes());
    let mut bytes = preamble(syntax);
    for part in [
        text(8, 0x08, "CS", slice.kind),
        text(8, 0x16, "UI", "1.2.840.10008.5.1.4.1.1.2"),
        text(8, 0x18, "UI", &format!("{}.{}.{}", slice.series, slice.echo, slice.z)),
        text(8, 0x60, "CS", "CT"),
        text(0x10, 0x10, "PN", "DOE^JANE"),
        text(0x10, 0x20, "LO", "4711"),
        text(0x18, 0x50, "DS", &slice.thickness.to_string()),
        text(0x18, 0x86, "IS", slice.echo),
        text(0x20, 0x0d, "UI", "1.1"),
        text(0x20, 0x0e, "UI", slice.series),
        text(0x20, 0x32, "DS", &slice.position),
        text(0x20, 0x37, "DS", slice.orientation),
        text(0x20, 0x52, "UI", "1.3"),
        number(0x02, 1),
        text(0x28, 0x04, "CS", "MONOCHROME2"),
        text(0x28, 0x08, "IS", slice.frames),
        number(0x10, slice.rows),
        number(0x11, 6),
        text(0x28, 0x30, "DS", "0.75\\0.5"),
        number(0x100, 16),
        number(0x101, slice.stored),
        number(0x102, slice.stored - 1),
        number(0x103, 1),
        text(0x28, 0x1052, "DS", "-1000"),
        text(0x28, 0x1053, "DS", "1"),
        pixels,
    ] {
        bytes.extend(part);
    }
    bytes
}
