//! The run: fill, hold, empty, fill again, empty.

use std::{
    error::Error,
    sync::{Arc, atomic::Ordering},
    time::Duration,
};

use tokio::{
    sync::Semaphore,
    task::JoinHandle,
    time::{Instant, MissedTickBehavior, interval, sleep, timeout},
};

use crate::{
    Options,
    attacks::ATTACKS,
    crowd::{Member, Phase, World},
    server::{Sample, Server},
};

pub(crate) async fn soak(options: &Options) -> Result<bool, Box<dyn Error>> {
    let mut server = Server::start(&options.server, SERVER).await?;
    let world = Arc::new(World::new(server.addr));
    let members = members(options.members);
    let count = members.len() as u64;
    let started = Instant::now();

    // What is made once, such as the thread of the audit log, is not a leak.
    fill(&world, members.get(..200).unwrap_or(&members)).await?;
    let start = drain(&mut server, &world).await?;
    print("start", started, &start, &world);

    fill(&world, &members).await?;
    let full = server.sample().await?;
    print("full", started, &full, &world);

    world.go_to(Phase::Talk);
    let busy = Arc::new(Semaphore::new(MAX_BUSY));
    let crowd = [
        every(options.visitors, &world, &busy, |world| async move {
            let room = format!("hold-{}", fastrand::u8(..));
            world.visit(&room).await;
        }),
        every(options.attacks, &world, &busy, |world| async move {
            let Some(attack) = fastrand::choice(ATTACKS) else { return };
            let (source, name) = world.somebody();
            let end = attack.run(source, world.server, &name).await;
            world.ended(attack.name, end, &[attack.code]);
        }),
        every(1, &world, &busy, |world| async move {
            let room = format!("busy-{}", fastrand::u64(..BUSY_ROOMS));
            world.stall(&room).await;
        }),
    ];
    let mut memory = Vec::new();
    for minute in 1..=options.minutes {
        for _ in 0..12 {
            sleep(Duration::from_secs(5)).await;
            memory.push(server.rss()?);
        }
        print(&format!("{minute} min"), started, &server.sample().await?, &world);
    }

    crowd.iter().for_each(JoinHandle::abort);
    // All permits back: nobody is busy any more.
    let all_done = timeout(3 * GONE, busy.acquire_many(MAX_BUSY as u32)).await;
    world.go_to(Phase::Quiet);
    sleep(Duration::from_secs(5)).await;
    let held = server.sample().await?;
    print("members only", started, &held, &world);
    let (due, heard) = (world.due.load(Ordering::Relaxed), world.heard.load(Ordering::Relaxed));
    let empty = drain(&mut server, &world).await?;
    print("empty", started, &empty, &world);
    fill(&world, &members).await?;
    let full_again = server.sample().await?;
    print("full again", started, &full_again, &world);
    let empty_again = drain(&mut server, &world).await?;
    print("empty again", started, &empty_again, &world);

    for ((what, code), count) in &*world.ends() {
        println!("{what:>22} {code:>5} {count:>8}");
    }
    let per_member = full.rss.saturating_sub(start.rss) as f64 / count as f64;
    println!("{per_member:.1} KiB for each member");

    let (_, second_half) = memory.split_at(memory.len() / 2);
    let (third, fourth) = second_half.split_at(second_half.len() / 2);
    let end = empty_again.status;
    let stopped = server.stop().await?;
    let passed = [
        same("ended otherwise than expected", world.surprises(), 0),
        same("visitors and attackers who never ended", u64::from(all_done.is_err()), 0),
        same("members after the run", held.status.connections, count),
        same("memberships after the run", held.status.members, count),
        same("messages heard, of those said to members", heard, due),
        same("connections at the end", end.connections, 0),
        same("memberships at the end", end.members, 0),
        same("rooms at the end", end.rooms, 0),
        same("bytes charged to the budget at the end", end.charged, 0),
        same("tasks at the end", end.tasks, start.status.tasks),
        same("descriptors at the end", empty_again.fds, start.fds),
        same("threads at the end", empty_again.threads, start.threads),
        no_growth("KiB in the fourth quarter, after the third", mean(fourth), mean(third)),
        no_growth("KiB with all members again", full_again.rss, held.rss),
        no_growth("KiB without them again", empty_again.rss, empty.rss),
        same("servers that end with success", u64::from(stopped), 1),
    ];
    Ok(passed.iter().all(|passed| *passed))
}

fn same(what: &str, found: u64, expected: u64) -> bool {
    verdict(found == expected, what, found, expected)
}

/// Memory is compared with what it was at the same load, not with the start: the allocator keeps most
/// of what it once had. Load differs by chance, so 2 % and 4 MiB more are no growth.
fn no_growth(what: &str, found: u64, before: u64) -> bool {
    verdict(found <= before + before / 50 + 4096, what, found, before)
}

