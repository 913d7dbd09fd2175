//! `segment --report` and the overlay of a volume.

mod common;
#[path = "common/dicom.rs"]
mod dicom;
#[path = "common/nifti.rs"]
mod made;

use std::fs;

use common::{data, failure, files, out, umedsam};

const PLAIN: [[f32; 4]; 3] = [[1.0, 0.0, 0.0, 0.0], [0.0, 1.0, 0.0, 0.0], [0.0, 0.0, 2.0, 0.0]];

#[test]
fn a_page_needs_nothing_else_and_names_nobody() {
    let folder = tempfile::tempdir().unwrap();
    let path = |name: &str| folder.path().join(name);
    fs::create_dir_all(path("in/ct")).unwrap();
    // With a gap, whose note names files on the terminal.
    for z in [0, 1, 2, 3, 9] {
        let slice = dicom::Slice { series: "1.2.333.444", ..dicom::slice(z, 2.5) };
        fs::write(path(&format!("in/ct/DOE_{z}")), dicom::file(&slice, "1.2.840.10008.1.2.1")).unwrap();
    }
    let ball = |[x, y, z]: [i32; 3]| {
        if (x - 30).pow(2) + (y - 24).pow(2) + (3 * (z - 4)).pow(2) < 140 { 300 } else { 20 }
    };
    made::nifti(&path("in/ball <i>.nii"), [64, 48, 9], PLAIN, ball);
    fs::write(path("in/broken.nii"), b"no image").unwrap();
    let inputs = ["segment", "in/ct", "in/ball <i>.nii", "in/broken.nii", "--gaps", "--box3d", "1,1,1,42,36,7"];
    let more = ["--name", "1=a & b", "--report", "run.html", "--format", "nifti", "--overlay"];
    let told = failure(&umedsam(folder.path(), &[&inputs[..], &more].concat()));
    assert!(told.contains("1 of 3 inputs failed"), "{told}");
    let page = fs::read_to_string(path("run.html")).unwrap();
    for part in [
        "2 of 3 inputs are done, 1 failed",
        "<h2>ct <small>5 × 4 × 6</small></h2>",
        "<h2>ball &lt;i&gt;.nii <small>9 × 48 × 64</small></h2>",
        "<h2>broken.nii</h2><p class=\"bad\">Could not be segmented.</p>",
        "1 a &amp; b",
        "slices are missing: 15.000 mm where 2.500 mm is usual",
        "object 1 a &amp; b: slices ",
        "mm3, extents ",
        "src=\"data:image/png;base64,iVBOR",
        "Research software, not a medical device",
    ] {
        assert!(page.contains(part), "{part}: {page:.4000}");
    }
    let nowhere = folder.path().file_name().unwrap().to_str().unwrap();
    for part in ["DOE", "4711", "333.444", "http", "url(", "<script", "<link", "in/", nowhere] {
        let text: String =
            page.split("base64,").map(|part| part.split_once('"').map_or(part, |(_, rest)| rest)).collect();
        assert!(!text.contains(part), "{part}");
    }
    assert_eq!(page.matches("src=").count(), page.matches("src=\"data:").count());

    // Five slices of the ball, beside each other.
    let overlay = image::open(path("out/ball <i>.overlay.png")).unwrap().into_rgb8();
    assert_eq!(overlay.dimensions(), (5 * 242 - 2, 240));
    let tinted = overlay.pixels().filter(|p| i32::from(p[2]) - i32::from(p[0]) > 20).count();
    assert!(tinted > 5000, "{tinted} pixels in the colour of the object");
    assert_eq!(files(&path("out")).len(), 4);
}

#[test]
fn a_page_shows_pictures_and_is_no_input() {
    let folder = tempfile::tempdir().unwrap();
    let cell = data("assets/cell.png");
    out(&umedsam(folder.path(), &["segment", &cell, "--box", "360,305,496,442", "--report", "out/cell.html"]));
    let page = fs::read_to_string(folder.path().join("out/cell.html")).unwrap();
    assert!(page.contains("alt=\"all objects\"") && page.contains("px2, extents") && page.contains("<h2>cell.png"));
    assert!(!page.contains("assets"), "the path of the input");
    let message =
        failure(&umedsam(folder.path(), &["segment", &cell, "--box", "1,1,9,9", "--report", "r", "--resume"]));
    assert!(message.contains("--resume"), "{message}");
}
