//! Queues: order, bounds, who is told, and many threads at once.

use std::collections::BTreeMap;

use super::*;

fn bounded(items: usize, bytes: usize) -> (Queues, Arc<Queue>) {
    let queues = Queues::default();
    queues.configure(&BTreeMap::from([("q".to_owned(), config::Queue { items, bytes })]));
    let queue = queues.get("q").unwrap();
    (queues, queue)
}

/// What a worker hears now, without waiting.
fn heard(bell: &Bell) -> Vec<(u64, Telling)> {
    std::mem::take(&mut *bell.lock())
}

fn told(bell: &Bell) -> Vec<u64> {
    heard(bell).iter().map(|(plugin, _)| *plugin).collect()
}

#[test]
fn what_was_pushed_is_popped_once_and_in_order() {
    let (_, queue) = bounded(10, 100);
    for item in [&b"a"[..], b"", b"c"] {
        queue.push(item).unwrap();
    }
    let all: Vec<_> = std::iter::from_fn(|| queue.pop()).collect();
    assert_eq!(all, [&b"a"[..], b"", b"c"]);
    assert_eq!(queue.pop(), None);
}

#[test]
fn a_full_queue_refuses_and_keeps_what_it_has() {
    let (_, queue) = bounded(3, 10);
    queue.push(b"12345").unwrap();
    let refused = queue.push(b"123456").unwrap_err();
    assert_eq!(refused.status, Status::LimitExceeded);
    assert_eq!(refused.message, "queue.push: \"q\" is full (allowed: 3 items and 10 bytes)");
    queue.push(b"").unwrap();
    queue.push(b"12345").unwrap();
    assert_eq!(queue.push(b"").unwrap_err().status, Status::LimitExceeded);
    assert_eq!(queue.pop().unwrap(), "12345");
    queue.push(b"1").unwrap();
    let state = queue.lock();
    assert_eq!((state.items.len(), state.bytes), (3, 6));
}

#[test]
fn a_burst_tells_one_plugin_on_one_worker() {
    let (_, queue) = bounded(100, 1000);
    let bells = [Arc::<Bell>::default(), Arc::default()];
    for bell in &bells {
        queue.listen(bell, 7);
    }
    assert_eq!(bells.iter().flat_map(|bell| told(bell)).count(), 0, "there is nothing yet");
    for _ in 0..5 {
        queue.push(b"x").unwrap();
    }
    let all: Vec<_> = bells.iter().flat_map(|bell| heard(bell)).collect();
    assert_eq!(all.len(), 1);
    while queue.pop().is_some() {}
    drop(all);
    assert_eq!(bells.iter().flat_map(|bell| told(bell)).count(), 0, "nothing is left");
    queue.push(b"y").unwrap();
    assert_eq!(bells.iter().flat_map(|bell| heard(bell)).count(), 1, "a new burst");
}

#[test]
fn who_takes_one_at_a_time_is_told_until_all_are_taken() {
    let (_, queue) = bounded(100, 1000);
    let bells = [Arc::<Bell>::default(), Arc::default()];
    bells.iter().for_each(|bell| queue.listen(bell, 7));
    for _ in 0..6 {
        queue.push(b"x").unwrap();
    }
    let mut by_worker = [0, 0];
    loop {
        let rung = [heard(&bells[0]), heard(&bells[1])];
        if rung.iter().all(Vec::is_empty) {
            break;
        }
        for (worker, tellings) in rung.into_iter().enumerate() {
            for telling in tellings {
                by_worker[worker] += 1;
                queue.pop().unwrap();
                drop(telling);
            }
        }
    }
    assert_eq!(by_worker, [3, 3], "the workers take turns");
    assert_eq!(queue.pop(), None);
}

#[test]
fn what_one_plugin_leaves_the_next_is_told_of_and_then_nobody_before_a_push() {
    let (_, queue) = bounded(100, 1000);
    let bell = Arc::<Bell>::default();
    queue.listen(&bell, 1);
    queue.listen(&bell, 2);
    queue.push(b"x").unwrap();
    let (first, second) = (told(&bell), told(&bell));
    let both: HashSet<u64> = first.iter().chain(&second).copied().collect();
    assert_eq!((first.len(), second.len(), both.len()), (1, 1, 2));
    assert_eq!(told(&bell), [0; 0], "neither took it");
    queue.push(b"y").unwrap();
    assert_eq!(told(&bell).len(), 1);
}

