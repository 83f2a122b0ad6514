//! How much memory this thread holds.

use tikv_jemalloc_ctl::thread;

/// The allocator that counts: a target that watches memory makes it the global one.
pub type Heap = tikv_jemallocator::Jemalloc;

/// Bytes that this thread has allocated and not freed.
pub fn live() -> i64 {
    let count = |read: Result<u64, tikv_jemalloc_ctl::Error>| {
        i64::try_from(read.expect("the allocator counts")).expect("a process has less than 2^63 bytes")
    };
    count(thread::allocatedp::read().map(|it| it.get()))
        - count(thread::deallocatedp::read().map(|it| it.get()))
}