fn verdict(passed: bool, what: &str, found: u64, expected: u64) -> bool {
    let verdict = if passed { "ok" } else { "FAILED" };
    println!("{verdict:<6} {what}: {found}, expected {expected}");
    passed
}

fn mean(numbers: &[u64]) -> u64 {
    numbers.iter().sum::<u64>() / numbers.len().max(1) as u64
}

/// Rooms of [`ROOM`] members, and a few small ones in which everybody talks all the time.
fn members(count: u64) -> Vec<Member> {
    let rooms = count.div_ceil(ROOM).max(1);
    let quiet = (0..rooms).map(|number| Member {
        room: format!("hold-{number}"),
        size: ROOM,
        // Twenty messages a second in all of them together.
        pause: Duration::from_millis(50 * rooms * ROOM),
        text: "m-hello".into(),
    });
    let long: Arc<str> = format!("m-{}", "x".repeat(990)).into();
    let busy = (0..BUSY_ROOMS).map(|number| Member {
        room: format!("busy-{number}"),
        size: BUSY_ROOM,
        // Half of what one connection may.
        pause: Duration::from_millis(100),
        text: Arc::clone(&long),
    });
    quiet.chain(busy).flat_map(|it| vec![it.clone(); it.size as usize]).collect()
}

/// All members come, so many at once that the server's queue of handshakes is never full.
async fn fill(world: &Arc<World>, members: &[Member]) -> Result<(), Box<dyn Error>> {
    world.go_to(Phase::Quiet);
    let mut pace = interval(Duration::from_millis(50));
    for some in members.chunks(50) {
        pace.tick().await;
        for member in some {
            let (world, member) = (Arc::clone(world), member.clone());
            tokio::spawn(async move { world.stay(member).await });
        }
    }
    let all = members.len() as u64;
    let deadline = Instant::now() + GONE;
    while world.held.load(Ordering::Relaxed) < all {
        if Instant::now() > deadline {
            return Err(
                format!("only {} of {all} members", world.held.load(Ordering::Relaxed)).into()
            );
        }
        sleep(Duration::from_millis(100)).await;
    }
    Ok(())
}

async fn drain(server: &mut Server, world: &World) -> Result<Sample, Box<dyn Error>> {
    world.go_to(Phase::Go);
    server.empty().await
}

/// Starts something so many times each second, unless too many are still busy.
fn every<F: Future<Output = ()> + Send + 'static>(
    per_second: u64,
    world: &Arc<World>,
    busy: &Arc<Semaphore>,
    start: impl Fn(Arc<World>) -> F + Send + 'static,
) -> JoinHandle<()> {
    let (world, busy) = (Arc::clone(world), Arc::clone(busy));
    tokio::spawn(async move {
        let mut pace = interval(Duration::from_millis(1000 / per_second.clamp(1, 1000)));
        pace.set_missed_tick_behavior(MissedTickBehavior::Delay);
        loop {
            pace.tick().await;
            let Ok(permit) = Arc::clone(&busy).try_acquire_owned() else { continue };
            let task = start(Arc::clone(&world));
            tokio::spawn(async move {
                task.await;
                drop(permit);
            });
        }
    })
}

fn print(when: &str, started: Instant, sample: &Sample, world: &World) {
    println!(
        "{when:>12} | {:>5} s | rss {:>7} KiB | fds {:>5} | threads {} | cpu {:>6.1} s | \
         connections {:>5} rooms {:>4} members {:>5} tasks {:>5} charged {:>6} KiB | said {} heard {} | ended {}",
        started.elapsed().as_secs(),
        sample.rss,
        sample.fds,
        sample.threads,
        sample.cpu as f64 / 100.0,
        sample.status.connections,
        sample.status.rooms,
        sample.status.members,
        sample.status.tasks,
        sample.status.charged / 1024,
        world.said.load(Ordering::Relaxed),
        world.heard.load(Ordering::Relaxed),
        world.codes(),
    );
}

/// The limits that are there for people, lifted for one machine that plays all of them.
const SERVER: &[&str] = &[
    "--max-connections=40000",
    "--max-unauthenticated=5000",
    "--max-connections-per-peer=40000",
    "--max-connections-per-user=40000",
    "--handshake-rate=5000",
    "--failed-login-burst=100000",
];

/// Members of one room.
const ROOM: u64 = 50;

const BUSY_ROOMS: u64 = 4;

/// Members of a busy one, besides those who do not read.
const BUSY_ROOM: u64 = 10;

/// Visitors, attackers and those who do not read, at once.
const MAX_BUSY: usize = 3000;

/// By then whoever came at the same time is there, or gone.
const GONE: Duration = Duration::from_secs(60);
