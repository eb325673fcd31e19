//! The page with plots: whole, true to the figures, and of one file.

use std::process::{Command, Stdio};

use harness::binary::forebay;
use harness::{Folder, PATIENCE, wait_until};
use serde_json::Value;

use crate::{json, named, recorded, refused, region, said, two_days};

/// The page, and what a strict reader finds in it: `TAG CLASS`, and the text of tables, a line each.
fn page(folder: &Folder, arguments: &[&str]) -> (String, Vec<String>) {
    let file = folder.path().join("report.html");
    said(&[arguments, &["--html", named(&file)]].concat());
    let read = "import sys, xml.etree.ElementTree as tree\n\
                for e in tree.parse(sys.argv[1]).iter():\n\
                \x20 print(e.tag, e.get('class'), e.get('aria-label') or '', (e.text or '').strip()[:60])\n";
    let read = Command::new("python3").args(["-c", read, named(&file)]).output().expect("python3 runs");
    assert!(read.status.success(), "not well-formed: {}", String::from_utf8_lossy(&read.stderr));
    let elements = String::from_utf8_lossy(&read.stdout).lines().map(str::to_string).collect();
    (std::fs::read_to_string(file).expect("it is written"), elements)
}

fn figures(page: &str) -> Value {
    let (_, rest) = page.split_once("id=\"figures\">").expect("it has figures");
    let (figures, _) = rest.split_once("</script>").expect("they end");
    serde_json::from_str(figures).expect("they are JSON")
}

#[test]
fn the_page_has_the_figures_and_loads_nothing() {
    let folder = Folder::new();
    let trace = folder.write("a<b&c.csv", two_days());
    let policy = folder.write("pool.yaml", region(""));
    let arguments = ["--trace", named(&trace), "--policy", named(&policy), "--against", "hpa:50,tt:60"];
    let (page, elements) = page(&folder, &arguments);
    for elsewhere in ["http://", "https://", "src=", "href=", "url(", "@import", "<link", "<img", "<iframe"] {
        assert!(!page.contains(elsewhere), "{elsewhere}");
    }
    assert!(page.contains("default-src 'none'"), "and a browser would refuse to");
    assert_eq!(page.matches("<script").count(), 1, "data, and no program");
    assert!(page.contains("What would have been: a&lt;b&amp;c"), "names are text");

    let report = json(&arguments);
    let figures = figures(&page);
    assert_eq!(figures["outcome"], report["traces"][0]);
    for line in report["traces"][0]["lines"].as_array().expect("lines") {
        let policy = line["policy"].as_str().expect("a name");
        for (kind, key) in [("billed", "cost"), ("lost", "lost")] {
            let hours = figures["hours"][kind][policy].as_array().expect("hours");
            let sum: f64 = hours.iter().filter_map(Value::as_f64).sum();
            let whole = line[key].as_f64().expect("a number");
            assert!((sum - whole).abs() < 1e-3, "{policy}, {kind}: {sum} and {whole}");
            assert_eq!(hours.len(), 24);
        }
        assert!(elements.iter().any(|element| element == &format!("th None  {policy}")), "{policy} in the table");
    }

    // All, and each of the two days: both plots; then cost, violations, and one against the other.
    let plots: Vec<&String> =
        elements.iter().filter(|element| element.starts_with("svg None ") && element.len() > 10).collect();
    assert_eq!(plots.len(), 3 * 2 + 3, "{plots:?}");
    // Demand is drawn up to 6 origins, between the points of the hour's edges.
    assert!(plots[0].contains("All: demand up to 6.") && plots[0].contains("origins paid"), "{}", plots[0]);
    assert!(plots[2].contains("Mon 2 Mar: ") && plots[4].contains("Tue 3 Mar: "), "{plots:?}");
    for class in ["s-demand", "s-serving", "s-warming", "s-booting", "s-bad", "s-learning", "bound", "line l2"] {
        assert!(elements.iter().any(|element| element.starts_with(&format!("path {class} "))), "{class}");
    }
    assert_eq!(elements.iter().filter(|element| element.starts_with("input ")).count(), 3, "a choice by radio buttons");
    assert_eq!(elements.iter().filter(|element| element.starts_with("span dot d")).count(), 3, "a point for each");
}

