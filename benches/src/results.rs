//! `benches/RESULTS.md`: the comparisons write it, each its own section.

use std::fs;
use std::path::{Path, PathBuf};

use anyhow::{Context, bail};
use umedsam::files::write_atomically;

const HEADING: &str = "# Results\n\nWritten by the programs named in each section; not edited by hand.\n";

/// The file in the repository.
pub fn default_path() -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("RESULTS.md")
}

/// Replaces the section `name` of the file, or appends it; every other section stays as it is.
pub fn write_section(path: &Path, name: &str, body: &str) -> anyhow::Result<()> {
    let old = match fs::read_to_string(path) {
        Ok(text) => text,
        Err(error) if error.kind() == std::io::ErrorKind::NotFound => HEADING.into(),
        Err(error) => return Err(error).with_context(|| path.display().to_string()),
    };
    let new = replace_section(&old, name, body).with_context(|| path.display().to_string())?;
    write_atomically(path, |file| file.write_all(new.as_bytes())).with_context(|| path.display().to_string())
}

/// `text` with what stands between `<!-- name -->` and `<!-- /name -->` replaced; appended where the marks are missing.
fn replace_section(text: &str, name: &str, body: &str) -> anyhow::Result<String> {
    let (start, end) = (format!("<!-- {name} -->"), format!("<!-- /{name} -->"));
    let section = format!("{start}\n\n{}\n\n{end}", body.trim());
    let (before, after) = match (text.find(&start), text.find(&end)) {
        (None, None) => return Ok(format!("{}\n\n{section}\n", text.trim_end())),
        (Some(a), Some(b)) if a < b => (&text[..a], &text[b + end.len()..]),
        _ => bail!("section {name} has only one of its two marks, or they are swapped"),
    };
    Ok(format!("{before}{section}{after}"))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_section_is_replaced_and_the_others_stay() {
        let one = replace_section("# R\n", "peers", "old").unwrap();
        assert_eq!(one, "# R\n\n<!-- peers -->\n\nold\n\n<!-- /peers -->\n");
        let two = replace_section(&one, "table4", "second").unwrap();
        let new = replace_section(&two, "peers", "new\n\nlines\n").unwrap();
        assert_eq!(new, two.replace("old", "new\n\nlines"));
        assert_eq!(replace_section(&new, "peers", "old").unwrap(), two);
    }

    #[test]
    fn half_a_section_is_not_guessed_at() {
        for text in ["<!-- peers -->\nwritten by hand", "<!-- /peers --> <!-- peers -->"] {
            assert!(replace_section(text, "peers", "new").is_err());
        }
    }

    #[test]
    fn the_file_is_made_and_kept() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("RESULTS.md");
        write_section(&path, "a", "first").unwrap();
        write_section(&path, "b", "second").unwrap();
        write_section(&path, "a", "third").unwrap();
        let text = fs::read_to_string(&path).unwrap();
        assert!(text.starts_with(HEADING) && text.contains("third") && text.contains("second"));
        assert!(!text.contains("first"));
    }
}
