//! A decision as text, for whoever is woken at night: what there is in one line, what is wrong, why it is so,
//! what was considered and what limited it, what comes next, and what others would have had.

mod page;

use std::time::Duration;

use jiff::Timestamp;
use scaler::capacity::Learned;
use scaler::carried::Change;
use scaler::edges::doubt::Doubted;

use scaler::{Asked, Clamp, Decision, EdgeAge, Hinted, Inputs, OriginView, Reading, stamp};

use super::Told;
use page::Page;

/// A minute without news is written once; past it nothing may have been decided at all.
const LONG: Duration = Duration::from_secs(90);
/// Origins that are listed; those that serve come last.
const LISTED: usize = 8;

/// `told`: with the decision. `at`: when it is read.
pub fn of(decision: &Decision, told: &Told, at: Timestamp) -> String {
    let mut page = Page::default();
    head(decision, told, at, &mut page);
    alarms(decision, at, &mut page);
    why(decision, &mut page);
    ahead(decision, &mut page);
    inputs(&decision.inputs, &mut page);
    origins(decision, &told.origins, &mut page);
    tuner(told, &mut page);
    page.finish()
}

fn head(decision: &Decision, told: &Told, at: Timestamp, page: &mut Page) {
    let Decision { pool, from, to, winner, floor, ceiling, .. } = decision;
    let origins = if *to == 1 { "origin" } else { "origins" };
    page.head(&format!("pool {pool}: {from} -> {to} {origins} by {winner} (floor {floor}, ceiling {ceiling})"));
    let age = stamp::age(at, decision.at);
    let old = if age > LONG { ": nothing was recorded since" } else { "" };
    page.row("decided", &format!("{:.3}, {} before{old}", decision.at, span(age.as_secs_f64())));
    let role = match (told.role.as_deref(), told.token) {
        (Some("standby"), _) => "STANDBY: another aggregator acts, and this is only thought".to_string(),
        (Some("lapsed"), token) => {
            let token = token.map_or(String::new(), |token| format!(", by its token {token}"));
            format!(
                "LAPSED: the lease has ended and its store is silent: only scheduled floors are brought about{token}"
            )
        }
        (Some(role), Some(token)) => format!("{role}, by token {token} of the lease"),
        (Some(role), None) => role.to_string(),
        (None, _) => String::new(),
    };
    if !role.is_empty() {
        page.row("role", &role);
    }
    if let Some(would) = decision.would {
        page.row("mode", &format!("{}: on would have {would}", decision.mode.name()));
    }
    if let Some(scored) = &told.scored {
        let sums = |name: &str, sums: &scaler::trial::Sums| {
            format!("{name}: {:.2} origin-hours, {:.3} % violated", sums.origin_hours, sums.violation)
        };
        let (would, ran) = (sums("would have had", &scored.would), sums("ran", &scored.ran));
        page.row("mode", &format!("over {} {would}; {ran}", span(scored.hours * 3600.0)));
    }
}

