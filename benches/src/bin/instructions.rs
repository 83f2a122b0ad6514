//! Does a hot path again and again, for callgrind to count its instructions: `instructions PATH`. Without a path, prints
//! their names, and how often each is done.

use std::process::ExitCode;

use bench::PATHS;

fn main() -> ExitCode {
    let Some(name) = std::env::args().nth(1) else {
        PATHS.iter().for_each(|path| println!("{} {}", path.name, path.times));
        return ExitCode::SUCCESS;
    };
    let Some(path) = PATHS.iter().find(|path| path.name == name) else {
        eprintln!("there is no path {name}");
        return ExitCode::FAILURE;
    };
    let mut once = (path.prepare)(WORKLOADS);
    // What is made on first use is none of it.
    once();
    counted(&mut *once, path.times);
    ExitCode::SUCCESS
}

/// Callgrind counts what happens in here.
#[inline(never)]
fn counted(once: &mut dyn FnMut(), times: u32) {
    for _ in 0..times {
        once();
    }
}

/// How large a mesh is decided in: as large as can be made while every instruction is looked at.
const WORKLOADS: u32 = 5000;
