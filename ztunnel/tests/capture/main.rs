//! Capture of pods, in real network namespaces with real rules and sockets. Needs root, nft and ip.

mod daemon;
mod descriptors;
mod dns;
mod enrolment;
mod guard;
mod lab;
mod live;
mod probes;
mod redirected;
mod restarted;
mod rules;
