//! Forebay's own calls as they are on the wire: one shape of import, arguments and results packed.

use std::ptr::null_mut;

/// `forebay_<group>_<call>`.
pub type Import = unsafe extern "C" fn(*const u8, usize, *mut *mut u8, *mut usize) -> i32;

#[derive(Default)]
pub struct Pack(Vec<u8>);

impl Pack {
    pub fn u8(mut self, number: u8) -> Pack {
        self.0.push(number);
        self
    }

    pub fn u32(mut self, number: u32) -> Pack {
        self.0.extend(number.to_le_bytes());
        self
    }

    pub fn u64(mut self, number: u64) -> Pack {
        self.0.extend(number.to_le_bytes());
        self
    }

    pub fn f64(mut self, number: f64) -> Pack {
        self.0.extend(number.to_le_bytes());
        self
    }

    pub fn text(self, text: impl AsRef<[u8]>) -> Pack {
        let text = text.as_ref();
        let mut all = self.u32(text.len() as u32);
        all.0.extend(text);
        all
    }

    /// The status and the results, which are empty after a refusal.
    pub fn ask(self, import: Import) -> (i32, Vec<u8>) {
        let (mut data, mut size) = (null_mut(), 0);
        // SAFETY: the host reads bytes of ours, and writes an address and a length to places of ours.
        let status = unsafe { import(self.0.as_ptr(), self.0.len(), &mut data, &mut size) };
        if status != 0 || data.is_null() {
            return (status, Vec::new());
        }
        // SAFETY: the host wrote `size` bytes to a block that it had our allocator make, and gave it away.
        (status, unsafe { Vec::from_raw_parts(data, size, size) })
    }
}

/// Status codes by the names that Lua has for them.
pub fn name(status: i32) -> &'static str {
    match status {
        0 => "OK",
        1 => "NOT_FOUND",
        2 => "BAD_ARGUMENT",
        100 => "CAPABILITY_DENIED",
        101 => "PHASE_DENIED",
        102 => "LIMIT_EXCEEDED",
        _ => "another",
    }
}
