//! What all plots share: scales, ticks, paths and the frame around them. A plot is an SVG that is stretched to its
//! place; what must not be stretched (words and points) stands beside it, placed in percent.

use std::fmt::Write as _;

/// Units of a plot's own.
pub const WIDE: f64 = 1000.0;
pub const HIGH: f64 = 300.0;

/// Values to a part of the height or width, 0 to 1.
#[derive(Clone, Copy, Debug)]
pub struct Scale {
    low: f64,
    high: f64,
    log: bool,
}

impl Scale {
    pub fn linear(low: f64, high: f64) -> Scale {
        Scale { low, high: if high > low { high } else { low + 1.0 }, log: false }
    }

    /// Of values over 0.
    pub fn log(low: f64, high: f64) -> Scale {
        let low = low.max(1e-9);
        Scale { low, high: high.max(low * 1.5), log: true }
    }

    pub fn part(self, value: f64) -> f64 {
        let part = if self.log {
            (value.max(1e-12) / self.low).ln() / (self.high / self.low).ln()
        } else {
            (value - self.low) / (self.high - self.low)
        };
        part.clamp(0.0, 1.0)
    }

    /// Round values within it, some `count` of them.
    pub fn ticks(self, count: usize) -> Vec<f64> {
        if self.log {
            let decades = self.low.log10().floor() as i32..=self.high.log10().ceil() as i32;
            let steps: &[f64] = if (self.high / self.low).log10() > 2.5 { &[1.0] } else { &[1.0, 2.0, 5.0] };
            let all = decades.flat_map(|decade| steps.iter().map(move |step| step * 10f64.powi(decade)));
            return all.filter(|tick| (self.low..=self.high).contains(tick)).collect();
        }
        let step = round_step((self.high - self.low) / count.max(1) as f64);
        let first = (self.low / step).ceil() as i64;
        let last = (self.high / step + 1e-9).floor() as i64;
        (first..=last).map(|at| at as f64 * step).collect()
    }
}

/// 1, 2 or 5 of a power of ten, not under `least`.
fn round_step(least: f64) -> f64 {
    let power = 10f64.powf(least.max(1e-12).log10().floor());
    let steps = [1.0, 2.0, 5.0, 10.0].map(|step| step * power);
    steps.into_iter().find(|step| *step >= least * (1.0 - 1e-9)).unwrap_or(power * 10.0)
}

/// A number with as many digits as one reads.
pub fn number(value: f64) -> String {
    let size = value.abs();
    let digits = match size {
        _ if size == 0.0 || size >= 100.0 => 0,
        _ if size >= 10.0 => 1,
        _ if size >= 1.0 => 2,
        _ if size >= 0.1 => 3,
        _ => 4,
    };
    grouped(&format!("{value:.digits$}"))
}

/// A tick: no digits that all ticks would share.
fn tick(value: f64) -> String {
    let text = format!("{value:.6}");
    grouped(text.trim_end_matches('0').trim_end_matches('.'))
}

/// Thin spaces between thousands.
fn grouped(text: &str) -> String {
    let (whole, rest) = text.find('.').map_or((text, ""), |dot| text.split_at(dot));
    let digits = whole.trim_start_matches('-').len();
    let mut out = String::new();
    let sign = whole.len() - digits;
    for (at, digit) in whole.chars().enumerate() {
        if at > sign && (digits + sign - at).is_multiple_of(3) {
            out.push('\u{202f}');
        }
        out.push(digit);
    }
    out + rest
}

/// For text between tags and for attributes.
pub fn escape(text: &str) -> String {
    text.replace('&', "&amp;").replace('<', "&lt;").replace('>', "&gt;").replace('"', "&quot;")
}

fn point(path: &mut String, x: f64, y: f64) {
    let _ = write!(path, "{:.1} {:.1} ", x * WIDE, HIGH - y * HIGH);
}

/// An open line through points in parts; it is broken where there is none.
pub fn line(points: impl Iterator<Item = Option<(f64, f64)>>) -> String {
    let (mut path, mut pen) = (String::new(), false);
    for place in points {
        if let Some((x, y)) = place {
            path.push(if pen { 'L' } else { 'M' });
            point(&mut path, x, y);
        }
        pen = place.is_some();
    }
    path
}

/// From the base up to each value.
pub fn area(points: impl Iterator<Item = (f64, f64)>) -> String {
    band(points.map(|(x, y)| Some((x, 0.0, y))))
}

