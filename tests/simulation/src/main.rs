use clap::Parser;
use kit::output::LiveLine;
use simulation::{Cells, Mutant, Outcome, Rule, Sales, Trace, run, run_cells};
use std::{
    process::ExitCode,
    sync::{
        atomic::{AtomicBool, AtomicU64, Ordering},
        mpsc,
    },
    thread,
    time::Instant,
};

/// Run the four services in memory, once a seed, with everything going wrong that can
#[derive(Parser)]
struct Simulate {
    /// Only this seed, step by step
    #[arg(long, env = "SEED")]
    seed: Option<u64>,
    /// So many seeds, over all cores
    #[arg(long, env = "SEEDS", default_value_t = 10_000)]
    seeds: u64,
    /// The first of them
    #[arg(long, default_value_t = 1)]
    from: u64,
    /// So many cells, each of four services, that share their stock by allotments; then the same
    /// seeds where each cell has an equal part for ever
    #[arg(long, env = "CELLS", value_parser = clap::value_parser!(u16).range(2..=9))]
    cells: Option<u16>,
}

fn main() -> ExitCode {
    let Simulate { seed, seeds, from, cells } = Simulate::parse();
    let all = Seeds { from, end: from.saturating_add(seeds) };
    let is_well = match cells {
        None => start(seed, all, "all invariants hold", run),
        Some(count) => in_cells(seed, all, count),
    };
    if is_well { ExitCode::SUCCESS } else { ExitCode::FAILURE }
}

fn in_cells(seed: Option<u64>, all: Seeds, count: u16) -> bool {
    let by = |rule| {
        move |seed, mutant, trace: Trace| run_cells(seed, Cells { count, rule }, mutant, &trace)
    };
    start(seed, all, "by allotment, all invariants hold", by(Rule::Allotment))
        && (seed.is_some() || start(None, all, "by an equal split", by(Rule::EqualSplit)))
}

fn start(seed: Option<u64>, all: Seeds, what: &str, run: impl Run) -> bool {
    match seed {
        Some(seed) => tell(&run(seed, None, Trace::with_lines()), true),
        None => many(all, what, run),
    }
}

trait Run: Fn(u64, Option<Mutant>, Trace) -> Outcome + Sync {}
impl<F: Fn(u64, Option<Mutant>, Trace) -> Outcome + Sync> Run for F {}

#[derive(Clone, Copy)]
struct Seeds {
    from: u64,
    end: u64,
}

#[derive(Default)]
struct Tally {
    seeds: u64,
    orders: usize,
    events: u64,
    steps: u64,
    sales: Sales,
}

fn many(Seeds { from, end }: Seeds, what: &str, run: impl Run) -> bool {
    let (next, stop) = (AtomicU64::new(from), AtomicBool::new(false));
    let (ended, outcomes) = mpsc::channel();
    let cores = thread::available_parallelism().map_or(1, usize::from);
    let run = &run;
    let broken = thread::scope(|scope| {
        for _ in 0..cores {
            let (ended, next, stop) = (ended.clone(), &next, &stop);
            scope.spawn(move || {
                while !stop.load(Ordering::Relaxed) {
                    let seed = next.fetch_add(1, Ordering::Relaxed);
                    if seed >= end || ended.send(run(seed, None, Trace::default())).is_err() {
                        return;
                    }
                }
            });
        }
        drop(ended);
        let broken = watch(&outcomes, what, end - from);
        stop.store(true, Ordering::Relaxed);
        broken
    });
    match broken {
        None => true,
        Some(seed) => tell(&run(seed, None, Trace::with_lines()), false),
    }
}

/// Shows how far it is; gives the first seed that is broken.
fn watch(outcomes: &mpsc::Receiver<Outcome>, what: &str, all: u64) -> Option<u64> {
    let (began, mut live, mut tally) = (Instant::now(), LiveLine::new(true), Tally::default());
    let line = |tally: &Tally| {
        let seconds = began.elapsed().as_secs_f64().max(0.001);
        let rate = |count: f64| (count / seconds).round();
        let Tally { seeds, orders, events, steps, .. } = tally;
        format!(
            "{seeds} of {all} seeds in {seconds:.1} s: {} seeds/s, {} orders/s, {} events/s, \
             {} steps/s",
            rate(*seeds as f64),
            rate(*orders as f64),
            rate(*events as f64),
            rate(*steps as f64),
        )
    };
    for outcome in outcomes {
        if !outcome.broken.is_empty() {
            live.clear();
            return Some(outcome.seed);
        }
        tally.seeds += 1;
        tally.orders += outcome.orders;
        tally.events += outcome.events;
        tally.steps += outcome.steps;
        tally.sales += outcome.sales;
        if tally.seeds.is_multiple_of(10) {
            live.show(&line(&tally));
        }
    }
    live.clear();
    kit::output::line(format_args!("{what}: {}", line(&tally)));
    let Sales { refused, starved, transfers, pieces } = tally.sales;
    if refused > 0 {
        let orders = tally.orders;
        kit::output::line(format_args!(
            "of {orders} orders {refused} refused as out of stock, {starved} of them while another \
             cell had what they lacked; {pieces} pieces moved in {transfers} transfers"
        ));
    }
    None
}

fn tell(outcome: &Outcome, whole: bool) -> bool {
    let say = |line: &dyn std::fmt::Display| kit::output::line(line);
    if whole && outcome.broken.is_empty() {
        outcome.trace.iter().for_each(|line| say(line));
    } else {
        outcome.story().into_iter().for_each(|line| say(line));
    }
    let Outcome { seed, orders, events, steps, hash, .. } = outcome;
    say(&format_args!(
        "seed {seed}: {orders} orders, {events} events handled, {steps} steps, trace {hash:016x}"
    ));
    if outcome.broken.is_empty() {
        return true;
    }
    outcome.broken.iter().for_each(|found| say(&format_args!("BROKEN {found}")));
    let cells = if outcome.cells > 1 { format!(" CELLS={}", outcome.cells) } else { String::new() };
    say(&format_args!("again: make simulate SEED={seed}{cells}"));
    false
}
