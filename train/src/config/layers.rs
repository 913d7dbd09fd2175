//! Presets, files and single settings, of which later ones override earlier ones.

use std::path::Path;

use toml::{Table, Value};

use super::{Config, ConfigError};
use crate::data::Modality;

/// Names of the presets, and their TOML texts, which contain what differs from the defaults.
pub const PRESETS: [(&str, &str); 11] = [
    ("u-medsam", include_str!("presets/u-medsam.toml")),
    ("paper", include_str!("presets/paper.toml")),
    ("authors-code", include_str!("presets/authors-code.toml")),
    ("edge", include_str!("presets/edge.toml")),
    ("broad", include_str!("presets/broad.toml")),
    ("whole", include_str!("presets/whole.toml")),
    ("qat", include_str!("presets/qat.toml")),
    ("distill", include_str!("presets/distill.toml")),
    ("lite-medsam", include_str!("presets/lite-medsam.toml")),
    ("sd-only", include_str!("presets/sd-only.toml")),
    ("no-sharpmin", include_str!("presets/no-sharpmin.toml")),
];

/// The configuration of a preset, overridden by `file`, and both overridden by the settings (`section.key=value`).
///
/// # Errors
/// [`ConfigError`], which names the preset, the file or the setting and what is wrong with it.
pub fn resolve(preset: &str, file: Option<&Path>, settings: &[String]) -> Result<Config, ConfigError> {
    let Some((_, text)) = PRESETS.iter().find(|(name, _)| *name == preset) else {
        return Err(ConfigError::Preset { name: preset.into() });
    };
    let mut table = Table::try_from(Config::default()).map_err(|e| ConfigError::Field(e.to_string()))?;
    overlay_config(&mut table, parse(&format!("preset {preset}"), text)?);
    if let Some(path) = file {
        let source = path.display().to_string();
        let text = std::fs::read_to_string(path).map_err(|e| ConfigError::File { path: path.into(), source: e })?;
        overlay_config(&mut table, parse(&source, &text)?);
    }
    for setting in settings {
        overlay_config(&mut table, parse_setting(setting)?);
    }
    let config: Config = table.try_into().map_err(|e: toml::de::Error| ConfigError::Field(e.to_string()))?;
    config.check()?;
    Ok(config)
}

fn parse(source: &str, text: &str) -> Result<Table, ConfigError> {
    text.parse()
        .map_err(|e: toml::de::Error| ConfigError::Syntax { source_name: source.into(), message: e.to_string() })
}

/// `section.key=value`; a value that is no TOML is a string.
fn parse_setting(setting: &str) -> Result<Table, ConfigError> {
    let (key, value) = setting.split_once('=').ok_or_else(|| ConfigError::Setting(setting.into()))?;
    parse(setting, setting).or_else(|_| parse(setting, &format!("{key} = {}", Value::from(value.trim()))))
}

/// Caps stay but for those of the modalities that `above` names, however it spells them.
fn overlay_config(below: &mut Table, above: Table) {
    fn caps(table: &Table) -> Option<&Table> {
        table.get("data")?.get("caps")?.as_table()
    }
    let named: Vec<String> = caps(&above).into_iter().flat_map(|caps| caps.keys().cloned()).collect();
    let known = below.get_mut("data").and_then(|data| data.get_mut("caps")).and_then(Value::as_table_mut);
    if let Some(known) = known {
        known.retain(|known, _| !named.iter().any(|name| name != known && Modality::new(name) == Modality::new(known)));
    }
    overlay(below, above);
}

fn overlay(below: &mut Table, above: Table) {
    for (key, value) in above {
        match (below.get_mut(&key), value) {
            (Some(Value::Table(old)), Value::Table(new)) => overlay(old, new),
            (_, value) => {
                below.insert(key, value);
            }
        }
    }
}
