//! What the kernel holds of our table, condensed to one number that can be compared.

use std::io;

use nix::libc;
use nix::sys::socket::SockProtocol;

use super::rules::TABLE;
use crate::netlink::{Attributes, Exchange, Message, NetlinkSocket, Request};
use crate::netns::{PodNetns, in_netns};

/// A digest of the chains, rules and set elements of our table in one namespace; equal as long as nobody changes them.
///
/// Made from the kernel's own dump, not by starting nft: it is taken of every pod every few seconds.
#[derive(Clone, Copy, Debug, PartialEq, Eq, serde::Serialize, serde::Deserialize)]
pub struct RulesDigest(u64);

/// A digest of the ruleset that a build of the daemon makes of a pod: what another build made of it may be another one.
#[derive(Clone, Copy, Debug, PartialEq, Eq, serde::Serialize, serde::Deserialize)]
pub struct RulesetDigest(u64);

/// What the objects of a dump belong to.
#[derive(Clone, Copy, Debug)]
pub(super) enum Attributed<'a> {
    ToSet(&'a [u8]),
    ToTable,
}

impl RulesDigest {
    /// Takes the digest of what is in force; none when there is no table of ours.
    ///
    /// # Errors
    /// When the namespace cannot be entered or the kernel does not answer.
    pub fn take(netns: &PodNetns) -> io::Result<Option<Self>> {
        let netlink = in_netns(netns, || NetlinkSocket::open(SockProtocol::NetlinkNetFilter))?;
        let mut parts = dump(&netlink, libc::NFT_MSG_GETCHAIN, &CHAIN_PARTS, &[])?;
        parts.extend(dump(&netlink, libc::NFT_MSG_GETRULE, &RULE_PARTS, &[])?);
        for set in set_names(&netlink)? {
            let mut elements = dump(&netlink, libc::NFT_MSG_GETSETELEM, &ELEMENT_PARTS, &set)?;
            // Elements of a hashed set come in no particular order.
            elements.sort();
            parts.extend(elements);
        }
        Ok((!parts.is_empty()).then(|| Self(fnv1a(parts.iter().flatten()))))
    }
}

impl RulesetDigest {
    pub(super) fn of(ruleset: &str) -> Self {
        Self(fnv1a(ruleset.as_bytes().iter()))
    }
}

/// The parts worth comparing of each object of our table; handles and use counts are left out.
fn dump(
    netlink: &NetlinkSocket,
    command: libc::c_int,
    wanted: &[u16],
    set: &[u8],
) -> io::Result<Vec<Vec<u8>>> {
    let mut objects = Vec::new();
    let wanted_of = if set.is_empty() { Attributed::ToTable } else { Attributed::ToSet(set) };
    ask(netlink, command, wanted_of, |message| {
        let Some(attributes) = object_of_ours(message) else { return };
        let mut object = Vec::new();
        for (kind, value) in attributes.filter(|(kind, _)| wanted.contains(kind)) {
            object.extend(kind.to_ne_bytes());
            object.extend(value);
        }
        objects.push(object);
    })?;
    Ok(objects)
}

fn set_names(netlink: &NetlinkSocket) -> io::Result<Vec<Vec<u8>>> {
    let mut names = Vec::new();
    ask(netlink, libc::NFT_MSG_GETSET, Attributed::ToTable, |message| {
        let name = object_of_ours(message).and_then(|attributes| attributes.find(SET_NAME));
        names.extend(name.map(<[u8]>::to_vec));
    })?;
    Ok(names)
}

/// The attributes of an object, if it is in our table.
pub(super) fn object_of_ours<'a>(message: Message<'a>) -> Option<Attributes<'a>> {
    let attributes = message.payload.get(NFGENMSG..).map(Attributes::new)?;
    (attributes.clone().find(TABLE_NAME) == Some(table_name())).then_some(attributes)
}

/// Has the kernel dump what is in our table, or in one of its sets.
pub(super) fn ask(
    netlink: &NetlinkSocket,
    command: libc::c_int,
    of: Attributed<'_>,
    each: impl FnMut(Message<'_>),
) -> io::Result<()> {
    let kind = u16::try_from((libc::NFNL_SUBSYS_NFTABLES << 8) | command).map_err(io::Error::other)?;
    let mut request = Request::new(kind, libc::NLM_F_DUMP).header(&[NFPROTO_INET, 0, 0, 0]);
    request = request.attribute(TABLE_NAME, table_name());
    if let Attributed::ToSet(set) = of {
        request = request.attribute(SET_NAME, set);
    }
    match netlink.ask(request, Exchange::Dump, each) {
        // No table of ours is an empty dump.
        Err(error) if error.raw_os_error() == Some(libc::ENOENT) => Ok(()),
        result => result,
    }
}

fn table_name() -> &'static [u8] {
    TABLE_Z.as_bytes()
}

/// FNV-1a: stable between processes and versions, since digests are kept in files.
fn fnv1a<'a>(bytes: impl Iterator<Item = &'a u8>) -> u64 {
    bytes.fold(0xcbf2_9ce4_8422_2325, |hash, byte| (hash ^ u64::from(*byte)).wrapping_mul(0x0100_0000_01b3))
}

/// The table's name as it stands in attributes, with its final zero.
const TABLE_Z: &str = "ambient_mesh\0";
const _: () = assert!(TABLE_Z.len() == TABLE.len() + 1);

const NFPROTO_INET: u8 = 1;
/// Size of `struct nfgenmsg`.
const NFGENMSG: usize = 4;
/// `NFTA_CHAIN_TABLE`, `NFTA_RULE_TABLE`, `NFTA_SET_TABLE`, `NFTA_SET_ELEM_LIST_TABLE`.
const TABLE_NAME: u16 = 1;
/// `NFTA_SET_NAME`, `NFTA_SET_ELEM_LIST_SET`.
const SET_NAME: u16 = 2;
/// Name, hook, policy, type and flags.
const CHAIN_PARTS: [u16; 5] = [3, 4, 5, 7, 10];
/// Chain and expressions.
const RULE_PARTS: [u16; 2] = [2, 4];
/// The elements.
const ELEMENT_PARTS: [u16; 1] = [3];
