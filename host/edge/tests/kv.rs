//! A store in memory answers what a store on a real Redis server answers, question by question: so
//! what a plugin's own tests see is what it gets. The server is Debian's redis-server.

use std::net::TcpListener;
use std::process::{Child, Command, Stdio};
use std::time::{Duration, Instant};

use abi::{Answer, KvAsk, Refusal, Status, Value};
use config::{Kv, KvBreaker, KvServers};
use forebay_edge::kv::Store;
use tokio::task::LocalSet;

const MOST: usize = 1 << 20;

struct Server {
    child: Child,
    port: u16,
}

impl Server {
    /// The port was free a moment ago: if somebody else has it by now, another is tried.
    fn start() -> Server {
        for _ in 0..10 {
            let port = TcpListener::bind("127.0.0.1:0").unwrap().local_addr().unwrap().port();
            let number = port.to_string();
            let child = Command::new("redis-server")
                .args(["--port", &number, "--bind", "127.0.0.1", "--save", "", "--appendonly", "no"])
                .stdin(Stdio::null())
                .stdout(Stdio::null())
                .spawn()
                .expect("redis-server runs: install Debian's package of that name, or run tests/run");
            let mut server = Server { child, port };
            let until = Instant::now() + Duration::from_secs(30);
            while Instant::now() < until && server.child.try_wait().unwrap().is_none() {
                if std::net::TcpStream::connect(("127.0.0.1", port)).is_ok() {
                    return server;
                }
                std::thread::sleep(Duration::from_millis(10));
            }
        }
        panic!("no redis-server has started");
    }

    fn spec(&self) -> Kv {
        Kv {
            name: "main".to_owned(),
            servers: KvServers::One { host: "127.0.0.1".to_owned(), port: self.port, database: 0 },
            tls: false,
            ca: None,
            username: None,
            password: None,
            prefix: "p:".to_owned(),
            timeout: Duration::from_secs(30),
            connections: 1,
            scripts: true,
            breaker: KvBreaker::default(),
        }
    }
}

impl Drop for Server {
    fn drop(&mut self) {
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}

async fn ask(store: &Store, ask: KvAsk) -> Answer<Value> {
    store.ask(ask, MOST)?.await
}

/// The same questions of both; each answer of the server is also given, so that two stores that are
/// wrong alike do not pass.
async fn compare(redis: &Store, memory: &Store, questions: Vec<(KvAsk, Result<Value, Status>)>) {
    for (question, wanted) in questions {
        let there = ask(redis, question.clone()).await;
        let here = ask(memory, question.clone()).await;
        let status = |answer: &Answer<Value>| answer.clone().map_err(|refusal: Refusal| refusal.status);
        assert_eq!(status(&there), wanted, "the server, to {question:?}: {there:?}");
        assert_eq!(here, there, "in memory, to {question:?}");
    }
}

#[test]
fn a_store_in_memory_answers_as_redis_does() {
    let server = Server::start();
    let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build().unwrap();
    LocalSet::new().block_on(&runtime, async {
        let (redis, memory) = (Store::redis(&server.spec()), Store::memory());
        let b = |text: &[u8]| text.to_vec();
        let get = |key: &[u8]| KvAsk::Get { key: b(key) };
        let set = |key: &[u8], value: &[u8]| KvAsk::Set { key: b(key), value: b(value), ttl: None };
        let incr = |key: &[u8], by| KvAsk::Incr { key: b(key), by, ttl: None };
        let delete = |key: &[u8]| KvAsk::Delete { key: b(key) };
        let long = Some(Duration::from_secs(3600));
        let bytes = |text: &[u8]| Ok(Value::Bytes(b(text)));
        let (yes, no, bad) = (Ok(Value::Bool(true)), Ok(Value::Bool(false)), Err(Status::BadArgument));
        let questions = vec![
            (get(b"k"), Ok(Value::Nil)),
            (set(b"k\0\xff", b"\r\n\0"), yes.clone()),
            (get(b"k\0\xff"), bytes(b"\r\n\0")),
            (set(b"", b""), yes.clone()),
            (get(b""), bytes(b"")),
            (incr(b"n", 5), Ok(Value::Int(5))),
            (incr(b"n", -7), Ok(Value::Int(-2))),
            (get(b"n"), bytes(b"-2")),
            (KvAsk::Incr { key: b(b"n"), by: 1, ttl: long }, Ok(Value::Int(-1))),
            (KvAsk::Set { key: b(b"t"), value: b(b"v"), ttl: long }, yes.clone()),
            (get(b"t"), bytes(b"v")),
            (set(b"max", b"9223372036854775807"), yes.clone()),
            (incr(b"max", 1), bad.clone()),
            (get(b"max"), bytes(b"9223372036854775807")),
            (incr(b"max", -1), Ok(Value::Int(i64::MAX - 1))),
            (delete(b"n"), yes.clone()),
            (delete(b"n"), no),
            (incr(b"n", 1), Ok(Value::Int(1))),
        ];
        compare(&redis, &memory, questions).await;
        // What is no number for Redis is none here.
        for text in ["", " 1", "1 ", "+1", "01", "-0", "-", "1.5", "x", "9223372036854775808"] {
            compare(&redis, &memory, vec![(set(b"x", text.as_bytes()), yes.clone()), (incr(b"x", 1), bad.clone())])
                .await;
        }
        compare(&redis, &memory, vec![(set(b"x", b"-1"), yes.clone()), (incr(b"x", 1), Ok(Value::Int(0)))]).await;
    });
}

#[test]
fn a_time_to_live_ends_in_both_and_an_increment_does_not_renew_it() {
    let server = Server::start();
    let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build().unwrap();
    LocalSet::new().block_on(&runtime, async {
        for store in [Store::redis(&server.spec()), Store::memory()] {
            let brief = Some(Duration::from_millis(200));
            let set = KvAsk::Set { key: b"s".to_vec(), value: b"v".to_vec(), ttl: brief };
            assert_eq!(ask(&store, set).await, Ok(Value::Bool(true)));
            let incr = |ttl| KvAsk::Incr { key: b"n".to_vec(), by: 1, ttl };
            assert_eq!(ask(&store, incr(brief)).await, Ok(Value::Int(1)));
            // Its time runs on: were it renewed here, the number would still be there below.
            ask(&store, incr(Some(Duration::from_secs(3600)))).await.unwrap();
            let until = Instant::now() + Duration::from_secs(30);
            for key in ["s", "n"] {
                while ask(&store, KvAsk::Get { key: key.into() }).await != Ok(Value::Nil) {
                    assert!(Instant::now() < until, "{key} is still there");
                    tokio::time::sleep(Duration::from_millis(10)).await;
                }
            }
            // Written without one, it stays; written again without one, it has none.
            let set = |ttl| KvAsk::Set { key: b"s".to_vec(), value: b"v".to_vec(), ttl };
            ask(&store, set(brief)).await.unwrap();
            ask(&store, set(None)).await.unwrap();
            tokio::time::sleep(Duration::from_millis(300)).await;
            assert_eq!(ask(&store, KvAsk::Get { key: b"s".to_vec() }).await, Ok(Value::Bytes(b"v".to_vec())));
        }
    });
}
