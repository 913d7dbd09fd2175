use umedsam::*;
fn rd(p: &str) -> Vec<f32> { std::fs::read(p).unwrap().chunks_exact(4).map(|b| f32::from_le_bytes(b.try_into().unwrap())).collect() }
fn main() {
    let a: Vec<String> = std::env::args().collect();
    let t = std::time::Instant::now();
    let m = Model::load(&a[1]).unwrap();
    println!("load {:?}", t.elapsed());
    let mut s = m.session(&SessionOptions::new().with_threads(a[2].parse().unwrap())).unwrap();
    println!("session {:?}", t.elapsed());
    let x = rd("/work/scratch/onnx/image.f32"); let er = rd("/work/scratch/onnx/emb.f32"); let mr = rd("/work/scratch/onnx/mask3.f32"); let ir = rd("/work/scratch/onnx/iou3.f32"); let b = rd("/work/scratch/onnx/boxes3.f32");
    let boxes: Vec<ModelBox> = b.chunks(4).map(|c| ModelBox { x0: c[0], y0: c[1], x1: c[2], y1: c[3] }).collect();
    for _ in 0..3 {
        let t = std::time::Instant::now();
        let e = s.encode_input(&x, Frame::new(256, 256).unwrap()).unwrap();
        println!("encode {:?}", t.elapsed());
        println!("emb {}", e.values().unwrap().iter().zip(&er).map(|(a, b)| (a - b).abs()).fold(0.0, f32::max));
        let t = std::time::Instant::now();
        s.decode(&e, &boxes, |i, l, iou| {
            println!("logits {} iou {}", l.values().iter().zip(&mr[i * 65536..]).map(|(a, b)| (a - b).abs()).fold(0.0, f32::max), (iou - ir[i]).abs());
        }).unwrap();
        println!("decode3 {:?}", t.elapsed());
        let t = std::time::Instant::now();
        s.decode(&e, &boxes[..1], |_, _, _| {}).unwrap();
        println!("decode1 {:?}", t.elapsed());
    }
}
