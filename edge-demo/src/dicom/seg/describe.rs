//! The elements of a segmentation.

use dicom_dictionary_std::tags;
use dicom_dictionary_std::uids::SEGMENTATION_STORAGE;

use super::super::dataset::Dataset;
use super::super::uid::derived;
use super::{COPIED, Segmentation, time};
use crate::objects::Object;

const NAME: &str = "U-MedSAM edge";

/// What a segmentation holds.
pub(super) struct Description<'a> {
    pub(super) segmentation: &'a Segmentation<'a>,
    /// The segment and the slice of each frame.
    pub(super) frames: &'a [(u16, usize)],
    pub(super) objects: &'a [Object],
}

impl Description<'_> {
    /// All elements but the pixels. `content` is a UID that stands for them.
    pub(super) fn dataset(&self, uid: &str, content: &str) -> Dataset {
        let Segmentation { series, size, .. } = self.segmentation;
        let organization = derived(["organization", content]);
        let (date, time) = self.time();
        let set = self
            .repeated()
            .with(tags::SOP_CLASS_UID, SEGMENTATION_STORAGE)
            .with(tags::SOP_INSTANCE_UID, uid)
            .with(tags::STUDY_INSTANCE_UID, series.study.as_str())
            .with(tags::SERIES_INSTANCE_UID, derived(["series", content]))
            .with(tags::MODALITY, "SEG")
            .with(tags::SERIES_NUMBER, "1000")
            .with(tags::SERIES_DESCRIPTION, "U-MedSAM edge segmentation")
            .with(tags::MANUFACTURER, "U-MedSAM")
            .with(tags::MANUFACTURER_MODEL_NAME, NAME)
            .with(tags::DEVICE_SERIAL_NUMBER, "0")
            .with(tags::SOFTWARE_VERSIONS, env!("CARGO_PKG_VERSION"))
            .with(tags::INSTANCE_NUMBER, "1")
            .with(tags::CONTENT_DATE, date)
            .with(tags::CONTENT_TIME, time)
            .with(tags::CONTENT_LABEL, "SEGMENTATION")
            .with(tags::CONTENT_DESCRIPTION, "Segmented from boxes")
            .with(tags::CONTENT_CREATOR_NAME, "")
            .with(tags::IMAGE_TYPE, "DERIVED\\PRIMARY")
            .words(tags::SAMPLES_PER_PIXEL, &[1])
            .with(tags::PHOTOMETRIC_INTERPRETATION, "MONOCHROME2")
            .words(tags::PIXEL_REPRESENTATION, &[0])
            .words(tags::BITS_ALLOCATED, &[1])
            .words(tags::BITS_STORED, &[1])
            .words(tags::HIGH_BIT, &[0])
            .words(tags::ROWS, &[size.height as u16])
            .words(tags::COLUMNS, &[size.width as u16])
            .with(tags::NUMBER_OF_FRAMES, self.frames.len().to_string())
            .with(tags::LOSSY_IMAGE_COMPRESSION, if series.lossy { "01" } else { "00" })
            .with(tags::SEGMENTATION_TYPE, "BINARY")
            .with(tags::SEGMENTS_OVERLAP, "NO")
            .items(tags::SEGMENT_SEQUENCE, self.objects.iter().zip(1..).map(segment).collect())
            .items(
                tags::DIMENSION_ORGANIZATION_SEQUENCE,
                vec![Dataset::new().with(tags::DIMENSION_ORGANIZATION_UID, organization.as_str())],
            )
            .items(tags::DIMENSION_INDEX_SEQUENCE, self.dimensions(&organization))
            .items(tags::REFERENCED_SERIES_SEQUENCE, vec![self.referenced()])
            .items(tags::SHARED_FUNCTIONAL_GROUPS_SEQUENCE, vec![self.shared()])
            .items(
                tags::PER_FRAME_FUNCTIONAL_GROUPS_SEQUENCE,
                self.frames.iter().map(|&(segment, z)| self.frame(segment, z)).collect(),
            );
        match series.frame_of_reference.as_ref().filter(|_| self.segmentation.placed) {
            Some(uid) => set.with(tags::FRAME_OF_REFERENCE_UID, uid.as_str()),
            // An image without a place says at least that its orientation is not known.
            None => set.with(tags::PATIENT_ORIENTATION, ""),
        }
    }

    /// What is said of patient and study, empty where the images don't tell.
    fn repeated(&self) -> Dataset {
        let Segmentation { series, placed, .. } = self.segmentation;
        // What must be there, if empty, and what may be.
        let required = |tag| match tag {
            tags::SPECIFIC_CHARACTER_SET | tags::STUDY_DESCRIPTION | tags::PATIENT_AGE => false,
            tags::LOSSY_IMAGE_COMPRESSION_RATIO | tags::LOSSY_IMAGE_COMPRESSION_METHOD => false,
            tags::POSITION_REFERENCE_INDICATOR => *placed,
            _ => true,
        };
        let allowed = |tag| match tag {
            tags::LOSSY_IMAGE_COMPRESSION_RATIO | tags::LOSSY_IMAGE_COMPRESSION_METHOD => series.lossy,
            tags::POSITION_REFERENCE_INDICATOR => *placed,
            _ => true,
        };
        let empty = COPIED.into_iter().filter(|&tag| required(tag));
        let set = empty.fold(Dataset::new(), |set, tag| set.with(tag, ""));
        let told = series.copied.iter().filter(|(tag, value)| !value.is_empty() && allowed(*tag));
        told.fold(set, |set, (tag, value)| set.with(*tag, value.clone()))
    }

    /// The study's date and time, so that the same input makes the same file; without, those of now.
    fn time(&self) -> (Vec<u8>, Vec<u8>) {
        let told = |tag| self.segmentation.series.copied.iter().find(|(t, _)| *t == tag).map(|(_, value)| value);
        match (told(tags::STUDY_DATE), told(tags::STUDY_TIME)) {
            (Some(date), Some(time)) if time::is_date(date) && time::is_time(time) => (date.clone(), time.clone()),
            _ => {
                let (date, time) = time::now();
                (date.into(), time.into())
            }
        }
    }

    /// What tells frames apart: the segment, and the position; without positions a label.
    fn dimensions(&self, organization: &str) -> Vec<Dataset> {
        let second = if self.segmentation.placed {
            (tags::IMAGE_POSITION_PATIENT, tags::PLANE_POSITION_SEQUENCE, "Position")
        } else {
            (tags::FRAME_LABEL, tags::FRAME_CONTENT_SEQUENCE, "Slice")
        };
        let first = (tags::REFERENCED_SEGMENT_NUMBER, tags::SEGMENT_IDENTIFICATION_SEQUENCE, "Segment");
        let dimension = |(pointer, group, label)| {
            Dataset::new()
                .with(tags::DIMENSION_ORGANIZATION_UID, organization)
                .points(tags::DIMENSION_INDEX_POINTER, pointer)
                .points(tags::FUNCTIONAL_GROUP_POINTER, group)
                .with(tags::DIMENSION_DESCRIPTION_LABEL, label)
        };
        [first, second].map(dimension).into()
    }

    /// The source series with each of its images once.
    fn referenced(&self) -> Dataset {
        let series = self.segmentation.series;
        let mut known = std::collections::BTreeSet::new();
        let instances = series.instances.iter().filter(|i| known.insert(i.uid.as_str()));
        let items = instances.map(|i| reference(&i.class, &i.uid)).collect();
        Dataset::new()
            .with(tags::SERIES_INSTANCE_UID, series.uid.as_str())
            .items(tags::REFERENCED_INSTANCE_SEQUENCE, items)
    }

    /// What all frames share.
    fn shared(&self) -> Dataset {
        let Segmentation { series, between, placed, .. } = self.segmentation;
        let (true, Some([x, y]), Some(orientation)) = (*placed, series.pixel, series.orientation) else {
            return Dataset::new();
        };
        let mut measures = Dataset::new().with(tags::PIXEL_SPACING, decimals(&[y, x]));
        if let Some(thickness) = series.thickness.or(*between) {
            measures = measures.with(tags::SLICE_THICKNESS, decimals(&[thickness]));
        }
        if let Some(between) = between {
            measures = measures.with(tags::SPACING_BETWEEN_SLICES, decimals(&[*between]));
        }
        let orientation = Dataset::new().with(tags::IMAGE_ORIENTATION_PATIENT, decimals(&orientation));
        Dataset::new()
            .items(tags::PIXEL_MEASURES_SEQUENCE, vec![measures])
            .items(tags::PLANE_ORIENTATION_SEQUENCE, vec![orientation])
    }

    /// What belongs to one frame.
    fn frame(&self, segment: u16, z: usize) -> Dataset {
        let Segmentation { series, placed, .. } = self.segmentation;
        let source = &series.instances[z];
        let mut image = reference(&source.class, &source.uid).with(tags::SPATIAL_LOCATIONS_PRESERVED, "YES").items(
            tags::PURPOSE_OF_REFERENCE_CODE_SEQUENCE,
            vec![code("121322", "DCM", "Source image for image processing operation")],
        );
        if let Some(frame) = source.frame {
            image = image.with(tags::REFERENCED_FRAME_NUMBER, frame.to_string());
        }
        let derivation = Dataset::new()
            .items(tags::DERIVATION_CODE_SEQUENCE, vec![code("113076", "DCM", "Segmentation")])
            .items(tags::SOURCE_IMAGE_SEQUENCE, vec![image]);
        let mut content = Dataset::new().longs(tags::DIMENSION_INDEX_VALUES, &[u32::from(segment), z as u32 + 1]);
        let mut groups = Dataset::new()
            .items(
                tags::SEGMENT_IDENTIFICATION_SEQUENCE,
                vec![Dataset::new().words(tags::REFERENCED_SEGMENT_NUMBER, &[segment])],
            )
            .items(tags::DERIVATION_IMAGE_SEQUENCE, vec![derivation]);
        match source.position.as_ref().filter(|_| *placed) {
            Some(position) => {
                let place = Dataset::new().with(tags::IMAGE_POSITION_PATIENT, fitted(position));
                groups = groups.items(tags::PLANE_POSITION_SEQUENCE, vec![place]);
            }
            None => content = content.with(tags::FRAME_LABEL, format!("slice {}", z + 1)),
        }
        groups.items(tags::FRAME_CONTENT_SEQUENCE, vec![content])
    }
}

