//! Pointers of the caller, checked as far as that is possible.

use std::ffi::{CStr, c_char};
use std::format;
use std::path::Path;
use std::prelude::v1::*;
use std::slice::{from_raw_parts, from_raw_parts_mut};
use std::sync::{Mutex, MutexGuard, RwLock, RwLockReadGuard, RwLockWriteGuard, TryLockError};

use super::status::{Failure, umedsam_status};

fn check<T>(pointer: *const T, name: &str) -> Result<(), Failure> {
    if pointer.is_null() {
        return Err(Failure::new(umedsam_status::Pointer, format!("{name} is NULL")));
    }
    if !pointer.is_aligned() {
        let message = format!("{name} is not aligned to {} bytes", align_of::<T>());
        return Err(Failure::new(umedsam_status::Pointer, message));
    }
    Ok(())
}

/// Borrows what `pointer` points at.
///
/// # Safety
/// It points at a valid value, if it is not NULL, that stays and is not changed while it is borrowed.
pub(super) unsafe fn reference<'a, T>(pointer: *const T, name: &str) -> Result<&'a T, Failure> {
    check(pointer, name)?;
    // SAFETY: checked, and by contract.
    Ok(unsafe { &*pointer })
}

/// Where a result goes: `blank` until then, so that a call that fails leaves nothing undefined.
///
/// # Safety
/// `pointer` may be written to, if it is not NULL, by nobody else while it is borrowed.
pub(super) unsafe fn result<'a, T>(pointer: *mut T, blank: T, name: &str) -> Result<&'a mut T, Failure> {
    check(pointer, name)?;
    // SAFETY: checked, and by contract.
    unsafe {
        pointer.write(blank);
        Ok(&mut *pointer)
    }
}

/// Borrows `count` values; none may be NULL.
///
/// # Safety
/// If it is not NULL, `pointer` points at so many valid values that stay and are not changed while they are borrowed.
pub(super) unsafe fn values<'a, T>(pointer: *const T, count: usize, name: &str) -> Result<&'a [T], Failure> {
    if count == 0 {
        return Ok(&[]);
    }
    check(pointer, name)?;
    check_size::<T>(count, name)?;
    // SAFETY: checked, and by contract.
    Ok(unsafe { from_raw_parts(pointer, count) })
}

/// Borrows `needed` of the `given` values of a buffer to write to, or nothing if it is NULL.
///
/// # Safety
/// If it is not NULL, `pointer` points at memory for `given` values that nobody else uses while it is borrowed.
pub(super) unsafe fn buffer<'a, T: Number>(
    pointer: *mut T,
    given: usize,
    needed: usize,
    name: &str,
) -> Result<Option<&'a mut [T]>, Failure> {
    if pointer.is_null() || needed == 0 {
        return Ok(None);
    }
    check(pointer, name)?;
    check_size::<T>(needed, name)?;
    if given < needed {
        let message = format!("{name}: the buffer holds {given} values, {needed} are needed");
        return Err(Failure::new(umedsam_status::BufferSize, message));
    }
    // SAFETY: checked, and by contract. The memory may be uninitialized for the caller, but every bit pattern is a
    // number.
    Ok(Some(unsafe { from_raw_parts_mut(pointer, needed) }))
}

/// Numbers, of which every bit pattern is one.
pub(super) trait Number {}
impl Number for u8 {}
impl Number for u16 {}
impl Number for f32 {}

/// Borrows the path of a file: the system's bytes, on Windows UTF-8.
///
/// # Safety
/// If it is not NULL, `pointer` points at a string that ends with a 0 and is not changed while it is borrowed.
pub(super) unsafe fn file_path<'a>(pointer: *const c_char, name: &str) -> Result<&'a Path, Failure> {
    check(pointer, name)?;
    // SAFETY: checked, and by contract.
    path_of(unsafe { CStr::from_ptr(pointer) }, name)
}

#[cfg(unix)]
fn path_of<'a>(path: &'a CStr, _: &str) -> Result<&'a Path, Failure> {
    use std::os::unix::ffi::OsStrExt;
    Ok(Path::new(std::ffi::OsStr::from_bytes(path.to_bytes())))
}

#[cfg(not(unix))]
fn path_of<'a>(path: &'a CStr, name: &str) -> Result<&'a Path, Failure> {
    let path = path.to_str().map_err(|_| Failure::new(umedsam_status::Argument, format!("{name} is not UTF-8")))?;
    Ok(Path::new(path))
}

fn check_size<T>(count: usize, name: &str) -> Result<(), Failure> {
    match count.checked_mul(size_of::<T>()) {
        Some(bytes) if isize::try_from(bytes).is_ok() => Ok(()),
        _ => Err(Failure::new(umedsam_status::BufferSize, format!("{name}: {count} values are beyond all memory"))),
    }
}

/// Locks a handle, or says that another call has it.
pub(super) fn lock<'a, T>(handle: &'a Mutex<T>, name: &str) -> Result<MutexGuard<'a, T>, Failure> {
    handle.try_lock().map_err(|e| taken(&e, name))
}

/// As [`lock`], together with other readers.
pub(super) fn read<'a, T>(handle: &'a RwLock<T>, name: &str) -> Result<RwLockReadGuard<'a, T>, Failure> {
    handle.try_read().map_err(|e| taken(&e, name))
}

/// As [`lock`], without readers.
pub(super) fn write<'a, T>(handle: &'a RwLock<T>, name: &str) -> Result<RwLockWriteGuard<'a, T>, Failure> {
    handle.try_write().map_err(|e| taken(&e, name))
}

fn taken<G>(error: &TryLockError<G>, name: &str) -> Failure {
    match error {
        TryLockError::WouldBlock => Failure::new(umedsam_status::Busy, format!("{name} is in use by another call")),
        TryLockError::Poisoned(_) => {
            Failure::new(umedsam_status::Panic, format!("{name} was in use when the library failed; free it"))
        }
    }
}

/// Takes back a handle that was given out by `Box::into_raw`.
///
/// # Safety
/// It was, and is not used any more; or it is NULL.
pub(super) unsafe fn free<T>(handle: *mut T) {
    if !handle.is_null() {
        // SAFETY: by contract.
        super::status::quietly(|| drop(unsafe { Box::from_raw(handle) }));
    }
}
