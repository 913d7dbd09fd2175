//! Presets, files and settings.

use std::fs;

use umedsam_train::config::{BatchNorm, Config, ConfigError, PRESETS, Precision, Sharpness, resolve};
use umedsam_train::loss::{Term, Weighting};

fn with(preset: &str, settings: &[&str]) -> Result<Config, ConfigError> {
    resolve(preset, None, &settings.iter().map(|s| (*s).to_string()).collect::<Vec<_>>())
}

#[test]
fn presets_are_the_rows_of_the_paper() {
    for (name, _) in PRESETS {
        let config = with(name, &[]).unwrap();
        // What is saved with a run is read again as the same.
        let text = toml::to_string_pretty(&config).unwrap();
        assert_eq!(toml::from_str::<Config>(&text).unwrap(), config, "{name}");
        let json = serde_json::to_string(&config).unwrap();
        assert_eq!(serde_json::from_str::<Config>(&json).unwrap(), config, "{name}");
    }
    let full = with("u-medsam", &[]).unwrap();
    assert_eq!(full, Config::default());
    assert_eq!((full.optimizer.learning_rate, full.training.batch, full.training.epochs), (5e-5, 2, 135));
    assert_eq!(full.loss.terms, [Term::Dice, Term::Bce, Term::ShapeDistance, Term::Iou]);

    let paper = with("paper", &[]).unwrap();
    assert!(paper.model.trains("image_encoder.neck.0.weight") && paper.model.batch_norm == BatchNorm::Batch);
    let sd = with("sd-only", &[]).unwrap();
    assert_eq!((sd.loss.terms, sd.loss.weighting), (vec![Term::ShapeDistance], Weighting::Equal));
    let plain = with("no-sharpmin", &[]).unwrap();
    assert_eq!(plain.sharp_min.kind, Sharpness::Off);
    assert_eq!(Config { sharp_min: full.sharp_min, ..plain }, full);
    assert_eq!(with("lite-medsam", &[]).unwrap().training.epochs, 0);
    let code = with("authors-code", &[]).unwrap();
    assert_eq!((code.loss.weighting, code.loss.weight_decay), (Weighting::LiebelKoerner, 0.01));
}

#[test]
fn settings_lie_over_the_file_over_the_preset() {
    let folder = tempfile::tempdir().unwrap();
    let file = folder.path().join("run.toml");
    fs::write(&file, "[optimizer]\nlearning-rate = 1e-3\nbeta1 = 0.8\n[data.caps]\nCT = 7\n").unwrap();
    let settings = ["optimizer.learning-rate=0.002", "model.precision=bf16", "loss.terms=['dice', 'focal']"];
    let config = resolve("u-medsam", Some(&file), &settings.map(String::from)).unwrap();
    assert_eq!((config.optimizer.learning_rate, config.optimizer.beta1, config.optimizer.beta2), (0.002, 0.8, 0.999));
    assert_eq!((config.data.caps["CT"], config.model.precision), (7, Precision::Bf16));
    assert_eq!(config.loss.terms, [Term::Dice, Term::Focal]);
    // A cap replaces that of its modality, however it is spelled; the others stay.
    let caps = |settings: &[&str]| with("edge", settings).unwrap().data.caps;
    let [default, xray] = [caps(&[]), caps(&["data.caps.XRay=5"])];
    assert_eq!((default.len(), xray.len(), xray["XRay"], xray["CT"]), (11, 11, 5, 3000));
    assert!(!xray.contains_key("X-Ray"));
    let absent = resolve("paper", Some(&folder.path().join("absent.toml")), &[]).unwrap_err();
    assert!(absent.to_string().contains("absent.toml"), "{absent}");
}

#[test]
fn what_does_not_fit_is_named() {
    for (setting, named) in [
        ("training.batch=0", "training.batch is 0; 1 to 4096"),
        ("training.batch=-1", "batch"),
        ("optimizer.learning-rate=nan", "optimizer.learning-rate is NaN"),
        ("optimizer.lr=1", "lr"),
        ("schedule.factor=1.5", "schedule.factor is 1.5"),
        ("loss.terms=[]", "loss.terms"),
        ("data.opening=2", "data.opening is 2.0; 0 to 1"),
        ("data.unlabelled=0.1", "data.unlabelled is 0.1; 0, as no loss"),
        ("loss.learning-rate=0", "loss.learning-rate"),
        ("loss.least-sigma=0", "loss.least-sigma"),
        ("data.caps={ XRay = 1, x-ray = 2 }", "each modality once"),
        ("loss.terms=['dice','dice']", "loss.terms"),
        ("loss.terms=['dise']", "dise"),
        ("loss.weights={ dice = 2.0 }", "loss.weights is {Dice: 2.0}; none"),
        ("loss.weights={ focal = 2.0 }", "of losses in loss.terms"),
        ("quantization.precision=f16", "f16"),
        ("quantization.precision=tf32", "quantization.precision is Tf32; f32 or bf16"),
        // The key's first name.
        ("model.arithmetic=bf16", "`precision`"),
        ("quantization.keep=['']", "quantization.keep"),
        ("sharp-min.kind=maybe", "maybe"),
        ("nonsense", "section.key=value"),
        ("a b=1", "a b"),
    ] {
        let error = with("u-medsam", &[setting]).unwrap_err().to_string();
        assert!(error.contains(named), "{setting}: {error}");
    }
    for setting in ["model.batch-norm=batch", "model.precision=bf16"] {
        let error = with("qat", &[setting]).unwrap_err().to_string();
        assert!(error.contains(setting.split_once('=').unwrap().0), "{setting}: {error}");
    }
    let error = with("u-medsan", &[]).unwrap_err().to_string();
    assert!(error.contains("u-medsan") && error.contains("authors-code"), "{error}");
}