/// Between two values at each place; it is broken where there are none.
pub fn band(points: impl Iterator<Item = Option<(f64, f64, f64)>>) -> String {
    let (mut path, mut run) = (String::new(), Vec::new());
    let mut close = |run: &mut Vec<(f64, f64, f64)>| {
        for (at, (x, _, high)) in run.iter().enumerate() {
            path.push(if at == 0 { 'M' } else { 'L' });
            point(&mut path, *x, *high);
        }
        for (x, low, _) in run.iter().rev() {
            path.push('L');
            point(&mut path, *x, *low);
        }
        if !run.is_empty() {
            path.push('Z');
        }
        run.clear();
    };
    for place in points {
        match place {
            Some(place) => run.push(place),
            None => close(&mut run),
        }
    }
    close(&mut run);
    path
}

pub fn path(class: &str, data: &str) -> String {
    if data.is_empty() { String::new() } else { format!("<path class=\"{class}\" d=\"{}\"/>", data.trim_end()) }
}

/// A plot with its axes.
pub struct Plot<'a> {
    /// Its caption, and the unit of its values.
    pub caption: &'a str,
    pub unit: &'a str,
    /// What it shows, for who does not see it.
    pub told: String,
    /// In rem.
    pub high: f64,
    pub y: Scale,
    /// Words along the bottom, and where, as parts.
    pub x: Vec<(f64, String)>,
    /// Paths.
    pub drawn: String,
    /// Words and points over them, placed in percent.
    pub over: String,
}

impl Plot<'_> {
    pub fn html(&self) -> String {
        let ticks = self.y.ticks(if self.high > 8.0 { 6 } else { 3 });
        let mut grid = String::new();
        let mut y = String::new();
        for value in ticks {
            let part = self.y.part(value);
            let _ = write!(grid, "M0 {0:.1}H{WIDE}", HIGH - part * HIGH);
            let _ = write!(y, "<span style=\"bottom:{:.2}%\">{}</span>", part * 100.0, tick(value));
        }
        let x = self.x.iter().fold(String::new(), |mut x, (part, word)| {
            // Half of the last word would be cut off at the edge of a narrow page.
            let end = if *part > 0.99 { " class=\"end\"" } else { "" };
            let _ = write!(x, "<span{end} style=\"left:{:.2}%\">{}</span>", part * 100.0, escape(word));
            x
        });
        format!(
            "<figure><figcaption>{} <span class=\"unit\">{}</span></figcaption>\n<div class=\"frame\" \
             style=\"--high:{}rem\"><div class=\"y\" aria-hidden=\"true\">{y}</div>\n<div class=\"area\"><svg \
             viewBox=\"0 0 {WIDE} {HIGH}\" preserveAspectRatio=\"none\" role=\"img\" aria-label=\"{}\">{}{}</svg>{}\
             </div>\n<div class=\"x\" aria-hidden=\"true\">{x}</div></div></figure>\n",
            escape(self.caption),
            escape(self.unit),
            self.high,
            escape(&self.told),
            path("grid", &grid),
            self.drawn,
            self.over,
        )
    }
}

/// An entry of a legend: a patch or a line of that class.
pub fn entry(class: &str, word: &str) -> String {
    let patch = class.starts_with("s-") && !["s-least", "s-demand"].contains(&class);
    let shape = if patch { "M0 0H24V12H0Z" } else { "M0 6H24" };
    format!(
        "<li><svg viewBox=\"0 0 24 12\" aria-hidden=\"true\"><path class=\"{class}\" d=\"{shape}\"/></svg>{}</li>",
        escape(word)
    )
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn ticks_are_round_and_inside() {
        assert_eq!(Scale::linear(0.0, 47.0).ticks(6), [0.0, 10.0, 20.0, 30.0, 40.0]);
        assert_eq!(Scale::linear(0.0, 0.013).ticks(3).len(), 3);
        assert_eq!(Scale::log(0.004, 3.0).ticks(6), [0.01, 0.1, 1.0]);
        assert_eq!(Scale::log(90.0, 450.0).ticks(6), [100.0, 200.0]);
        assert_eq!(Scale::linear(0.0, 0.0).part(0.0), 0.0, "nothing at all is drawn at the bottom");
    }

    #[test]
    fn numbers_are_read_at_a_glance() {
        let shown = [0.0, 0.0312, 0.25, 7.5, 12.34, 1234.5, -1234567.0].map(number);
        assert_eq!(shown, ["0", "0.0312", "0.250", "7.50", "12.3", "1\u{202f}234", "-1\u{202f}234\u{202f}567"]);
        assert_eq!((tick(0.5).as_str(), tick(2000.0).as_str()), ("0.5", "2\u{202f}000"));
    }

    #[test]
    fn a_gap_breaks_lines_and_bands() {
        let line = line([Some((0.0, 0.0)), None, Some((1.0, 1.0))].into_iter());
        assert_eq!(line, "M0.0 300.0 M1000.0 0.0 ");
        let band = band([Some((0.0, 0.0, 1.0)), None, Some((1.0, 0.0, 1.0))].into_iter());
        assert_eq!(band.matches('Z').count(), 2);
    }
}
