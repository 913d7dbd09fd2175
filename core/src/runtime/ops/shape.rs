//! Shapes of calls, in the letters of the functions' table.

use std::prelude::v1::*;

use anyhow::{Context, Result, ensure};

use crate::runtime::calls::Size;
use crate::runtime::functions::STRIDES;

/// The sizes that the letters of one call stand for.
#[derive(Debug, Default)]
pub(super) struct Sizes<'a>(Vec<(&'a str, Size)>);

/// An axis such as `3C`, `C` or `3`: the factor, and the letter if there is one.
fn parts(axis: &str) -> Result<(usize, &str)> {
    let digits = axis.bytes().take_while(u8::is_ascii_digit).count();
    let (factor, letter) = axis.split_at(digits);
    Ok((if factor.is_empty() { 1 } else { factor.parse()? }, letter))
}

impl<'a> Sizes<'a> {
    fn of(&self, letter: &str) -> Option<Size> {
        if letter.is_empty() {
            return Some(Size::fixed(1));
        }
        self.0.iter().find(|(known, _)| *known == letter).map(|&(_, size)| size)
    }

    /// Takes what an input of this shape tells, which must agree with what is known.
    pub(super) fn bind(&mut self, shape: &'a str, given: &[Size]) -> Result<()> {
        ensure!(shape.split(' ').count() == given.len(), "shape {given:?}, ({shape}) expected");
        for (axis, size) in shape.split(' ').zip(given) {
            let (factor, letter) = parts(axis)?;
            if let Some(known) = self.of(letter) {
                let expected = known.times(factor)?;
                ensure!(*size == expected, "shape {given:?}, ({shape}) with {axis} = {expected} expected");
            } else if factor == 1 {
                self.0.push((letter, *size));
            } else {
                let size = size.number()?;
                ensure!(size % factor == 0, "shape {given:?}, ({shape}) expected");
                self.0.push((letter, Size::fixed(size / factor)));
            }
        }
        Ok(())
    }

    /// The sizes of an output of this shape.
    pub(super) fn shape(&self, shape: &str, strides: Option<[i64; 2]>) -> Result<Vec<Size>> {
        shape.split(' ').map(|axis| self.size(axis, strides)).collect()
    }

    fn size(&self, axis: &str, strides: Option<[i64; 2]>) -> Result<Size> {
        let number = |axis| self.size(axis, None)?.number();
        let fixed = |size: Option<usize>| size.map(Size::fixed).with_context(|| format!("{axis} is beyond all memory"));
        if let Some((a, b)) = axis.split_once('+') {
            return fixed(number(a)?.checked_add(number(b)?));
        }
        if let Some((a, b)) = axis.split_once('*') {
            return fixed(number(a)?.checked_mul(number(b)?));
        }
        if let Some((size, _)) = axis.split_once('/') {
            let strides = strides.with_context(|| format!("{STRIDES} are missing"))?;
            ensure!(matches!(strides, [1, 1] | [2, 2]), "{STRIDES} {strides:?}");
            return Ok(Size::fixed(number(size)?.div_ceil(strides[0] as usize)));
        }
        if let Some((factor, cells)) = axis.split_once('√') {
            let cells = number(cells)?;
            ensure!(cells.isqrt().pow(2) == cells, "{cells} cells are no square");
            return self.size(factor, None)?.times(cells.isqrt());
        }
        let (factor, letter) = parts(axis)?;
        self.of(letter).with_context(|| format!("no input tells {letter}"))?.times(factor)
    }
}

#[cfg(test)]
mod tests {
    use std::panic;

    use super::*;
    use crate::runtime::functions::{ALL, Function, Kind, MASK_HEAD, MB_CONV, NECK, PATCH_MERGING};

    fn output(function: &Function, int8: bool, inputs: &[&[usize]], strides: Option<[i64; 2]>) -> Result<Vec<usize>> {
        let mut sizes = Sizes::default();
        for ((_, shape), given) in function.inputs_in(int8).zip(inputs) {
            sizes.bind(shape, &given.iter().map(|&n| Size::fixed(n)).collect::<Vec<_>>())?;
        }
        sizes.shape(function.output, strides)?.iter().map(|size| size.number()).collect()
    }

    #[test]
    fn shapes_follow_from_the_table() {
        let conv: [&[usize]; 7] =
            [&[1, 5, 4, 16], &[64, 16, 1, 1], &[64], &[64, 1, 3, 3], &[64], &[32, 64, 1, 1], &[32]];
        assert_eq!(output(&PATCH_MERGING, false, &conv, Some([2, 2])).unwrap(), [1, 3, 2, 32]);
        let error = output(&MB_CONV, false, &conv, None).unwrap_err().to_string();
        assert!(error.contains("(C E 1 1) with C = 16 expected"), "{error}");
        assert!(output(&PATCH_MERGING, false, &conv, Some([3, 3])).is_err());
        let neck: [&[usize]; 9] =
            [&[1, 8, 8, 16], &[16, 32], &[32], &[32], &[32], &[32, 32, 3, 3], &[32], &[32], &[32]];
        assert_eq!(output(&NECK, true, &neck, None).unwrap(), [1, 32, 8, 8]);
        let head = |up: usize, cells| {
            let inputs: [&[usize]; 3] = [&[3, 7, 16], &[3, cells, 16], &[16, up]];
            output(&MASK_HEAD, false, &inputs, None)
        };
        assert_eq!(head(64, 64).unwrap(), [3, 32, 32]);
        assert!(head(62, 64).is_err() && head(64, 63).is_err());
    }

    /// Each letter of an output is one of the inputs', and the activations come first.
    #[test]
    fn the_table_is_consistent() {
        for function in ALL {
            let mut sizes = Sizes::default();
            let mut letters = Vec::new();
            for (name, shape) in function.inputs_in(function.has_int8()) {
                let ones: Vec<Size> = shape.split(' ').map(|axis| Size::fixed(parts(axis).unwrap().0)).collect();
                sizes.bind(shape, &ones).unwrap_or_else(|e| panic!("{} {name}: {e}", function.name));
                letters.push(name);
            }
            sizes.shape(function.output, Some([1, 1])).unwrap_or_else(|e| panic!("{}: {e}", function.name));
            let kinds: Vec<bool> = function.inputs.iter().map(|i| i.kind == Kind::Activation).collect();
            assert!(kinds.is_sorted_by_key(|activation| !activation), "{}", function.name);
            letters.sort();
            letters.dedup();
            assert_eq!(letters.len(), function.inputs_in(function.has_int8()).count(), "{}", function.name);
            for int8 in [false, function.has_int8()] {
                assert_eq!(Function::find(&function.name_in(int8)), Some((function, int8)));
            }
        }
        assert_eq!(Function::find("LocalConvInt8"), None);
    }
}
