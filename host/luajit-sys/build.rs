//! Builds LuaJIT with the checked hook, and with these changes of its source ([`mend`]):
//!
//! - The out-of-memory path is mended: it could end the process.
//! - What takes long looks at the hook too: the compiler at each token, jump and label, and library
//!   functions for each of thousands of values that they format, read as a number or unpack.
//! - A table is resized in linear time, whatever its keys.
//! - `string.rep` copies in blocks.
//! - Two functions tell what the metrics want to know.
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

/// Where LuaJIT looks whether its host wants the script ended (`patches/look.h`): 64 KiB of text took
/// the compiler 0.4 s, and one call of `math.min` 7 s.
const HOOKS: &str = "LUA_API lua_Hook lua_gethook(lua_State *L)\n";
const TOKEN: &str = "static LexToken lex_scan(LexState *ls, TValue *tv)\n{\n";
const JUMP: &str = "static void jmp_append(FuncState *fs, BCPos *l1, BCPos l2)\n{\n";
const LABEL: &str = "    if (name != NULL) {  /* Only consider remaining valid gotos/labels. */\n";
const CONVERSION: &str = "  while ((sf = lj_strfmt_parse(&fs)) != STRFMT_EOF) {\n    if (sf == STRFMT_LIT) {\n";
const NUMBER: &str = "  if (!(o < L->top &&\n\t(tvisnumber(o) || (tvisstr(o) && lj_strscan_num(";
/// `unpack`, of 8,000 keys that are not there: each may be looked for in one long chain.
const ELEMENT: &str = "    cTValue *tv = lj_tab_getint(t, i);\n    if (tv) {\n      copyTV(L, L->top++, tv);\n";
const INTEGER: &str = "  if (!(o < L->top && lj_strscan_numberobj(o)))\n";

/// Where a table that is resized takes its pairs over (`patches/reinsert.c`): it looked each up in a
/// chain, and the hash of numbers has no seed, so a script can compute 16,000 that are one chain. (A
/// seed would have to be in the code that the JIT compiler makes for constant keys, too.)
const RESIZE: &str = "/* Resize a table to fit the new array/hash part sizes. */";
const SHRINKS: &str = "  if (asize < oldasize) {  /* Array part shrinks? */\n    TValue *array = tvref(t->array);\n";
const HASH_FIRST: &str = "  if (oldhmask > 0) {\n    uint32_t i;\n    for (i = 0; i <= oldhmask; i++)\n      if (!tvisnil(&oldnode[i].val))\n\treinsertmain(L, t, &oldnode[i].key, &oldnode[i].val);\n  }\n";
const ARRAY: &str = "\tcopyTV(L, lj_tab_setinth(L, t, (int32_t)i), &array[i]);\n";
const ARRAY_TWICE: &str = "      { TValue k; k.n = (lua_Number)(int32_t)i; reinsertmain(L, t, &k, &array[i]); }\n    for (i = asize; i < oldasize; i++)\n      if (!tvisnil(&array[i]))\n      { TValue k; k.n = (lua_Number)(int32_t)i; reinsertrest(L, t, &k, &array[i]); }\n";
const HASH: &str = "\tcopyTV(L, lj_tab_set(L, t, &n->key), &n->val);\n";
const HASH_REST: &str = "\treinsertrest(L, t, &n->key, &n->val);\n";

/// `string.rep` copied byte by byte (`patches/repeat.c`): 4 MiB took 5 ms.
const REPEAT: &str = "      const char *e = strdata(s) + len;\n      do {\n\tconst char *q = strdata(s);\n\tdo { *w++ = *q++; } while (q < e);\n      } while (--rep > 0);\n";

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
    println!("cargo:rerun-if-changed=patches");
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
    mend_looks(source);
    mend_resize(source);
    patch(source, "lj_buf.c", REPEAT, 1, include_str!("patches/repeat.c"), "");
    patch(source, "lj_gc.c", CYCLE, 2, &format!("{CYCLE} g->gc.cycles++;"), TELL_CYCLES);
    let file = source.join("lj_mcode.c");
    let text = fs::read_to_string(&file).expect("lj_mcode.c is text");
    assert!(text.contains("szallmcarea"), "lj_mcode.c has changed: look at the patch in build.rs again");
    fs::write(&file, text + TELL_CODE).expect("OUT_DIR can be written");
}

fn mend_looks(source: &Path) {
    let state_end = format!("  uint64_t cycles;\n{STATE_END}\n{}", include_str!("patches/look.h"));
    patch(source, "lj_obj.h", STATE_END, 1, &state_end, "");
    patch(source, "lj_dispatch.c", HOOKS, 1, &format!("{}{HOOKS}", include_str!("patches/due.c")), "");
    patch(source, "lj_lex.c", TOKEN, 1, &format!("{TOKEN}  lj_host_look(ls->L);\n"), "");
    // One token may end a block of thousands of jumps and labels.
    patch(source, "lj_parse.c", JUMP, 1, &format!("{JUMP}  lj_host_look(fs->L);\n"), "");
    patch(source, "lj_parse.c", LABEL, 1, &format!("{LABEL}      lj_host_look(ls->L);\n"), "");
    patch(source, "lj_lib.c", NUMBER, 1, &format!("  lj_host_look(L);\n{NUMBER}"), "");
    // Once where numbers are also integers, once for integers.
    patch(source, "lj_lib.c", INTEGER, 2, &format!("  lj_host_look(L);\n{INTEGER}"), "");
    patch(source, "lib_base.c", ELEMENT, 1, &format!("    lj_host_look(L);\n{ELEMENT}"), "");
    let conversion = CONVERSION.replace("    if (sf", "    lj_host_look(L);\n    if (sf");
    patch(source, "lj_strfmt.c", CONVERSION, 1, &conversion, "");
}

fn mend_resize(source: &Path) {
    patch(source, "lj_tab.c", RESIZE, 1, &format!("{}{RESIZE}", include_str!("patches/reinsert.c")), "");
    patch(source, "lj_tab.c", SHRINKS, 1, &format!("{HASH_FIRST}{SHRINKS}"), "");
    patch(source, "lj_tab.c", ARRAY, 1, ARRAY_TWICE, "");
    patch(source, "lj_tab.c", HASH, 1, HASH_REST, "");
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
