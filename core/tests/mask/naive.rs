//! The plainest way to do things.

use umedsam::VolumeSize;
use umedsam::mask::Connectivity;

/// Neighbours of a voxel.
fn neighbours(i: usize, size: VolumeSize, connectivity: Connectivity) -> Vec<usize> {
    let VolumeSize { depth, height, width } = size;
    let at = [(i / width / height) as i64, (i / width % height) as i64, (i % width) as i64];
    let shape = [depth as i64, height as i64, width as i64];
    let steps = (0..27).map(|s| [s / 9 - 1, s / 3 % 3 - 1, s % 3 - 1]);
    steps
        .filter(|s| {
            let moved = s.iter().filter(|v| **v != 0).count();
            moved > 0 && (connectivity == Connectivity::All || moved == 1)
        })
        .map(|s| [at[0] + s[0], at[1] + s[1], at[2] + s[2]])
        .filter(|p| p.iter().zip(shape).all(|(&v, n)| v >= 0 && v < n))
        .map(|p| ((p[0] * shape[1] + p[1]) * shape[2] + p[2]) as usize)
        .collect()
}

/// The number of each voxel's component, from 1 in the order of first voxels, among the `wanted` labels.
pub(crate) fn components(
    labels: &[u8],
    size: VolumeSize,
    connectivity: Connectivity,
    wanted: fn(u8) -> bool,
) -> Vec<u32> {
    let mut numbers = vec![0; labels.len()];
    let mut count = 0;
    for start in 0..labels.len() {
        if !wanted(labels[start]) || numbers[start] != 0 {
            continue;
        }
        count += 1;
        numbers[start] = count;
        let mut waiting = vec![start];
        while let Some(i) = waiting.pop() {
            for n in neighbours(i, size, connectivity) {
                if labels[n] == labels[start] && numbers[n] == 0 {
                    numbers[n] = count;
                    waiting.push(n);
                }
            }
        }
    }
    numbers
}

/// Fills holes: components of background away from the border with neighbours of one label.
pub(crate) fn fill(labels: &[u8], size: VolumeSize, objects: Connectivity) -> Vec<u8> {
    let numbers = components(labels, size, objects.opposite(), |l| l == 0);
    let mut filled = labels.to_vec();
    for number in 1..=numbers.iter().copied().max().unwrap_or(0) {
        let hole: Vec<usize> = (0..labels.len()).filter(|&i| numbers[i] == number).collect();
        let at_border = |&i: &usize| {
            let VolumeSize { depth, height, width } = size;
            [(i / width / height, depth), (i / width % height, height), (i % width, width)]
                .iter()
                .any(|&(p, n)| n > 1 && (p == 0 || p + 1 == n))
        };
        let around = hole.iter().flat_map(|&i| neighbours(i, size, Connectivity::Faces)).map(|n| labels[n]);
        let mut around: Vec<u8> = around.filter(|&l| l != 0).collect();
        around.sort_unstable();
        around.dedup();
        if !hole.iter().any(at_border) && around.len() == 1 {
            hole.iter().for_each(|&i| filled[i] = around[0]);
        }
    }
    filled
}

/// The lengths of the longest diameter and of the longest one across it, over the squares of a mask's pixels.
pub(crate) fn diameters(mask: &[u8], width: usize, [sx, sy]: [f64; 2]) -> (f64, f64) {
    let pixels: Vec<[f64; 2]> =
        (0..mask.len()).filter(|&i| mask[i] != 0).map(|i| [(i % width) as f64, (i / width) as f64]).collect();
    let square = |p: [f64; 2]| {
        [[0.0, 0.0], [1.0, 0.0], [1.0, 1.0], [0.0, 1.0]].map(|c| [(p[0] + c[0]) * sx, (p[1] + c[1]) * sy])
    };
    let corners: Vec<[f64; 2]> = pixels.iter().flat_map(|&p| square(p)).collect();
    let distance = |a: [f64; 2], b: [f64; 2]| (a[0] - b[0]).hypot(a[1] - b[1]);
    let pairs = || corners.iter().flat_map(|&a| corners.iter().map(move |&b| (a, b)));
    let longest = pairs().map(|(a, b)| distance(a, b)).fold(0.0, f64::max);
    let mut across = 0.0f64;
    for (a, b) in pairs().filter(|&(a, b)| distance(a, b) >= longest * (1.0 - 1e-9)) {
        let u = [(b[0] - a[0]) / longest, (b[1] - a[1]) / longest];
        let seen = |p: [f64; 2]| [p[0] * u[0] + p[1] * u[1], p[1] * u[0] - p[0] * u[1]];
        for place in corners.iter().map(|&c| seen(c)[0]) {
            let (mut low, mut high) = (f64::MAX, f64::MIN);
            for &pixel in &pixels {
                let c = square(pixel).map(seen);
                for (p, q) in c.into_iter().zip([c[1], c[2], c[3], c[0]]) {
                    let (p, q) = if p[0] <= q[0] { (p, q) } else { (q, p) };
                    if place < p[0] - 1e-9 * longest || place > q[0] + 1e-9 * longest {
                        continue;
                    }
                    let ends = if q[0] - p[0] < 2e-9 * longest {
                        [p[1], q[1]]
                    } else {
                        [p[1] + (q[1] - p[1]) * ((place - p[0]) / (q[0] - p[0])).clamp(0.0, 1.0); 2]
                    };
                    low = ends.into_iter().fold(low, f64::min);
                    high = ends.into_iter().fold(high, f64::max);
                }
            }
            across = across.max(high - low);
        }
    }
    (longest, across)
}
