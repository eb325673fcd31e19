//! A reload is checked off to the side, then taken whole or refused; not one request fails.

use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicUsize, Ordering};

use harness::{Client, Edge, Origin, PATIENCE, Setup, list, to_shop, wait_until};

fn said(edge: &Edge) -> String {
    edge.get("/").text().to_owned()
}

#[test]
fn a_new_file_is_taken_on_sighup_and_a_bad_one_is_refused() {
    let (first, second) = (Origin::saying("first"), Origin::saying("second"));
    let mut edge = Edge::before(&[first.address]);
    assert_eq!(said(&edge), "first");
    edge.reload(&to_shop(&[second.address], ""));
    wait_until("the new file to be taken", PATIENCE, || (said(&edge) == "second").then_some(()));
    // The words of the refusal may stand in lines of level ERROR.
    for text in ["reload", "polos", "region.yaml", "refused"] {
        edge.process.expect_error(text);
    }
    edge.reload("routes:\n  - {name: all, pool: shop}\npolos: []\n");
    edge.process.wait_for_log(&["polos"]);
    for _ in 0..20 {
        assert_eq!(said(&edge), "second", "the old one serves on");
    }
    edge.reload(&to_shop(&[first.address], ""));
    wait_until("the next good file to be taken", PATIENCE, || (said(&edge) == "first").then_some(()));
}

#[test]
fn a_changed_file_is_taken_without_a_signal() {
    let (first, second) = (Origin::saying("first"), Origin::saying("second"));
    let edge = Edge::before(&[first.address]);
    assert_eq!(said(&edge), "first");
    edge.rewrite(&to_shop(&[second.address], ""));
    wait_until("the changed file to be taken", PATIENCE, || (said(&edge) == "second").then_some(()));
}

#[test]
fn a_plugin_that_does_not_load_refuses_the_reload() {
    let origin = Origin::saying("ok");
    let region = |plugin: &str| {
        format!(
            "plugins:\n  - {{name: p, lua: {plugin}}}\nroutes:\n  - {{name: all, plugins: [p], pool: shop}}\npools:\n  - {{name: shop, origins: {}}}\n",
            list(&[origin.address])
        )
    };
    let good =
        "local p = {}\nfunction p.on_response_headers() forebay.response.headers.set('x-p', 'N') end\nreturn p\n";
    let mut edge = Setup::new(region("one.lua")).file("one.lua", good.replace('N', "1")).start();
    assert_eq!(edge.get("/").header("x-p"), Some("1"));
    edge.folder().write("broken.lua", "local p = {\nfunction p.on_log() end\nreturn p\n");
    edge.process.expect_error("broken.lua");
    edge.process.expect_error("reload");
    edge.reload(&region("broken.lua"));
    edge.process.wait_for_log(&["broken.lua"]);
    assert_eq!(edge.get("/").header("x-p"), Some("1"), "the old code serves on");
    edge.folder().write("two.lua", good.replace('N', "2"));
    edge.reload(&region("two.lua"));
    wait_until("the new code to be taken", PATIENCE, || (edge.get("/").header("x-p") == Some("2")).then_some(()));
}

