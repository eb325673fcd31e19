//! Which route takes a request.

use harness::{Client, Edge, Origin, list};

/// Each route answers with its own name.
const ROUTES: &str = r#"
routes:
  - {name: exact, match: {path: {exact: /a/b}}, respond: {body: exact}}
  - {name: long, match: {path: {prefix: /a/b}}, respond: {body: long}}
  - {name: short, match: {path: {prefix: /a}}, respond: {body: short}}
  - {name: pattern, match: {path: {pattern: "/v[0-9]+/.*"}}, respond: {body: pattern}}
  - {name: posts, match: {path: {prefix: /m}, methods: [POST]}, respond: {status: 202, body: posts}}
  - {name: methods, match: {path: {prefix: /m}}, respond: {body: methods}}
  - {name: blue, match: {path: {prefix: /h}, headers: [{name: x-tenant, exact: blue}]}, respond: {body: blue}}
  - {name: greek, match: {path: {prefix: /h}, headers: [{name: x-tenant, pattern: "(alpha|beta)"}]}, respond: {body: greek}}
  - {name: present, match: {path: {prefix: /h}, headers: [{name: x-tenant, present: true}]}, respond: {body: present}}
  - {name: wild, match: {hosts: ["*.example.com"], path: {prefix: /host}}, respond: {body: wild}}
  - {name: host, match: {hosts: [example.com], path: {prefix: /host}}, respond: {body: host}}
  - {name: respond, match: {path: {exact: /headers}}, respond: {status: 418, headers: {x-many: [one, two]}, body: tea}}
"#;

/// A method, a target, headers, and who answers.
type Row = (&'static str, &'static str, &'static [(&'static str, &'static str)], &'static str);

fn ask(client: &mut Client, method: &str, target: &str, headers: &[(&str, &str)]) -> String {
    client.request(method, target, headers, b"");
    let response = client.response();
    if response.status == 404 { "404".to_owned() } else { response.text().to_owned() }
}

#[test]
fn the_most_specific_path_wins_then_the_first_that_matches() {
    let edge = Edge::start(ROUTES);
    let mut client = edge.connect();
    let table: &[Row] = &[
        ("GET", "/a/b", &[], "exact"),
        ("GET", "/a/b?x=1", &[], "exact"),
        ("GET", "/a/b/", &[], "long"),
        ("GET", "/a/b/c", &[], "long"),
        ("GET", "/a/bc", &[], "short"),
        ("GET", "/a", &[], "short"),
        ("GET", "/ab", &[], "404"),
        ("GET", "/v12/x", &[], "pattern"),
        ("GET", "/x/v12/x", &[], "404"),
        ("POST", "/m", &[], "posts"),
        ("GET", "/m", &[], "methods"),
        ("GET", "/h", &[("X-Tenant", "blue")], "blue"),
        ("GET", "/h", &[("x-tenant", "beta")], "greek"),
        ("GET", "/h", &[("X-Tenant", "bluest")], "present"),
        ("GET", "/h", &[], "404"),
        ("GET", "/host", &[("Host", "www.example.com")], "wild"),
        ("GET", "/host", &[("Host", "a.b.example.com:8080")], "wild"),
        ("GET", "/host", &[("Host", "EXAMPLE.com")], "host"),
        ("GET", "/host", &[("Host", "notexample.com")], "404"),
        ("GET", "/", &[], "404"),
    ];
    let mut wrong = Vec::new();
    for (method, target, headers, expected) in table {
        let got = ask(&mut client, method, target, headers);
        if got != *expected {
            wrong.push(format!("{method} {target} {headers:?}: {got}, must be {expected}"));
        }
    }
    assert!(wrong.is_empty(), "\n{}", wrong.join("\n"));
}

#[test]
fn the_edge_answers_by_itself_as_the_file_says() {
    let edge = Edge::start(ROUTES);
    let response = edge.get("/headers");
    assert_eq!((response.status, response.text()), (418, "tea"));
    assert_eq!(response.headers.all("x-many"), ["one", "two"]);
    assert_eq!(response.header("content-length"), Some("3"));
}

#[test]
fn routes_lead_to_their_own_pools() {
    let (a, b) = (Origin::saying("a"), Origin::saying("b"));
    let edge = Edge::start(format!(
        "routes:\n  - {{name: a, match: {{path: {{prefix: /a}}}}, pool: a}}\n  - {{name: b, match: {{path: {{prefix: /b}}}}, pool: b}}\n\
         pools:\n  - {{name: a, origins: {}}}\n  - {{name: b, origins: {}}}\n",
        list(&[a.address]),
        list(&[b.address])
    ));
    let mut client = edge.connect();
    assert_eq!(
        (client.get("/a").text().to_owned(), client.get("/b").text().to_owned()),
        ("a".to_owned(), "b".to_owned())
    );
    assert_eq!((a.requests(), b.requests()), (1, 1));
}

#[test]
fn paths_that_climb_do_not_reach_another_route() {
    let (open, closed) = (Origin::saying("open"), Origin::saying("closed"));
    let edge = Edge::start(format!(
        "routes:\n  - {{name: open, match: {{path: {{prefix: /open}}}}, pool: open}}\npools:\n  - {{name: open, origins: {}}}\n  - {{name: closed, origins: {}}}\n",
        list(&[open.address]),
        list(&[closed.address])
    ));
    for target in ["/closed", "/../closed", "//closed"] {
        let mut client = edge.connect();
        client.request("GET", target, &[], b"");
        let status = client.response().status;
        assert!(matches!(status, 400 | 404), "{target}: {status}");
    }
    assert_eq!(closed.requests(), 0);
}
