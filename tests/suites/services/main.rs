//! Where calls go: Services, ServiceEntries, their endpoints and their names, and what nobody in the mesh is behind.

mod annotated;
mod balance;
mod dns;
mod egress;
mod endpoints;
mod entries;
mod exclusions;
mod mall;
mod networks;
mod told;
mod vip;
