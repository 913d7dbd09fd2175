//! `umedsam serve`, as a program.

mod common;

use std::fs;
use std::io::{BufRead, BufReader, Read, Write};
use std::path::Path;

use common::blob::{SHAPE, blob, case};
use common::server::Server;
use common::{data, out, umedsam};
use serde_json::{Value, json};
use umedsam::npz::{Limits, read_segs};

fn runs(mask: &Value, pixels: usize) -> Vec<u8> {
    let mut bytes = vec![0; pixels];
    let mut at = 0;
    for (i, run) in mask.as_array().unwrap().iter().enumerate() {
        let end = at + run.as_u64().unwrap() as usize;
        bytes[at..end].fill((i % 2) as u8);
        at = end;
    }
    assert_eq!(at, pixels);
    bytes
}

fn segs(path: &Path) -> Vec<u16> {
    read_segs(path, &Limits::new()).unwrap().0
}

#[test]
fn a_picture_is_segmented_as_the_command_does_it() {
    let folder = tempfile::tempdir().unwrap();
    let picture = data("assets/cell.png");
    out(&umedsam(folder.path(), &["segment", &picture, "--box", "360,305,496,442", "--out", "."]));
    let written = fs::read(folder.path().join("cell.mask.png")).unwrap();
    let wanted = image::load_from_memory(&written).unwrap().into_luma8();
    let (width, height) = (wanted.width() as usize, wanted.height() as usize);

    let server = Server::start(&[]);
    let session = server.session();
    let sent =
        server.ask("POST", &format!("{session}/images?name=../cell.png"), &[], &fs::read(&picture).unwrap()).json();
    assert_eq!((&sent["name"], &sent["shape"]), (&json!("cell.png"), &json!([1, height, width])));
    let image = format!("{session}/images/{}", sent["image"]);
    let boxes = json!([[360, 305, 496, 442]]);
    let found = server.post(&format!("{image}/masks"), &json!({ "boxes": boxes, "as": "rle", "seq": 7 })).json();
    let mask = runs(&found["masks"][0]["runs"], width * height);
    assert_eq!(mask, wanted.as_raw()[..]);
    assert_eq!(
        (&found["seq"], &found["masks"][0]["area"]),
        (&json!(7), &json!(mask.iter().map(|&v| u64::from(v)).sum::<u64>()))
    );

    // The same mask in bits, with its map of entropy, and as a picture.
    let bits = server.post(&format!("{image}/masks"), &json!({ "boxes": boxes, "as": "bits", "heat": true }));
    let head: Value = serde_json::from_str(bits.header("x-mask").unwrap()).unwrap();
    let part = |name: &str| head[name].as_u64().unwrap() as usize;
    let (x, y, w, h) = (part("x"), part("y"), part("width"), part("height"));
    let mut unpacked = vec![0; width * height];
    for v in 0..h {
        for u in 0..w {
            unpacked[(y + v) * width + x + u] = bits.body[v * w.div_ceil(8) + u / 8] >> (7 - u % 8) & 1;
        }
    }
    assert_eq!(unpacked, mask);
    let heat = head["heat"].as_array().unwrap().iter().map(|v| v.as_u64().unwrap() as usize).product::<usize>();
    assert_eq!(bits.body.len(), w.div_ceil(8) * h + heat);
    let png = server.post(&format!("{image}/masks"), &json!({ "boxes": boxes, "as": "png" }));
    let png = image::load_from_memory(&png.body).unwrap().into_luma8();
    assert!(png.as_raw().iter().zip(&mask).all(|(a, b)| *a == b * 255));

    // The file is the command's own.
    let objects = json!([{ "slices": [{ "slice": 0, "runs": found["masks"][0]["runs"] }] }]);
    let file = server.post(&format!("{image}/labels"), &json!({ "format": "png", "objects": objects }));
    assert_eq!((file.status, file.body == written), (200, true));
    assert_eq!(file.header("content-disposition"), Some("attachment; filename=\"cell.mask.png\""));
    let other = server.post(&format!("{image}/labels"), &json!({ "format": "nifti", "objects": objects }));
    assert_eq!(
        (other.status, other.detail()),
        (400, "format is nifti; png or npz or geojson or coco or overlay expected".into())
    );

    // What is of one session is not seen by another.
    let stranger = server.session();
    assert_eq!(server.get(&format!("{stranger}/images/{}", sent["image"])).status, 404);
    assert_eq!(server.ask("DELETE", &image, &[], b"").json(), json!({ "released": true }));
    assert_eq!(server.get(&image).status, 404);
}