/// A segment, in a colour that is far from those of its neighbours.
fn segment((object, number): (&Object, u16)) -> Dataset {
    let angle = (f64::from(number) * 137.5).to_radians();
    let part = |v: f64| ((v + 128.0) * 257.0).round() as u16;
    let lightness = (0.6 * 65_535.0) as u16;
    let kind = object
        .code
        .as_ref()
        .map_or_else(|| code("85756007", "SCT", "Tissue"), |found| code(&found.value, &found.scheme, &found.meaning));
    Dataset::new()
        .words(tags::SEGMENT_NUMBER, &[number])
        .with(tags::SEGMENT_LABEL, object.title())
        .with(tags::SEGMENT_ALGORITHM_TYPE, "SEMIAUTOMATIC")
        .with(tags::SEGMENT_ALGORITHM_NAME, NAME)
        .items(tags::SEGMENTED_PROPERTY_CATEGORY_CODE_SEQUENCE, vec![code("91723000", "SCT", "Anatomical Structure")])
        .items(tags::SEGMENTED_PROPERTY_TYPE_CODE_SEQUENCE, vec![kind])
        .words(
            tags::RECOMMENDED_DISPLAY_CIE_LAB_VALUE,
            &[lightness, part(60.0 * angle.cos()), part(60.0 * angle.sin())],
        )
}

