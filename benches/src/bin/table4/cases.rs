//! Synthetic cases of the sizes in the paper's Table 4.
//!
//! Everything in them is a fixed function of the case's position in the table: noise on a dark background, a bright
//! body, and for each object an ellipsoid in a cell of its own, boxed exactly.

/// One row of the paper's table.
#[derive(Clone, Copy, Debug, PartialEq)]
pub(crate) struct Case {
    /// The paper's name for it.
    pub(crate) name: &'static str,
    /// Slices of a volume; none for an image of three channels.
    pub(crate) depth: Option<usize>,
    pub(crate) height: usize,
    pub(crate) width: usize,
    pub(crate) objects: usize,
    /// The paper's seconds for LiteMedSAM and U-MedSAM, on its machine.
    pub(crate) paper: [f64; 2],
}

const fn volume(name: &'static str, [depth, height, width]: [usize; 3], objects: usize, paper: [f64; 2]) -> Case {
    Case { name, depth: Some(depth), height, width, objects, paper }
}

const fn image(name: &'static str, [height, width]: [usize; 2], objects: usize, paper: [f64; 2]) -> Case {
    Case { name, depth: None, height, width, objects, paper }
}

/// The table.
pub(crate) const CASES: [Case; 14] = [
    volume("3DBox_CT_0566", [287, 512, 512], 6, [376.4, 286.3]),
    volume("3DBox_CT_0888", [237, 512, 512], 6, [100.5, 88.7]),
    volume("3DBox_CT_0860", [246, 512, 512], 1, [17.7, 18.5]),
    volume("3DBox_MR_0621", [115, 400, 400], 6, [157.1, 146.7]),
    volume("3DBox_MR_0121", [64, 290, 320], 6, [99.9, 73.5]),
    volume("3DBox_MR_0179", [84, 512, 512], 1, [17.1, 9.8]),
    volume("3DBox_PET_0001", [264, 200, 200], 1, [12.1, 13.2]),
    image("2DBox_US_0525", [256, 256], 1, [6.3, 5.4]),
    image("2DBox_X-Ray_0053", [320, 640], 34, [7.3, 6.5]),
    image("2DBox_Dermoscopy_0003", [3024, 4032], 1, [6.5, 3.2]),
    image("2DBox_Endoscopy_0086", [480, 560], 1, [6.1, 7.3]),
    image("2DBox_Fundus_0003", [2048, 2048], 1, [6.1, 7.5]),
    image("2DBox_Microscope_0008", [1536, 2040], 19, [6.8, 6.4]),
    image("2DBox_Microscope_0016", [1920, 2560], 241, [19.1, 15.9]),
];

/// An axis-parallel ellipsoid: centre and half-axes along z, y, x.
#[derive(Clone, Copy, Debug)]
struct Ellipsoid {
    centre: [f64; 3],
    half: [f64; 3],
    brightness: f64,
}

impl Case {
    /// With fewer slices and objects, one at least.
    pub(crate) fn scaled(self, factor: f64) -> Self {
        let scale = |n: usize| ((n as f64 * factor).round() as usize).max(1);
        Self { depth: self.depth.map(scale), objects: scale(self.objects), ..self }
    }

    /// Shape of `imgs`: (D,H,W) or (H,W,3).
    pub(crate) fn shape(&self) -> [usize; 3] {
        match self.depth {
            Some(depth) => [depth, self.height, self.width],
            None => [self.height, self.width, 3],
        }
    }

    /// `imgs`: 8-bit intensities.
    pub(crate) fn pixels(&self) -> Vec<u8> {
        let (width, height, depth) = (self.width, self.height, self.depth.unwrap_or(1));
        let organs = self.organs();
        let (middle_y, middle_x) = (height as f64 / 2.0, width as f64 / 2.0);
        let mut pixels = Vec::with_capacity(depth * height * width * if self.depth.is_none() { 3 } else { 1 });
        for z in 0..depth {
            let passing: Vec<&Ellipsoid> = organs.iter().filter(|o| o.row(z, None).is_some()).collect();
            for y in 0..height {
                let body = ((y as f64 - middle_y) / (0.48 * height as f64)).powi(2);
                let crossed: Vec<_> = passing.iter().filter_map(|o| Some((o.row(z, Some(y))?, o.brightness))).collect();
                for x in 0..width {
                    let inside = body + ((x as f64 - middle_x) / (0.48 * width as f64)).powi(2) < 1.0;
                    let ground = if inside { 95.0 } else { 15.0 };
                    let in_row = |(row, _): &&((f64, f64), f64)| row.0 <= x as f64 && x as f64 <= row.1;
                    let value = crossed.iter().find(in_row).map_or(ground, |(_, brightness)| *brightness);
                    let noise = random(((z * height + y) * width + x) as u64) * 30.0;
                    let value = value + noise;
                    if self.depth.is_some() {
                        pixels.push(value as u8);
                    } else {
                        pixels.extend([value as u8, (value * 0.8) as u8, (value * 0.7) as u8]);
                    }
                }
            }
        }
        pixels
    }

