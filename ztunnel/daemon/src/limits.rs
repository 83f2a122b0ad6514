//! Limits that the system sets a process, and what counts as one source where a daemon sets its own.

use std::io;
use std::net::{IpAddr, Ipv6Addr};

use nix::sys::resource::{Resource, getrlimit, setrlimit};

/// Raises the number of files that may be open to what the system allows at most; returns it.
///
/// # Errors
/// When the limit cannot be read or set.
pub fn raise_open_files() -> io::Result<u64> {
    let (_, hard) = getrlimit(Resource::RLIMIT_NOFILE)?;
    setrlimit(Resource::RLIMIT_NOFILE, hard, hard)?;
    Ok(hard)
}

/// The source that an address counts as where sources are bounded by what they can have: the address, or of IPv6 its network of
/// 64 bits, of which who has one address has all (RFC 4291 §2.5.1). An IPv4 address is one in whichever form.
pub fn source_of(address: IpAddr) -> IpAddr {
    match address.to_canonical() {
        IpAddr::V6(address) => Ipv6Addr::from_bits(address.to_bits() & u128::MAX << 64).into(),
        address => address,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_soft_limit_becomes_the_hard_one() {
        let raised = raise_open_files().unwrap();
        assert_eq!(getrlimit(Resource::RLIMIT_NOFILE).unwrap(), (raised, raised));
    }
}
