//! Files that are right load, and mean what they say.

#[path = "support/folder.rs"]
mod folder;

use std::path::Path;
use std::time::Duration;

use folder::Folder;
use forebay_config as config;
use forebay_config::region::{History, Journal};
use forebay_config::{Actuator, ClientCertificate, FaultPolicy, Isolation, PathMatch, PluginCode, RouteTo, ValueMatch};

fn region(text: &str, base: &Path) -> config::Region {
    match config::parse(text, Path::new("region.yaml"), base) {
        Ok(region) => region,
        Err(errors) => panic!("{errors}"),
    }
}

#[test]
fn a_minimal_file_means_its_defaults() {
    let file = Path::new(env!("CARGO_MANIFEST_DIR")).join("../../edge-configs/examples/minimal.yaml");
    let region = config::load(&file).map_err(|e| e.to_string()).unwrap();
    let edge = region.edge.unwrap();
    assert!(region.aggregator.is_none());
    assert_eq!(edge.listeners.len(), 1);
    assert!(edge.listeners[0].http1 && edge.listeners[0].http2 && edge.listeners[0].tls.is_none());
    assert_eq!(edge.limits, config::EdgeLimits::default());
    assert_eq!(edge.drain, config::Edge::DRAIN);
    assert!(edge.workers > 0, "0 in the file is resolved");
    assert_eq!(region.log, config::Log::default());
    assert!(matches!(&region.routes[0].path, PathMatch::Prefix(path) if path == "/"));
    assert!(matches!(&region.routes[0].to, RouteTo::Pool(name) if name == "shop"));
    let shop = &region.pools["shop"];
    assert_eq!(shop.origins.len(), 2);
    assert_eq!(shop.timeouts, config::PoolTimeouts::default());
    assert!(shop.scaling.is_none());
}

#[test]
fn every_example_loads() {
    let folder = Folder::like_the_repository("examples");
    let examples = Path::new(env!("CARGO_MANIFEST_DIR")).join("../../edge-configs/examples");
    let mut names = Vec::new();
    for entry in std::fs::read_dir(examples).unwrap() {
        let path = entry.unwrap().path();
        if path.extension().is_some_and(|extension| extension == "yaml") {
            let text = std::fs::read_to_string(&path).unwrap();
            if let Err(errors) = config::parse(&text, &path, &folder.path().join("edge-configs/examples")) {
                panic!("{errors}");
            }
            names.push(path.file_stem().unwrap().to_str().unwrap().to_owned());
        }
    }
    names.sort();
    assert_eq!(names, ["minimal", "plugins", "scaling", "tls"]);
}

