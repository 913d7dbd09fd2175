//! Mixed precision in bf16, on CPU and CUDA.
//!
//! libtorch casts the operands of matrix products and convolutions to bf16 and keeps sums, norms and losses in f32.
//! bf16 has f32's range, so that no loss scaling is needed. `tch::autocast` knows f16 on CUDA alone; this module calls
//! the C++ functions beneath it, which libtorch 2.11.0 exports under the names below.

#![allow(unsafe_code)]

use std::marker::PhantomData;

use tch::Device;

/// `at::ScalarType::BFloat16`.
const BFLOAT16: i8 = 15;

// SAFETY: `at::autocast` of ATen/autocast_mode.h. `c10::DeviceType` and `c10::ScalarType` are enums over int8_t, and
// the functions have C's calling convention, as all free functions of such arguments do in the Itanium ABI.
unsafe extern "C" {
    #[link_name = "_ZN2at8autocast19is_autocast_enabledEN3c1010DeviceTypeE"]
    fn is_enabled(device: i8) -> bool;
    #[link_name = "_ZN2at8autocast20set_autocast_enabledEN3c1010DeviceTypeEb"]
    fn set_enabled(device: i8, enabled: bool);
    #[link_name = "_ZN2at8autocast18get_autocast_dtypeEN3c1010DeviceTypeE"]
    fn kind(device: i8) -> i8;
    #[link_name = "_ZN2at8autocast18set_autocast_dtypeEN3c1010DeviceTypeENS1_10ScalarTypeE"]
    fn set_kind(device: i8, kind: i8);
    #[link_name = "_ZN2at8autocast17increment_nestingEv"]
    fn increment_nesting() -> i32;
    #[link_name = "_ZN2at8autocast17decrement_nestingEv"]
    fn decrement_nesting() -> i32;
    #[link_name = "_ZN2at8autocast11clear_cacheEv"]
    fn clear_cache();
}

/// Keeps autocast on, or off, in this thread until it is dropped, which puts back what was before.
///
/// Guards nest; they must end in the reverse order of their start, as they do in scopes.
#[derive(Debug)]
#[must_use = "autocast ends when the guard is dropped"]
pub struct Guard {
    before: Option<State>,
    /// The state is the thread's own.
    _not_send: PhantomData<*const ()>,
}

#[derive(Debug, Clone, Copy)]
struct State {
    device: i8,
    enabled: bool,
    kind: i8,
}

/// Turns autocast off for what this thread computes on `device`, until the guard is dropped.
pub fn off(device: Device) -> Guard {
    set(device, false)
}

/// Turns on autocast to bf16 for what this thread computes on `device`, one of CPU and CUDA; for others, nothing happens.
///
/// For forward passes and losses only: drop the guard before the backward pass, which follows the forward pass's types,
/// and before the optimiser's step. Until the outermost guard is dropped, the bf16 copies of the parameters are kept, so
/// parameters must not change under it.
pub fn bf16(device: Device) -> Guard {
    set(device, true)
}

fn set(device: Device, enabled: bool) -> Guard {
    // `c10::DeviceType`
    let device = match device {
        Device::Cpu => 0,
        Device::Cuda(_) => 1,
        Device::Mps | Device::Vulkan => return Guard { before: None, _not_send: PhantomData },
    };
    // SAFETY: these set variables of this thread. They throw for devices without autocast only, and both have it, a
    // libtorch without its CUDA half included.
    let before = unsafe {
        let before = State { device, enabled: is_enabled(device), kind: kind(device) };
        increment_nesting();
        set_enabled(device, enabled);
        set_kind(device, BFLOAT16);
        before
    };
    Guard { before: Some(before), _not_send: PhantomData }
}

impl Drop for Guard {
    fn drop(&mut self) {
        let Some(before) = self.before else { return };
        // SAFETY: as in `bf16`; the guard cannot have left the thread. Clearing the cache frees tensors of libtorch.
        unsafe {
            if decrement_nesting() == 0 {
                clear_cache();
            }
            set_enabled(before.device, before.enabled);
            set_kind(before.device, before.kind);
        }
    }
}
