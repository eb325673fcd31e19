//! What a Wasm module imports, held against the hostcalls that there are and what its manifest
//! asks for.
//!
//! An import of proxy-wasm's own says little: the SDKs link most of them into every module. Ours
//! (`forebay_…`) are linked where they are called, so each is held against the capabilities.

use abi::Capabilities;
use abi::hostcall::{Need, TABLE};
use config::PluginCode;
use config::manifest;

use super::Finding;
use crate::plugin::folder::Folder;

pub fn findings(folder: &Folder) -> anyhow::Result<Vec<Finding>> {
    let PluginCode::Wasm(module) = folder.code()? else { return Ok(Vec::new()) };
    let bytes = std::fs::read(&module)?;
    let at = |message: String| Finding { file: manifest::FILE.to_owned(), line: 0, column: 0, message };
    let Some(imports) = imports(&bytes) else {
        return Ok(vec![at(format!("{}: not a Wasm module", module.display()))]);
    };
    let granted = folder.capabilities();
    let capabilities = Capabilities::parse(granted.iter().map(String::as_str)).unwrap_or_default();
    let mut findings = Vec::new();
    for (space, name) in imports {
        let ours = space == "env" && name.starts_with("forebay_");
        let Some(row) = TABLE.iter().find(|row| row.wasm == name).filter(|_| ours) else {
            if ours {
                let near = config::error::near_miss(&name, TABLE.iter().map(|row| row.wasm));
                let near = near.map(|near| format!("; did you mean {near}?")).unwrap_or_default();
                findings.push(at(format!("the module imports {name}: there is no such hostcall{near}")));
            }
            continue;
        };
        let missing = match row.need {
            Need::Nothing => false,
            Need::Plain(plain) => !capabilities.has(plain),
            Need::Named(named) => !granted.iter().any(|word| word.split(':').next() == Some(named.prefix())),
        };
        if missing {
            let need = row.need.spelling();
            findings.push(at(format!(
                "the module imports {name} ({}): capability {need} is not in {}",
                row.lua,
                manifest::FILE
            )));
        }
    }
    Ok(findings)
}

/// Module and name of each import; `None` if the bytes are no module.
fn imports(bytes: &[u8]) -> Option<Vec<(String, String)>> {
    let mut rest = bytes.strip_prefix(b"\0asm\x01\0\0\0")?;
    let mut imports = Vec::new();
    while !rest.is_empty() {
        let (id, size) = (byte(&mut rest)?, number(&mut rest)?);
        let mut section = rest.get(..size)?;
        rest = rest.get(size..)?;
        if id != 2 {
            continue;
        }
        for _ in 0..number(&mut section)? {
            imports.push((text(&mut section)?, text(&mut section)?));
            match byte(&mut section)? {
                0 => drop(number(&mut section)?),
                // A table: its type, then its limits.
                1 => {
                    byte(&mut section)?;
                    limits(&mut section)?;
                }
                2 => limits(&mut section)?,
                3 => drop((byte(&mut section)?, byte(&mut section)?)),
                _ => return None,
            }
        }
    }
    Some(imports)
}

fn limits(rest: &mut &[u8]) -> Option<()> {
    let most = byte(rest)? & 1 == 1;
    number(rest)?;
    if most {
        number(rest)?;
    }
    Some(())
}

fn byte(rest: &mut &[u8]) -> Option<u8> {
    let (first, after) = rest.split_first()?;
    *rest = after;
    Some(*first)
}

/// LEB128.
fn number(rest: &mut &[u8]) -> Option<usize> {
    let mut value = 0u64;
    for shift in (0..64).step_by(7) {
        let next = byte(rest)?;
        value |= u64::from(next & 0x7f).checked_shl(shift)?;
        if next & 0x80 == 0 {
            return usize::try_from(value).ok();
        }
    }
    None
}

fn text(rest: &mut &[u8]) -> Option<String> {
    let size = number(rest)?;
    let text = std::str::from_utf8(rest.get(..size)?).ok()?.to_owned();
    *rest = rest.get(size..)?;
    Some(text)
}

#[cfg(test)]
mod tests {
    use super::imports;

    #[test]
    fn imports_are_read_and_what_is_no_module_is_refused() {
        let mut module = b"\0asm\x01\0\0\0".to_vec();
        module.extend(b"\x00\x02\x01x");
        module.extend(b"\x02\x13\x02\x03env\x01f\x00\x05\x03env\x01m\x02\x01\x01\x02");
        let names =
            |bytes: &[u8]| imports(bytes).map(|list| list.into_iter().map(|(_, name)| name).collect::<Vec<_>>());
        assert_eq!(names(&module), Some(vec!["f".to_owned(), "m".to_owned()]));
        assert_eq!(names(b"\0asm\x01\0\0\0"), Some(Vec::new()));
        for cut in 9..module.len() {
            // Never a panic, whatever is missing.
            let _ = names(&module[..cut]);
        }
        assert_eq!(names(b"\0asm\x02\0\0\0"), None);
        assert_eq!(names(b"\0asm\x01\0\0\0\x02\xff\xff\xff\xff\xff\xff\xff\xff\xff\x01"), None);
    }
}
