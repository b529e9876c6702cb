use super::*;

/// Numbers that look random and are the same in every run.
struct Random(u64);

impl Random {
    fn below(&mut self, end: u64) -> u64 {
        self.0 ^= self.0 << 13;
        self.0 ^= self.0 >> 7;
        self.0 ^= self.0 << 17;
        self.0 % end
    }
}

/// A piece of work: its model, its cost in microseconds and its number.
type Piece = (usize, u64, u64);

const ALL: fn(&str) -> bool = |_| true;

fn name(model: usize) -> String {
    format!("model-{model}")
}

fn new<T>(item: T, size: usize, at: Duration) -> New<T> {
    New { item, size, at, level: LEVELS / 2 }
}

/// Threads that take work and end it after its cost, on a clock of their own.
struct Pool {
    queue: FairQueue<Piece>,
    now: u64,
    busy: Vec<Option<(u64, Turn, Piece)>>,
    /// Time that the work of each model has taken.
    served: Vec<u64>,
}

impl Pool {
    fn new(threads: usize, models: usize, capacity: Capacity) -> Self {
        let busy = (0..threads).map(|_| None).collect();
        Self { queue: FairQueue::new(capacity), now: 0, busy, served: vec![0; models] }
    }

    fn push(&mut self, weights: &[u32], piece: Piece) -> Result<Vec<Piece>, Piece> {
        let at = Duration::from_micros(self.now);
        self.queue.push(&name(piece.0), weights[piece.0], new(piece, 1, at))
    }

    /// Gives work to every thread that has none, then goes on to the next end of a piece.
    fn step(&mut self) {
        for thread in &mut self.busy {
            if thread.is_none() {
                let waiting = self.queue.count();
                let next = self.queue.pop(ALL);
                assert_eq!(next.is_some(), waiting > 0, "no thread is idle while work waits");
                *thread = next.map(|(turn, piece)| (self.now, turn, piece));
            }
        }
        let end = |thread: &Option<(u64, Turn, Piece)>| thread.as_ref().map(|(since, _, piece)| since + piece.1);
        let Some(next) = self.busy.iter().filter_map(end).min() else { return };
        self.now = next;
        for thread in &mut self.busy {
            if let Some((since, turn, piece)) = thread.take_if(|(since, _, piece)| *since + piece.1 <= next) {
                self.served[piece.0] += piece.1;
                self.queue.finish(turn, Duration::from_micros(next - since));
            } else if let Some((since, turn, _)) = thread {
                self.queue.charge(turn, Duration::from_micros(next - *since));
            }
        }
    }
}

const CAPACITY: Capacity = Capacity { slots: 1 << 20, bytes: 1 << 30 };

#[test]
fn models_with_work_get_time_by_their_weights_whatever_their_work_costs() {
    for seed in 1..60 {
        let mut random = Random(seed * 7_919);
        let (threads, models) = (1 + random.below(4) as usize, 2 + random.below(5) as usize);
        let weights: Vec<_> = (0..models).map(|_| 1 + random.below(5) as u32).collect();
        let most: Vec<_> = (0..models).map(|_| 1 + random.below(20_000)).collect();
        let mut pool = Pool::new(threads, models, CAPACITY);
        for step in 0..3_000 {
            for (model, &most) in most.iter().enumerate() {
                // There is always more of each, so that nobody is served for want of another.
                while pool.queue.flows.get(name(model).as_str()).is_none_or(|flow| flow.count < threads) {
                    let cost = 1 + random.below(most);
                    pool.push(&weights, (model, cost, step)).expect("room");
                }
            }
            pool.step();
        }
        let per_weight = |model: usize| pool.served[model] as f64 / f64::from(weights[model]);
        // No more than what can be running at once.
        let quantum = (threads as u64 + 1) * most.iter().max().expect("one") * 2;
        for model in 1..models {
            let apart = (per_weight(model) - per_weight(0)).abs();
            assert!(apart <= quantum as f64, "seed {seed}: {:?} of weights {weights:?}, {quantum}", pool.served);
        }
    }
}