#[test]
fn a_volume_is_segmented_as_the_command_does_it() {
    let folder = tempfile::tempdir().unwrap();
    let voxels = [20.0, 10.0, 3.0, 60.0, 44.0, 21.0];
    let path = folder.path().join("3DBox_blob.npz");
    case(&path, &SHAPE, &blob(), &voxels);
    out(&umedsam(folder.path(), &["segment", "3DBox_blob.npz", "--out", "found"]));
    let wanted = segs(&folder.path().join("found/3DBox_blob.npz"));
    assert!(wanted.iter().filter(|&&l| l > 0).count() > 1000);

    let server = Server::start(&[path.to_str().unwrap()]);
    assert_eq!(server.get("/api/v1/health").json()["offers"][0], "3DBox_blob.npz");
    let session = server.session();
    let info = server.post(&format!("{session}/offers/0"), &json!({})).json();
    assert_eq!((&info["spacing"], &info["boxes"]), (&json!([0.8, 0.8, 2.0]), &json!([voxels])));
    let image = format!("{session}/images/{}", info["image"]);
    let stream = server.post(&format!("{image}/volumes"), &json!({ "box": voxels }));
    let lines: Vec<Value> = stream
        .body
        .split(|b| *b == b'\n')
        .filter(|l| !l.is_empty())
        .map(|l| serde_json::from_slice(l).unwrap())
        .collect();
    let (last, progress) = lines.split_last().unwrap();
    assert!(!progress.is_empty() && progress.iter().all(|line| line["total"] == 19 + 5), "{progress:?}");
    let file =
        server.post(&format!("{image}/labels"), &json!({ "format": "npz", "objects": [{ "slices": last["slices"] }] }));
    fs::write(folder.path().join("served.npz"), &file.body).unwrap();
    assert_eq!(segs(&folder.path().join("served.npz")), wanted);
    assert_eq!(last["voxels"], wanted.iter().filter(|&&l| l > 0).count());
    assert_eq!((&last["complete"], &last["ends"]), (&json!(true), &Value::Null));

    // From a box in one slice the object is followed, in each plane.
    for (axis, slice, one) in [(0, 11, [20, 10, 60, 44]), (1, 27, [20, 2, 60, 22]), (2, 40, [10, 2, 44, 22])] {
        let asked = json!({ "box": one, "slice": slice, "axis": axis });
        let followed = server.post(&format!("{image}/volumes"), &asked).body;
        let line = followed.split(|b| *b == b'\n').rfind(|l| !l.is_empty()).unwrap();
        let object: Value = serde_json::from_slice(line).unwrap();
        let voxels = object["voxels"].as_u64().unwrap() as f64;
        // The ellipsoid's volume, within a third.
        assert!(
            (voxels / (4.0 / 3.0 * std::f64::consts::PI * 9.0 * 15.0 * 18.0) - 1.0).abs() < 0.34,
            "{axis}: {voxels}"
        );
        assert_eq!(object["ends"].as_array().unwrap().len(), 2, "{object}");
    }
    // Where the slice of the box is told, no other is looked at first.
    let begun = server.post(&format!("{image}/volumes"), &json!({ "box": voxels, "slice": 12 })).body;
    let lines: Vec<Value> =
        begun.split(|b| *b == b'\n').filter(|l| !l.is_empty()).map(|l| serde_json::from_slice(l).unwrap()).collect();
    assert!(lines.len() > 1 && lines[0]["total"] == 19, "{}", lines[0]);
    assert!(lines[lines.len() - 1]["voxels"].as_u64().unwrap() > 1000);
    for bad in [
        json!({ "box": [1, 2, 3, 4] }),
        json!({ "box": voxels, "slice": 1 }),
        json!({ "box": voxels, "slice": 24 }),
        json!({ "box": voxels, "axis": 1 }),
    ] {
        assert_eq!(server.post(&format!("{image}/volumes"), &bad).status, 400, "{bad}");
    }

    // A slice along each axis.
    for (axis, [height, width]) in [(0, [56, 72]), (1, [24, 72]), (2, [24, 56])] {
        let slice = server.get(&format!("{image}/slices/{axis}/9"));
        assert_eq!(slice.body.len(), height * width);
        let head: Value = serde_json::from_str(slice.header("x-slice").unwrap()).unwrap();
        assert_eq!(head, json!({ "width": width, "height": height, "channels": 1, "type": "u8" }));
    }
    assert_eq!(server.get(&format!("{image}/slices/2/72")).status, 400);
    let ahead = server.post(&format!("{image}/ahead"), &json!({ "axis": 0, "slices": [9, 10, 8] })).json();
    assert_eq!(ahead, json!({ "queued": 3 }));
    server.until(|state| state["waiting"] == 0 && state["running"] == 0);

    // A client that goes frees its place at once.
    let mut client = server.connect();
    let body = json!({ "box": [0, 0, 0, 71, 55, 23] }).to_string();
    let head =
        format!("POST {image}/volumes HTTP/1.1\r\nHost: {}\r\nContent-Length: {}\r\n\r\n", server.address, body.len());
    client.write_all((head + &body).as_bytes()).unwrap();
    let mut line = String::new();
    let mut reader = BufReader::new(client);
    while !line.starts_with("{\"done\"") {
        line.clear();
        assert!(reader.read_line(&mut line).unwrap() > 0);
    }
    drop(reader);
    server.until(|state| state["running"] == 0);
    assert_eq!(server.get("/api/v1/health").json()["waiting"], 0);
}

