//! What runs out: descriptors, room for logs, memory.

use std::fs;
use std::io::{self, BufRead, BufReader, Read, Write};
use std::net::TcpStream;
use std::path::PathBuf;
use std::process::{Command, Stdio};
use std::time::Duration;

use e2e::calls::{exchange, opened};
use harness::{Daemon, LabError, Mesh, PATIENCE, Pod, eventually, serve};
use nix::mount::{MsFlags, mount};
use serde_json::json;

use crate::scene::{ECHO, Scene};

#[test]
fn a_daemon_without_descriptors_waits_says_so_and_goes_on() -> Result<(), LabError> {
    let scene = Scene::up(json!({}))?;
    let daemon = scene.mesh.daemon("node1");
    let said = r#""limit":"open_files""#;
    let mut all = connected_without_descriptors(&scene, daemon, &scene.client(), said)?;
    assert_eq!(all.len(), 100, "none was reset");
    // Those that it has are served; each that ends makes room for one that waits.
    let mut served = 0;
    while let Some((mut stream, answered)) = first_told(&mut all)? {
        assert!(answered, "one was reset");
        stream.write_all(b"y")?;
        served += 1;
    }
    assert_eq!(served, 100);
    scene.check_served()?;
    let turned_away = "ambient_connections_turned_away_total";
    daemon.wait_metric(turned_away, &[("limit", "open_files")], |count| count > 0.0).map(drop)
}

