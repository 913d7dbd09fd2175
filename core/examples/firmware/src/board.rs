//! The board: its heap, which counts what is taken from it, its console, and how it starts and ends.

use core::alloc::{GlobalAlloc, Layout};
use core::fmt::Write;
use core::ptr;
use core::sync::atomic::{AtomicUsize, Ordering::Relaxed};

use cortex_m_rt::{entry, heap_start};
use cortex_m_semihosting::{debug, hio};
use embedded_alloc::LlffHeap;
use panic_semihosting as _;

use crate::work::Device;
use crate::work::recording::Recording;
use crate::{RECORDING, ROUNDS};

/// Bytes of the heap. What is left of the memory above it is the stack's.
const HEAP: usize = 3 << 20;

/// Bytes of the memory, as memory.x has it.
const RAM: core::ops::Range<usize> = 0x2000_0000..0x2040_0000;

/// What lies in the stack's memory before it is used.
const UNUSED: u32 = 0xa5a5_5a5a;

/// A heap that counts.
struct Counted {
    heap: LlffHeap,
    requests: AtomicUsize,
    peak: AtomicUsize,
}

#[global_allocator]
static ALLOCATOR: Counted =
    Counted { heap: LlffHeap::empty(), requests: AtomicUsize::new(0), peak: AtomicUsize::new(0) };

// SAFETY: all requests are handed on to a heap that keeps the contract.
unsafe impl GlobalAlloc for Counted {
    unsafe fn alloc(&self, layout: Layout) -> *mut u8 {
        self.requests.fetch_add(1, Relaxed);
        // SAFETY: the caller's contract is the same.
        let found = unsafe { self.heap.alloc(layout) };
        self.peak.fetch_max(self.heap.used(), Relaxed);
        found
    }

    unsafe fn dealloc(&self, found: *mut u8, layout: Layout) {
        // SAFETY: the caller's contract is the same.
        unsafe { self.heap.dealloc(found, layout) };
    }
}

unsafe extern "C" {
    // Of the linker's script: the image in flash ends with the first values of `.data`.
    static __sidata: u32;
    static __sdata: u32;
    static __edata: u32;
}

#[entry]
fn main() -> ! {
    let heap = heap_start() as usize;
    // SAFETY: the heap's memory lies between the statics and the stack, and is given away once.
    unsafe { ALLOCATOR.heap.init(heap, HEAP) };
    paint_stack(heap + HEAP);
    let mut lost = 0;
    let ended = hio::hstdout().map_err(|()| "no console").and_then(|mut console| {
        let mut tell = |line: core::fmt::Arguments<'_>| lost += usize::from(writeln!(console, "{line}").is_err());
        let mut network = Recording::new(RECORDING);
        let mut device = Device::new();
        let mut requests = [0; ROUNDS];
        for taken in &mut requests {
            let before = ALLOCATOR.requests.load(Relaxed);
            if let Err(problem) = device.round(&mut network, &mut tell) {
                tell(format_args!("{problem}"));
                return Err("stopped");
            }
            *taken = ALLOCATOR.requests.load(Relaxed) - before;
        }
        let flash = (&raw const __sidata as usize) + (&raw const __edata as usize) - (&raw const __sdata as usize);
        tell(format_args!("# flash {flash} bytes, of which the recording {}", RECORDING.len()));
        tell(format_args!("# static memory {} bytes", heap - RAM.start));
        tell(format_args!("# heap {} bytes at the peak, of which:", ALLOCATOR.peak.load(Relaxed)));
        device.tell_memory(&mut tell);
        tell(format_args!("# stack {} bytes at the peak", RAM.end - deepest(heap + HEAP)));
        tell(format_args!("# requests of memory in each round: {requests:?}"));
        match requests {
            [_, 0] if network.is_finished() => Ok(()),
            [_, 0] => Err("entries of the recording were not asked for"),
            _ => Err("the second round took memory"),
        }
    });
    let ended = if lost > 0 { Err("lines of the report were lost") } else { ended };
    if let Err(what) = ended
        && let Ok(mut console) = hio::hstderr()
    {
        // There is no other way to say it.
        _ = writeln!(console, "firmware: {what}");
    }
    loop {
        debug::exit(if ended.is_ok() { debug::EXIT_SUCCESS } else { debug::EXIT_FAILURE });
    }
}

/// Marks the memory below the stack.
#[inline(never)]
fn paint_stack(start: usize) {
    let here = 0u32;
    // Below this frame, with room for those of the calls from here.
    let end = (&raw const here as usize - 256) & !3;
    for word in (start.next_multiple_of(4)..end).step_by(4) {
        // SAFETY: nothing lies between the end of the heap and the stack.
        unsafe { ptr::write_volatile(word as *mut u32, UNUSED) };
    }
}

/// The lowest address that the stack has reached.
fn deepest(start: usize) -> usize {
    let used = |word: &usize| {
        // SAFETY: it lies in memory.
        unsafe { ptr::read_volatile(*word as *const u32) != UNUSED }
    };
    (start.next_multiple_of(4)..RAM.end).step_by(4).find(used).unwrap_or(RAM.end)
}
