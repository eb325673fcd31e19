//! Names: unique in their section, and resolved where they are used.

use std::collections::BTreeMap;

use crate::error::{Errors, Place, Problem};
use crate::node::shorten;
use crate::raw::form::Name;
use crate::raw::value::{At, List};

/// The names of one section.
pub struct Names {
    /// What they name: `pool`.
    what: &'static str,
    /// In the order of the file.
    order: Vec<String>,
    /// And the line of each.
    lines: BTreeMap<String, u32>,
    /// False if a name could not be read: then one that is not known may be meant by it.
    complete: bool,
}

impl Names {
    pub fn collect<T>(
        what: &'static str,
        list: &List<T>,
        name: impl Fn(&T) -> Option<&At<Name>>,
        errors: &mut Errors,
    ) -> Names {
        let mut names = Names { what, order: Vec::new(), lines: BTreeMap::new(), complete: list.complete };
        for item in list.iter() {
            let Some(name) = name(item) else {
                names.complete = false;
                continue;
            };
            if let Some(first) = names.lines.get(&name.0) {
                let problem = Problem::found(format!("a second {what} \"{}\"; the first is on line {first}", name.0));
                errors.add(&name.place, problem.allowed("allowed: each name once"));
                continue;
            }
            names.order.push(name.0.clone());
            names.lines.insert(name.0.clone(), name.place.line);
        }
        names
    }

    pub fn is_empty(&self) -> bool {
        self.order.is_empty()
    }

    pub fn has(&self, name: &str) -> bool {
        self.lines.contains_key(name)
    }

    /// A name of this section or of another.
    pub fn resolve_or(&self, other: &Names, name: &str, at: &Place, errors: &mut Errors) -> Option<String> {
        if self.has(name) || other.has(name) {
            return Some(name.to_owned());
        }
        if other.order.is_empty() && other.complete {
            return self.resolve(name, at, errors);
        }
        if self.complete && other.complete {
            let found = format!("no {} or {} \"{}\"", self.what, other.what, shorten(name));
            let all = format!("{}s and {}s are", self.what, other.what);
            let known = self.order.iter().chain(&other.order).map(String::as_str);
            errors.add(at, Problem::none_of(found, &all, name, known));
        }
        None
    }

    /// `None` if nothing has this name; the error has been added then.
    pub fn resolve(&self, name: &str, at: &Place, errors: &mut Errors) -> Option<String> {
        if self.has(name) {
            return Some(name.to_owned());
        }
        if self.complete {
            let found = format!("no {} \"{}\"", self.what, shorten(name));
            let all = format!("{}s are", self.what);
            errors.add(at, Problem::none_of(found, &all, name, self.order.iter().map(String::as_str)));
        }
        None
    }
}
