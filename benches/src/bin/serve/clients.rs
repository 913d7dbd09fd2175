//! What clients do: drag boxes, segment volumes, leave early, misbehave.

use std::io::{Read, Write};
use std::sync::Mutex;
use std::thread::sleep;
use std::time::{Duration, Instant};

use anyhow::{Context, ensure};
use serde_json::{Value, json};

use crate::http::{Connection, Lost, connect, head};
use crate::volume::nifti;

/// What was measured, by all clients of a kind.
#[derive(Debug, Default)]
pub(crate) struct Measured {
    /// Times of answered requests of a kind, in seconds, with the client's number.
    pub(crate) drags: Vec<(usize, f64)>,
    pub(crate) firsts: Vec<f64>,
    pub(crate) opens: Vec<f64>,
    pub(crate) volumes: Vec<(usize, f64)>,
    /// Times to the first word of a volume's progress.
    pub(crate) first_words: Vec<f64>,
    /// Requests that were refused with 503.
    pub(crate) refused: usize,
    /// Requests that were sent whole and not answered whole.
    pub(crate) lost: Vec<String>,
    /// Clients that left in the middle, and requests that were meant to be refused.
    pub(crate) left: usize,
    pub(crate) hostile: usize,
}

/// A client, until a time.
pub(crate) struct Client<'a> {
    pub(crate) number: usize,
    pub(crate) address: &'a str,
    pub(crate) until: Instant,
    pub(crate) measured: &'a Mutex<Measured>,
}

