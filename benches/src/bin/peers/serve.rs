//! The worker's side: answers what the Python workers answer too.

use std::fs;
use std::path::{Path, PathBuf};
use std::time::Instant;

use anyhow::{Context, bail};
use clap::Args;
use umedsam::ModelBox;
use umedsam_benches::worker::{peak_megabytes, serve};

use crate::inputs::{PICTURES, boxes_file, image_file, read_boxes, read_floats};
use crate::runtimes::{Network, Ours, Tract};

/// As benches/peers/worker.py takes them.
#[derive(Debug, Args)]
pub(crate) struct Arguments {
    runtime: String,
    precision: String,
    threads: usize,
    folder: PathBuf,
    #[arg(long)]
    model: Option<PathBuf>,
}

pub(crate) fn run(arguments: &Arguments) -> anyhow::Result<()> {
    let Arguments { runtime, precision, threads, folder, model } = arguments;
    match runtime.as_str() {
        "umedsam" => {
            let precision = precision.parse().map_err(anyhow::Error::msg)?;
            Desk::open(Ours::load(model.as_deref(), precision, *threads)?, folder)?.serve()
        }
        "tract" => Desk::open(Tract::load(folder, *threads)?, folder)?.serve(),
        other => bail!("unknown runtime {other}"),
    }
}

/// A network and the inputs that requests are about.
struct Desk<N: Network> {
    network: N,
    pictures: Vec<(Vec<f32>, Vec<ModelBox>)>,
    batch: Vec<ModelBox>,
    /// Of the first picture, once it was needed.
    embedding: Option<N::Embedding>,
}

impl<N: Network> Desk<N> {
    fn open(network: N, folder: &Path) -> anyhow::Result<Self> {
        let picture =
            |i| anyhow::Ok((read_floats(&folder.join(image_file(i)))?, read_boxes(&folder.join(boxes_file(i)))?));
        let pictures = (0..PICTURES.len()).map(picture).collect::<Result<_, _>>()?;
        Ok(Self { network, pictures, batch: read_boxes(&folder.join("batch.f32"))?, embedding: None })
    }

    fn serve(mut self) -> anyhow::Result<()> {
        serve(|request| self.answer(request))
    }

    fn answer(&mut self, request: &str) -> anyhow::Result<String> {
        if let Some(path) = request.strip_prefix("masks ") {
            fs::write(path, self.masks()?).with_context(|| path.to_owned())?;
            return Ok("ok".into());
        }
        Ok(match request {
            "version" => self.network.version()?,
            "peak" => peak_megabytes()?.to_string(),
            "first" => self.first()?.to_string(),
            "encode" => self.time_encode()?.to_string(),
            "decode1" => self.time_decode(1)?.to_string(),
            "decode16" => self.time_decode(self.batch.len())?.to_string(),
            other => bail!("unknown request {other}"),
        })
    }

    fn first(&mut self) -> anyhow::Result<usize> {
        let (image, boxes) = &self.pictures[0];
        let embedding = self.network.encode(image)?;
        let mut area = 0;
        self.network.decode(&embedding, &boxes[..1], &mut |logits| {
            area = logits.iter().filter(|&&z| z > 0.0).count();
        })?;
        Ok(area)
    }

    fn time_encode(&mut self) -> anyhow::Result<f64> {
        let start = Instant::now();
        drop(self.network.encode(&self.pictures[0].0)?);
        Ok(start.elapsed().as_secs_f64() * 1e3)
    }

    fn time_decode(&mut self, count: usize) -> anyhow::Result<f64> {
        let embedding = match self.embedding.take() {
            Some(embedding) => embedding,
            None => self.network.encode(&self.pictures[0].0)?,
        };
        let start = Instant::now();
        self.network.decode(&embedding, &self.batch[..count], &mut |_| {})?;
        let elapsed = start.elapsed();
        self.embedding = Some(embedding);
        Ok(elapsed.as_secs_f64() * 1e3)
    }

    /// The bits of all masks, one after the other, the first pixel in a byte's highest bit.
    fn masks(&mut self) -> anyhow::Result<Vec<u8>> {
        let mut bits = Vec::new();
        for (image, boxes) in &self.pictures {
            let embedding = self.network.encode(image)?;
            for prompt in boxes {
                self.network.decode(&embedding, std::slice::from_ref(prompt), &mut |logits| {
                    let byte = |z: &[f32]| z.iter().fold(0, |byte, &z| byte << 1 | u8::from(z > 0.0));
                    bits.extend(logits.chunks_exact(8).map(byte));
                })?;
            }
        }
        Ok(bits)
    }
}
