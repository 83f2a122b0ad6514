//! What the mesh says, by sentence; and the bytes in which it says so.

mod answers;
mod bytes;
mod samples;
