//! What a plugin counted, read from the text that `/metrics` would show.

use std::collections::BTreeMap;

/// The prefix of every metric that a plugin defines.
const PREFIX: &str = "forebay_plugin_";

type Labels = Vec<(String, String)>;

/// The series of one plugin: by name without the prefix and by labels, the plugin's own left out.
#[derive(Clone, Debug, Default)]
pub struct Series {
    values: BTreeMap<(String, Labels), f64>,
    /// Names of gauges: what counts is what they are, not by how much they grew.
    gauges: Vec<String>,
}

impl Series {
    pub fn of(plugin: &str, text: &str) -> Series {
        let mut series = Series::default();
        for line in text.lines() {
            if let Some(kind) = line.strip_prefix("# TYPE ") {
                if let Some(name) = kind.strip_suffix(" gauge").and_then(|name| name.strip_prefix(PREFIX)) {
                    series.gauges.push(name.to_owned());
                }
                continue;
            }
            let Some((name, labels, value)) = line.strip_prefix(PREFIX).and_then(sample) else { continue };
            let own = |(name, value): &(String, String)| name == "plugin" && value == plugin;
            if labels.iter().any(own) {
                let labels = labels.into_iter().filter(|(name, _)| name != "plugin").collect();
                series.values.insert((name, labels), value);
            }
        }
        series
    }

    /// What `wanted` (a name, or a name with some labels) is now, or by how much it grew;
    /// `None` if it was never touched. `wanted` must be readable.
    pub fn since(&self, before: &Series, wanted: &str) -> Option<f64> {
        let (name, labels, _) = sample(&format!("{wanted} 0"))?;
        let name: String = name.chars().map(|c| if c.is_ascii_alphanumeric() { c } else { '_' }).collect();
        let gauge = self.gauges.contains(&name);
        let mut total = None;
        // A histogram is counted by its samples.
        for name in [name.clone(), format!("{name}_count")] {
            for ((_, found), value) in self.values.iter().filter(|((n, _), _)| *n == name) {
                if labels.iter().all(|label| found.contains(label)) {
                    let old = before.values.get(&(name.clone(), found.clone())).copied();
                    let grown = if gauge { *value } else { value - old.unwrap_or(0.0) };
                    // Defined in an earlier case, and nothing in this one.
                    if old.is_none() || grown != 0.0 {
                        *total.get_or_insert(0.0) += grown;
                    }
                }
            }
        }
        total
    }

    /// The names that moved since, for messages.
    pub fn moved(&self, before: &Series) -> Vec<String> {
        let moved = self.values.iter().filter(|(key, value)| before.values.get(key) != Some(value));
        moved
            .filter(|((name, labels), _)| !name.ends_with("_bucket") && !labels.iter().any(|(l, _)| l == "quantile"))
            .map(|(key, value)| {
                let (name, labels) = key;
                let labels: Vec<_> = labels.iter().map(|(name, value)| format!("{name}={value:?}")).collect();
                let labels = if labels.is_empty() { String::new() } else { format!("{{{}}}", labels.join(",")) };
                let old = before.values.get(key).filter(|_| !self.gauges.contains(name));
                format!("{name}{labels}: {}", value - old.unwrap_or(&0.0))
            })
            .collect()
    }
}

/// `name{a="1",b="2"} value`.
pub fn sample(line: &str) -> Option<(String, Labels, f64)> {
    let (head, value) = line.rsplit_once(' ')?;
    let value = value.parse().ok()?;
    let Some((name, labels)) = head.split_once('{') else { return Some((head.trim().to_owned(), Vec::new(), value)) };
    let mut rest = labels.trim().strip_suffix('}')?;
    let mut pairs = Vec::new();
    while !rest.is_empty() {
        let (label, after) = rest.split_once("=\"")?;
        let mut text = String::new();
        let mut characters = after.char_indices();
        let end = loop {
            match characters.next()? {
                (_, '\\') => match characters.next()?.1 {
                    'n' => text.push('\n'),
                    other => text.push(other),
                },
                (at, '"') => break at,
                (_, other) => text.push(other),
            }
        };
        pairs.push((label.trim().to_owned(), text));
        rest = after[end + 1..].trim_start_matches(',').trim();
    }
    Some((name.trim().to_owned(), pairs, value))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn series_are_read_by_plugin_name_and_labels() {
        let text = "# TYPE forebay_plugin_hits_total counter\n\
            forebay_plugin_hits_total{plugin=\"a\",kind=\"x,\\\"y\"} 2\n\
            forebay_plugin_hits_total{plugin=\"b\"} 7\n\
            # TYPE forebay_plugin_open gauge\nforebay_plugin_open{plugin=\"a\"} 3\n\
            forebay_plugin_size_count{plugin=\"a\"} 5\nforebay_plugin_calls_total 1\n";
        let series = Series::of("a", text);
        let none = Series::default();
        assert_eq!(series.since(&none, "hits_total"), Some(2.0));
        assert_eq!(series.since(&none, "hits_total{kind=\"x,\\\"y\"}"), Some(2.0));
        assert_eq!(series.since(&none, "hits_total{kind=\"z\"}"), None);
        assert_eq!(series.since(&none, "size"), Some(5.0));
        assert_eq!(series.since(&series, "hits_total"), None, "nothing moved");
        assert_eq!(series.since(&series, "open"), Some(3.0), "a gauge is what it is");
        assert_eq!(series.since(&none, "calls_total"), None, "not of a plugin");
    }
}