#[test]
fn what_is_pushed_while_somebody_is_told_is_not_forgotten() {
    let (_, queue) = bounded(100, 1000);
    let bell = Arc::<Bell>::default();
    queue.listen(&bell, 1);
    queue.push(b"x").unwrap();
    let telling = heard(&bell);
    queue.push(b"y").unwrap();
    assert!(heard(&bell).is_empty());
    drop(telling);
    assert_eq!(told(&bell), [1]);
}

#[test]
fn who_listens_late_is_told_of_what_is_there_and_who_has_gone_of_nothing() {
    let (queues, queue) = bounded(100, 1000);
    queue.push(b"x").unwrap();
    let (late, other) = (Arc::<Bell>::default(), Arc::<Bell>::default());
    queue.listen(&late, 1);
    queue.listen(&late, 1);
    assert_eq!(heard(&late).len(), 1);
    queue.pop();
    queues.forget(&late, &HashSet::from([2]));
    queue.listen(&other, 2);
    drop(other);
    queue.push(b"y").unwrap();
    assert!(heard(&late).is_empty());
    // Nobody is there: it waits for who comes.
    queue.listen(&late, 3);
    assert_eq!(told(&late), [3]);
}

#[test]
fn a_plugin_has_a_bounded_number_of_its_own() {
    let queues = Queues::default();
    for i in 0..MOST_OWN {
        queues.open_own(Call::QueuePop, "p", &i.to_string()).unwrap();
    }
    assert!(
        matches!(queues.open_own(Call::QueuePop, "p", "more"), Err(refused) if refused.status == Status::LimitExceeded)
    );
    assert_eq!(queues.open_own(Call::QueuePop, "p", "3").unwrap().id, queues.by_id(4).unwrap().id);
    assert!(queues.open_own(Call::QueuePop, "pp", "more").is_ok());
    assert!(matches!(queues.open_own(Call::QueuePop, "q", ""), Err(refused) if refused.status == Status::BadArgument));
    assert!(matches!(queues.by_id(9999), Err(refused) if refused.status == Status::NotFound));
}

#[test]
fn eight_threads_pop_each_item_once() {
    let (_, queue) = bounded(1000, 100_000);
    let seen = Mutex::new(HashSet::new());
    std::thread::scope(|scope| {
        for thread in 0..4_u32 {
            let (queue, seen) = (&queue, &seen);
            scope.spawn(move || {
                for i in 0..5_000_u32 {
                    let item = [thread.to_le_bytes(), i.to_le_bytes()].concat();
                    while queue.push(&item).is_err() {
                        std::thread::yield_now();
                    }
                }
            });
            scope.spawn(move || {
                let mut mine = Vec::new();
                while mine.len() < 5_000 {
                    match queue.pop() {
                        Some(item) => mine.push(item),
                        None => std::thread::yield_now(),
                    }
                }
                let mut seen = seen.lock().unwrap();
                mine.into_iter().for_each(|item| assert!(seen.insert(item), "popped twice"));
            });
        }
    });
    assert_eq!((seen.lock().unwrap().len(), queue.pop()), (20_000, None));
    assert_eq!(queue.lock().bytes, 0);
}

#[test]
fn a_plugin_is_told_of_its_own_queues_whoever_makes_them_and_whenever() {
    let (queues, bell) = (Queues::default(), Arc::<Bell>::default());
    let before = queues.open("p/before");
    queues.listen_own(&"p".into(), 7, &bell);
    before.push(b"x").unwrap();
    assert_eq!(told(&bell), [7]);
    queues.open("p/after").push(b"x").unwrap();
    assert_eq!(told(&bell), [7]);
    for other in ["p", "pp/q", "q/p"] {
        queues.open(other).push(b"x").unwrap();
        assert!(told(&bell).is_empty(), "{other} is not its own");
    }
    queues.forget(&bell, &HashSet::from([8]));
    before.pop();
    before.push(b"x").unwrap();
    queues.open("p/late").push(b"x").unwrap();
    assert!(told(&bell).is_empty(), "a plugin of an old configuration hears nothing more");
}