#[test]
fn of_two_files_the_page_begins_with_what_the_second_would_have_changed() {
    let folder = Folder::new();
    let trace = folder.write("week.csv", two_days());
    let now = folder.write("now.yaml", region(""));
    let new = folder.write("new.yaml", region("").replace("lead: 2m", "lead: 5m").replace("floor: 2", "floor: 4"));
    let arguments = ["--trace", named(&trace), "--policy", named(&now), named(&new), "--against", "hpa:50"];
    let (page, _) = page(&folder, &arguments);
    let report = json(&arguments);
    let cost = |at: usize| report["traces"][0]["lines"][at]["cost"].as_f64().expect("a number");
    let more = 100.0 * (cost(1) / cost(0) - 1.0);
    assert!(more > 10.0, "another floor costs more: {more}");
    let told = format!("<strong>new</strong> would have cost {more:.1} % more (");
    assert!(page.contains(&told), "{told}");
    assert!(!page.contains("<strong>hpa:50</strong>"), "who was asked for beside it is in the table");
    // Whose lead is another is not judged by it, and that is told.
    let note = "new: its lead is 300 s, and its origins take 120 s here, as the first file's do";
    assert!(page.contains(note) && report["traces"][0]["notes"].to_string().contains(note), "{report}");
    let boot = [&arguments[..], &["--boot", "60"]].concat();
    assert!(!json(&boot)["traces"][0]["notes"].to_string().contains("its lead is"), "where it is said, it is meant");
}

#[test]
fn a_forecast_and_long_recordings_are_drawn_by_the_most_and_the_least() {
    let folder = Folder::new();
    let file = recorded("llm-large-req.csv.gz");
    let (page, elements) = page(&folder, &["--trace", &file]);
    assert!(page.len() < 4 << 20, "{} bytes", page.len());
    assert!(elements.iter().any(|element| element.starts_with("path s-band ")), "the forecast");
    assert_eq!(elements.iter().filter(|element| element.starts_with("div view w")).count(), 15, "14 days, and all");
    assert!(elements.iter().any(|element| element.contains("day 14: demand up to ")), "it does not say when it was");
}

#[test]
fn a_file_that_cannot_be_written_is_an_error_and_leaves_nothing() {
    let folder = Folder::new();
    let trace = folder.write("week.csv", two_days());
    let nowhere = folder.path().join("no/such/folder.html");
    let error = refused(&["--trace", named(&trace), "--html", named(&nowhere)]);
    assert!(error.contains("folder.html: No such file"), "{error}");
}

#[test]
fn who_interrupts_it_finds_no_half_file() {
    let folder = Folder::new();
    let old = folder.write("report.html", "the old one");
    let file = recorded("flights-feb.csv.gz");
    let mut child = Command::new(forebay())
        .args(["simulate", "--trace", &file, "--against", "hpa:50,tt:60,kpa:70,static", "--html", named(&old)])
        .stdout(Stdio::null())
        .spawn()
        .expect("forebay starts");
    let pid = child.id().to_string();
    // Some of its work is done.
    wait_until("it to work", PATIENCE, || {
        let stat = std::fs::read_to_string(format!("/proc/{pid}/stat")).ok()?;
        let used: u64 = stat.rsplit(')').next()?.split_whitespace().nth(11)?.parse().ok()?;
        (used > 20).then_some(())
    });
    let sent = Command::new("sh").args(["-c", &format!("kill -INT {pid}")]).status();
    assert!(sent.is_ok_and(|status| status.success()));
    let ended = child.wait().expect("it ends");
    assert!(!ended.success(), "it was interrupted: {ended:?}");
    let left: Vec<_> = std::fs::read_dir(folder.path()).expect("a folder").flatten().collect();
    assert_eq!(left.len(), 1, "{left:?}");
    assert_eq!(std::fs::read_to_string(old).expect("it is there"), "the old one");
}

#[test]
fn a_terminal_is_shown_how_far_it_is() {
    let folder = Folder::new();
    let trace = folder.write("week.csv", two_days());
    let policy = folder.write("pool.yaml", region(""));
    let command =
        format!("{} simulate --trace {} --policy {} --tick 1s", forebay().display(), trace.display(), policy.display());
    // A terminal of its own; what it shows there is its output.
    let output = Command::new("script").args(["-qec", &command, "/dev/null"]).output().expect("Debian's bsdutils");
    let shown = String::from_utf8_lossy(&output.stdout);
    assert!(output.status.success(), "{shown}");
    assert!(shown.contains("week: pool [") && shown.contains(" %"), "{shown}");
    assert!(shown.contains("origin-hours at 0.1 % violation"), "and then the table: {shown}");
}