#[test]
fn a_model_that_comes_waits_for_what_runs_and_no_more() {
    for seed in 1..40 {
        let mut random = Random(seed * 104_729);
        let mut pool = Pool::new(1, 2, CAPACITY);
        for number in 0..5_000 {
            pool.push(&[1, 1], (0, 1 + random.below(50_000), number)).expect("room");
        }
        for _ in 0..random.below(1_000) {
            pool.step();
        }
        pool.push(&[1, 1], (1, 10, 0)).expect("room");
        let before = pool.served[0];
        let mut others = 0;
        while pool.served[1] == 0 {
            pool.step();
            others += 1;
        }
        assert!(others <= 2, "{others} pieces of the other model ran first, {} us", pool.served[0] - before);
    }
}

#[test]
fn nobody_saves_up_turns() {
    let mut pool = Pool::new(1, 2, CAPACITY);
    // One model has been alone for long; what comes then queue from now on.
    for number in 0..1_000 {
        pool.push(&[1, 1], (0, 1_000, number)).expect("room");
        pool.step();
    }
    let alone = pool.served[0];
    for number in 0..200 {
        for model in 0..2 {
            pool.push(&[1, 1], (model, 1_000, number)).expect("room");
        }
    }
    (0..100).for_each(|_| pool.step());
    let apart = (pool.served[0] - alone).abs_diff(pool.served[1]);
    assert!(apart <= 2_000, "{apart} us");
}

#[test]
fn a_turn_is_charged_while_it_runs() {
    let mut queue = FairQueue::new(CAPACITY);
    let at = Duration::ZERO;
    for _ in 0..3 {
        queue.push("slow", 1, new("slow", 1, at)).expect("room");
        queue.push("quick", 1, new("quick", 1, at)).expect("room");
    }
    let mut turns = Vec::new();
    let (mut slow, _) = loop {
        let (turn, item) = queue.pop(ALL).expect("work");
        if item == "slow" {
            break (turn, item);
        }
        turns.push(turn);
    };
    queue.charge(&mut slow, Duration::from_secs(30));
    for turn in turns {
        queue.finish(turn, Duration::from_millis(1));
    }
    while queue.has_work(|model| model == "quick") {
        let (turn, item) = queue.pop(ALL).expect("work");
        assert_eq!(item, "quick", "the other one is running");
        queue.finish(turn, Duration::from_millis(1));
    }
    assert_eq!(queue.pop(ALL).expect("work").1, "slow");
}

#[test]
fn places_and_bytes_are_bounded_and_a_flood_costs_its_own_model() {
    for seed in 1..100 {
        let mut random = Random(seed * 15_485_863);
        let capacity = Capacity { slots: 20 + random.below(80) as usize, bytes: 2_000 + random.below(20_000) as usize };
        let models = 2 + random.below(5) as usize;
        let mut queue = FairQueue::new(capacity);
        for number in 0..2_000 {
            // The first one floods.
            let model = if random.below(4) > 0 { 0 } else { random.below(models as u64) as usize };
            let size = random.below((capacity.bytes / models / 4) as u64) as usize;
            let (count, bytes) = queue.flows.get(name(model).as_str()).map_or((0, 0), |flow| (flow.count, flow.bytes));
            let before: HashMap<_, _> =
                queue.flows.iter().map(|(name, flow)| (name.to_string(), (flow.count, flow.bytes))).collect();
            match queue.push(&name(model), 1, new((model, size), size, Duration::from_micros(number))) {
                Ok(displaced) => {
                    for (victim, _) in displaced {
                        let (count, bytes) = before[&name(victim)];
                        assert_ne!(victim, model, "what comes does not displace its own model's");
                        let is_above = count > capacity.slots / models || bytes > capacity.bytes / models;
                        assert!(is_above, "seed {seed}: a model within its share lost its place");
                    }
                }
                Err(_) => {
                    let is_above = count >= capacity.slots / models || bytes + size > capacity.bytes / models;
                    assert!(is_above, "seed {seed}: a model within its share was refused");
                }
            }
            let sums = queue.flows.values().fold((0, 0), |sum, flow| (sum.0 + flow.count, sum.1 + flow.bytes));
            assert_eq!(sums, (queue.count(), queue.bytes()));
            assert!(queue.count() <= capacity.slots && queue.bytes() <= capacity.bytes, "seed {seed}");
            if random.below(3) == 0
                && let Some((turn, _)) = queue.pop(ALL)
            {
                queue.finish(turn, Duration::from_micros(random.below(1_000)));
            }
        }
    }
}

