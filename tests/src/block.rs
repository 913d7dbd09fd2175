//! Fused blocks alone, with every set of kernels that this CPU runs, the portable one among them. Their memory holds NaN
//! wherever they did not write.

use std::fs;
use std::path::Path;

use safetensors::{Dtype, SafeTensors, serialize, tensor::TensorView};
use umedsam::preprocess::{INPUT_LEN, Preprocessor};
use umedsam::runtime::{Graph, GraphOptions, Kernels};
use umedsam::{ImageView, Precision};

use crate::values::{max_difference, picture, scale};

/// Three boxes on the model's grid.
pub const BOXES: [f32; 12] = [10.0, 20.0, 200.0, 180.0, 90.5, 60.0, 140.0, 130.25, 0.0, 0.0, 255.0, 255.0];

/// A tensor: its shape and its values.
pub type Value = (Vec<usize>, Vec<f32>);

/// The picture as the encoder takes it.
pub fn image() -> Value {
    let mut input = vec![0.0; INPUT_LEN];
    let pixels = picture();
    Preprocessor::new().preprocess_into(&ImageView::rgb8(&pixels, 256, 256).unwrap(), &mut input);
    (vec![1, 3, 256, 256], input)
}

/// A graph of one call, and what it must give.
#[derive(Debug)]
pub struct Block {
    /// Of the call.
    pub name: String,
    /// The function that it calls.
    pub function: String,
    /// The graph.
    pub onnx: Vec<u8>,
    /// What it is given.
    pub inputs: Vec<Value>,
    /// What the function's body makes of it.
    pub expected: Vec<f32>,
}

/// Threads of a test: WebAssembly has one.
const fn threads() -> usize {
    if cfg!(target_family = "wasm") { 1 } else { 2 }
}

/// Sets of kernels that are tested, the fastest first: elsewhere than on x86-64 the others would take too long, emulated.
const fn sets() -> usize {
    if cfg!(target_arch = "x86_64") { usize::MAX } else { 1 }
}

impl Block {
    /// Checks the block; the tolerances are in parts of the result's scale.
    pub fn check(&self, precisions: &[(Precision, f32)]) {
        let given: Vec<(&[usize], &[f32])> =
            self.inputs.iter().map(|(shape, values)| (&shape[..], &values[..])).collect();
        let shapes: Vec<(usize, &[usize])> = given.iter().enumerate().map(|(i, (shape, _))| (i, *shape)).collect();
        for kernels in Kernels::available().take(sets()) {
            for &(precision, tolerance) in precisions {
                // The bodies of functions in 8 bits round what they multiply, other precisions don't.
                let tolerance = if self.function.ends_with("Int8") { tolerance.max(0.02) } else { tolerance };
                // Slow where nothing helps it; its rounded products have tests of their own.
                if kernels.name() == "portable" && precision != Precision::F32 {
                    continue;
                }
                let options = GraphOptions::default().with_precision(precision).with_kernels(kernels);
                let options = options.with_threads(threads()).with_poisoned_memory();
                let mut graph = Graph::load("fused", &self.onnx, &shapes, &options).unwrap();
                assert!(graph.is_fused());
                graph.run(&given).unwrap();
                let difference = max_difference(graph.output(0).unwrap(), &self.expected) / scale(&self.expected);
                let what = format!("{} in {precision} by {}: {difference:e}", self.name, kernels.name());
                println!("{what}");
                assert!(difference < tolerance, "{what}");
            }
        }
    }

    /// Writes it for [`read`](Self::read).
    pub fn write(&self, path: &Path) {
        let bytes = |values: &[f32]| values.iter().flat_map(|v| v.to_le_bytes()).collect::<Vec<u8>>();
        let mut tensors = vec![
            ("name".into(), Dtype::U8, vec![self.name.len()], self.name.clone().into_bytes()),
            ("function".into(), Dtype::U8, vec![self.function.len()], self.function.clone().into_bytes()),
            ("onnx".into(), Dtype::U8, vec![self.onnx.len()], self.onnx.clone()),
            ("expected".to_owned(), Dtype::F32, vec![self.expected.len()], bytes(&self.expected)),
        ];
        let inputs = self.inputs.iter().enumerate();
        tensors.extend(inputs.map(|(i, (shape, v))| (format!("input {i}"), Dtype::F32, shape.clone(), bytes(v))));
        let views = tensors
            .iter()
            .map(|(name, kind, shape, bytes)| (name, TensorView::new(*kind, shape.clone(), bytes).unwrap()));
        fs::write(path, serialize(views, None).unwrap()).unwrap();
    }

    /// A block that another machine wrote.
    pub fn read(path: &Path) -> Self {
        let file = fs::read(path).unwrap();
        let file = SafeTensors::deserialize(&file).unwrap();
        let bytes = |name: &str| file.tensor(name).unwrap().data().to_vec();
        let text = |name: &str| String::from_utf8(bytes(name)).unwrap();
        let floats = |view: &TensorView<'_>| {
            view.data().as_chunks::<4>().0.iter().map(|&b| f32::from_le_bytes(b)).collect::<Vec<f32>>()
        };
        let inputs = (0..).map_while(|i| file.tensor(&format!("input {i}")).ok());
        Self {
            name: text("name"),
            function: text("function"),
            onnx: bytes("onnx"),
            inputs: inputs.map(|view| (view.shape().to_vec(), floats(&view))).collect(),
            expected: floats(&file.tensor("expected").unwrap()),
        }
    }
}
