//! A client of HTTP/1.1 that can go at any moment.

use std::io::{self, BufRead, BufReader, Error, ErrorKind, Read, Write};
use std::net::TcpStream;
use std::time::{Duration, Instant};

/// A connection that is kept.
pub(crate) struct Connection {
    address: String,
    /// With the time of its last answer.
    stream: Option<(BufReader<TcpStream>, Instant)>,
}

pub(crate) struct Answer {
    pub(crate) status: u16,
    pub(crate) body: Vec<u8>,
}

/// A request that was sent whole got no whole answer.
#[derive(Debug)]
pub(crate) struct Lost(pub Error);

fn ended() -> Error {
    Error::new(ErrorKind::UnexpectedEof, "the connection ended")
}

pub(crate) fn head(address: &str, method: &str, path: &str, length: usize) -> String {
    format!("{method} {path} HTTP/1.1\r\nHost: {address}\r\nContent-Length: {length}\r\n\r\n")
}

pub(crate) fn connect(address: &str) -> io::Result<TcpStream> {
    let stream = TcpStream::connect(address)?;
    stream.set_nodelay(true)?;
    stream.set_read_timeout(Some(Duration::from_secs(900)))?;
    stream.set_write_timeout(Some(Duration::from_secs(120)))?;
    Ok(stream)
}

impl Connection {
    pub(crate) fn new(address: &str) -> Self {
        Self { address: address.into(), stream: None }
    }

    /// Sends a request and reads the whole answer, calling `line` with each line as it comes.
    pub(crate) fn ask(
        &mut self,
        method: &str,
        path: &str,
        body: &[u8],
        line: impl FnMut(&[u8]),
    ) -> Result<Answer, Lost> {
        // The server ends what is idle for 20 seconds.
        let kept = self.stream.take().filter(|(_, answered)| answered.elapsed() < Duration::from_secs(10));
        let mut stream = match kept {
            Some((stream, _)) => stream,
            None => BufReader::new(connect(&self.address).map_err(Lost)?),
        };
        let sent = stream.get_mut().write_all(head(&self.address, method, path, body.len()).as_bytes());
        sent.and_then(|()| stream.get_mut().write_all(body)).map_err(Lost)?;
        let answer = read(&mut stream, line).map_err(Lost)?;
        self.stream = Some((stream, Instant::now()));
        Ok(answer)
    }
}

fn read(stream: &mut BufReader<TcpStream>, mut line: impl FnMut(&[u8])) -> io::Result<Answer> {
    let mut text = String::new();
    let mut next = |stream: &mut BufReader<TcpStream>| {
        text.clear();
        match stream.read_line(&mut text)? {
            0 => Err(ended()),
            _ => Ok(text.trim_end().to_ascii_lowercase()),
        }
    };
    let status = next(stream)?.split(' ').nth(1).and_then(|status| status.parse().ok()).ok_or_else(ended)?;
    let (mut length, mut chunked) = (0, false);
    loop {
        let field = next(stream)?;
        match field.split_once(": ") {
            None => break,
            Some(("content-length", value)) => length = value.parse().map_err(|_| ended())?,
            Some(("transfer-encoding", _)) => chunked = true,
            Some(_) => {}
        }
    }
    let mut body = Vec::new();
    if !chunked {
        body.resize(length, 0);
        stream.read_exact(&mut body)?;
        return Ok(Answer { status, body });
    }
    loop {
        let length = usize::from_str_radix(&next(stream)?, 16).map_err(|_| ended())?;
        let from = body.len();
        body.resize(from + length, 0);
        stream.read_exact(&mut body[from..])?;
        next(stream)?;
        if length == 0 {
            return Ok(Answer { status, body });
        }
        line(&body[from..]);
    }
}