/// What somebody should do something about.
fn alarms(decision: &Decision, at: Timestamp, page: &mut Page) {
    if let Some(late) = &decision.late {
        let (asked, serving, since) = (late.asked, late.serving, stamp::age(at, late.since).as_secs_f64());
        let since = format!("since {:.0} ({})", late.since, span(since));
        page.row(
            "ALARM",
            &format!("capacity does not come: {asked} asked for over a lead ago, {serving} serve, {since}"),
        );
    }
    if let Some(trouble) = &decision.trouble {
        let again = trouble.retry_at.map_or(String::new(), |at| format!("; tries again at {at:.0}"));
        let (action, error, failures) = (&trouble.action, &trouble.error, trouble.failures);
        page.row(
            "ALARM",
            &format!("the actuator cannot {action}: {error} ({failures} in a row, last {:.0}){again}", trouble.at),
        );
    }
    for replaced in &decision.replaced {
        let waits = if replaced.replaced { "; another runs in its place" } else { "; no other runs in its place yet" };
        page.row("ALARM", &format!("{} is not counted on: {}{waits}", replaced.address, replaced.because));
    }
    if let Some(scaler::pool::foreign::Foreign { seen, decided, since }) = &decision.foreign {
        // Who deploys should know that their new origins are the youngest, and go first.
        let (more, age) = (seen.saturating_sub(*decided), span(stamp::age(at, *since).as_secs_f64()));
        page.row(
            "ALARM",
            &format!(
                "{more} more by other hands: {seen} run, {decided} decided, since {since:.0} ({age}); given back once \
                 nothing holds them, the youngest first"
            ),
        );
    }
    let silent: Vec<&str> =
        decision.inputs.edges.iter().filter(|edge| !edge.fresh).map(|edge| edge.edge.as_str()).collect();
    if !silent.is_empty() {
        page.row("ALARM", &format!("silent: {}", silent.join(", ")));
    }
    if let Some(ceiling) = decision.clamps.iter().find(|clamp| clamp.limit == scaler::Limit::Ceiling) {
        page.row("ALARM", &format!("the ceiling {} binds: {} are wanted", ceiling.after, ceiling.before));
    }
    if let Some(budget) = decision.budget.as_ref().filter(|budget| !budget.reached) {
        page.row("ALARM", &budget.verdict);
    }
}

fn why(decision: &Decision, page: &mut Page) {
    for proposal in &decision.proposals {
        let origins = proposal.origins.map_or("-".to_string(), |origins| origins.to_string());
        let won = if proposal.label() == decision.winner { ", which wins" } else { "" };
        page.row("proposed", &format!("{origins} by {}{won}: {}", proposal.label(), proposal.because));
    }
    page.row("wanted", &format!("{} by {}", decision.want, decision.winner));
    for Clamp { limit, before, after, because } in &decision.clamps {
        page.row("limited", &format!("{before} -> {after} by {} ({because})", limit.name()));
    }
    for hold in &decision.holds {
        page.row("held", hold);
    }
    decision.hinted.iter().for_each(|told| hinted(told, page));
}

/// What is to come of it, and what others would have.
fn ahead(decision: &Decision, page: &mut Page) {
    if let Some(forecast) = &decision.forecast {
        let bounds =
            forecast.quantiles.iter().map(|upper| format!("{:.1} ({} %)", upper.demand, upper.quantile * 100.0));
        let bounds = bounds.collect::<Vec<_>>().join(", ");
        let gate = if forecast.gate_open { "believed" } else { "not believed yet" };
        let (level, within) = (forecast.level, span(forecast.horizon_seconds));
        page.row("forecast", &format!("{level:.1} origins of demand now, at most {bounds} within {within}; {gate}"));
    }
    if let Some(told) = &decision.predicted {
        let to = decision.to;
        let less = to.saturating_sub(1);
        page.row(
            "violation",
            &format!(
                "of the coming peak ({:.1} origins): {:.2} % with {to}, {:.2} % with {less}, {:.2} % with the {} that serve now",
                told.peak, told.violation, told.one_less, told.serving, decision.capacity.serving
            ),
        );
    }
    page.row("capacity", &stages(&decision.capacity));
    if let Some(expected) = &decision.expected {
        page.row("capacity", &format!("in {}: {}", span(expected.seconds), stages(&expected.capacity)));
    }
    if let Some(change) = &decision.change {
        page.row("last change", &carried(change));
    }
    if let Some(next) = &decision.next {
        page.row("next", &format!("schedule {} {} at {:.0}", next.rule, next.what, next.at));
    }
    if !decision.peers.is_empty() {
        let peers = decision.peers.iter().map(|peer| format!("{} would have {}", peer.rule, peer.origins));
        page.row("others", &peers.collect::<Vec<_>>().join(", "));
    }
    if let Some(budget) = decision.budget.as_ref().filter(|budget| budget.reached) {
        page.row("budget", &budget.verdict);
    }
    if !decision.version.config.is_empty() {
        page.row("rules", &format!("{} of the file, engine {}", decision.version.config, decision.version.engine));
    }
}

