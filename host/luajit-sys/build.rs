//! Builds LuaJIT with the checked hook and the mended out-of-memory path, and with two functions that
//! tell what the metrics want to know.
//!
//! `luajit-src` cannot pass flags on (it overwrites XCFLAGS), so it is only used to unpack its
//! source: its own run of `make` is stopped at the first compiler call. The source is then
//! patched and built here.

use std::path::{Path, PathBuf};
use std::process::Command;
use std::{env, fs};

/// - `CHECKHOOK`: without it compiled loops never look at the hook, and no watchdog stops them.
const XCFLAGS: &str = "-fPIC -DLUAJIT_ENABLE_CHECKHOOK";
/// Tenants get no FFI, so it is not there to be reached; only a build with the feature has it.
const NO_FFI: &str = "-DLUAJIT_DISABLE_FFI";

/// When the allocator fails inside an assembler fast function, `L->top` may be stale and lie
/// below `L->base`: pushing the error message then overwrites a frame, and the process dies.
const UNMENDED: &str = "\n  setstrV(L, L->top++, lj_err_str(L, LJ_ERR_ERRMEM));\n  lj_err_throw(L, LUA_ERRMEM);";
const MENDED: &str = "\n  else if (L->top < L->base)\n    L->top = L->base;\n  setstrV(L, L->top++, lj_err_str(L, LJ_ERR_ERRMEM));\n  lj_err_throw(L, LUA_ERRMEM);";

/// What LuaJIT knows and does not tell: how many cycles its collector has finished, and how much
/// machine code a VM has mapped. The count is a field of its own at the end of the collector's
/// state, so nothing that was there moves.
const CYCLE: &str = "g->gc.state = GCSpause;  /* End of GC cycle. */";
const STATE_END: &str = "} GCState;";
const TELL_CYCLES: &str = "\nLUA_API uint64_t forebay_collections(lua_State *L) { return G(L)->gc.cycles; }\n";
const TELL_CODE: &str = "\n#if LJ_HASJIT\nLUA_API size_t forebay_machine_code(lua_State *L) { return L2J(L)->szallmcarea; }\n\
                         #else\nLUA_API size_t forebay_machine_code(lua_State *L) { (void)L; return 0; }\n#endif\n";

fn main() {
    println!("cargo:rerun-if-changed=build.rs");
    let out = PathBuf::from(env::var_os("OUT_DIR").expect("cargo sets OUT_DIR"));
    let source = unpack(&out);
    mend(&source);
    make(&source);
    println!("cargo:rustc-link-search=native={}", source.display());
    // Whole: mlua-sys refers to these symbols and may come later on the linker's command line.
    println!("cargo:rustc-link-lib=static:+whole-archive=luajit");
    for library in ["m", "dl"] {
        println!("cargo:rustc-link-lib={library}");
    }
}

fn unpack(out: &Path) -> PathBuf {
    // SAFETY: a build script's main has not started another thread.
    unsafe { env::set_var("HOST_XCFLAGS", "--only-unpack-the-source") };
    // Fails by design: everything is unpacked before the compiler is first called.
    let _ = luajit_src::Build::new().out_dir(out).debug(false).try_build();
    // SAFETY: as above.
    unsafe { env::remove_var("HOST_XCFLAGS") };
    let source = out.join("luajit-build/src");
    assert!(source.join("lj_err.c").is_file(), "luajit-src did not unpack into {}", source.display());
    source
}

fn mend(source: &Path) {
    patch(source, "lj_err.c", UNMENDED, 1, MENDED, "");
    patch(source, "lj_obj.h", STATE_END, 1, &format!("  uint64_t cycles;\n{STATE_END}"), "");
    patch(source, "lj_gc.c", CYCLE, 2, &format!("{CYCLE} g->gc.cycles++;"), TELL_CYCLES);
    let file = source.join("lj_mcode.c");
    let text = fs::read_to_string(&file).expect("lj_mcode.c is text");
    assert!(text.contains("szallmcarea"), "lj_mcode.c has changed: look at the patch in build.rs again");
    fs::write(&file, text + TELL_CODE).expect("OUT_DIR can be written");
}

/// Puts `new` in the place of each `old`, which there must be `times` of, and `behind` at the end.
fn patch(source: &Path, name: &str, old: &str, times: usize, new: &str, behind: &str) {
    let file = source.join(name);
    let text = fs::read_to_string(&file).unwrap_or_else(|error| panic!("{name}: {error}"));
    assert_eq!(text.matches(old).count(), times, "{name} has changed: look at the patch in build.rs again");
    fs::write(&file, text.replace(old, new) + behind).expect("OUT_DIR can be written");
}

fn make(source: &Path) {
    let ffi = if cfg!(feature = "ffi") { "" } else { NO_FFI };
    let mut make = Command::new("make");
    make.current_dir(source).arg("libluajit.a").arg("BUILDMODE=static").arg(format!("XCFLAGS={XCFLAGS} {ffi}"));
    if let Some(jobs) = env::var_os("CARGO_MAKEFLAGS") {
        make.env("MAKEFLAGS", jobs);
    }
    let status = make.status().expect("LuaJIT needs `make` (Debian: apt-get install make gcc)");
    assert!(status.success(), "building LuaJIT failed: {status}");
}