#[test]
fn a_route_takes_from_its_plugin_what_it_does_not_say() {
    let folder = Folder::like_the_repository("plugin");
    let region = region(
        r#"
edge: {listeners: [{address: "127.0.0.1:0"}]}
plugins:
  - name: stamp
    lua: plugins/lua/request-stamp
    config: {b: 1, a: [x, 2.5, null, true]}
    vm_config: as written
    limits: {cpu: 7ms, memory: 1MiB}
    on_fault: open
    capabilities: ["callout:shop", metric]
  - name: headers
    wasm: plugins/wasm/shop-headers
routes:
  - name: a
    pool: shop
    plugins: [stamp, {name: stamp, config: "", on_fault: closed, limits: {cpu: 1ms}}, headers]
pools: [{name: shop, origins: ["[::1]:80"]}]
"#,
        folder.path(),
    );
    let [own, changed, headers] = &region.routes[0].plugins[..] else { panic!("three plugins") };
    assert_eq!(own.config, r#"{"b":1,"a":["x",2.5,null,true]}"#, "compact, in the order of the file");
    assert_eq!((own.plugin.vm_config.as_str(), own.on_fault), ("as written", FaultPolicy::Open));
    assert_eq!((own.limits.cpu, own.limits.memory), (Duration::from_millis(7), 1 << 20));
    assert_eq!(own.limits.callouts, config::PluginLimits::default().callouts);
    assert_eq!((changed.config.as_str(), changed.on_fault), ("", FaultPolicy::Closed));
    assert_eq!((changed.limits.cpu, changed.limits.memory), (Duration::from_millis(1), 1 << 20));
    assert_eq!(headers.config, "", "absent is the empty text");
    assert_eq!(own.plugin.code, PluginCode::Lua(folder.path().join("plugins/lua/request-stamp/main.lua")));
    let module = folder.path().join("plugins/wasm/shop-headers/target/forebay/shop-headers.wasm");
    assert_eq!(headers.plugin.code, PluginCode::Wasm(module));
}

#[test]
fn what_exchanges_share_is_said_of_a_plugin_in_either_language_and_otherwise_on_a_route() {
    let folder = Folder::like_the_repository("isolation");
    let region = region(
        r#"
edge: {listeners: [{address: "127.0.0.1:0"}]}
plugins:
  - {name: shared, lua: plugins/lua/request-stamp}
  - {name: alone, lua: plugins/lua/request-stamp, isolation: exchange}
  - {name: module, wasm: plugins/wasm/shop-headers, isolation: exchange}
routes:
  - name: as-they-are
    respond: {}
    plugins: [shared, alone, module]
  - name: otherwise
    respond: {}
    plugins:
      - {name: shared, isolation: exchange}
      - {name: alone, isolation: worker}
      - {name: module, isolation: worker}
      - {name: alone, on_fault: open}
"#,
        folder.path(),
    );
    let on = |route: usize| region.routes[route].plugins.iter().map(|plugin| plugin.isolation).collect::<Vec<_>>();
    assert_eq!(on(0), [Isolation::Worker, Isolation::Exchange, Isolation::Exchange]);
    assert_eq!(on(1), [Isolation::Exchange, Isolation::Worker, Isolation::Worker, Isolation::Exchange]);
    assert_eq!(region.plugins["alone"].isolation, Isolation::Exchange, "a route changes its own only");
}

#[test]
fn clients_need_the_certificate_that_they_are_asked_for_unless_it_is_optional() {
    let folder = Folder::new("clients");
    for file in ["certificate.pem", "clients.pem"] {
        folder.write(file, folder::CERTIFICATE);
    }
    folder.write("key.pem", folder::KEY);
    for (keys, meant) in [
        ("", None),
        (", clients: {roots: clients.pem}", Some(ClientCertificate::Required)),
        (", clients: {roots: clients.pem, certificate: required}", Some(ClientCertificate::Required)),
        (", clients: {roots: clients.pem, certificate: optional}", Some(ClientCertificate::Optional)),
    ] {
        let tls = format!("{{certificate: certificate.pem, key: key.pem{keys}}}");
        let text = format!("edge: {{listeners: [{{address: '127.0.0.1:0', tls: {tls}}}]}}");
        let edge = region(&text, folder.path()).edge.unwrap();
        let clients = edge.listeners[0].tls.as_ref().unwrap().clients.as_ref();
        assert_eq!(clients.map(|clients| clients.certificate), meant, "{keys}");
        assert!(clients.is_none_or(|clients| clients.roots == folder.path().join("clients.pem")));
    }
}

#[test]
fn patterns_match_the_whole_value() {
    let region = region(
        r#"
edge: {listeners: [{address: "127.0.0.1:0"}]}
routes:
  - name: a
    pool: shop
    match:
      hosts: [Shop.Example.COM]
      path: {pattern: '/v\d+|/w'}
      headers: [{name: X-Tenant, pattern: 'a|b'}, {name: x, exact: "1"}, {name: y, present: true}]
pools: [{name: shop, origins: ["127.0.0.1:80"]}]
"#,
        Path::new("."),
    );
    let route = &region.routes[0];
    assert_eq!(route.hosts, ["shop.example.com"]);
    let PathMatch::Pattern(path) = &route.path else { panic!("a pattern") };
    for (text, matches) in [("/v12", true), ("/w", true), ("/v12/x", false), ("x/w", false), ("/v", false)] {
        assert_eq!(path.is_match(text), matches, "{text}");
    }
    assert_eq!(route.headers[0].name, "x-tenant");
    let ValueMatch::Pattern(tenant) = &route.headers[0].value else { panic!("a pattern") };
    assert!(tenant.is_match("b") && !tenant.is_match("ab"));
    assert!(matches!(&route.headers[1].value, ValueMatch::Exact(value) if value == "1"));
    assert!(matches!(&route.headers[2].value, ValueMatch::Present));
}

#[test]
fn a_lead_is_learned_unless_it_is_written_as_a_time() {
    let lead = |text: &str| {
        let file = format!(
            "aggregator: {{address: '127.0.0.1:0', journal: j}}\npools:\n  - name: shop\n    scaling:\n      \
             ceiling: 9\n{text}      actuator: dry_run\n"
        );
        let region = region(&file, Path::new("/srv/region"));
        let scaling = region.pools["shop"].scaling.as_ref().unwrap();
        (
            scaling.lead.as_secs(),
            scaling.lead_bounds.map(|bounds| (bounds.at_least.as_secs(), bounds.at_most.as_secs())),
        )
    };
    assert_eq!(lead(""), (120, Some((0, 600))), "nobody chose it: what is measured is better");
    assert_eq!(lead("      lead: 90s\n"), (90, None), "whoever writes a time means it");
    assert_eq!(lead("      lead: {}\n"), (120, Some((0, 600))));
    assert_eq!(lead("      lead: {initial: 4m, at_least: 1m, at_most: 15m}\n"), (240, Some((60, 900))));
}

#[test]
fn what_an_origin_carries_is_learned_where_it_is_written_as_a_map() {
    use config::region::{Learn, SignalSource};
    let source = |per_origin: &str| {
        let file = format!(
            "aggregator: {{address: '127.0.0.1:0', journal: j}}\npools:\n  - name: shop\n    scaling:\n      ceiling: 9\n      \
             reactive: {{}}\n      signals: [{{source: requests, per_origin: {per_origin}}}]\n      actuator: dry_run\n"
        );
        let region = region(&file, Path::new("/srv/region"));
        region.pools["shop"].scaling.as_ref().unwrap().signals[0].source.clone()
    };
    assert_eq!(source("50"), SignalSource::Requests { per_origin: 50.0, learn: None });
    let learn = |at_least, at_most, quantile| {
        let latency = Duration::from_millis(200);
        SignalSource::Requests { per_origin: 50.0, learn: Some(Learn { at_least, at_most, latency, quantile }) }
    };
    assert_eq!(source("{initial: 50, latency: 200ms}"), learn(25.0, 100.0, 0.99));
    let all = "{initial: 50, at_least: 50, at_most: 60, latency: 200ms, quantile: 0.9}";
    assert_eq!(source(all), learn(50.0, 60.0, 0.9));
}

#[test]
fn a_warm_pool_has_a_size_or_follows_the_forecast() {
    use config::region::{WarmPool, WarmSize};
    let warm = |text: &str| {
        let file = format!(
            "aggregator: {{address: '127.0.0.1:0', journal: j}}\npools:\n  - name: shop\n    scaling:\n      \
             ceiling: 9\n      predictive: {{requests_per_origin: 10}}\n{text}      actuator: dry_run\n"
        );
        let region = region(&file, Path::new("/srv/region"));
        region.pools["shop"].scaling.as_ref().unwrap().warm_pool.clone()
    };
    assert_eq!(warm(""), None);
    assert_eq!(
        warm("      warm_pool: {size: 2}\n"),
        Some(WarmPool { size: WarmSize::Fixed(2), at_most: 2, cost: 1.0 })
    );
    assert_eq!(warm("      warm_pool: {size: auto}\n"), Some(WarmPool { size: WarmSize::Auto, at_most: 5, cost: 1.0 }));
    assert_eq!(
        warm("      warm_pool: {size: auto, at_most: 9, cost: 0.1}\n"),
        Some(WarmPool { size: WarmSize::Auto, at_most: 9, cost: 0.1 })
    );
}

#[test]
fn a_schedule_without_a_lead_takes_that_of_its_pool() {
    let region = region(
        r#"
aggregator: {address: "127.0.0.1:0", journal: j}
pools:
  - name: shop
    scaling:
      ceiling: 9
      lead: 90s
      schedules:
        - {name: a, cron: "0 0 9 * * MON-FRI", zone: Europe/Berlin, duration: 1h, floor: 3}
        - {name: b, cron: "*/5 * * * *", zone: UTC, duration: 1m, floor: 9, lead: 0s}
      actuator: dry_run
"#,
        Path::new("/srv/region"),
    );
    let scaling = region.pools["shop"].scaling.as_ref().unwrap();
    assert_eq!(scaling.schedules[0].lead, Duration::from_secs(90));
    assert_eq!(scaling.schedules[1].lead, Duration::ZERO);
    assert!(!scaling.schedules[0].own_lead && scaling.schedules[1].own_lead);
    assert_eq!((scaling.floor, scaling.ceiling), (config::Scaling::FLOOR, 9));
    assert_eq!((scaling.predictive.as_ref(), scaling.budget.as_ref()), (None, None));
    assert!(scaling.reactive.is_none() && matches!(scaling.actuator, Actuator::DryRun));
    let aggregator = region.aggregator.unwrap();
    let journal = Journal::at("/srv/region/j".into());
    assert_eq!(aggregator.journal, Some(journal), "relative to the folder of the file");
}

#[test]
fn a_budget_is_a_price_or_an_slo_and_hours_or_money() {
    use config::{Aim, Money, Monthly, ScalingBudget};

    let budget = |keys: &str| {
        let of_rule = if keys.contains("price:") { "" } else { ", price: 30" };
        let text = format!(
            "aggregator: {{address: \"127.0.0.1:0\"}}\npools: [{{name: shop, scaling: {{ceiling: 9, actuator: dry_run, \
             predictive: {{requests_per_origin: 10{of_rule}}}, budget: {keys}}}}}]\n"
        );
        region(&text, Path::new(".")).pools["shop"].scaling.as_ref().unwrap().budget.clone().unwrap()
    };
    let slo = |kept: f64, price_at_most: f64| Aim::Slo { kept, price_at_most };
    let hours = |origin_hours: f64, money: Option<Money>| {
        Some(Monthly { origin_hours, money, zone: "UTC".into(), hard: false })
    };
    assert_eq!(budget("{slo: 99.9%}"), ScalingBudget { aim: slo(99.9, 1000.0), monthly: None });
    let dear = ScalingBudget { aim: slo(99.9, 5000.0), monthly: None };
    assert_eq!(budget("{slo: 99.9%, price_at_most: 5000}"), dear);
    assert_eq!(budget("{price: 70}"), ScalingBudget { aim: Aim::Price(70.0), monthly: None });
    let of_the_rule = ScalingBudget { aim: Aim::Price(30.0), monthly: hours(5000.0, None) };
    assert_eq!(budget("{origin_hours: 5000}"), of_the_rule, "the price of predictive");
    let money = Money { amount: 1200.0, currency: "USD".into(), origin_hour: 0.25 };
    let paid = budget("{slo: 99%, money: 1200 USD, origin_hour: 0.25}");
    assert_eq!(paid, ScalingBudget { aim: slo(99.0, 1000.0), monthly: hours(4800.0, Some(money)) });
    let hard = budget("{origin_hours: 5000, zone: Europe/Berlin, hard: true}").monthly.unwrap();
    assert_eq!((hard.zone.as_str(), hard.hard), ("Europe/Berlin", true));
}

#[test]
fn what_a_region_means_has_a_name() {
    let digest = |text: &str| region(text, Path::new("/srv")).digest();
    let plain =
        "aggregator: {address: \"127.0.0.1:0\"}\npools: [{name: a, scaling: {ceiling: 9, actuator: dry_run}}]\n";
    let first = digest(plain);
    assert!(first.len() == 16 && first.bytes().all(|byte| byte.is_ascii_hexdigit()), "{first}");
    assert_eq!(digest(plain), first);
    let same = "# A comment.\npools: [{scaling: {floor: 1, actuator: dry_run, ceiling: 9}, name: a}]\n\
                aggregator: {address: \"127.0.0.1:0\", journal: j}\n";
    assert_eq!(digest(same), first, "order, comments, defaults and a journal decide nothing");
    for other in [plain.replace("ceiling: 9", "ceiling: 8"), plain.replace("name: a", "name: b")] {
        assert_ne!(digest(&other), first, "{other}");
    }
}

#[test]
fn a_journal_is_a_path_or_a_map_and_the_history_stands_beside_it() {
    let aggregator = |keys: &str| {
        let text = format!("aggregator: {{address: \"127.0.0.1:0\"{keys}}}");
        region(&text, Path::new("/srv")).aggregator.unwrap()
    };
    let both = |keys: &str| {
        let aggregator = aggregator(keys);
        (aggregator.journal, aggregator.history)
    };
    let journal = Journal::at("/srv/state/d.jsonl".into());
    let history = History { path: "/srv/state/history.redb".into(), keep: Duration::from_secs(14 * 86_400) };
    assert_eq!(both(""), (None, None));
    assert_eq!(both(", journal: state/d.jsonl"), (Some(journal.clone()), Some(history.clone())));
    assert_eq!(both(", journal: {path: state/d.jsonl}"), (Some(journal.clone()), Some(history.clone())));
    let small = Journal { file_bytes: 1 << 20, files: 3, ..journal };
    assert_eq!(
        both(", journal: {path: state/d.jsonl, file_bytes: 1MiB, files: 3}, history: {keep: 2d}"),
        (Some(small), Some(History { keep: Duration::from_secs(2 * 86_400), ..history }))
    );
    let alone = History { path: "/h.redb".into(), keep: History::KEEP };
    assert_eq!(both(", history: {path: /h.redb}"), (None, Some(alone)));
}

#[test]
fn anchors_and_merged_maps_are_read() {
    let region = region(
        r#"
edge: {listeners: [{address: "127.0.0.1:0"}]}
routes:
  - &base {name: a, pool: shop, match: {path: {prefix: /a}}}
  - {<<: *base, name: b}
pools: [{name: shop, origins: ["127.0.0.1:80"]}]
"#,
        Path::new("."),
    );
    assert_eq!(region.routes[1].name, "b");
    assert!(matches!(&region.routes[1].path, PathMatch::Prefix(path) if path == "/a"));
}

#[test]
fn tls_offers_what_the_listener_speaks() {
    let folder = Folder::like_the_repository("alpn");
    let region = region(
        r#"
edge:
  listeners:
    - {address: "127.0.0.1:0", tls: {certificate: tls/certificate.pem, key: tls/key.pem}}
    - {address: "127.0.0.1:0", protocols: [http1], tls: {certificate: tls/certificate.pem, key: tls/key.pem}}
routes: [{name: a, respond: {}}]
"#,
        &folder.path().join("edge-configs"),
    );
    let edge = region.edge.unwrap();
    assert_eq!(edge.listeners[0].tls.as_ref().unwrap().alpn, ["h2", "http/1.1"]);
    assert_eq!(edge.listeners[1].tls.as_ref().unwrap().alpn, ["http/1.1"]);
    let RouteTo::Respond(answer) = &region.routes[0].to else { panic!("a response") };
    assert_eq!((answer.status, answer.body.as_str()), (200, ""));
}

#[test]
fn every_mode_of_scaling_is_read_bare_and_quoted() {
    use config::ScalingMode;
    let mode = |key: &str| {
        let text = format!(
            "aggregator: {{address: '127.0.0.1:0'}}\npools:\n  - name: shop\n    scaling:\n      ceiling: 9\n{key}      \
             actuator: dry_run\n"
        );
        region(&text, Path::new("/tmp")).pools["shop"].scaling.as_ref().unwrap().mode
    };
    assert_eq!(mode(""), ScalingMode::On);
    for (word, expected) in [
        ("off", ScalingMode::Off),
        ("shadow", ScalingMode::Shadow),
        ("advise", ScalingMode::Advise),
        ("up-only", ScalingMode::UpOnly),
        ("on", ScalingMode::On),
    ] {
        assert_eq!(mode(&format!("      mode: {word}\n")), expected, "bare {word}");
        assert_eq!(mode(&format!("      mode: \"{word}\"\n")), expected, "quoted {word}");
    }
}