impl Client<'_> {
    fn note(&self, note: impl FnOnce(&mut Measured)) {
        note(&mut self.measured.lock().expect("no client panics while it notes"));
    }

    fn goes_on(&self) -> bool {
        Instant::now() < self.until
    }

    /// A number that looks random, below `most`.
    fn random(&self, state: &mut u64, most: u64) -> u64 {
        *state =
            state.wrapping_mul(6_364_136_223_846_793_005).wrapping_add(1_442_695_040_888_963_407 + self.number as u64);
        (*state >> 33) % most
    }

    /// Asks until the server has a place, and counts what is lost.
    fn ask(
        &self,
        connection: &mut Connection,
        path: &str,
        body: &[u8],
        mut line: impl FnMut(&[u8]),
    ) -> Option<Vec<u8>> {
        loop {
            match connection.ask("POST", path, body, &mut line) {
                Ok(answer) if answer.status == 503 => {
                    self.note(|m| m.refused += 1);
                    sleep(Duration::from_millis(300));
                }
                Ok(answer) if answer.status == 200 => return Some(answer.body),
                Ok(answer) => {
                    let text = String::from_utf8_lossy(&answer.body).into_owned();
                    self.note(|m| m.lost.push(format!("client {}: {path}: {} {text}", self.number, answer.status)));
                    return None;
                }
                Err(Lost(error)) => {
                    self.note(|m| m.lost.push(format!("client {}: {path}: {error}", self.number)));
                    return None;
                }
            }
        }
    }

    fn session(&self, connection: &mut Connection) -> anyhow::Result<String> {
        let claimed = self.ask(connection, "/api/v1/sessions", b"", |_| {}).context("no session")?;
        let claimed: Value = serde_json::from_slice(&claimed)?;
        Ok(format!("/api/v1/sessions/{}", claimed["session"].as_str().context("a session")?))
    }

    /// Ends a session, which is its last request.
    fn release(&self, connection: &mut Connection, session: &str) {
        if let Err(Lost(error)) = connection.ask("DELETE", session, b"", |_| {}) {
            self.note(|m| m.lost.push(format!("client {}: release: {error}", self.number)));
        }
    }

    fn open(&self, connection: &mut Connection, session: &str, volume: &[u8]) -> anyhow::Result<String> {
        let path = format!("{session}/images?name=volume.nii");
        let opened = self.ask(connection, &path, volume, |_| {}).context("not opened")?;
        let opened: Value = serde_json::from_slice(&opened)?;
        Ok(format!("{session}/images/{}", opened["image"]))
    }

    /// Opens volumes, and drags a box in each slice: 20 masks a second for 2 seconds, in 10 seconds.
    pub(crate) fn drags(&self) -> anyhow::Result<()> {
        let mut connection = Connection::new(self.address);
        let session = self.session(&mut connection)?;
        let mut state = self.number as u64;
        while self.goes_on() {
            let start = Instant::now();
            // Each is another, so that its slices are encoded.
            let volume = nifti([256, 256, 4], self.random(&mut state, 1 << 30));
            let image = self.open(&mut connection, &session, &volume)?;
            self.note(|m| m.opens.push(start.elapsed().as_secs_f64()));
            for slice in 0..4 {
                let ahead = json!({ "axis": 0, "slices": [slice] }).to_string();
                self.ask(&mut connection, &format!("{image}/ahead"), ahead.as_bytes(), |_| {});
                sleep(Duration::from_millis(1000));
                for step in 0..40 {
                    let from = f64::from(40 + step);
                    let asked =
                        json!({ "slice": slice, "boxes": [[from, 60, from + 120.0, 190]], "as": "bits", "seq": step });
                    let start = Instant::now();
                    let found =
                        self.ask(&mut connection, &format!("{image}/masks"), asked.to_string().as_bytes(), |_| {});
                    let took = start.elapsed();
                    // The first mask of a slice may have to wait for its encoding.
                    match (found, step) {
                        (None, _) => {}
                        (Some(_), 0) => self.note(|m| m.firsts.push(took.as_secs_f64())),
                        (Some(_), _) => self.note(|m| m.drags.push((self.number, took.as_secs_f64()))),
                    }
                    sleep(Duration::from_millis(50).saturating_sub(took));
                }
                sleep(Duration::from_millis(7000));
            }
            connection.ask("DELETE", &image, b"", |_| {}).map_err(|Lost(error)| error)?;
        }
        self.release(&mut connection, &session);
        Ok(())
    }

    /// Opens volumes, and follows an object through each.
    pub(crate) fn volumes(&self) -> anyhow::Result<()> {
        let mut connection = Connection::new(self.address);
        let session = self.session(&mut connection)?;
        let mut state = self.number as u64;
        while self.goes_on() {
            let volume = nifti([160, 160, 12], self.random(&mut state, 1 << 30));
            let image = self.open(&mut connection, &session, &volume)?;
            let asked = json!({ "box": [40, 40, 120, 120], "slice": 6 }).to_string();
            let (start, mut first) = (Instant::now(), None);
            let path = format!("{image}/volumes");
            let found = self.ask(&mut connection, &path, asked.as_bytes(), |_| first = first.or(Some(start.elapsed())));
            if let Some(lines) = found {
                let last = lines.split(|b| *b == b'\n').rfind(|line| !line.is_empty()).context("a last line")?;
                let object: Value = serde_json::from_slice(last)?;
                ensure!(object["complete"] == true, "client {}: {object}", self.number);
                self.note(|m| m.volumes.push((self.number, start.elapsed().as_secs_f64())));
                self.note(|m| m.first_words.extend(first.map(|first| first.as_secs_f64())));
            }
            connection.ask("DELETE", &image, b"", |_| {}).map_err(|Lost(error)| error)?;
        }
        self.release(&mut connection, &session);
        Ok(())
    }

    /// Begins things, and leaves: in the middle of a request, before its answer, after the first word of a volume.
    pub(crate) fn leaves(&self) -> anyhow::Result<()> {
        let mut connection = Connection::new(self.address);
        let session = self.session(&mut connection)?;
        let volume = nifti([96, 96, 24], self.number as u64);
        let image = self.open(&mut connection, &session, &volume)?;
        let mut state = self.number as u64;
        while self.goes_on() {
            let mut stream = connect(self.address)?;
            let (path, body) = match self.random(&mut state, 2) {
                0 => (format!("{image}/masks"), json!({ "boxes": [[9, 9, 80, 80]], "as": "bits", "slice": 3 })),
                _ => (format!("{image}/volumes"), json!({ "box": [9, 9, 1, 80, 80, 22] })),
            };
            let body = body.to_string();
            match self.random(&mut state, 3) {
                0 => stream.write_all(head(self.address, "POST", &path, 1 + body.len()).as_bytes())?,
                1 => stream.write_all((head(self.address, "POST", &path, body.len()) + &body).as_bytes())?,
                _ => {
                    stream.write_all((head(self.address, "POST", &path, body.len()) + &body).as_bytes())?;
                    let _ = stream.read(&mut [0])?;
                }
            }
            sleep(Duration::from_millis(self.random(&mut state, 400)));
            drop(stream);
            self.note(|m| m.left += 1);
        }
        self.release(&mut connection, &session);
        Ok(())
    }

    /// Sends what nobody should, and never waits long.
    pub(crate) fn hostile(&self) -> anyhow::Result<()> {
        let mut state = self.number as u64;
        // Connections on which nothing, or no end of a header, ever comes.
        let mut silent = Vec::new();
        while self.goes_on() {
            let mut stream = connect(self.address)?;
            let host = format!("Host: {}\r\n", self.address);
            let sent = match self.random(&mut state, 8) {
                0 => "\u{0}\u{1}garbage\r\n\r\n".into(),
                1 => "GET / HTTP/1.1\r\nHost: evil.example\r\n\r\n".into(),
                2 => format!("POST /claim HTTP/1.1\r\n{host}Origin: https://evil.example\r\nContent-Length: 0\r\n\r\n"),
                3 => format!("POST /api/v1/sessions/x/images HTTP/1.1\r\n{host}Content-Length: 99999999999\r\n\r\n"),
                4 => {
                    format!("POST /set_image HTTP/1.1\r\n{host}X-Lease-Token: x\r\nContent-Length: 1000000\r\n\r\nNNIA")
                }
                5 => format!("GET /{} HTTP/1.1\r\n{host}\r\n", "a".repeat(100_000)),
                6 => format!("GET /api/v1/health HTTP/1.1\r\n{host}{}\r\n", "X-A: b\r\n".repeat(2_000)),
                _ => format!("GET / HTTP/1.1\r\n{host}"),
            };
            // The server may have hung up already.
            let _ = stream.write_all(sent.as_bytes());
            stream.set_read_timeout(Some(Duration::from_millis(200)))?;
            let _ = stream.read(&mut [0; 512]);
            silent.push(stream);
            if silent.len() > 8 {
                silent.remove(0);
            }
            self.note(|m| m.hostile += 1);
            sleep(Duration::from_millis(self.random(&mut state, 200)));
        }
        Ok(())
    }
}
