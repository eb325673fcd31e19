//! What can be imported and is not served yet: a module that has it in its list of imports
//! loads, and is told so when it calls.

use abi::Status;

use super::Guest;
use crate::memory::{Outcome, refuse};

macro_rules! unserved {
    ($($name:ident($($arg:ident),*) $text:literal;)*) => {
        $(#[allow(clippy::too_many_arguments)] // proxy-wasm's own
        pub fn $name(_: &mut Guest<'_>, $($arg: u32),*) -> Outcome {
            refuse(Status::Unimplemented, $text)
        })*
    };
}

unserved! {
    grpc_call(_a, _b, _c, _d, _e, _f, _g, _h, _i, _j, _k, _l) "gRPC calls are not served by this host";
    grpc_stream(_a, _b, _c, _d, _e, _f, _g, _h, _i) "gRPC calls are not served by this host";
    grpc_send(_a, _b, _c, _d) "gRPC calls are not served by this host";
    grpc_cancel(_a) "gRPC calls are not served by this host";
    grpc_close(_a) "gRPC calls are not served by this host";
}
