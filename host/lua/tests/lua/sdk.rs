//! `sdk-lua` against the table of hostcalls: the README and the editor types name every call.

use abi::hostcall::{Need, TABLE};

use crate::fake::Folder;

fn sdk(file: &str) -> String {
    let path = format!("{}/../../sdk-lua/{file}", env!("CARGO_MANIFEST_DIR"));
    std::fs::read_to_string(&path).unwrap_or_else(|e| panic!("{path}: {e}"))
}

#[test]
fn the_readme_names_every_call_with_its_phases_and_capability() {
    let readme = sdk("README.md");
    for row in TABLE {
        let need = match row.need {
            Need::Nothing => "-".to_owned(),
            need => format!("`{}`", need.spelling()),
        };
        let wanted = format!("| `forebay.{}` | {} | {need} | ", row.lua, row.phases.names());
        assert!(readme.lines().any(|line| line.starts_with(&wanted)), "sdk-lua/README.md lacks: {wanted}");
    }
    let rows = readme.lines().filter(|line| line.starts_with("| `forebay.") && line.matches('|').count() == 5);
    assert_eq!(rows.count(), TABLE.len(), "sdk-lua/README.md names calls that do not exist");
}

#[test]
fn every_example_of_the_readme_loads() {
    let readme = sdk("README.md");
    let blocks: Vec<_> = readme.split("```lua\n").skip(1).map(|rest| rest.split("```").next().unwrap()).collect();
    assert!(blocks.len() >= 7);
    for block in blocks {
        let code = if block.contains("return plugin") {
            block.to_owned()
        } else {
            format!("return {{ on_request_headers = function()\n{block}\nend }}")
        };
        let loaded = Folder::new().with("main.lua", &code).load();
        assert!(loaded.is_ok(), "{}\n{block}", loaded.err().unwrap());
    }
}

#[test]
fn the_editor_types_have_every_call() {
    let types = sdk("library/forebay.lua");
    for row in TABLE {
        let function = match row.lua {
            name if name.starts_with("queue.") => format!("ForebayQueue:{}", &name[6..]),
            name if name.starts_with("dict.") => format!("ForebayDict:{}", &name[5..]),
            name if name.starts_with("kv.") => format!("ForebayKv:{}", &name[3..]),
            "log" => "forebay.log.info".to_owned(),
            "secret.hmac" => "ForebaySecret:hmac".to_owned(),
            name => format!("forebay.{name}"),
        };
        let wanted = format!("function {function}(");
        assert_eq!(types.matches(&wanted).count(), 1, "sdk-lua/library/forebay.lua: {wanted}");
    }
    mlua::Lua::new().load(types).into_function().unwrap();
}

/// What the native modules have, asked of one in the sandbox.
#[test]
fn every_native_function_is_in_the_readme_and_the_editor_types() {
    let lines = crate::fake::eval(
        "for _, name in ipairs { 'base64', 'hash', 'hex', 'json', 'jwt', 'time' } do
            -- Sealed: the list that `pairs` would walk is not there, the names are tried.
            for word in ('encode decode array null sha1 sha256 sha384 sha512 hmac equal random verify http parse_http iso parse_iso format'):gmatch('%S+') do
                if require('forebay.' .. name)[word] ~= nil then log(name .. '.' .. word) end
            end
        end",
    );
    assert_eq!(lines.len(), 22, "{lines:?}");
    let readme = sdk("README.md");
    for line in lines {
        let (module, name) = line.split_once('.').unwrap();
        let row = readme.lines().find(|row| row.starts_with(&format!("| `forebay.{module}` |")));
        assert!(row.is_some_and(|row| row.contains(name)), "sdk-lua/README.md: no {line}");
        let types = sdk(&format!("library/forebay/{module}.lua"));
        assert!(types.contains(&format!("{module}.{name}")), "sdk-lua/library/forebay/{module}.lua: no {name}");
        mlua::Lua::new().load(types).into_function().unwrap();
    }
}