fn stages(capacity: &scaler::Capacity) -> String {
    let scaler::Capacity { booting, warming, serving, draining, warm } = capacity;
    let warm = if *warm > 0 { format!(", {warm} warm beside them") } else { String::new() };
    format!("{booting} booting, {warming} warming, {serving} serving, {draining} draining{warm}")
}

fn carried(change: &Change) -> String {
    let Change { at, from, to, runs, first_seconds, done_seconds } = change;
    let first = if to > from { "the first served after" } else { "the first was gone after" };
    let went = match (first_seconds, done_seconds) {
        (_, Some(done)) => format!("done after {} ({first} {})", span(*done), span(first_seconds.unwrap_or(*done))),
        (Some(seconds), None) => format!("{first} {}, and not all are", span(*seconds)),
        (None, None) => "nothing has come of it yet".to_string(),
    };
    format!("{from} -> {to} decided {at:.0}: {went}; {runs} run")
}

fn inputs(inputs: &Inputs, page: &mut Page) {
    let rate = |rate: Option<f64>| rate.map_or("unknown".to_string(), |rate| format!("{rate}/s"));
    let in_flight = inputs.in_flight.map_or("unknown".to_string(), |count| count.to_string());
    page.row(
        "seen",
        &format!(
            "requests {}, rejects {}, errors {} over {} s; in flight {in_flight}",
            rate(inputs.requests_per_second),
            rate(inputs.rejects_per_second),
            rate(inputs.errors_per_second),
            inputs.window_seconds
        ),
    );
    for EdgeAge { edge, age_seconds, fresh, carried } in &inputs.edges {
        let silent = if *fresh { "" } else { ": silent" };
        let carried = carried.map_or(String::new(), |carried| {
            format!("; {}/s stand in for it ({})", carried.requests_per_second, carried.by.name())
        });
        page.row("seen", &format!("edge {edge}, {age_seconds:.1} s ago{silent}{carried}"));
    }
    if inputs.edges_more > 0 {
        page.row("seen", &format!("{} edges more, whose last reports are younger", inputs.edges_more));
    }
    if !inputs.left.is_empty() {
        page.row("seen", &format!("ended in order within the last minute: {}", inputs.left.join(", ")));
    }
    for Doubted { edge, requests_per_second, reports } in &inputs.refused {
        page.row(
            "seen",
            &format!("edge {edge} says {requests_per_second}/s, which is not believed ({reports} in a row)"),
        );
    }
    signals(inputs, page);
    if let Some(coverage) = inputs.coverage.filter(|coverage| *coverage < 1.0) {
        page.row("seen", &format!("{:.0} % of the expected demand is reported", 100.0 * coverage));
    }
    if let Some(usual) = inputs.usual_requests_per_second {
        page.row("seen", &format!("nobody has reported for long; {usual}/s are usual at this time"));
    }
    if inputs.edges.is_empty() {
        page.row("seen", "no edge reports");
    }
}

/// Each with what it asks for. Requests by themselves are in the row above, and in the reason of whoever goes by them.
fn signals(inputs: &Inputs, page: &mut Page) {
    let readings = inputs.demand.as_ref().map_or(&[][..], |demand| &demand.signals);
    let plain = matches!(readings, [one] if one.source == "requests" && !one.gap && one.because.is_none());
    for Reading { name, value, per_origin, origins, age_seconds, gap, because, .. } in
        readings.iter().filter(|_| !plain)
    {
        let value = value.map_or("unknown".to_string(), |value| format!("{value} where {per_origin} is one origin's"));
        let asks = origins.map_or(String::new(), |origins| format!(": asks for {origins:.1}"));
        let age = age_seconds.map_or(String::new(), |age| format!(", {} ago", span(age)));
        let gap = if *gap { "; nothing is taken away for it" } else { "" };
        let because = because.as_ref().map_or(String::new(), |because| format!(" ({because})"));
        page.row("seen", &format!("signal {name}, {value}{age}{asks}{because}{gap}"));
    }
    for learned in readings.iter().filter_map(|reading| reading.learned.as_ref()) {
        let Learned { per_origin, configured, at_least, at_most, seen, drift } = learned;
        let seen = seen.map_or(String::new(), |seen| format!("; the evidence points to {seen}"));
        let drift = if *drift { ", so the file wants a look" } else { "" };
        let bounds = format!("{configured} in the file, {at_least} to {at_most} allowed");
        page.row("seen", &format!("an origin carries {per_origin}/s as learned ({bounds}){seen}{drift}"));
    }
}