#[test]
fn what_cannot_be_used_is_refused() {
    let server = Server::start(&["--sessions", "1", "--memory", "64"]);
    let status = |headers: &[(&str, &str)]| server.ask("GET", "/api/v1/health", headers, b"").status;
    assert_eq!(status(&[]), 200);
    assert_eq!(status(&[("Host", "evil.example")]), 403);
    assert_eq!(status(&[("Origin", "https://evil.example")]), 403);
    let own = format!("http://{}", server.address);
    assert_eq!(status(&[("Origin", &own)]), 200);

    let session = server.session();
    let full = server.post("/api/v1/sessions", &Value::Null);
    assert_eq!((full.status, full.header("retry-after")), (503, Some("60")));
    let images = format!("{session}/images?name=a");
    for (bytes, word) in
        [(&b"nothing that is known"[..], "are read"), (&b"\x89PNG\r\n\x1a\nshort"[..], "a:"), (&b""[..], "are read")]
    {
        let refused = server.ask("POST", &images, &[], bytes);
        assert_eq!(refused.status, 400);
        assert!(refused.detail().contains(word) && !refused.detail().contains("/tmp"), "{}", refused.detail());
    }
    let picture = fs::read(data("assets/cell.png")).unwrap();
    for (more, word) in
        [("&window=lung", "a window is for"), ("&frame=1", "a frame of TIFF"), ("&series=1", "a series is of")]
    {
        let refused = server.ask("POST", &format!("{images}{more}"), &[], &picture);
        assert!(refused.status == 400 && refused.detail().contains(word), "{more}: {}", refused.detail());
    }
    // Neither more than one request may have, nor more than there is, is waited for.
    let sample = server.post(&format!("{session}/offers/1"), &json!({})).json();
    for (length, status) in [("99999999999", 413), ("67108864", 503)] {
        let head = format!(
            "POST {images} HTTP/1.1\r\nHost: {}\r\nConnection: close\r\nContent-Length: {length}\r\n\r\n",
            server.address
        );
        assert_eq!(server.raw(&head, b"").status, status, "{length}");
    }
    let head = format!(
        "POST {images} HTTP/1.1\r\nHost: {}\r\nConnection: close\r\nTransfer-Encoding: chunked\r\n\r\n0\r\n\r\n",
        server.address
    );
    assert_eq!(server.raw(&head, b"").status, 411);
    for path in ["/page/../../Cargo.toml", "/etc/passwd", "/api/v1/sessions/x/images/1", "/api/v1/sessions/x/images/-1"]
    {
        assert_eq!(server.get(path).status, 404, "{path}");
    }
    assert_eq!(server.post(&format!("{session}/offers/9"), &json!({})).status, 404);
    let image = format!("{session}/images/{}", sample["image"]);
    let masks = |body: Value| server.post(&format!("{image}/masks"), &body);
    for bad in [
        json!({ "boxes": [], "as": "rle" }),
        json!({ "boxes": [[0, 0, 9, 9], [0, 0, 9, 9]], "as": "bits" }),
        json!({ "boxes": [[9, 0, 0, 9]], "as": "bits" }),
        json!({ "boxes": [[9999, 0, 99999, 9]], "as": "bits" }),
        json!({ "boxes": [[0, 0, 9, 9]], "as": "bits", "slice": 1 }),
        json!({ "boxes": [[0, 0, 9, 9]], "as": "bits", "axis": 3 }),
        json!({ "boxes": [[0, 0, 9, 9]], "as": "else" }),
        json!({ "boxes": [[0, 0, 9, 9]], "as": "bits", "more": 1 }),
        json!({ "boxes": vec![[0, 0, 9, 9]; 257], "as": "rle" }),
    ] {
        let refused = masks(bad.clone());
        assert_eq!(refused.status, 400, "{bad}: {}", refused.detail());
    }
    let labels = |objects: Value| {
        server.post(&format!("{image}/labels"), &json!({ "format": "png", "objects": objects })).status
    };
    assert_eq!(labels(json!([{ "slices": [{ "slice": 1, "runs": [] }] }])), 400);
    assert_eq!(labels(json!([{ "slices": [{ "slice": 0, "runs": [4_000_000_000u32, 4_000_000_000u32] }] }])), 400);
    assert_eq!(labels(json!([])), 200);
    // After all of that it works as before.
    assert_eq!(masks(json!({ "boxes": [[360, 305, 496, 442]], "as": "bits" })).status, 200);
}

