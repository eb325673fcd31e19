//! The names that the sandbox offers. The sandbox itself is asked, so that no list of ours can
//! fall behind it. It does not list its globals: it is asked about each word that the plugin has.

use std::collections::BTreeSet;

use edge::stage::Stage;

use crate::plugin::scratch::Scratch;
use crate::plugin::test::unit;

/// Of the words in place of WORDS: those that are globals, and what is below them, one path a line.
const LIST: &str = r#"
local list, seen = {}, { [_G] = true }
local function walk(value, path)
  list[#list + 1] = path
  if type(value) == "table" and not seen[value] then
    seen[value] = true
    for key, below in pairs(value) do
      if type(key) == "string" then
        walk(below, path .. "." .. key)
      end
    end
  end
end
for name in string.gmatch("WORDS", "%S+") do
  if _G[name] ~= nil then
    walk(_G[name], name)
  end
end
return {
  on_request_headers = function()
    forebay.respond(200, {}, table.concat(list, "\n"))
  end,
}
"#;

/// What LuaJIT has, for the near misses of words that are none of these.
const USUAL: [&str; 31] = [
    "_G",
    "assert",
    "bit",
    "coroutine",
    "error",
    "forebay",
    "getmetatable",
    "ipairs",
    "load",
    "math",
    "next",
    "os",
    "pairs",
    "pcall",
    "print",
    "rawequal",
    "rawget",
    "rawset",
    "require",
    "select",
    "setmetatable",
    "string",
    "table",
    "tonumber",
    "tostring",
    "type",
    "unpack",
    "xpcall",
    "self",
    "loadstring",
    "_VERSION",
];

/// A script with this many bytes of words is one that the engine still reads.
const WORDS: usize = 32 << 10;

pub struct Surface {
    paths: BTreeSet<String>,
}

/// Runs scripts in the sandbox to see which words of `texts` are there.
pub fn ask<'a>(texts: impl Iterator<Item = &'a String>) -> anyhow::Result<Surface> {
    let inside = |c: char| c.is_ascii_alphanumeric() || c == '_';
    let mut words: BTreeSet<&str> = USUAL.into();
    words.extend(texts.flat_map(|text| text.split(move |c| !inside(c))).filter(|word| !word.is_empty()));
    let mut scripts = vec![String::new()];
    for word in words {
        if scripts.last().is_some_and(|script| script.len() + word.len() > WORDS) {
            scripts.push(String::new());
        }
        if let Some(script) = scripts.last_mut() {
            script.extend([word, " "]);
        }
    }
    let mut paths = BTreeSet::new();
    for script in scripts {
        let scratch = Scratch::new(&LIST.replace("WORDS", &script), None)?;
        let mut stage = Stage::new(scratch.role("surface", Vec::new(), None));
        let played = stage.play(&unit::question("/"));
        let text = unit::answer(&played)
            .map_err(|findings| anyhow::anyhow!("the sandbox does not say what it offers: {findings:?}"))?;
        paths.extend(text.lines().map(str::to_owned));
    }
    Ok(Surface { paths })
}

impl Surface {
    pub fn has(&self, path: &str) -> bool {
        self.paths.contains(path)
    }

    /// Whether anything stands below it: then it is a table, and not open to other names.
    pub fn is_table(&self, path: &str) -> bool {
        let below = format!("{path}.");
        self.paths.range(below.clone()..).next().is_some_and(|next| next.starts_with(&below))
    }

    /// The path that `path` is a slip of, among those with the same parent.
    pub fn near(&self, path: &str) -> Option<String> {
        let (parent, name) = path.rsplit_once('.').unwrap_or(("", path));
        let begin = if parent.is_empty() { String::new() } else { format!("{parent}.") };
        let siblings = self.paths.iter().filter_map(|other| other.strip_prefix(&begin)).filter(|n| !n.contains('.'));
        config::error::near_miss(name, siblings).map(|name| format!("{begin}{name}"))
    }
}