#[test]
fn one_model_alone_may_fill_the_queue() {
    let mut queue = FairQueue::new(Capacity { slots: 10, bytes: 100 });
    for number in 0..10 {
        queue.push("one", 1, new(number, 1, Duration::ZERO)).expect("a place");
    }
    assert_eq!(queue.push("one", 1, new(10, 1, Duration::ZERO)).expect_err("full"), 10);
    // Of two equal models each has half, and what came last goes.
    for number in 0..5 {
        let displaced = queue.push("other", 1, new(100 + number, 1, Duration::ZERO)).expect("its share");
        assert_eq!(displaced, [9 - number]);
    }
    assert!(queue.push("other", 1, new(105, 1, Duration::ZERO)).is_err());
    // A third one finds its own; and one with a larger weight more.
    queue.push("third", 1, new(200, 1, Duration::ZERO)).expect("its share");
    let heavy = (0..9).filter(|number| queue.push("heavy", 9, new(300 + number, 1, Duration::ZERO)).is_ok()).count();
    assert_eq!(heavy, 7, "nine twelfths");
}

#[test]
fn one_large_piece_is_let_in_where_nothing_else_waits() {
    let mut queue = FairQueue::new(Capacity { slots: 10, bytes: 100 });
    queue.push("one", 1, new(0, 1_000, Duration::ZERO)).expect("alone");
    assert!(queue.push("other", 1, new(1, 1_000, Duration::ZERO)).is_err());
    let (turn, _) = queue.pop(ALL).expect("the first");
    queue.finish(turn, Duration::ZERO);
    queue.push("other", 1, new(1, 1_000, Duration::ZERO)).expect("alone");
}

#[test]
fn priority_goes_first_and_ages() {
    let mut queue = FairQueue::new(CAPACITY);
    let mut push = |item, level, millis| {
        let new = New { item, size: 1, at: Duration::from_millis(millis), level };
        queue.push("one", 1, new).expect("room");
    };
    push("last, early", 4, 0);
    push("default, early", 2, 0);
    push("first, soon", 0, 100);
    push("first, late", 0, 1_100);
    push("first, later", 0, 600);
    let mut order = Vec::new();
    while let Some((turn, item)) = queue.pop(ALL) {
        queue.finish(turn, Duration::ZERO);
        order.push(item);
    }
    // In order of arrival within a level.
    assert_eq!(order, ["first, soon", "default, early", "last, early", "first, late", "first, later"]);
}

#[test]
fn models_that_are_gone_leave_nothing() {
    let mut queue = FairQueue::new(CAPACITY);
    queue.push("always", 1, new(0, 1, Duration::ZERO)).expect("room");
    let (_running, _) = queue.pop(ALL).expect("work");
    for number in 0..20_000 {
        queue.push(&format!("gone-{number}"), 1, new(number, 1, Duration::ZERO)).expect("room");
        let (turn, _) = queue.pop(ALL).expect("work");
        queue.finish(turn, Duration::from_millis(5));
    }
    assert!(queue.flows.len() <= 2 * MAX_IDLE, "{}", queue.flows.len());
    for number in 0..10_000 {
        queue.push("always", 1, new(number, 1, Duration::ZERO)).expect("room");
    }
    while let Some((turn, _)) = queue.pop(ALL) {
        queue.finish(turn, Duration::ZERO);
    }
    let kept: usize = queue.flows["always"].levels.iter().map(VecDeque::capacity).sum();
    assert!(kept <= KEPT_ROOM, "{kept}");
}
