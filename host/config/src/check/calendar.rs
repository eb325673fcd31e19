//! The section `calendars`, with the iCalendar files that it names.

use std::collections::BTreeMap;
use std::sync::Arc;

use jiff::ToSpan;

use super::files::Folder;
use super::names::Names;
use crate::calendar::{Calendar, ical};
use crate::error::{Errors, Problem};
use crate::raw::calendar as raw;
use crate::raw::form::{DaysText, Name};
use crate::raw::value::{At, List};

/// All of the section, in the order of the file.
pub struct Calendars {
    names: Names,
    made: BTreeMap<String, Arc<Calendar>>,
    order: Vec<(Arc<Calendar>, Option<Vec<String>>)>,
}

impl Calendars {
    pub fn read(raw: &List<raw::Calendar>, pools: &Names, folder: &Folder, errors: &mut Errors) -> Calendars {
        let names = Names::collect("calendar", raw, |calendar| calendar.name.as_ref(), errors);
        let mut calendars = Calendars { names, made: BTreeMap::new(), order: Vec::new() };
        for calendar in raw.iter() {
            let seen_by = self::pools(calendar, pools, errors);
            let Some(made) = self::calendar(calendar, folder, errors).map(Arc::new) else { continue };
            calendars.made.insert(made.name.clone(), made.clone());
            calendars.order.push((made, seen_by));
        }
        calendars
    }

    pub fn all(&self) -> Vec<Arc<Calendar>> {
        self.order.iter().map(|(calendar, _)| calendar.clone()).collect()
    }

    /// Those by which the rules of this pool see another weekday.
    pub fn profiles(&self, pool: &str) -> Vec<Arc<Calendar>> {
        let seen = |pools: &Option<Vec<String>>| pools.as_ref().is_none_or(|pools| pools.iter().any(|p| p == pool));
        let like = self.order.iter().filter(|(calendar, pools)| calendar.like.is_some() && seen(pools));
        like.map(|(calendar, _)| calendar.clone()).collect()
    }

    /// `Some(None)`: none is named.
    pub fn named(&self, name: Option<&At<Name>>, errors: &mut Errors) -> Option<Option<Arc<Calendar>>> {
        let Some(name) = name else { return Some(None) };
        self.names.resolve(&name.0, &name.place, errors)?;
        // One that is known and not made has its error.
        Some(Some(self.made.get(&name.0)?.clone()))
    }
}

fn pools(raw: &raw::Calendar, pools: &Names, errors: &mut Errors) -> Option<Vec<String>> {
    let list = raw.pools.as_ref()?;
    if raw.r#use.is_none() && !errors.has_under(&raw.place) {
        let problem = Problem::found("\"pools\" without \"use\"");
        errors.add(&list.place, problem.allowed("needed: the weekday that the rules of these pools see"));
    }
    Some(list.iter().filter_map(|pool| pools.resolve(&pool.value.0, &pool.place, errors)).collect())
}

fn calendar(raw: &At<raw::Calendar>, folder: &Folder, errors: &mut Errors) -> Option<Calendar> {
    if raw.dates.is_empty() && raw.ical.is_none() && !errors.has_under(&raw.place) {
        let problem = Problem::found("neither \"dates\" nor \"ical\" is given");
        errors.add(&raw.place, problem.allowed("needed: one of them or both"));
    }
    let mut calendar = Calendar {
        name: raw.name.as_ref()?.0.clone(),
        like: raw.r#use.as_ref().map(|name| name.value.into()),
        ..Calendar::default()
    };
    for days in raw.dates.iter() {
        match days.value.0 {
            DaysText::One(day) => calendar.days.extend([day]),
            DaysText::Range(from, to) => calendar.days.extend(from.series(1.day()).take_while(|day| *day <= to)),
            DaysText::Yearly(month, day) => calendar.yearly.extend([(month, day)]),
        }
    }
    if let Some(file) = &raw.ical {
        let (path, bytes) = folder.plain_file(file, ical::LARGEST, errors)?;
        match ical::read(&bytes) {
            Ok(events) => {
                calendar.days.extend(events.days);
                calendar.spans.extend(events.spans);
                calendar.file = Some(path);
            }
            Err(wrong) => {
                let at = if wrong.line > 0 { format!(":{}", wrong.line) } else { String::new() };
                let problem = Problem::found(format!("{}{at}: {}", path.display(), wrong.found));
                errors.add(&file.place, problem.allowed(wrong.allowed));
                return None;
            }
        }
    }
    calendar.settle();
    Some(calendar)
}