#[test]
fn who_is_refused_reads_why() {
    let server = Server::start(&[]);
    let mut client = server.connect();
    // A body that comes after its head, on a connection that is kept, and that nobody reads.
    for _ in 0..2 {
        let head = format!("POST /undo HTTP/1.1\r\nHost: {}\r\nContent-Length: 2\r\n\r\n", server.address);
        client.write_all(head.as_bytes()).unwrap();
        std::thread::sleep(std::time::Duration::from_millis(50));
        client.write_all(b"{}").unwrap();
        let mut line = [0; 12];
        client.read_exact(&mut line).unwrap();
        assert_eq!(line, *b"HTTP/1.1 410");
        let mut rest = BufReader::new(&client);
        let (mut text, mut length) = (String::new(), 0);
        while rest.read_line(&mut text).unwrap() > 2 {
            if let Some(value) = text.to_ascii_lowercase().strip_prefix("content-length:") {
                length = value.trim().parse().unwrap();
            }
            text.clear();
        }
        rest.read_exact(&mut vec![0; length]).unwrap();
    }
    // A large body whose refusal comes before its end.
    let large = server.ask("POST", "/set_image", &[("X-Lease-Token", "x")], &vec![0; 32 << 20]);
    assert_eq!((large.status, large.detail().contains("expired")), (410, true));
}

#[test]
fn the_page_is_served_with_its_policy() {
    let server = Server::start(&[]);
    let page = server.get("/");
    assert_eq!((page.status, page.header("content-type")), (200, Some("text/html; charset=utf-8")));
    assert!(page.header("content-security-policy").unwrap().contains("script-src 'self'"));
    let text = String::from_utf8(page.body).unwrap();
    let linked: Vec<&str> = text.split('"').filter(|part| part.starts_with("/page/")).collect();
    assert!(linked.len() >= 3);
    for path in linked {
        assert_eq!(server.get(path).status, 200, "{path}");
    }
}

#[test]
fn off_loopback_a_token_is_needed() {
    let folder = tempfile::tempdir().unwrap();
    let refused = common::failure(&umedsam(folder.path(), &["serve", "--listen", "0.0.0.0", "--port", "0"]));
    assert!(refused.contains("--token T is needed"), "{refused}");
    let server = Server::start(&["--token", "correct-horse"]);
    assert_eq!(server.get("/api/v1/health").status, 401);
    assert_eq!(server.ask("POST", "/claim", &[], b"").status, 401);
    let with = |token: &str| server.ask("GET", "/api/v1/health", &[("Authorization", token)], b"").status;
    assert_eq!((with("Bearer correct-horse"), with("Bearer wrong-horse1")), (200, 401));
    assert_eq!((server.get("/").status, server.get("/healthz").status), (200, 200));
}

#[cfg(unix)]
#[test]
fn an_interrupt_ends_it() {
    let server = Server::start(&[]);
    assert_eq!(server.get("/healthz").status, 200);
    let (said, well) = server.interrupt();
    assert!(well && !said.contains("dropped"), "{said}");
}
