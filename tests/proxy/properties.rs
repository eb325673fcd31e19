//! What plugins are told of an exchange and its connection, by the paths of Envoy's attributes.

use harness::{Certificate, Client, Origin, Setup, to_shop};

/// Tells each path, the type of what is there, and what it is.
const TELLS: &str = r#"
local plugin = {}
local function tell(path)
  local value = forebay.property.get(path)
  forebay.log.info(("prop %s %s %s."):format(path, type(value), type(value) == "table" and "-" or tostring(value)))
end
function plugin.on_request_headers() tell("response.code") tell("upstream.address") end
function plugin.on_log()
  for path in ([[PATHS]]):gmatch("%S+") do tell(path) end
end
return plugin
"#;

const TEXTS: &[(&str, &str)] = &[
    ("request.path", "/a?b=c"),
    ("request.url_path", "/a"),
    ("request.query", "b=c"),
    ("request.host", "shop.test"),
    ("request.scheme", "https"),
    ("request.method", "POST"),
    ("request.protocol", "HTTP/1.1"),
    ("request.useragent", "tests"),
    ("request.headers.x-many", "one,two"),
    ("response.code_details", "via_upstream"),
    ("response.headers.x-answer", "yes"),
    ("connection.requested_server_name", "localhost"),
    ("connection.tls_version", "TLSv1.3"),
    ("connection.subject_local_certificate", "CN=rcgen self signed cert"),
    ("connection.dns_san_local_certificate", "localhost"),
    ("xds.route_name", "all"),
    ("route_name", "all"),
    ("xds.cluster_name", "shop"),
    ("cluster_name", "shop"),
    ("node.id", "test-edge"),
    ("xds.node.id", "test-edge"),
    ("plugin_name", "tells"),
    ("plugin_root_id", ""),
];

const NUMBERS: &[(&str, u64)] = &[
    ("request.size", 4),
    ("response.code", 201),
    ("response.size", 2),
    ("response.grpc_status", 5),
    ("upstream.request_attempt_count", 1),
    ("upstream.num_endpoints", 1),
];

/// What differs each time, or is not there.
const KINDS: &[(&str, &str)] = &[
    ("request.id", "string"),
    ("request.headers", "table"),
    ("request.time", "number"),
    ("request.duration", "number"),
    ("request.headers_bytes", "number"),
    ("request.total_size", "number"),
    ("response.headers", "table"),
    ("response.headers_bytes", "number"),
    ("response.total_size", "number"),
    ("response.backend_latency", "number"),
    ("source.address", "string"),
    ("source.port", "number"),
    ("connection.id", "number"),
    ("connection_id", "number"),
    ("connection.mtls", "boolean"),
    ("upstream.address", "string"),
    ("connection.subject_peer_certificate", "nil"),
    ("connection.uri_san_local_certificate", "nil"),
    ("request.trailers", "nil"),
    ("response.trailers", "nil"),
    ("response.flags", "nil"),
    ("request", "nil"),
    ("no.such", "nil"),
];

#[test]
fn an_exchange_over_tls_is_told_by_its_paths() {
    let origin = Origin::serve(|exchange| {
        exchange.messages.body()?;
        exchange.respond(201, &[("X-Answer", "yes"), ("grpc-status", "5")], b"ok")
    });
    let paths = TEXTS.iter().map(|(path, _)| path).chain(NUMBERS.iter().map(|(path, _)| path));
    let paths: Vec<_> = paths.chain(KINDS.iter().map(|(path, _)| path)).copied().collect();
    let region = to_shop(&[origin.address], "").replacen("pool: shop", "plugins: [tells]\n    pool: shop", 1);
    let setup = Setup::new(format!("plugins:\n  - {{name: tells, lua: tells.lua}}\n{region}"));
    let certificate = Certificate::write(setup.folder());
    let edge = setup
        .file("tells.lua", TELLS.replace("PATHS", &paths.join(" ")))
        .listener("      tls: {certificate: certificate.pem, key: key.pem}")
        .start();
    let mut client = Client::connect_tls(edge.address, &certificate, &["http/1.1"]).expect("a handshake");
    let headers = [("Host", "shop.test"), ("User-Agent", "tests"), ("X-Many", "one"), ("X-Many", "two")];
    client.request("POST", "/a?b=c", &headers, b"body");
    assert_eq!(client.response().status, 201);
    for path in ["response.code", "upstream.address"] {
        edge.process.wait_for_log(&[&format!("prop {path} nil nil.")]);
    }
    for (path, value) in TEXTS {
        edge.process.wait_for_log(&[&format!("prop {path} string {value}.")]);
    }
    for (path, value) in NUMBERS {
        edge.process.wait_for_log(&[&format!("prop {path} number {value}.")]);
    }
    for (path, kind) in KINDS {
        edge.process.wait_for_log(&[&format!("prop {path} {kind} ")]);
    }
    edge.process.wait_for_log(&["prop connection.mtls boolean false."]);
    edge.process.wait_for_log(&[&format!("prop upstream.address string {}.", origin.address)]);
}
