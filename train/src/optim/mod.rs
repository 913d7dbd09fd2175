//! What moves the parameters: AdamW, sharpness-aware minimization around it, and its learning rate's schedule.
//!
//! PyTorch's: [`AdamW`] is `torch.optim.AdamW`, operation for operation, and [`Plateau`] is
//! `torch.optim.lr_scheduler.ReduceLROnPlateau`. Ours: the state of both can be saved, so that a resumed training
//! goes on with the same bits (libtorch's C++ optimizer does not let go of its state through `tch`), and [`SharpMin`]
//! and [`Average`], which PyTorch's optimizers do not have.
//!
//! One step of the training:
//!
//! ```no_run
//! # use umedsam_train::optim::{AdamW, SharpMin};
//! # fn step(optimizer: &mut AdamW, sharp_min: SharpMin, loss: impl Fn() -> tch::Tensor) {
//! optimizer.zero_grad();
//! loss().backward();
//! let perturbation = sharp_min.perturb(optimizer.parameters());
//! optimizer.zero_grad();
//! loss().backward();
//! perturbation.undo();
//! optimizer.step();
//! # }
//! ```

mod adamw;
mod average;
mod plateau;
mod sharp_min;
mod state;

pub use adamw::{AdamW, AdamWOptions, Group, Rate};
pub use average::Average;
pub use plateau::{Mode, Plateau, PlateauOptions, ThresholdMode};
pub use sharp_min::{Perturbation, SharpMin};
pub use state::StateError;
