//! Our gRPC client before a server that somebody else has written (python's `grpcio`): calls in both engines,
//! streams from Wasm, in each phase that may call. `grpc` has what no good server does.

use harness::RealGrpc;

use crate::grpc::{BACKGROUND, CALL, Scene, grpc};
use crate::pair::{Engine, on_both_engines};

fn scene(engine: Engine, how: &str, server: &RealGrpc) -> Scene {
    let lua = if matches!(how, "tick" | "log") { BACKGROUND } else { CALL };
    let plugin = grpc(lua, how).keys("    limits: {exchange_cpu: 10s, cpu: 1s, buffer: 8MiB, memory: 128MiB}");
    Scene::before(engine, plugin, server.address)
}

#[track_caller]
fn call(scene: &Scene, method: &str) -> String {
    scene.ask(&[("x-method", method)])
}

/// A stream of the guest's, as it was told.
#[track_caller]
fn stream(how: &str) -> (Scene, RealGrpc, String) {
    let server = RealGrpc::start();
    let scene = scene(Engine::Wasm, how, &server);
    let told = scene.ask(&[]);
    (scene, server, told)
}

/// What a plugin was told in its response callback.
#[track_caller]
fn ask_in_response(scene: &Scene, message: &str) -> String {
    let mut client = scene.edge.connect();
    client.request("GET", "/x", &[("x-method", "Wait"), ("x-message", message)], b"");
    let response = client.response();
    assert_eq!(response.text(), "ok");
    response.headers.get("x-told").unwrap_or_default().to_owned()
}

on_both_engines! {
    fn a_call_is_understood_and_so_is_its_answer(engine) {
        let server = RealGrpc::start();
        let scene = scene(engine, "call", &server);
        assert_eq!(call(&scene, "Echo"), "0 hi");
        // The deadline is told, and the metadata.
        let line = server.wait_for("Echo ");
        assert_eq!(line, "Echo x-ask=1 deadline=some 2");
        assert_eq!(scene.edge.metrics().sum("forebay_plugin_faults_total", &[]), 0.0);
    }

    fn a_status_comes_with_its_text_unescaped(engine) {
        let server = RealGrpc::start();
        let scene = scene(engine, "call", &server);
        let told = [
            ("Fail", "5 50%\tof caf\u{e9} is gone"),
            ("Only", "7 not you"),
            ("Nobody", "12 Method not found!"),
            ("Twice", "13 more than one message"),
            ("None", "13 it ended well and without a message"),
        ];
        for (method, wanted) in told {
            assert_eq!(call(&scene, method), wanted, "{method}");
        }
    }

    fn a_message_that_is_compressed_unasked_is_an_internal_error(engine) {
        let server = RealGrpc::start();
        let scene = scene(engine, "call", &server);
        // What gRPC has a client make of a compression that it did not say it takes.
        assert_eq!(call(&scene, "Compressed"), "13 a compressed message, which nobody asked for");
        assert_eq!(call(&scene, "Echo"), "0 hi", "the connection serves on");
    }

    fn a_deadline_is_one_for_both_sides(engine) {
        let server = RealGrpc::start();
        let scene = scene(engine, "call", &server);
        let told = scene.ask(&[("x-method", "Never"), ("x-timeout", "300")]);
        assert!(told.starts_with("4 "), "{told}");
        server.wait_for("Never began");
        server.wait_for("Never over");
        assert_eq!(call(&scene, "Echo"), "0 hi", "the connection serves on");
    }

    fn a_client_that_goes_away_cancels_the_call_of_its_exchange(engine) {
        let server = RealGrpc::start();
        let scene = scene(engine, "call", &server);
        let mut client = scene.edge.connect();
        client.request("GET", "/x", &[("x-method", "Never"), ("x-timeout", "60000")], b"");
        server.wait_for("Never began");
        assert!(!server.seen().iter().any(|line| line == "Never over"));
        drop(client);
        server.wait_for("Never over");
        assert_eq!(scene.shop.requests(), 0);
    }

    fn a_message_of_many_frames_goes_there_and_back(engine) {
        let server = RealGrpc::start();
        let scene = scene(engine, "call", &server);
        // 4 MiB, past every window of HTTP/2.
        assert_eq!(scene.ask(&[("x-method", "Echo"), ("x-size", "4194304")]), "0 4194304 bytes");
        server.wait_for("4194304");
        assert_eq!(scene.ask(&[("x-method", "Echo"), ("x-size", "0")]), "0", "and one of none");
    }

    fn calls_of_many_exchanges_at_once_are_not_mixed_up(engine) {
        let server = RealGrpc::start();
        let scene = scene(engine, "response", &server);
        std::thread::scope(|scope| {
            let one = |number: usize| {
                let scene = &scene;
                scope.spawn(move || assert_eq!(ask_in_response(scene, &format!("of {number}")), format!("0 of {number}")))
            };
            let all: Vec<_> = (0..100).map(one).collect();
            all.into_iter().for_each(|one| one.join().expect("its own answer"));
        });
    }

    fn a_tick_calls(engine) {
        let server = RealGrpc::start();
        let scene = scene(engine, "tick", &server);
        scene.edge.process.wait_for_log(&["case grpc: tick: 0 hi"]);
        server.wait_for("Echo x-ask=1");
    }

    fn a_log_calls_when_the_exchange_is_over(engine) {
        let server = RealGrpc::start();
        let scene = scene(engine, "log", &server);
        scene.ask(&[("x-log", "1")]);
        scene.edge.process.wait_for_log(&["case grpc: log: 0 hi"]);
        server.wait_for("Echo x-ask=1");
    }
}

#[test]
fn a_stream_goes_both_ways_with_metadata_before_and_after() {
    let (_scene, server, told) = stream("chat");
    assert_eq!(told, "first one|re:one|re:two|last true 2|closed 0");
    assert_eq!(server.seen(), ["Chat got one", "Chat got two", "Chat ended"]);
}

#[test]
fn a_stream_that_is_closed_on_this_side_is_answered_to_its_end() {
    let (_scene, server, told) = stream("close");
    assert_eq!(told, "first one|re:one|last true 1|closed 0");
    server.wait_for("Chat ended");
}

#[test]
fn a_stream_of_messages_that_go_up_is_answered_by_one() {
    let (_scene, _server, told) = stream("upload");
    assert_eq!(told, "first |655360|last true |closed 0");
}

#[test]
fn a_stream_that_is_cancelled_is_over_for_the_server() {
    let (scene, server, told) = stream("cancel");
    assert_eq!(told, "first one|re:one|cancelled");
    server.wait_for("Chat reset");
    assert!(!scene.edge.process.log_has("case grpc: late"));
}

#[test]
fn a_stream_without_end_is_read_as_it_is_told_and_cancelled() {
    let (scene, server, told) = stream("flood");
    assert_eq!(told, "first |cancelled");
    server.wait_for("Flood over");
    assert!(!scene.edge.process.log_has("case grpc: late"));
}

#[test]
fn a_server_that_dies_in_the_middle_of_a_stream_is_unavailable() {
    let (scene, mut server, told) = stream("break");
    server.wait();
    assert!(told.starts_with("first one|half|last false |closed 14 "), "{told}");
    assert_eq!(scene.edge.metrics().sum("forebay_plugin_faults_total", &[]), 0.0);
}
