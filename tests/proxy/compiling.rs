//! Modules are compiled aside: whoever asks meanwhile is answered meanwhile.

use std::time::{Duration, Instant};

use harness::{Client, Folder, Setup, module};

/// Enough to take some seconds here, and long enough anywhere to hold requests against.
const FUNCTIONS: usize = 1500;

fn region(version: &str) -> String {
    format!(
        "plugins: [{{name: p, wasm: {version}.wasm}}]\n\
         routes:\n  - {{name: all, plugins: [p], respond: {{body: here}}}}\n"
    )
}

#[test]
fn requests_are_answered_while_a_large_module_is_compiled() {
    let cache = Folder::new();
    let large = module::large("two", FUNCTIONS);
    let setup = Setup::new(region("one")).cache(cache.path());
    let edge = setup.file("one.wasm", module::version("one")).file("two.wasm", &large).workers(1).start();
    let mut client = Client::connect(edge.address);
    assert_eq!(client.get("/").header("x-version"), Some("one"));
    let begin = Instant::now();
    edge.reload(&region("two"));
    let (mut answered, mut longest) = (0, Duration::ZERO);
    let window = loop {
        let asked = Instant::now();
        let response = client.get("/");
        let waited = asked.elapsed();
        match response.header("x-version") {
            Some("one") => (answered, longest) = (answered + 1, longest.max(waited)),
            Some("two") => break begin.elapsed(),
            other => panic!("neither version: {other:?}"),
        }
        assert!(begin.elapsed() < Duration::from_secs(120), "the new version does not come");
    };
    // A worker that compiles, or waits for who does, answers nothing in all this time.
    assert!(window > Duration::from_millis(200), "compiled in {window:?}: too fast to tell anything");
    assert!(longest < window / 3, "a request waited {longest:?} of the {window:?} until the new version served");
    assert!(answered > 50, "{answered} requests in {window:?}");
}