fn reference(class: &str, instance: &str) -> Dataset {
    Dataset::new().with(tags::REFERENCED_SOP_CLASS_UID, class).with(tags::REFERENCED_SOP_INSTANCE_UID, instance)
}

fn code(value: &str, scheme: &str, meaning: &str) -> Dataset {
    Dataset::new()
        .with(tags::CODE_VALUE, value)
        .with(tags::CODING_SCHEME_DESIGNATOR, scheme)
        .with(tags::CODE_MEANING, meaning)
}

/// Decimal strings, each of 16 characters at most.
const MOST: usize = 16;

fn decimals(numbers: &[f64]) -> String {
    let texts: Vec<String> = numbers.iter().map(|v| decimal(*v)).collect();
    texts.join("\\")
}

fn decimal(number: f64) -> String {
    let exact = [number.to_string(), format!("{number:e}")].into_iter().find(|text| text.len() <= MOST);
    let mut rounded = (0..MOST).rev().map(|digits| format!("{number:.digits$}"));
    exact.or_else(|| rounded.find(|text| text.len() <= MOST)).unwrap_or_else(|| format!("{number:.8e}"))
}

/// Decimal strings as the source has them, or rounded where they are longer than the standard allows.
fn fitted(written: &str) -> String {
    let fit = |part: &str| match part.trim().parse::<f64>() {
        Ok(number) if part.len() > MOST => decimal(number),
        _ => part.into(),
    };
    let parts: Vec<String> = written.split('\\').map(fit).collect();
    parts.join("\\")
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn decimals_keep_to_16_characters() {
        assert_eq!(decimals(&[0.5, -1.0, 1e-20]), "0.5\\-1\\1e-20");
        assert_eq!(decimal(-1.0 / 3.0), "-0.3333333333333");
        assert_eq!(decimal(-1.0 / 3e20), "-0.0000000000000");
        assert_eq!(decimal(-1e300 / 3.0), "-3.33333333e299");
        assert_eq!(fitted("-10\\20.50\\30.12345678901234567"), "-10\\20.50\\30.1234567890123");
    }
}