    /// `boxes`, row by row: x, y (and z) of the first corner, then of the last.
    pub(crate) fn boxes(&self) -> Vec<i64> {
        let volume = self.depth.is_some();
        let corner = |o: &Ellipsoid, side: f64| {
            let at = |axis: usize, size: usize| {
                let end = o.centre[axis] + side * o.half[axis];
                // The outermost whole pixels within the ellipsoid.
                let whole = if side < 0.0 { end.ceil() } else { end.floor() };
                whole.clamp(0.0, size as f64 - 1.0) as i64
            };
            let (x, y, z) = (at(2, self.width), at(1, self.height), at(0, self.depth.unwrap_or(1)));
            if volume { vec![x, y, z] } else { vec![x, y] }
        };
        self.organs().iter().flat_map(|o| [corner(o, -1.0), corner(o, 1.0)].concat()).collect()
    }

    /// An ellipsoid for each object, in the cells of a grid over the image; in a volume each spans half to nine tenths
    /// of the slices.
    fn organs(&self) -> Vec<Ellipsoid> {
        let aspect = self.width as f64 / self.height as f64;
        let columns = (self.objects as f64 * aspect).sqrt().ceil() as usize;
        let rows = self.objects.div_ceil(columns);
        let (cell_y, cell_x) = (self.height as f64 / rows as f64, self.width as f64 / columns as f64);
        let slices = self.depth.unwrap_or(1) as f64;
        let organ = |i: usize| {
            let seed = (self.height * self.width + i * 8) as u64;
            let between = |n: u64, low: f64, high: f64| low + (high - low) * random(seed + n);
            let share = between(0, 0.5, 0.9);
            let half = [slices * share / 2.0, cell_y * between(1, 0.22, 0.34), cell_x * between(2, 0.22, 0.34)];
            let middle = (slices - 1.0) / 2.0;
            // As far from the middle as the ellipsoid still fits, on either side.
            let room = slices * (1.0 - share) / 2.0;
            let centre = [
                middle + room * between(3, -0.9, 0.9),
                ((i / columns) as f64 + between(4, 0.4, 0.6)) * cell_y,
                ((i % columns) as f64 + between(5, 0.4, 0.6)) * cell_x,
            ];
            Ellipsoid { centre, half, brightness: between(6, 160.0, 215.0) }
        };
        (0..self.objects).map(organ).collect()
    }
}

impl Ellipsoid {
    /// First and last x in row `y` of slice `z`; without `y` that of the row through the centre.
    fn row(&self, z: usize, y: Option<usize>) -> Option<(f64, f64)> {
        let distance = |value: f64, axis: usize| ((value - self.centre[axis]) / self.half[axis]).powi(2);
        let rest = 1.0 - distance(z as f64, 0) - y.map_or(0.0, |y| distance(y as f64, 1));
        let reach = self.half[2] * rest.max(0.0).sqrt();
        (rest >= 0.0).then_some((self.centre[2] - reach, self.centre[2] + reach))
    }
}

/// The `n`-th of a fixed sequence of numbers in 0..1 (splitmix64).
fn random(n: u64) -> f64 {
    let state = n.wrapping_add(1).wrapping_mul(0x9e37_79b9_7f4a_7c15);
    let mixed = (state ^ (state >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
    let mixed = (mixed ^ (mixed >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
    ((mixed ^ (mixed >> 31)) >> 11) as f64 / (1u64 << 53) as f64
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn cases_have_as_many_boxes_as_objects_and_all_lie_within() {
        for case in CASES.into_iter().chain(CASES.map(|c| c.scaled(0.01))) {
            let boxes = case.boxes();
            let (columns, sizes) = match case.depth {
                Some(depth) => (6, vec![case.width, case.height, depth]),
                None => (4, vec![case.width, case.height]),
            };
            assert_eq!(boxes.len(), case.objects * columns, "{}", case.name);
            for b in boxes.chunks_exact(columns) {
                let (first, last) = b.split_at(columns / 2);
                let whole = first.iter().zip(last).zip(&sizes).all(|((a, b), &n)| 0 <= *a && a <= b && *b < n as i64);
                assert!(whole, "{}: {b:?}", case.name);
            }
        }
    }

    #[test]
    fn volumes_are_passed_through_a_good_part_of_their_depth() {
        for case in CASES {
            let Some(depth) = case.depth else { continue };
            for b in case.boxes().chunks_exact(6) {
                let share = (b[5] - b[2] + 1) as f64 / depth as f64;
                assert!((0.45..=0.95).contains(&share), "{}: {share}", case.name);
            }
        }
    }

    #[test]
    fn a_shrunken_case_keeps_one_slice_and_one_object() {
        let least = CASES[0].scaled(1e-6);
        assert_eq!((least.depth, least.objects, least.shape()), (Some(1), 1, [1, 512, 512]));
        assert_eq!(CASES[13].scaled(0.5).objects, 121);
        assert_eq!(CASES[13].scaled(0.5).depth, None);
    }

    #[test]
    fn pixels_have_the_shape_and_objects_are_brighter() {
        let case = Case { depth: Some(3), height: 40, width: 60, objects: 2, ..CASES[0] };
        let pixels = case.pixels();
        assert_eq!(pixels.len(), case.shape().iter().product::<usize>());
        for b in case.boxes().chunks_exact(6) {
            let [x, y, z] = [0, 1, 2].map(|i| ((b[i] + b[i + 3]) / 2) as usize);
            assert!(pixels[(z * 40 + y) * 60 + x] >= 160);
        }
        let image = Case { depth: None, ..case };
        assert_eq!(image.pixels().len(), 40 * 60 * 3);
    }
}