#[test]
fn a_servers_daemon_without_descriptors_serves_whom_it_can_says_so_and_goes_on() -> Result<(), LabError> {
    // By tunnel, and in plaintext.
    for (from, said) in [("shop/client", "Too many open files"), ("legacy/batch", r#""limit":"open_files""#)]
    {
        let scene = Scene::up(json!({}))?;
        let daemon = scene.mesh.daemon("node2");
        let mut all = connected_without_descriptors(&scene, daemon, &scene.mesh.pod(from), said)?;
        // Nobody is left without an answer: who waits is served when somebody else ends.
        let mut served = 0;
        while let Some((mut stream, answered)) = first_told(&mut all)? {
            if answered {
                exchange(&mut stream)?;
                served += 1;
            }
        }
        assert!(served > 10, "{served} served");
        scene.check_served()?;
    }
    Ok(())
}

/// Opens a hundred connections to the server while the daemon may have thirty more descriptors than it has. Those that
/// were not reset at once, each with a byte on its way, when the daemon has `said` so in its log; it must not spin.
fn connected_without_descriptors(
    scene: &Scene,
    daemon: &Daemon,
    client: &Pod,
    said: &str,
) -> Result<Vec<TcpStream>, LabError> {
    let to = scene.server().at(ECHO);
    scene.check_served()?;
    limit_files(daemon, open_files(daemon)? + 30)?;
    let mut all: Vec<_> = (0..100).filter_map(|_| client.connect(to).ok()).collect();
    // Whoever cannot write has been told: a reset is told but once.
    all.retain_mut(|stream| stream.write_all(b"x").is_ok());
    eventually("the daemon says that it has no descriptors", || {
        let log = daemon.log()?;
        Ok(log.lines().any(|line| line.contains(said)).then_some(()))
    })?;
    let before = ticks(daemon)?;
    std::thread::sleep(Duration::from_secs(1));
    let spent = ticks(daemon)? - before;
    assert!(spent < 30, "it spins: {spent} hundredths of a second in one");
    Ok(all)
}

#[test]
fn a_reader_of_logs_that_stalls_holds_up_nothing() -> Result<(), LabError> {
    let scene = Scene::up(json!({}))?;
    let daemon = scene.mesh.daemon("node1");
    let (_unread, pipe) = io::pipe()?;
    daemon.terminate(PATIENCE)?;
    daemon.run_to(pipe.into())?;
    scene.mesh.wait_settled()?;
    // More records than the pipe and the queue hold.
    call(&scene.mesh, 10_000)?;
    let lost = daemon.wait_metric("ambient_log_lines_lost_total", &[("reason", "full")], |it| it > 0.0)?;
    assert!(lost < 10_000.0, "{lost} lines are more than there were");
    call(&scene.mesh, 100)
}

#[test]
fn a_full_disk_under_the_log_holds_up_nothing_and_lines_come_again_when_there_is_room() -> Result<(), LabError>
{
    let scene = Scene::up(json!({}))?;
    let daemon = scene.mesh.daemon("node1");
    let disk = scene.mesh.folder().join("disk");
    fs::create_dir(&disk)?;
    // The lab unmounts it.
    mount(Some("tmpfs"), &disk, Some("tmpfs"), MsFlags::empty(), Some("size=64k"))
        .map_err(io::Error::from)?;
    let (log, ballast) = (disk.join("log"), disk.join("ballast"));
    fs::write(&ballast, [0; 32 * 1024])?;
    let file = fs::File::options().create(true).append(true).open(&log)?;
    daemon.terminate(PATIENCE)?;
    daemon.run_to(file.into())?;
    scene.mesh.wait_settled()?;
    call(&scene.mesh, 300)?;
    let lost = "ambient_log_lines_lost_total";
    daemon.wait_metric(lost, &[("reason", "write")], |count| count > 0.0)?;
    fs::remove_file(&ballast)?;
    let full = fs::metadata(&log)?.len();
    call(&scene.mesh, 10)?;
    eventually("records are written again", || Ok((fs::metadata(&log)?.len() > full).then_some(())))
}

#[test]
fn connections_that_nobody_reads_cost_a_bounded_amount_and_hold_up_nobody_else() -> Result<(), LabError> {
    const EACH: usize = 100;
    let scene = Scene::up(json!({}))?;
    let (client, server) = (scene.client(), scene.server());
    let (deaf, endless) = (server.serve(0, serve::hold())?, server.serve(0, serve::source(1 << 30))?);
    scene.check_served()?;
    let before = memory(&scene.mesh)?;
    // Half of them are written to without being read, the others write to whoever does not read.
    let open = |port| (0..EACH).map(|_| client.connect(server.at(port))).collect::<Result<Vec<_>, _>>();
    let (unread, mut unheard) = (open(endless.port())?, open(deaf.port())?);
    let sent = write_until_stuck(&mut unheard)?;
    let grown = settled(|| Ok(memory(&scene.mesh)?))?.saturating_sub(before) >> 20;
    println!("{grown} MiB more in two daemons together, with {} MiB on the way one way", sent >> 20);
    assert!(grown < 128, "{grown} MiB: more than 32 for each tunnel, of which each worker has one");
    // In the very tunnels whose windows are taken.
    (0..20).try_for_each(|_| scene.check_served())?;
    drop(unread);
    Ok(())
}

/// Writes to all of them until none takes any more; how many bytes they took.
fn write_until_stuck(streams: &mut [TcpStream]) -> io::Result<usize> {
    let block = [7; 64 << 10];
    let (mut sent, mut quiet) = (0, 0);
    streams.iter().try_for_each(|stream| stream.set_nonblocking(true))?;
    while quiet < 50 {
        let before = sent;
        for stream in &mut *streams {
            match stream.write(&block) {
                Ok(count) => sent += count,
                Err(error) if error.kind() == io::ErrorKind::WouldBlock => {}
                Err(error) => return Err(error),
            }
        }
        quiet = if sent == before { quiet + 1 } else { 0 };
        std::thread::sleep(Duration::from_millis(10));
    }
    Ok(sent)
}

/// What is measured, once it stands still.
fn settled(measure: impl Fn() -> Result<usize, LabError>) -> Result<usize, LabError> {
    let mut last = (0, 0);
    eventually("it stands still", || {
        let now = measure()?;
        last = if now == last.0 { (now, last.1 + 1) } else { (now, 0) };
        std::thread::sleep(Duration::from_millis(20));
        Ok((last.1 == 20).then_some(now))
    })
}

#[test]
fn ten_thousand_idle_connections_cost_little_and_all_still_work() -> Result<(), LabError> {
    const COUNT: usize = 10_000;
    const PORT: u16 = 8090;
    let scene = Scene::up(json!({}))?;
    let (client, server) = (scene.client(), scene.server());
    let program = xtask()?;
    let _server = server.spawn(&format!("{} serve {PORT}", program.display()))?;
    eventually("the server listens", || Ok(client.connect(server.at(PORT)).and_then(asked).ok()))?;
    let before = memory(&scene.mesh)?;
    let command = format!("exec {} hold {} {COUNT}", program.display(), server.at(PORT));
    let mut holder = client.netns().shell(&command).stdin(Stdio::piped()).stdout(Stdio::piped()).spawn()?;
    let (mut asking, told) = (holder.stdin.take(), holder.stdout.take());
    let mut told = BufReader::new(told.expect("its output is a pipe")).lines();
    let mut next = || told.next().transpose().map(Option::unwrap_or_default);
    assert_eq!(next()?, COUNT.to_string(), "so many are open");
    scene.check_served()?;
    let each = (memory(&scene.mesh)? - before) / COUNT;
    println!("{each} bytes for each of {COUNT} connections, in two daemons together");
    assert!(each < 16 * 1024, "{each} bytes each");
    writeln!(asking.as_mut().expect("its input is a pipe"), "again")?;
    assert_eq!(next()?, COUNT.to_string(), "so many still answer");
    drop(asking);
    assert!(holder.wait()?.success());
    Ok(())
}

/// Makes so many connections from the client to the server, one after the other on each of a few threads, each of which
/// must be served.
fn call(mesh: &Mesh, count: usize) -> Result<(), LabError> {
    let (client, to) = (mesh.pod("shop/client"), mesh.pod("shop/server").at(ECHO));
    let called = |count: usize| (0..count).try_for_each(|_| opened(&client, to).map(drop));
    let callers = 8.min(count);
    std::thread::scope(|scope| {
        let threads: Vec<_> = (0..callers).map(|_| scope.spawn(|| called(count / callers + 1))).collect();
        threads.into_iter().try_for_each(|it| it.join().expect("a caller does not panic"))
    })?;
    Ok(())
}

fn asked(mut stream: TcpStream) -> io::Result<()> {
    stream.write_all(b"GET / HTTP/1.1\r\nhost: x\r\n\r\n")?;
    stream.read_exact(&mut [0])
}

/// Takes out a connection whose byte came back or that was reset, and says whether it came back; waits for one.
fn first_told(all: &mut Vec<TcpStream>) -> Result<Option<(TcpStream, bool)>, LabError> {
    if all.is_empty() {
        return Ok(None);
    }
    let (at, answered) = eventually("a connection is served or reset", || {
        for (at, stream) in all.iter_mut().enumerate() {
            stream.set_nonblocking(true)?;
            match stream.read(&mut [0]) {
                Ok(1) => return Ok(Some((at, true))),
                Ok(_) => return Err(io::Error::from(io::ErrorKind::UnexpectedEof).into()),
                Err(error) if error.kind() == io::ErrorKind::WouldBlock => {}
                Err(error) if error.kind() == io::ErrorKind::ConnectionReset => return Ok(Some((at, false))),
                Err(error) => return Err(error.into()),
            }
        }
        Ok(None)
    })?;
    let stream = all.swap_remove(at);
    stream.set_nonblocking(false)?;
    Ok(Some((stream, answered)))
}

fn pid(daemon: &Daemon) -> u32 {
    daemon.pid().expect("the daemon runs")
}

fn open_files(daemon: &Daemon) -> io::Result<usize> {
    Ok(fs::read_dir(format!("/proc/{}/fd", pid(daemon)))?.count())
}

fn limit_files(daemon: &Daemon, count: usize) -> io::Result<()> {
    let mut command = Command::new("prlimit");
    command.arg("--pid").arg(pid(daemon).to_string()).arg(format!("--nofile={count}:{count}"));
    assert!(command.status()?.success());
    Ok(())
}

/// Processor time that a daemon has used, in hundredths of a second.
fn ticks(daemon: &Daemon) -> io::Result<u64> {
    let stat = fs::read_to_string(format!("/proc/{}/stat", pid(daemon)))?;
    let fields = stat.rsplit_once(')').map_or("", |it| it.1).split_whitespace();
    Ok(fields.skip(11).take(2).filter_map(|it| it.parse::<u64>().ok()).sum())
}

/// Resident memory of all daemons together, in bytes.
fn memory(mesh: &Mesh) -> io::Result<usize> {
    let of = |daemon: &Daemon| {
        let status = fs::read_to_string(format!("/proc/{}/status", pid(daemon)))?;
        let line = status.lines().find_map(|line| line.strip_prefix("VmRSS:"));
        Ok(line.and_then(|it| it.trim().strip_suffix("kB")?.trim().parse::<usize>().ok()).unwrap_or(0) * 1024)
    };
    mesh.daemons().iter().map(of).sum()
}

/// The program that holds connections for the bench; it is built next to the suites.
fn xtask() -> Result<PathBuf, LabError> {
    let running = std::env::current_exe()?;
    let mut places = running.ancestors().skip(1).take(2).map(|folder| folder.join("xtask"));
    places.find(|path| path.is_file()).ok_or_else(|| LabError::NoProgram("xtask".into()))
}
