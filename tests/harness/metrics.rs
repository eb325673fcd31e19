//! The numbers of `/metrics`, in Prometheus' text form.

/// One scrape.
pub struct Metrics(pub String);

impl Metrics {
    /// The sum of all series of `name` whose labels include each of `labels` (`key="value"`).
    pub fn sum(&self, name: &str, labels: &[&str]) -> f64 {
        self.series(name, labels).map(|(_, value)| value).sum()
    }

    /// Whether there is such a series.
    pub fn has(&self, name: &str, labels: &[&str]) -> bool {
        self.series(name, labels).next().is_some()
    }

    fn series<'a>(&'a self, name: &'a str, labels: &'a [&'a str]) -> impl Iterator<Item = (&'a str, f64)> {
        self.0.lines().filter(|line| !line.starts_with('#')).filter_map(move |line| {
            let (series, value) = line.rsplit_once(' ')?;
            let (found, found_labels) = series.split_once('{').unwrap_or((series, ""));
            let all = labels.iter().all(|label| found_labels.contains(label));
            (found == name && all).then(|| (series, value.parse().unwrap_or(f64::NAN)))
        })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn series_are_found_by_name_and_labels_and_summed() {
        let text = "# TYPE a_total counter\na_total{pool=\"x\",status=\"200\"} 3\na_total{pool=\"x\",status=\"503\"} 4\nab 5\n";
        let metrics = Metrics(text.to_owned());
        assert_eq!(metrics.sum("a_total", &["pool=\"x\""]), 7.0);
        assert_eq!(metrics.sum("a_total", &["status=\"503\""]), 4.0);
        assert_eq!(metrics.sum("ab", &[]), 5.0);
        assert!(!metrics.has("a", &[]));
    }
}