/// What plugins ask for.
fn hinted(hinted: &Hinted, page: &mut Page) {
    for Asked { edge, plugin, kind, value, ttl_seconds, due_seconds, refused } in &hinted.asked {
        let due = if *due_seconds > 0.0 { format!(" in {}", span(*due_seconds)) } else { String::new() };
        let refused = refused.as_ref().map_or(String::new(), |why| format!("; refused: {why}"));
        let ttl = span(*ttl_seconds);
        page.row("hinted", &format!("{kind} {value}{due} by {plugin} at {edge}, for {ttl}{refused}"));
    }
    if let Some(Clamp { before, after, because, .. }) = &hinted.clamped {
        page.row("hinted", &format!("{before} -> {after} granted ({because})"));
    }
}

fn origins(decision: &Decision, origins: &[OriginView], page: &mut Page) {
    let mut shown: Vec<&OriginView> = origins.iter().collect();
    shown.sort_by_key(|origin| origin.stage.name() == "serving");
    for origin in shown.iter().take(LISTED) {
        let late = origin.stage.name() == "booting"
            && decision.expected.is_some_and(|expected| origin.stage_age_seconds > expected.seconds);
        let late = if late { ", longer than its lead" } else { "" };
        let OriginView { address, stage, stage_age_seconds, parked, warm, .. } = origin;
        let parked = match (parked, warm) {
            (true, true) => ", warm: waits in the warm pool",
            (true, false) => ", for the warm pool",
            (false, _) => "",
        };
        page.row("origins", &format!("{address} {} for {}{parked}{late}", stage.name(), span(*stage_age_seconds)));
    }
    if let more @ 1.. = shown.len().saturating_sub(LISTED) {
        page.row("origins", &format!("and {more} more"));
    }
}

fn tuner(told: &Told, page: &mut Page) {
    let Some(tuner) = &told.tuner else { return };
    let gate = if tuner.gate_open { "open" } else { "shut" };
    let loss = match tuner.loss {
        loss if loss > 0.0 => format!("the forecast's loss is {loss:.2} of that of one which knows the level alone"),
        _ => "nothing was foreseen yet that has come".to_string(),
    };
    let rules = match tuner.blend {
        0 => "no choice was made yet".to_string(),
        blend => format!("{blend} rules share the decision"),
    };
    page.row("tuner", &format!("gate {gate}: {loss}; {rules}"));
    if tuner.best.is_empty() {
        return;
    }
    page.row("tuner", "what the cheapest would have cost lately, in origins on average:");
    page.table(&format!("{:<38}{:>6}{:>9}{:>11}{:>9}", "rule", "part", "billed", "violated", "cost"));
    for best in &tuner.best {
        let bound = best.quantile.map_or("level".to_string(), |quantile| format!("{} %", quantile * 100.0));
        let (hold, band) = (span(best.hold_seconds), best.band * 100.0);
        let rule = format!("{bound} x {}, hold {hold}, band {band:.0} %", best.headroom);
        let (part, billed, violation, cost) = (best.part * 100.0, best.billed, best.violation, best.cost);
        page.table(&format!("{rule:<38}{part:>4.0} %{billed:>9.2}{violation:>9.3} %{cost:>9.2}"));
    }
}

/// `0.4 s`, `75 s`, `12 min`, `3.5 h`.
fn span(seconds: f64) -> String {
    match seconds {
        seconds if seconds < 10.0 => format!("{seconds:.1} s"),
        seconds if seconds < 600.0 => format!("{seconds:.0} s"),
        seconds if seconds < 7200.0 => format!("{:.0} min", seconds / 60.0),
        seconds => format!("{:.1} h", seconds / 3600.0),
    }
}
