//! The text in which Prometheus is shown metrics (exposition format 0.0.4; OpenMetrics reads the same here): one
//! sample a line, `name{label="value"} 1.5 1700000000`. Lines of other metrics are passed over unread, so a text of
//! some megabytes costs what finding its line ends does; that is also why no parser of all of it is used.

/// Of one metric. The labels of each are read, on the loop's thread: a million of them would keep it for a second.
const MOST_SAMPLES: usize = 10_000;

/// The sum over the samples of a metric that have these labels, or why there is none.
pub fn value(text: &str, metric: &str, labels: &[(String, String)]) -> Result<f64, String> {
    let (mut sum, mut samples): (Option<f64>, usize) = (None, 0);
    for line in text.lines() {
        let Some(rest) = line.trim_start().strip_prefix(metric) else { continue };
        // Another metric, of which this name is the beginning.
        if !rest.starts_with(['{', ' ', '\t']) {
            continue;
        }
        samples += 1;
        if samples > MOST_SAMPLES {
            return Err(format!("more than {MOST_SAMPLES} samples of {metric}"));
        }
        let sample =
            sample(rest).ok_or_else(|| format!("not a sample: {}", line.chars().take(100).collect::<String>()))?;
        if labels.iter().all(|label| sample.labels.contains(label)) {
            sum = Some(sum.unwrap_or(0.0) + sample.value);
        }
    }
    sum.ok_or_else(|| match labels {
        [] => format!("it does not show {metric}"),
        _ => format!("it does not show {metric} with these labels"),
    })
}

struct Sample {
    labels: Vec<(String, String)>,
    value: f64,
}

/// What stands behind the name.
fn sample(text: &str) -> Option<Sample> {
    let text = text.trim_start();
    let (labels, rest) = match text.strip_prefix('{') {
        Some(inside) => labels(inside)?,
        None => (Vec::new(), text),
    };
    // A time may follow, which is the origin's word on its clock.
    let value = rest.split_whitespace().next()?.parse().ok()?;
    Some(Sample { labels, value })
}

/// Up to the brace that ends them, and what is behind it.
fn labels(mut text: &str) -> Option<(Vec<(String, String)>, &str)> {
    let mut labels = Vec::new();
    loop {
        text = text.trim_start_matches([' ', '\t', ',']);
        if let Some(rest) = text.strip_prefix('}') {
            return Some((labels, rest));
        }
        let (name, rest) = text.split_once('=')?;
        let (value, rest) = quoted(rest.trim_start())?;
        labels.push((name.trim().to_owned(), value));
        text = rest;
    }
}

fn quoted(text: &str) -> Option<(String, &str)> {
    let mut chars = text.strip_prefix('"')?.char_indices();
    let mut value = String::new();
    while let Some((at, next)) = chars.next() {
        match next {
            '"' => return Some((value, &text[at + 2..])),
            '\\' => value.push(match chars.next()?.1 {
                'n' => '\n',
                other => other,
            }),
            other => value.push(other),
        }
    }
    None
}

#[cfg(test)]
mod tests {
    use super::*;

    const TEXT: &str = "# HELP process_cpu_seconds_total CPU, in \"seconds\" {all}\n\
        # TYPE process_cpu_seconds_total counter\nprocess_cpu_seconds_total 12.5\n\
        process_cpu_seconds_total_more 99\n\
        cpu{mode=\"user\",core=\"0\"} 3 1700000000000\ncpu{core=\"1\", mode=\"user\",} 4e0\ncpu { mode = \"idle\" } 70\n\
        odd{path=\"a\\\\b\\\"c,}\\n\"} +Inf\nweird NaN # {trace=\"x\"} 1\n";

    fn labelled(labels: &[(&str, &str)]) -> Vec<(String, String)> {
        labels.iter().map(|(name, value)| ((*name).to_owned(), (*value).to_owned())).collect()
    }

    #[test]
    fn samples_of_a_metric_that_have_the_labels_are_added_up() {
        assert_eq!(value(TEXT, "process_cpu_seconds_total", &[]), Ok(12.5));
        assert_eq!(value(TEXT, "cpu", &labelled(&[("mode", "user")])), Ok(7.0));
        assert_eq!(value(TEXT, "cpu", &labelled(&[("mode", "user"), ("core", "1")])), Ok(4.0));
        assert_eq!(value(TEXT, "cpu", &[]), Ok(77.0));
        assert_eq!(value(TEXT, "odd", &labelled(&[("path", "a\\b\"c,}\n")])), Ok(f64::INFINITY));
        assert!(value(TEXT, "weird", &[]).unwrap().is_nan(), "whether it can be is not for the reader to say");
    }

    #[test]
    fn a_metric_of_too_many_series_is_told_and_not_read_to_its_end() {
        let series = |count: usize| (0..count).map(|n| format!("cpu{{core=\"{n}\"}} 1\n")).collect::<String>();
        assert_eq!(value(&series(MOST_SAMPLES), "cpu", &[]), Ok(10_000.0));
        let why = value(&series(MOST_SAMPLES + 1), "cpu", &labelled(&[("core", "3")])).unwrap_err();
        assert_eq!(why, "more than 10000 samples of cpu");
        assert_eq!(value(&(series(MOST_SAMPLES + 1) + "load 2\n"), "load", &[]), Ok(2.0), "others are none of its");
    }

    #[test]
    fn what_is_not_there_or_no_sample_is_told() {
        let why = |metric: &str, labels: &[(&str, &str)]| value(TEXT, metric, &labelled(labels)).unwrap_err();
        assert_eq!(why("process_cpu", &[]), "it does not show process_cpu");
        assert_eq!(why("cpu", &[("mode", "system")]), "it does not show cpu with these labels");
        for garbage in
            ["cpu", "cpu ", "cpu{", "cpu{mode", "cpu{mode=", "cpu{mode=\"", "cpu{mode=\"\\", "cpu{} x", "cpu{=}1"]
        {
            assert!(value(garbage, "cpu", &[]).is_err(), "{garbage}");
        }
        assert!(value("<html>\n\u{0}\u{ffff}cpu 1", "cpu", &[]).is_err());
    }
}