/// What an uploaded archive may hold: a device, a pipe, a link to somebody else's file.
#[test]
fn special_files_beside_a_plugin_do_not_hold_a_reload() {
    let origin = Origin::saying("ok");
    let region = |plugin: &str| {
        format!(
            "plugins:\n  - {{name: p, lua: {plugin}}}\nroutes:\n  - {{name: all, plugins: [p], pool: shop}}\npools:\n  - {{name: shop, origins: {}}}\n",
            list(&[origin.address])
        )
    };
    let code = |n: u32| {
        format!("return {{ on_response_headers = function() forebay.response.headers.set('x-p', '{n}') end }}")
    };
    let mut edge = Setup::new(region("main.lua")).file("main.lua", code(1)).start();
    assert_eq!(edge.get("/").header("x-p"), Some("1"));
    let folder = edge.folder().path().to_owned();
    std::os::unix::fs::symlink("/dev/zero", folder.join("zero.lua")).unwrap();
    std::os::unix::fs::symlink("/etc/passwd", folder.join("out.lua")).unwrap();
    assert!(std::process::Command::new("mkfifo").arg(folder.join("pipe.lua")).status().unwrap().success());
    edge.folder().write("main.lua", code(2));
    edge.reload(&region("main.lua"));
    wait_until("the changed code to be taken", PATIENCE, || (edge.get("/").header("x-p") == Some("2")).then_some(()));
    for (file, why) in [("pipe.lua", "is no file"), ("out.lua", "is a link to a file outside")] {
        edge.process.expect_error(file);
        edge.process.expect_error("reload");
        edge.reload(&region(file));
        edge.process.wait_for_log(&[file, why]);
        assert_eq!(edge.get("/").header("x-p"), Some("2"), "the old code serves on");
    }
}

#[test]
fn not_one_request_fails_while_files_are_swapped_under_load() {
    let (first, second) = (Origin::saying("first"), Origin::saying("second"));
    let files = [to_shop(&[first.address], ""), to_shop(&[second.address], "")];
    let edge = Setup::new(files[0].clone()).workers(2).start();
    let (stop, done) = (Arc::new(AtomicBool::new(false)), Arc::new(AtomicUsize::new(0)));
    let clients: Vec<_> = (0..4)
        .map(|n| {
            let (stop, done, address) = (stop.clone(), done.clone(), edge.address);
            std::thread::spawn(move || {
                let mut client = Client::connect(address);
                while !stop.load(Ordering::SeqCst) {
                    if n == 0 {
                        client = Client::connect(address);
                    }
                    let response = client.get("/");
                    assert_eq!(response.status, 200);
                    assert!(["first", "second"].contains(&response.text()));
                    done.fetch_add(1, Ordering::SeqCst);
                }
            })
        })
        .collect();
    for n in 1..=10 {
        let expected = ["first", "second"][n % 2];
        edge.reload(&files[n % 2]);
        wait_until("the swap", PATIENCE, || (said(&edge) == expected).then_some(()));
        let so_far = done.load(Ordering::SeqCst);
        wait_until("requests after the swap", PATIENCE, || (done.load(Ordering::SeqCst) > so_far + 20).then_some(()));
    }
    stop.store(true, Ordering::SeqCst);
    for client in clients {
        client.join().expect("not one request failed");
    }
    assert!(done.load(Ordering::SeqCst) > 200);
}

#[test]
fn an_exchange_under_way_ends_as_it_began() {
    let (go, wait) = std::sync::mpsc::channel::<()>();
    let wait = std::sync::Mutex::new(wait);
    let asked = AtomicUsize::new(0);
    let first = Origin::serve(move |exchange| {
        if asked.fetch_add(1, Ordering::Relaxed) > 0 {
            // Who looks whether the new file is taken, too early.
            return exchange.respond(200, &[], b"first");
        }
        exchange.begin(200, &[])?;
        exchange.chunk(b"begun ")?;
        // Only the first: others may come while the new file is not taken yet.
        if exchange.number == 1 {
            let _ = wait.lock().expect("not poisoned").recv_timeout(PATIENCE);
        }
        exchange.chunk(b"and ended")?;
        exchange.end(&[])
    });
    let second = Origin::saying("second");
    let edge = Edge::before(&[first.address]);
    let mut client = edge.connect();
    client.request("GET", "/", &[], b"");
    assert_eq!(client.response_head().status(), 200);
    edge.reload(&to_shop(&[second.address], ""));
    wait_until("the new file to be taken", PATIENCE, || (said(&edge) == "second").then_some(()));
    go.send(()).expect("the origin waits");
    assert_eq!(client.messages.body().expect("the whole body"), b"begun and ended");
    assert_eq!(client.get("/").text(), "second", "the next one on this connection is of the new file");
}
